//! Lines that BC changed or made anew because their document's header changed: another customer or currency costs all
//! lines their ids, and may cost them their sequences and prices; another date or way of pricing goes to the lines too.
//!
//! Lines that were made anew stay in their order, those of other people among them, and stay lines of the same items.
//! Ours are found by their place; where that cannot be told, by their items, all of them or none. Nothing is guessed. Where
//! the header is as it was it may have been changed there and back: then all of ours are there again, with their
//! quantities; where several can be there, with others, that cannot be told. Else lines that are gone were deleted by
//! somebody.

use super::compare;
use super::job::ApplyJob;
use crate::bc::Row;
use crate::model::{LinkedLine, Snapshot, Value};

/// What has become of our lines of a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lines {
    /// BC has left them alone.
    AsKnown,
    /// It has not: so they are now.
    Changed(Vec<LinkedLine>),
    /// It has made them anew, and nobody can tell which is which.
    Unclear,
}

/// Who has changed the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// Then BC's values in the lines are nobody's will: they count as never sent, so that ours are sent again.
    Us,
    /// Then they are somebody else's, as any value that differs from ours.
    Others,
}

/// What has become of the lines of `known` in `row`, as it was read.
pub(super) fn read(job: &ApplyJob, known: &Snapshot, row: &Row) -> Lines {
    if known.lines_unclear { Lines::Unclear } else { follow(job, known, &[], row, By::Others) }
}

/// Whether BC may have made all lines anew since a change was `lost` of a document whose lines were `known` before: then
/// neither ids nor sequences tell one from another. The header may have been changed there and back.
pub(super) fn are_anew(job: &ApplyJob, lost: &Snapshot, known: &[LinkedLine], row: &Row) -> bool {
    let held = compare::document_lines(job, row);
    let (ours, had_ids) = (|| lost.lines.iter().chain(known), lost.lines.iter().any(|line| line.id.is_some()));
    let can_be_ours = |row: &Row| ours().any(|line| compare::is_line(job, &line.sent, row));
    !is_any_there(ours(), &held)
        && (can_be_anew(job, lost, row) && !held.is_empty() || had_ids && held.iter().any(can_be_ours))
}

/// Whether what was `lost` would have changed lines of ours, as they were `known` before.
pub(super) fn changes_lines(lost: &Snapshot, known: &[LinkedLine]) -> bool {
    let is_known = |line: &LinkedLine| {
        let is_it = |known: &LinkedLine| {
            known.key == line.key && known.sent == line.sent && known.id.is_some() == line.id.is_some()
        };
        known.iter().any(is_it)
    };
    lost.lines.len() != known.len() || !lost.lines.iter().all(is_known)
}

/// Whether the header has changed since the lines were seen in a way that makes BC make them anew.
fn can_be_anew(job: &ApplyJob, known: &Snapshot, row: &Row) -> bool {
    changed(known, row).any(|name| job.schema.recreates_lines.contains(&name))
}

/// Whether any of `ours` is still there by its id.
fn is_any_there<'l>(mut ours: impl Iterator<Item = &'l LinkedLine>, held: &[Row]) -> bool {
    ours.any(|line| held.iter().any(|row| line.id.as_deref() == Some(row.id.as_str())))
}

/// What has become of the lines of `known` in `row`, which was made to hold `known`. `before` are all lines that it had,
/// in order: of those that are ours the sequence; empty: not known.
pub(super) fn written(job: &ApplyJob, known: &Snapshot, before: &[Option<i64>], row: &Row) -> Lines {
    let is_ours = |name: &str| known.sent(name).is_some_and(|sent| job.same(name, sent, row.get(name)));
    let by = if changed(known, row).any(is_ours) { By::Us } else { By::Others };
    follow(job, known, before, row, by)
}

fn follow(job: &ApplyJob, known: &Snapshot, before: &[Option<i64>], row: &Row, by: By) -> Lines {
    let (ours, held) = (known.lines.as_slice(), compare::sorted_lines(job, row));
    let had_ids = ours.iter().any(|line| line.id.is_some());
    if had_ids && !held.is_empty() && !is_any_there(ours.iter(), &held) {
        let found = if before.len() == held.len() {
            by_place(job, ours, before, &held, by)
        } else {
            let mut order: Vec<_> = ours.iter().map(|line| Some(line.sequence)).collect();
            order.sort_unstable();
            Some(&order)
                .filter(|order| order.len() == held.len())
                .and_then(|order| by_place(job, ours, order, &held, by))
        };
        let found = found.or_else(|| by_item(job, ours, &held, by));
        if can_be_anew(job, known, row) {
            return found.map_or(Lines::Unclear, Lines::Changed);
        }
        if let Some(lines) =
            found.filter(|lines| ours.iter().zip(lines).all(|(line, now)| is_as_left(job, line, now, &held)))
        {
            return Lines::Changed(lines);
        }
        // One line may be somebody's in the place of ours; hardly several.
        let may_be_there = |line: &&LinkedLine| held.iter().any(|row| compare::is_line(job, &line.sent, row));
        if ours.iter().filter(may_be_there).count() > 1 {
            return Lines::Unclear;
        }
    }
    if by == By::Us && changed(known, row).next().is_some() {
        let line = |line: &LinkedLine| {
            compare::find_line(job, line, &held).map_or_else(|| line.clone(), |row| now(job, line, row, by))
        };
        return Lines::Changed(ours.iter().map(line).collect());
    }
    Lines::AsKnown
}

/// Whether our `line` is in `held` as we left it, as far as BC keeps it when it makes the line anew; `now` tells which it is
/// there.
fn is_as_left(job: &ApplyJob, line: &LinkedLine, now: &LinkedLine, held: &[Row]) -> bool {
    let Some(row) = held.iter().find(|row| now.id.as_deref() == Some(row.id.as_str())) else { return true };
    let is = |name: &str, value: &Value| job.same_in_line(name, value, row.get(name));
    match line.sent("quantity") {
        Some(sent) => {
            is("quantity", sent) || line.answered("quantity").is_some_and(|answered| is("quantity", answered))
        }
        None => line.sent.iter().all(|(name, sent)| is(name, sent)),
    }
}

/// The properties that decide about the lines and that `row` holds otherwise than when the lines were last seen.
fn changed<'s>(known: &'s Snapshot, row: &Row) -> impl Iterator<Item = &'s str> {
    let is_changed = |(name, seen): &&(String, _)| row.get(name).is_some_and(|held| held != seen);
    known.seen_with.iter().filter(is_changed).map(|(name, _)| name.as_str())
}

/// The n-th line of `before` is the n-th now. One of ours that was not there before stays gone.
fn by_place(
    job: &ApplyJob,
    ours: &[LinkedLine],
    before: &[Option<i64>],
    held: &[Row],
    by: By,
) -> Option<Vec<LinkedLine>> {
    let find = |line: &LinkedLine| match before.iter().position(|sequence| *sequence == Some(line.sequence)) {
        Some(place) => compare::is_line(job, &line.sent, &held[place]).then(|| now(job, line, &held[place], by)),
        None => Some(line.clone()),
    };
    ours.iter().map(find).collect()
}

/// Each of ours is the only line of its item.
fn by_item(job: &ApplyJob, ours: &[LinkedLine], held: &[Row], by: By) -> Option<Vec<LinkedLine>> {
    let find = |line: &LinkedLine| {
        let mut found = held.iter().filter(|row| compare::is_line(job, &line.sent, row));
        let row = found.next().filter(|_| found.next().is_none())?;
        let claimed = ours.iter().filter(|line| compare::is_line(job, &line.sent, row)).count();
        (claimed == 1).then(|| now(job, line, row, by))
    };
    ours.iter().map(find).collect()
}

/// `line` as `row` holds it. What somebody had entered is theirs, whether BC has kept it or it is to be put back.
fn now(job: &ApplyJob, line: &LinkedLine, row: &Row, by: By) -> LinkedLine {
    let mut now = LinkedLine {
        sequence: compare::sequence(row),
        id: Some(row.id.clone()),
        answered: compare::answered(&line.sent, row),
        ..line.clone()
    };
    now.put_back.retain(|(name, theirs)| !job.same_in_line(name, theirs, row.get(name)));
    for (name, sent) in &mut now.sent {
        let same = |value: &Value, held: Option<&Value>| job.same_in_line(name, value, held);
        let differs = compare::is_theirs(row.get(name), [Some(&*sent), line.answered(name)], same);
        if line.put_back(name).is_some() || (differs && by == By::Others) {
            now.answered.retain(|(known, _)| known != name);
        } else if let Some(held) = row.get(name).filter(|_| differs) {
            *sent = held.clone();
        }
    }
    now
}
