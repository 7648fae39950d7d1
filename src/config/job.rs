//! Jobs: one stream to one entity, on a schedule.
//!
//! Reading goes in two steps. An [`Outline`] is what other jobs need to know of a job, and is there even when the rest
//! cannot be used; [`read`] then checks everything that concerns one job alone.

use std::collections::HashSet;
use std::time::Duration;

use chrono_tz::Tz;

use super::brake;
use super::duration;
use super::entity;
use super::mapping::{self, CheckTotal, Field, Lines, Mapped};
use super::name;
use super::policy;
use super::reader::{Findings, Table, Value};
use super::schedule::{self, Schedule};
use super::service::{self, Retry};
use super::stream::{self, Stream};
use super::text::Located;
use crate::model::{Adopt, Brake, EntityName, Mode, OnConflict, OnDelete, OnMissing};

/// One stream to one entity.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name in the configuration.
    pub name: Located<String>,
    /// Whether it runs at all.
    pub enabled: bool,
    /// The name of the source it reads; it exists.
    pub source: Located<String>,
    /// The name of the target it writes to; it exists.
    pub target: String,
    /// The entity it writes.
    pub entity: Located<EntityName>,
    /// The names of the jobs that run before it; they exist, and none of them waits for this one.
    pub after: Vec<Located<String>>,
    /// When it runs.
    pub schedule: Option<Located<Schedule>>,
    /// When it reads everything.
    pub full_schedule: Option<Located<Schedule>>,
    /// The time zone of its schedules and of the dates it makes from stamps.
    pub timezone: Tz,
    /// The longest random delay of a scheduled run.
    pub jitter: Duration,
    /// Whether a run that was missed is made up for, once.
    pub catch_up: bool,
    /// How long a run may take.
    pub timeout: Duration,
    /// What it reads.
    pub stream: Stream,
    /// The properties that find a row which Business Central has already. Not empty unless `mode` is `update_only`.
    pub match_on: Vec<Located<String>>,
    /// What happens with a row that matches but was not made by this program.
    pub adopt: Adopt,
    /// Which writes it may make.
    pub mode: Mode,
    /// Who wins when someone changed our properties in Business Central. There unless `mode` is `create_only`.
    pub on_conflict: Option<OnConflict>,
    /// What becomes of the row of a record that was deleted.
    pub on_delete: OnDelete,
    /// What becomes of a record whose row Business Central no longer has.
    pub on_missing: OnMissing,
    /// Whether a changed match value may rename the row.
    pub rename: bool,
    /// An expression over the record; where it is false the record is left alone.
    pub condition: Option<Located<String>>,
    /// How much a run may change before it asks.
    pub brake: Brake,
    /// How often and how long something is tried again.
    pub retry: Retry,
    /// What it writes; not empty.
    pub fields: Vec<Field>,
    /// What it writes only when it makes a row.
    pub create_only: Vec<Field>,
    /// The lines of each record.
    pub lines: Option<Lines>,
    /// The total that must come out right.
    pub check_total: Option<Located<CheckTotal>>,
}

/// What other jobs need to know of a job.
pub(super) struct Outline {
    pub(super) name: String,
    pub(super) after: Vec<Located<String>>,
    pub(super) has_schedule: bool,
    pub(super) timezone: Option<Tz>,
}

/// The names of everything that a job can refer to.
pub(super) struct Names {
    pub(super) sources: Vec<String>,
    pub(super) targets: Vec<String>,
    pub(super) jobs: Vec<String>,
}

/// The outline of a job, and the rest of its table.
pub(super) fn read_outline<'d>(value: &Value<'d>) -> Option<(Outline, Table<'d>)> {
    let mut table = value.table()?;
    let outline = Outline {
        name: value.key().value,
        after: table.or("after", |value| value.list(Value::text), Vec::new()),
        has_schedule: table.has("schedule"),
        timezone: table.optional("timezone", schedule::read_timezone).map(Located::into_value),
    };
    Some((outline, table))
}

/// The job whose outline was read from `table`, if it can be used. `timezone` is the one that is in force.
pub(super) fn read(
    value: &Value<'_>,
    outline: Outline,
    timezone: Tz,
    mut table: Table<'_>,
    names: &Names,
    retry: Retry,
) -> Option<Job> {
    let findings = table.findings();
    let name = name::read(value);
    let enabled = table.or("enabled", Value::boolean, true);
    let source = table.required("source", Value::text);
    if let Some(source) = &source {
        name::check(source, "source", &names.sources, findings);
    }
    let target = read_target(&mut table, names);
    let entity = table.required("entity", entity::read);
    let schedule = table.optional("schedule", schedule::read);
    let full_schedule = table.optional("full_schedule", schedule::read);
    let jitter = table.or("jitter", duration::read, Duration::ZERO);
    let catch_up = table.or("catch_up", Value::boolean, true);
    let timeout = table.or("timeout", duration::read_positive, Duration::from_hours(1));
    let stream = stream::read(&mut table);
    let condition = table.optional("where", mapping::read_expression);

    let mode = policy::read_mode(&mut table);
    let match_on = read_match_on(&mut table, mode);
    let adopt = policy::read_adopt(&mut table, entity.as_ref());
    let on_conflict = policy::read_on_conflict(&mut table, mode);
    let on_delete = policy::read_on_delete(&mut table, mode, entity.as_ref());
    let on_missing = policy::read_on_missing(&mut table);
    let rename = table.or("rename", Value::boolean, false);
    let brake = brake::read(&mut table);
    let retry = service::read_retry(&mut table, retry);

    if !table.has("fields") {
        findings.push(table.problem(format!("`[jobs.{}.fields]` is missing", outline.name)));
    }
    let fields = mapping::read_fields(&mut table, "fields");
    let create_only = mapping::read_fields(&mut table, "create_only").unwrap_or_default();
    let has_lines = table.has("lines");
    let lines = mapping::read_lines(&mut table);
    let check_total = table.optional("check_total", mapping::read_check_total);
    if let Some(fields) = &fields {
        check_match_on(&match_on, fields, findings);
        check_create_only(&create_only, fields, mode, findings);
    }
    if let (Some(stream), true) = (&stream, full_schedule.is_some() || !table.has("full_schedule")) {
        check_full_schedule(full_schedule.as_ref(), stream, has_lines, on_delete, &outline.name, findings);
    }
    table.finish();
    Some(Job {
        name: name?,
        enabled,
        source: source?,
        target: target?,
        entity: entity?,
        after: outline.after,
        schedule,
        full_schedule,
        timezone,
        jitter,
        catch_up,
        timeout,
        stream: stream?,
        match_on,
        adopt,
        mode: mode?,
        on_conflict,
        on_delete,
        on_missing,
        rename,
        condition,
        brake,
        retry,
        fields: fields?.fields,
        create_only: create_only.fields,
        lines,
        check_total,
    })
}

fn read_target(table: &mut Table<'_>, names: &Names) -> Option<String> {
    if let Some(target) = table.optional("target", Value::text) {
        name::check(&target, "target", &names.targets, table.findings());
        return Some(target.value);
    }
    match &names.targets[..] {
        [only] => return Some(only.clone()),
        // Told once, for the file.
        [] => {}
        _ if table.has("target") => {}
        several => {
            let problem = table.problem("`target` is missing, and there are several");
            table.findings().push(problem.allowed(several.join(", ")));
        }
    }
    None
}

/// Without it a row whose creation was not answered could not be found again, and would be made twice.
fn read_match_on(table: &mut Table<'_>, mode: Option<Mode>) -> Vec<Located<String>> {
    if !table.has("match_on") {
        let hint = "name the property that tells rows apart: match_on = \"number\"";
        match mode {
            Some(Mode::Upsert | Mode::CreateOnly) => {
                let problem =
                    table.problem("`match_on` is missing: a job that creates rows must be able to find them again");
                table.findings().push(problem.hint(hint));
            }
            Some(Mode::UpdateOnly) => {
                let problem = table.problem("without `match_on` this job finds no row that it did not create itself");
                table.findings().push(problem.hint(hint).as_warning());
            }
            None => {}
        }
    }
    let read = |value: &Value<'_>| {
        if value.is_text() {
            return Some(vec![value.locate(entity::read_identifier(value)?)]);
        }
        let list = value.list(entity::read_identifier)?;
        if list.is_empty() {
            return value.reject(value.problem("`match_on` names no property"));
        }
        Some(list)
    };
    table.or("match_on", read, Vec::new())
}

fn check_match_on(match_on: &[Located<String>], mapped: &Mapped, findings: &Findings) {
    let properties: Vec<&str> = mapped.properties.iter().map(|property| property.value.as_str()).collect();
    // That nothing is mapped at all is told already.
    let unmapped =
        |property: &&Located<String>| !properties.is_empty() && !properties.contains(&property.value.as_str());
    for property in match_on.iter().filter(unmapped) {
        let problem = property.error(format!("`{}` is not among the `fields` of this job", property.value));
        findings.push(problem.allowed(properties.join(", ")).suggest(&property.value, properties.iter().copied()));
    }
}

fn check_create_only(create_only: &Mapped, mapped: &Mapped, mode: Option<Mode>, findings: &Findings) {
    let kept: HashSet<&str> = mapped.properties.iter().map(|property| property.value.as_str()).collect();
    for property in create_only.properties.iter().filter(|property| kept.contains(property.value.as_str())) {
        let problem = property.error(format!("`{}` is in `fields` too", property.value));
        findings.push(problem.hint("keep it in `fields` if it is kept up to date, here if it is sent only once"));
    }
    if let (Some(first), Some(Mode::UpdateOnly)) = (create_only.properties.first(), mode) {
        findings.push(first.error("`create_only` has no meaning in a job that creates nothing (`mode`)"));
    }
}

/// A cursor misses children that change without their parent, and rows that are deleted; only a full read finds them.
fn check_full_schedule(
    full_schedule: Option<&Located<Schedule>>,
    stream: &Stream,
    has_lines: bool,
    on_delete: OnDelete,
    job: &str,
    findings: &Findings,
) {
    match (full_schedule, &stream.cursor) {
        (Some(full_schedule), None) => {
            findings.push(full_schedule.warning("every run of this job reads everything: it has no `cursor`"));
        }
        (None, Some(cursor)) if has_lines || on_delete != OnDelete::Keep => {
            let missed =
                if has_lines { "lines that change without their document" } else { "records that were deleted" };
            let problem = cursor.column.warning(format!("the cursor of `{job}` does not see {missed}"));
            findings.push(problem.hint("read everything now and then: full_schedule = \"0 3 * * SUN\""));
        }
        _ => {}
    }
}
