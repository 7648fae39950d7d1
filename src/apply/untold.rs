//! What nobody can tell: a lost change of ours may lie under what a person entered since.
//!
//! The row has moved on, and a property holds neither what it held before that change nor what the change was to make of
//! it. Had it been done, what the source says now would have to be compared with it; had it not, with what was there
//! before. Where `on_conflict` asks people they are asked, even if the source says the same again as before the change.
//!
//! Or the row contradicts itself: a part of the change is there, and another one is as before. A person has made the same
//! change, and ours never came; or ours came, and a person has taken back a part. What is as before is in conflict then,
//! whoever wins it: neither is the change given up, nor what a person did overwritten without a word.
//!
//! Or somebody had BC make the lines anew before it was found out whether ours had changed them. Then nobody can tell
//! which lines are there, and they are not written before a person has said so.

use super::Applier;
use super::adopt::no_draft;
use super::compare;
use crate::bc::Row;
use crate::ledger::{Intent, Link, LinkUpdate, NewIntent};
use crate::model::{LinkedLine, OnConflict, Snapshot, Value, Values};

/// What of a row keeps everybody from telling.
#[derive(Debug, Clone, Copy)]
pub(super) struct Untold {
    /// A part of a change is there, and another one is as before.
    pub(super) contradictory: bool,
    /// A change was to change lines, and all of them have been made anew since.
    pub(super) lines_anew: bool,
}

/// Instead of what was sent last, where nobody can tell: nothing that BC holds or the source wants is equal to it.
fn nothing_known() -> Value {
    Value::List(Vec::new())
}

impl Applier<'_> {
    /// The link to `row` as it would have been before the request `noted`, which was to adopt it. `link` knows at most which
    /// lines are ours.
    pub(super) fn before_adoption(&self, noted: &NewIntent, link: Option<&Link>, row: &Row) -> Link {
        let known = |line: &LinkedLine| {
            let sent = line.answered.clone();
            line.id.is_some().then(|| LinkedLine { sent, ..line.clone() })
        };
        let Snapshot { answered, lines, seen_with, .. } = &noted.snapshot;
        let removed = link.into_iter().flat_map(|link| &link.snapshot.lines);
        let removed = removed.filter(|line| lines.iter().all(|kept| kept.key != line.key)).cloned();
        let snapshot = Snapshot {
            sent: answered.clone(),
            answered: answered.clone(),
            lines: lines.iter().filter_map(known).chain(removed).collect(),
            seen_with: seen_with.clone(),
            ..Snapshot::default()
        };
        let doubtful = link.is_some_and(|link| link.doubtful);
        let before = Link::from(LinkUpdate {
            bc_id: row.id.clone(),
            number: row.text(self.job.number_property()).to_owned(),
            etag: row.etag.clone(),
            draft: no_draft(),
            match_value: noted.match_value.clone(),
            snapshot,
        });
        Link { doubtful, ..before }
    }

    /// The link to `row` with what nobody can tell any more after these `lost` changes; `None` when all is known, or nobody
    /// is to be asked. Beside those reasons `why` they may have left no trace.
    pub(super) fn untold(&self, lost: &[Intent], link: &Link, row: &Row, why: Untold) -> Option<LinkUpdate> {
        // Of one that is older than the row everything is asked anyway.
        if link.doubtful {
            return None;
        }
        let Untold { contradictory, lines_anew } = why;
        let asks = self.job.on_conflict == OnConflict::Hold;
        let nobody_knows = |held: Option<&Value>, ours: [Option<&Value>; 2], same: &dyn Fn(&Value) -> bool| {
            let is_theirs = || asks && compare::is_theirs(held, ours, |value, _| same(value));
            if contradictory { held.is_some() } else { is_theirs() }
        };
        let mut snapshot = link.snapshot.clone();
        let lost: Vec<_> = lost.iter().map(|intent| &intent.noted.snapshot).collect();
        let of_header: Vec<_> = lost.iter().map(|lost| &lost.sent).collect();
        let Snapshot { sent, answered, lines, lines_unclear, .. } = &mut snapshot;
        let same = |name: &str, value: &Value, held: Option<&Value>| self.job.same(name, value, held);
        let mut any = forget(sent, answered, &of_header, row, same, nobody_knows);
        *lines_unclear |= lines_anew;
        any |= lines_anew;
        let rows = compare::document_lines(&self.job, row);
        for line in lines {
            let Some(row) = compare::find_line(&self.job, line, &rows) else { continue };
            let of_line = lost.iter().flat_map(|lost| &lost.lines).filter(|lost| lost.key == line.key);
            let of_line: Vec<_> = of_line.map(|lost| &lost.sent).collect();
            let same = |name: &str, value: &Value, held: Option<&Value>| self.job.same_in_line(name, value, held);
            any |= forget(&mut line.sent, &mut line.answered, &of_line, row, same, nobody_knows);
        }
        any.then(|| LinkUpdate {
            bc_id: link.bc_id.clone(),
            number: link.number.clone(),
            etag: row.etag.clone(),
            draft: if link.is_part_applied() { link.draft } else { no_draft() },
            match_value: link.match_value.clone(),
            snapshot,
        })
    }
}

/// Forgets what was `sent` and `answered` where one of the `lost` would have made something else of it than `row` holds and
/// `nobody_knows` whose that is; whether there is such a property.
fn forget(
    sent: &mut Values,
    answered: &mut Values,
    lost: &[&Values],
    row: &Row,
    same: impl Fn(&str, &Value, Option<&Value>) -> bool,
    nobody_knows: impl Fn(Option<&Value>, [Option<&Value>; 2], &dyn Fn(&Value) -> bool) -> bool,
) -> bool {
    let mut any = false;
    for (name, sent) in sent {
        let held = row.get(name);
        let is = |value: &Value| same(name, value, held);
        let made = lost.iter().flat_map(|lost| lost.iter()).filter(|(made, value)| made == name && value != sent);
        let (was_changed, is_made) = made.fold((false, false), |(_, is_made), (_, made)| (true, is_made || is(made)));
        let known = answered.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        if was_changed && !is_made && nobody_knows(held, [Some(&*sent), known], &is) {
            *sent = nothing_known();
            answered.retain(|(known, _)| known != name);
            any = true;
        }
    }
    any
}
