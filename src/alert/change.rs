//! What there is to tell: the difference between what people were told of and what is wrong now. Pure.

use chrono::{DateTime, Utc};

use super::condition::{Condition, Kind};
use crate::ledger::ToldAlert;

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) kind: Kind,
    /// Whether it is over, rather than begun or worse.
    pub(super) is_over: bool,
    /// The job or target; empty for the ledger.
    pub(super) subject: String,
    pub(super) since: DateTime<Utc>,
    /// What happened and what to do, in a sentence.
    pub(super) message: String,
}

/// One difference: what is told of it, if anything, and what is remembered once it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) event: Option<Event>,
    pub(super) memory: Memory,
}

/// What becomes of the memory of what was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Memory {
    /// People know of this.
    Keep(ToldAlert),
    /// There is nothing more to say about it.
    Forget { condition: String, subject: String },
}

/// The differences between what was `told` and the conditions `now`: first what is over, then what is new or worse.
/// About what is not of concern any more, such as a job that was taken out of the configuration, nothing is told.
pub(super) fn changes(
    told: &[ToldAlert],
    now: &[Condition],
    is_of_concern: impl Fn(Kind, &str) -> bool,
) -> Vec<Change> {
    let of_concern = |told: &ToldAlert| Kind::parse(&told.condition).filter(|kind| is_of_concern(*kind, &told.subject));
    let is_over = |told: &&ToldAlert| {
        of_concern(told).is_none() || !now.iter().any(|condition| is_about(told, condition.kind, &condition.subject))
    };
    let over = told.iter().filter(is_over).map(|told| Change {
        event: of_concern(told).map(|kind| Event {
            kind,
            is_over: true,
            subject: told.subject.clone(),
            since: told.since,
            message: kind.over(&told.subject, told.since),
        }),
        memory: Memory::Forget { condition: told.condition.clone(), subject: told.subject.clone() },
    });
    let new =
        now.iter().filter(|condition| is_of_concern(condition.kind, &condition.subject)).filter_map(|condition| {
            let known = told.iter().find(|told| is_about(told, condition.kind, &condition.subject));
            worse(known, condition)
        });
    over.chain(new).collect()
}

fn is_about(told: &ToldAlert, kind: Kind, subject: &str) -> bool {
    told.condition == kind.as_str() && told.subject == subject
}

/// What there is to tell of `condition` to people who were told `known`. What is better, and not over, is only
/// remembered: when it becomes worse from there, that is news.
fn worse(known: Option<&ToldAlert>, condition: &Condition) -> Option<Change> {
    let Condition { kind, subject, level, since, message } = condition;
    if known.is_some_and(|known| known.level == *level) {
        return None;
    }
    let since = known.map_or(*since, |known| known.since);
    let event = known.is_none_or(|known| known.level < *level).then(|| Event {
        kind: *kind,
        is_over: false,
        subject: subject.clone(),
        since,
        message: message.clone(),
    });
    let told = ToldAlert { condition: kind.as_str().to_owned(), subject: subject.clone(), level: *level, since };
    Some(Change { event, memory: Memory::Keep(told) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::TimeDelta::hours(hour)
    }

    fn condition(kind: Kind, subject: &str, level: u64) -> Condition {
        Condition { kind, subject: subject.to_owned(), level, since: at(9), message: "it is so".to_owned() }
    }

    fn told(kind: Kind, subject: &str, level: u64) -> ToldAlert {
        ToldAlert { condition: kind.as_str().to_owned(), subject: subject.to_owned(), level, since: at(5) }
    }

    /// What is told, and what people know afterwards, in words.
    fn after(told: &[ToldAlert], now: &[Condition]) -> (Vec<String>, Vec<String>) {
        let mut known = told.to_vec();
        let mut events = Vec::new();
        for Change { event, memory } in changes(told, now, |_, subject| subject != "gone") {
            events.extend(event.map(|event| {
                let over = if event.is_over { "over" } else { "on" };
                format!("{} {} {over} since {}", event.kind.as_str(), event.subject, event.since.format("%H"))
            }));
            match memory {
                Memory::Keep(new) => {
                    known.retain(|told| (&told.condition, &told.subject) != (&new.condition, &new.subject));
                    known.push(new);
                }
                Memory::Forget { condition, subject } => {
                    known.retain(|told| (&told.condition, &told.subject) != (&condition, &subject));
                }
            }
        }
        // Whatever it was, it is told once.
        assert_eq!(changes(&known, now, |_, subject| subject != "gone"), []);
        let known = known.iter().map(|told| format!("{} {} {}", told.condition, told.subject, told.level)).collect();
        (events, known)
    }

    #[test]
    fn only_changes_are_told_and_each_of_them_once() {
        use Kind::{ClosedUnexplained, Failing, Held, SecretExpires};
        /// Title, what was told, what is wrong now; what is told, and what people know then.
        type Case<'a> = (&'a str, &'a [ToldAlert], &'a [Condition], &'a [&'a str], &'a [&'a str]);
        let cases: [Case<'_>; 9] = [
            ("nothing", &[], &[], &[], &[]),
            ("begins", &[], &[condition(Failing, "a", 1)], &["failing a on since 09"], &["failing a 1"]),
            ("goes on", &[told(Failing, "a", 1)], &[condition(Failing, "a", 1)], &[], &["failing a 1"]),
            ("is over", &[told(Failing, "a", 1)], &[], &["failing a over since 05"], &[]),
            (
                "another job and another condition are something else, and what is over comes first",
                &[told(Failing, "a", 1)],
                &[condition(Failing, "b", 1), condition(Held, "a", 1)],
                &["failing a over since 05", "failing b on since 09", "held a on since 09"],
                &["failing b 1", "held a 1"],
            ),
            (
                "worse",
                &[told(SecretExpires, "main", 1)],
                &[condition(SecretExpires, "main", 2)],
                &["secret_expires main on since 05"],
                &["secret_expires main 2"],
            ),
            (
                "better, and not over",
                &[told(ClosedUnexplained, "a", 5)],
                &[condition(ClosedUnexplained, "a", 2)],
                &[],
                &["closed_unexplained a 2"],
            ),
            ("of a job that is gone", &[told(Failing, "gone", 1)], &[condition(Held, "gone", 1)], &[], &[]),
            (
                "told by a version that knew more",
                &[ToldAlert { condition: "tired".to_owned(), ..told(Failing, "a", 1) }],
                &[],
                &[],
                &[],
            ),
        ];
        for (title, told, now, events, known) in cases {
            let (told_of, known_after) = after(told, now);
            assert_eq!(told_of, events, "{title}");
            assert_eq!(known_after, known, "{title}");
        }
    }
}
