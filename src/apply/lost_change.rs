//! What became of lost changes: whether the row bears a trace of one, and which.
//!
//! They went out under one etag. As long as it stands nothing has happened, and of them and the next change only one can
//! win; when it has moved on, what the row holds tells, by what it held before.

use chrono::{DateTime, Utc};

use super::Applier;
use super::compare;
use super::reasons::FOUND;
use super::recover::Resolved;
use super::recreated;
use super::round::{Note, RowIs};
use super::untold::Untold;
use crate::bc::Row;
use crate::ledger::{History, Intent, IntentKind, Link, LinkUpdate, Reason, SettledLink, Settlement};
use crate::model::{Fingerprint, LinkedLine, Outcome, Snapshot, Value};

/// What a property or line of a row says about a lost request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trace {
    /// A line is there that the request was to add, by its sequence and item.
    Added,
    /// A line is not there that the request was to add; or a person has deleted it.
    NotAdded,
    /// It is as the request would have made it, and was not before.
    For,
    /// It is as before, and would not be any more.
    Against,
    /// Neither.
    Nothing,
}

/// Whether a lost request was done, as far as the row tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evidence {
    Done,
    NotDone,
    /// A part of it is there, and another one is as before: a person has made the same change, or taken back a part.
    Contradictory,
    /// It was to change lines, and BC has made all of them anew since: nothing tells.
    Hidden,
}

/// What a property says that was to be `sent`, and of which BC held `before`; `is` tells whether BC holds a value now.
fn trace(sent: &Value, before: Option<&Value>, is: impl Fn(&Value) -> bool) -> Trace {
    match (is(sent), before.map(is)) {
        (true, Some(false)) => Trace::For,
        (false, Some(true)) => Trace::Against,
        _ => Trace::Nothing,
    }
}

/// The settlement of a row that is gone, as it was to be.
fn deleted(intent: &Intent) -> Settlement {
    let noted = &intent.noted;
    let link = LinkUpdate {
        bc_id: noted.bc_id.clone().unwrap_or_default(),
        number: String::new(),
        etag: noted.base_etag.clone().unwrap_or_default(),
        draft: noted.draft,
        match_value: noted.match_value.clone(),
        snapshot: noted.snapshot.clone(),
    };
    let settlement = Settlement::done(&noted.key, noted.fingerprint, Outcome::Deleted, SettledLink::Removed(link));
    Settlement { reason: Some(Reason::new(FOUND)), ..settlement }
}

/// The settlement of lost changes of which nobody can tell whether they were done. It is about no version of the record,
/// so that the one in the outbox stays there.
fn untold(key: &str, update: LinkUpdate) -> Settlement {
    let no_version = Fingerprint::of(["untold"]);
    let settlement = Settlement::done(key, no_version, Outcome::Equal, SettledLink::Current(update));
    Settlement { history: History::Never, ..settlement }
}

impl Applier<'_> {
    /// What became of the lost changes of one record, in the order of their sending. They went out under one etag: when
    /// the row has another one by now, at most one of them was done, and none can be any more. `link` is from before them,
    /// `None`, or without anything that was sent, when they were to adopt the row; `stale` is the last one by what BC said.
    pub(super) fn resolve_changes(
        &self,
        intents: &[Intent],
        row: Option<&Row>,
        link: Option<&Link>,
        stale: bool,
        as_of: Option<DateTime<Utc>>,
    ) -> Resolved {
        let is_delete = |intent: &&Intent| intent.noted.kind == IntentKind::Delete;
        let Some(row) = row else {
            // That it is gone is our own doing, if it was to be deleted.
            return match intents.iter().rfind(is_delete) {
                Some(intent) => Resolved::Done(Box::new(deleted(intent))),
                None => Resolved::Undone(Note { row: RowIs::Gone, ..Note::default() }),
            };
        };
        let stands = |intent: &Intent| intent.noted.base_etag.as_deref() == Some(row.etag.as_str());
        let can_come = |intent: &&Intent| {
            stands(intent)
                && !self.window_has_passed(intent, as_of)
                && !crate::mutant!("an open change is settled by reading")
        };
        if let Some(intent) = intents.iter().rfind(can_come) {
            return Resolved::Released { etag: row.etag.clone(), until: self.until(intent) };
        }
        if intents.iter().any(stands) || intents.is_empty() {
            return Resolved::Undone(Note::default());
        }
        let before;
        let link = match link {
            Some(link) if !link.snapshot.sent.is_empty() => link,
            _ => {
                before = self.before_adoption(&intents[0].noted, link, row);
                &before
            }
        };
        let known = &link.snapshot.lines;
        let is_stale = |intent: &Intent| stale && !intent.released;
        let told: Vec<_> = intents
            .iter()
            .filter(|intent| !is_delete(intent))
            .map(|intent| (intent, self.evidence(&intent.noted.snapshot, known, row)))
            // BC's own word tells which of the two it is.
            .filter(|(intent, evidence)| {
                !is_stale(intent) || !matches!(evidence, Evidence::Contradictory | Evidence::Hidden)
            })
            .collect();
        // Of several that left a trace the one that says most of what is there; the latest, when they say the same.
        let done = told.iter().filter(|(_, evidence)| *evidence == Evidence::Done).map(|(intent, _)| *intent);
        let Some(intent) = done.max_by_key(|intent| self.agreement(&intent.noted.snapshot, row)) else {
            let any = |one| told.iter().any(|(_, evidence)| *evidence == one);
            let why = Untold { contradictory: any(Evidence::Contradictory), lines_anew: any(Evidence::Hidden) };
            return match self.untold(intents, link, row, why) {
                Some(update) => Resolved::Untold(Box::new(untold(&intents[0].noted.key, update))),
                None => Resolved::Undone(Note { refresh: true, ..Note::default() }),
            };
        };
        let outcome = if intent.noted.snapshot.is_blocked() { Outcome::Blocked } else { Outcome::Updated };
        let settlement = Box::new(self.done(intent, row, outcome));
        if intent.noted.partial { Resolved::Step(settlement) } else { Resolved::Done(settlement) }
    }

    /// Whether a lost request was done, by what it was to change and what is in `row`. Each request is one transaction, so
    /// that one trace of it tells, whatever people have changed since, unless something else says the opposite: they may have
    /// changed the same. A line that was added must not be added twice. That a line is missing that was to be removed tells
    /// only when nothing speaks against it, since a person may have deleted it.
    fn evidence(&self, snapshot: &Snapshot, known: &[LinkedLine], row: &Row) -> Evidence {
        if recreated::changes_lines(snapshot, known) && recreated::are_anew(&self.job, snapshot, known, row) {
            return Evidence::Hidden;
        }
        let rows = compare::document_lines(&self.job, row);
        let find = |line: &LinkedLine| compare::find_line(&self.job, line, &rows);
        let header = snapshot.sent.iter().map(|(name, sent)| {
            let is = |value: &Value| self.job.same(name, value, row.get(name));
            trace(sent, snapshot.answered(name), is)
        });
        let of_line = |line: &LinkedLine| match find(line) {
            None if line.id.is_none() => vec![Trace::NotAdded],
            Some(_) if line.id.is_none() => vec![Trace::Added],
            None => Vec::new(),
            Some(row) => {
                let property = |(name, sent): &(String, Value)| {
                    trace(sent, line.answered(name), |value| self.job.same_in_line(name, value, row.get(name)))
                };
                line.sent.iter().map(property).collect()
            }
        };
        let traces: Vec<Trace> = header.chain(snapshot.lines.iter().flat_map(of_line)).collect();
        let removed = |line: &&LinkedLine| !snapshot.lines.iter().any(|kept| kept.key == line.key);
        // Only ids of which one is there still tell by themselves. The others may be of lines that BC has made anew.
        let is_alive = |line: &LinkedLine| {
            line.id.is_some() && find(line).is_some() && known.iter().any(|known| known.id == line.id)
        };
        let ids_tell = snapshot.lines.iter().any(is_alive);
        let may_be = |line: &LinkedLine| rows.iter().any(|row| compare::is_line(&self.job, &line.sent, row));
        let is_gone = |line: &LinkedLine| find(line).is_none() && (ids_tell || !may_be(line));
        let mut removed = known.iter().filter(removed).peekable();
        let [added, not_added, is_for, is_against] =
            [Trace::Added, Trace::NotAdded, Trace::For, Trace::Against].map(|trace| traces.contains(&trace));
        match (is_for, is_against || not_added) {
            _ if added => Evidence::Done,
            (true, false) => Evidence::Done,
            (true, true) => Evidence::Contradictory,
            (false, false) if removed.peek().is_some() && removed.all(is_gone) => Evidence::Done,
            (false, _) => Evidence::NotDone,
        }
    }
}
