//! When a job runs: cron expressions and time zones.
//!
//! 5 fields as in crontab, where day of month *or* day of week suffices; 6 with seconds first; or a nickname. An expression
//! that names no day of any year is refused here: a scheduler would drop such a job without a word.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};

use super::reader::Value;

const ALLOWED: &str = "5 fields (minute hour day-of-month month day-of-week), 6 with seconds first, \
                       or @hourly, @daily, @weekly, @monthly, @yearly";

/// The fields of an expression; the first may be left out.
const FIELDS: [&str; 6] = ["second", "minute", "hour", "day of the month", "month", "day of the week"];

/// When a job runs, in the job's time zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// As it is written in the configuration.
    pub text: String,
    /// The same, to ask for the next time.
    pub cron: Cron,
}

/// A cron expression that comes true some day.
pub(super) fn read(value: &Value<'_>) -> Option<Schedule> {
    let text = value.text()?;
    let cron = match parse(&text) {
        Ok(cron) => cron,
        Err(error) => {
            let problem = value.problem(format!("`{text}` is not a schedule: {}", explain(&text, error)));
            return value.reject(problem.allowed(ALLOWED).maybe_hint(step_hint(&text)));
        }
    };
    // Where the search begins is of no matter: without a year, every expression repeats for ever or never comes true.
    if cron.find_next_occurrence(&DateTime::<Utc>::UNIX_EPOCH, true).is_err() {
        let problem = value.problem(format!("`{text}` never runs: no month has such a day"));
        return value.reject(problem.hint("for the last day of each month write `L` as the day of the month"));
    }
    Some(Schedule { text, cron })
}

fn parse(text: &str) -> Result<Cron, CronError> {
    CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build().parse(text)
}

/// What is wrong with `text`, by its first field that is wrong alone.
fn explain(text: &str, error: CronError) -> String {
    let fields: Vec<&str> = text.split_whitespace().collect();
    if text.starts_with('@') {
        return "there is no such nickname".to_owned();
    }
    let names = match fields.len() {
        5 => &FIELDS[1..],
        6 => &FIELDS[..],
        1 => return "it has one field".to_owned(),
        count => return format!("it has {count} fields"),
    };
    let alone = |index: usize| {
        let mut others = vec!["*"; fields.len()];
        others[index] = fields[index];
        parse(&others.join(" ")).err()
    };
    let wrong = (0..fields.len())
        .find_map(|index| Some((format!("the {} `{}`: ", names[index], fields[index]), alone(index)?)));
    let (field, error) = wrong.unwrap_or((String::new(), error));
    let detail = match error {
        CronError::InvalidPattern(detail)
        | CronError::IllegalCharacters(detail)
        | CronError::ComponentError(detail) => detail,
        other => other.to_string(),
    };
    format!("{field}{}", detail.trim_end_matches('.'))
}

/// `1/10` is what many other crons accept.
fn step_hint(text: &str) -> Option<String> {
    let (field, (start, step)) = text.split_whitespace().find_map(|field| Some((field, field.split_once('/')?)))?;
    let is_number = !start.is_empty() && start.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| format!("a step needs a range: `{start}-59/{step}` or `*/{step}` instead of `{field}`"))
}

/// A time zone by its IANA name.
pub(super) fn read_timezone(value: &Value<'_>) -> Option<Tz> {
    let text = value.text()?;
    let Ok(timezone) = text.parse::<Tz>() else {
        let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
        let problem = value.problem(format!("`{text}` is not a time zone")).suggest(&text, names);
        return value.reject(problem.allowed("an IANA name such as Europe/Berlin, America/New_York or UTC"));
    };
    Some(timezone)
}
