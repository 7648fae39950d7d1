//! What is wrong at the moment, in words: from facts of the ledger and dates of the configuration.

use std::fmt;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::clock::iso;
use crate::ledger::{FailingJob, HeldJob, JobBacklog, Troubles};
use crate::model::RunResult;

/// For how long records may be pending before it is a backlog: a pass settles what it takes up, and what it leaves goes
/// with one of the next.
pub(super) const BACKLOG_AGE: TimeDelta = TimeDelta::days(1);

/// How long the write-ahead log may be after a pass, in bytes. As long as nobody else keeps the ledger open, it is carried
/// over into the file every few MiB.
const WAL_LIMIT: u64 = 64 << 20;

/// What can be wrong for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The last pass of a job failed.
    Failing,
    /// The brake holds a job.
    Held,
    /// Rows of a job are gone from Business Central, and nothing tells why.
    ClosedUnexplained,
    /// Records of a job are pending for too long.
    Backlog,
    /// The secret of a target expires soon, or has.
    SecretExpires,
    /// The write-ahead log of the ledger is too long.
    Wal,
}

/// What something that is wrong is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Job,
    Target,
    Ledger,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Failing, Self::Held, Self::ClosedUnexplained, Self::Backlog, Self::SecretExpires, Self::Wal];

    /// The word in messages and in the ledger.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Held => "held",
            Self::ClosedUnexplained => "closed_unexplained",
            Self::Backlog => "backlog",
            Self::SecretExpires => "secret_expires",
            Self::Wal => "wal",
        }
    }

    /// Reads the word.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// What it is about.
    pub(super) fn scope(self) -> Scope {
        match self {
            Self::Failing | Self::Held | Self::ClosedUnexplained | Self::Backlog => Scope::Job,
            Self::SecretExpires => Scope::Target,
            Self::Wal => Scope::Ledger,
        }
    }

    /// That it is over, of `subject`, in a sentence.
    pub(super) fn over(self, subject: &str, since: DateTime<Utc>) -> String {
        match self {
            Self::Failing => format!("job {subject} works again; it had been failing since {}", iso(since)),
            Self::Held => format!("job {subject} is no longer held by the brake"),
            Self::ClosedUnexplained => format!("job {subject} has no unexplained closes any more"),
            Self::Backlog => format!("job {subject} has caught up with what it had to send"),
            Self::SecretExpires => format!("the secret of target {subject} does not expire soon any more"),
            Self::Wal => "the write-ahead log of the ledger is short again".to_owned(),
        }
    }
}

/// Something that is wrong at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) kind: Kind,
    /// The job or target; empty for the ledger.
    pub(super) subject: String,
    /// How bad it is; people are told again when it is worse.
    pub(super) level: u64,
    /// When it began, as far as that is known.
    pub(super) since: DateTime<Utc>,
    /// What is wrong and what to do, in a sentence.
    pub(super) message: String,
}

/// When the secret of a target expires, as seen from a day on which that is worth a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretExpiry {
    target: String,
    on: NaiveDate,
    days_left: i64,
}

impl SecretExpiry {
    /// `None` when more than 30 days are left of the secret of `target`.
    #[must_use]
    pub fn near(target: &str, on: NaiveDate, now: DateTime<Utc>) -> Option<Self> {
        let days_left = (on - now.date_naive()).num_days();
        (days_left <= 30).then(|| Self { target: target.to_owned(), on, days_left })
    }

    /// People are told at 30 days, 7 days, 1 day, and when it is over.
    fn level(&self) -> u64 {
        match self.days_left {
            ..0 => 4,
            0..=1 => 3,
            2..=7 => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for SecretExpiry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, on, days_left } = self;
        write!(formatter, "the secret of target {target} ")?;
        match days_left {
            ..0 => write!(formatter, "expired on {on}"),
            0 => write!(formatter, "expires today"),
            1 => write!(formatter, "expires tomorrow, on {on}"),
            _ => write!(formatter, "expires in {days_left} days, on {on}"),
        }?;
        formatter.write_str("; make a new one in Microsoft Entra ID, put it into its place and change `secret_expires`")
    }
}

/// All that is wrong at the moment: what the ledger has, and which of the `secrets`, given by target, expire.
pub(super) fn conditions(troubles: &Troubles, secrets: &[(String, NaiveDate)], now: DateTime<Utc>) -> Vec<Condition> {
    let closed = troubles.closed_unexplained.iter().map(|(job, count)| closed_unexplained(job, *count, now));
    let expiring = secrets.iter().filter_map(|(target, on)| SecretExpiry::near(target, *on, now));
    let mut all = Vec::new();
    all.extend(troubles.failing.iter().map(failing));
    all.extend(troubles.held.iter().map(held));
    all.extend(closed);
    all.extend(troubles.backlogs.iter().map(backlog));
    all.extend(expiring.map(|expiry| secret_expires(&expiry, now)));
    all.extend((troubles.wal > WAL_LIMIT).then(|| wal(troubles.wal, now)));
    all
}

fn failing(failing: &FailingJob) -> Condition {
    let FailingJob { job, since, passes, result } = failing;
    let why = match result {
        RunResult::Denied => "denied: credentials, consent or permissions",
        RunResult::Refused => "refused: configuration, query or ledger must be put right by a person",
        _ => "failed: the source or Business Central could not be reached or gave up",
    };
    let passes = if *passes == 1 { "its last pass".to_owned() } else { format!("its last {passes} passes") };
    Condition {
        kind: Kind::Failing,
        subject: job.clone(),
        level: 1,
        since: *since,
        message: format!("job {job} is failing, {passes} ({why}); `bcsync history {job}` tells more"),
    }
}

fn held(held: &HeldJob) -> Condition {
    let HeldJob { job, since, plan } = held;
    Condition {
        kind: Kind::Held,
        subject: job.clone(),
        level: 1,
        since: *since,
        message: format!(
            "job {job} is held by the brake: {}; `bcsync history {job} --pending` shows them, \
             `bcsync approve {job} --plan {}` lets them go",
            plan.counts,
            plan.name()
        ),
    }
}

fn closed_unexplained(job: &str, count: u64, now: DateTime<Utc>) -> Condition {
    let rows = if count == 1 { "1 row".to_owned() } else { format!("{count} rows") };
    Condition {
        kind: Kind::ClosedUnexplained,
        subject: job.to_owned(),
        level: count,
        since: now,
        message: format!(
            "job {job} has lost {rows}: Business Central no longer has what was written there, and nothing tells why; \
             they are those of the view `links` whose state is unexplained"
        ),
    }
}

fn backlog(backlog: &JobBacklog) -> Condition {
    let JobBacklog { job, since, pending } = backlog;
    Condition {
        kind: Kind::Backlog,
        subject: job.clone(),
        level: 1,
        since: *since,
        message: format!(
            "job {job} has {pending} pending records, the first of them since {}, which is more than a day ago; \
             `bcsync history {job}` tells what the last passes did",
            iso(*since)
        ),
    }
}

fn secret_expires(expiry: &SecretExpiry, now: DateTime<Utc>) -> Condition {
    Condition {
        kind: Kind::SecretExpires,
        subject: expiry.target.clone(),
        level: expiry.level(),
        since: now,
        message: expiry.to_string(),
    }
}

fn wal(length: u64, now: DateTime<Utc>) -> Condition {
    Condition {
        kind: Kind::Wal,
        subject: String::new(),
        level: 1,
        since: now,
        message: format!(
            "the write-ahead log of the ledger has grown to {} MiB: another program keeps the ledger open, such as a \
             forgotten sqlite3; end that",
            length >> 20
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Counts, Fingerprint, Plan};

    fn now() -> DateTime<Utc> {
        "2026-06-01T12:00:00Z".parse().unwrap()
    }

    fn told(troubles: &Troubles, secrets: &[(String, NaiveDate)]) -> Vec<String> {
        let told = |condition: Condition| {
            let Condition { kind, subject, level, message, .. } = condition;
            format!("{} {subject} {level}: {message}", kind.as_str())
        };
        conditions(troubles, secrets, now()).into_iter().map(told).collect()
    }

    #[test]
    fn nothing_is_wrong_with_a_new_ledger() {
        assert!(told(&Troubles { wal: WAL_LIMIT, ..Troubles::default() }, &[]).is_empty());
    }

    #[test]
    fn everything_that_is_wrong_says_what_to_do() {
        let job = || "orders".to_owned();
        let failing = |passes, result| FailingJob { job: job(), since: now(), passes, result };
        let counts = Counts { creates: 3, ..Counts::default() };
        let plan = Plan { counts, fingerprint: Fingerprint::from_bytes(&[0x3f; 16]).unwrap() };
        let troubles = Troubles {
            failing: vec![
                failing(1, RunResult::Failed),
                failing(12, RunResult::Denied),
                failing(2, RunResult::Refused),
            ],
            held: vec![HeldJob { job: job(), since: now(), plan }],
            closed_unexplained: vec![(job(), 1), ("customers".to_owned(), 20)],
            backlogs: vec![JobBacklog { job: job(), since: now() - TimeDelta::days(2), pending: 7 }],
            wal: 70 << 20,
        };
        let told = told(&troubles, &[]);
        for (index, expected) in [
            "failing orders 1: job orders is failing, its last pass (failed: the source or Business Central could not be \
             reached or gave up); `bcsync history orders` tells more",
            "failing orders 1: job orders is failing, its last 12 passes (denied: credentials, consent or permissions)",
            "failing orders 1: job orders is failing, its last 2 passes (refused: configuration, query or ledger",
            "held orders 1: job orders is held by the brake: 3 creates, 0 updates, 0 deletes, 0 closes; \
             `bcsync history orders --pending` shows them, `bcsync approve orders --plan 3f3f3f3f` lets them go",
            "closed_unexplained orders 1: job orders has lost 1 row: ",
            "closed_unexplained customers 20: job customers has lost 20 rows: ",
            "backlog orders 1: job orders has 7 pending records, the first of them since 2026-05-30T12:00:00.000Z",
            "wal  1: the write-ahead log of the ledger has grown to 70 MiB",
        ]
        .into_iter()
        .enumerate()
        {
            assert!(told[index].starts_with(expected), "{}", told[index]);
        }
        assert_eq!(told.len(), 8);
    }

    #[test]
    fn a_secret_is_told_of_at_30_7_and_1_days_and_when_it_is_over() {
        for (days, expected) in [
            (31, None),
            (30, Some((1, "expires in 30 days, on 2026-07-01"))),
            (8, Some((1, "expires in 8 days, on 2026-06-09"))),
            (7, Some((2, "expires in 7 days, on 2026-06-08"))),
            (2, Some((2, "expires in 2 days, on 2026-06-03"))),
            (1, Some((3, "expires tomorrow, on 2026-06-02"))),
            (0, Some((3, "expires today"))),
            (-1, Some((4, "expired on 2026-05-31"))),
            (-400, Some((4, "expired on 2025-04-27"))),
        ] {
            let on = now().date_naive() + TimeDelta::days(days);
            let told = told(&Troubles::default(), &[("main".to_owned(), on)]);
            let expected = expected
                .map(|(level, words)| format!("secret_expires main {level}: the secret of target main {words}; make"));
            match expected {
                Some(expected) => assert!(told[0].starts_with(&expected), "{days}: {told:?}"),
                None => assert!(told.is_empty(), "{days}: {told:?}"),
            }
        }
    }

    #[test]
    fn words_are_read_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::parse("tired"), None);
    }
}
