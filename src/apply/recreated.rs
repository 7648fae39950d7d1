//! Lines that BC made anew: another customer or currency of a document costs all its lines their ids, and may cost them
//! their sequences and prices.
//!
//! They stay in their order, those of other people among them, and stay lines of the same items. Ours are found by
//! their place; where that cannot be told, by sequence and item, all of them or none. Nothing is guessed.

use super::compare;
use super::job::ApplyJob;
use crate::bc::Row;
use crate::model::{LinkedLine, Value};

/// What has become of our lines of a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lines {
    /// BC has not made them anew.
    AsKnown,
    /// It has: so they are now. What BC set to something else counts as never sent, so that it is sent again.
    Anew(Vec<LinkedLine>),
    /// It has, and nobody can tell which is which.
    Unclear,
}

/// What has become of `ours` in `held`, the document's lines in their order now. `before` are the sequences that all
/// its lines had, in order; empty: not known.
pub(super) fn follow(job: &ApplyJob, ours: &[LinkedLine], before: &[i64], held: &[Row]) -> Lines {
    let still_there = |line: &LinkedLine| held.iter().any(|row| line.id.as_deref() == Some(row.id.as_str()));
    let none_is_known = ours.iter().all(|line| line.id.is_none());
    if none_is_known || held.is_empty() || ours.iter().any(still_there) {
        return Lines::AsKnown;
    }
    let found = if before.len() == held.len() {
        by_place(job, ours, before, held)
    } else {
        let mut order: Vec<i64> = ours.iter().map(|line| line.sequence).collect();
        order.sort_unstable();
        Some(&order).filter(|order| order.len() == held.len()).and_then(|order| by_place(job, ours, order, held))
    };
    found.or_else(|| by_sequence(job, ours, held)).map_or(Lines::Unclear, Lines::Anew)
}

/// The line that had the n-th sequence of `before` is the n-th now. One of ours that was not there before stays gone.
fn by_place(job: &ApplyJob, ours: &[LinkedLine], before: &[i64], held: &[Row]) -> Option<Vec<LinkedLine>> {
    let find = |line: &LinkedLine| match before.iter().position(|sequence| *sequence == line.sequence) {
        Some(place) => compare::is_line(job, &line.sent, &held[place]).then(|| now(job, line, &held[place])),
        None => Some(line.clone()),
    };
    ours.iter().map(find).collect()
}

fn by_sequence(job: &ApplyJob, ours: &[LinkedLine], held: &[Row]) -> Option<Vec<LinkedLine>> {
    let is = |line: &LinkedLine, row: &Row| {
        compare::sequence(row) == line.sequence && compare::is_line(job, &line.sent, row)
    };
    ours.iter().map(|line| held.iter().find(|row| is(line, row)).map(|row| now(job, line, row))).collect()
}

/// `line` as `row` holds it.
fn now(job: &ApplyJob, line: &LinkedLine, row: &Row) -> LinkedLine {
    let holds = |(name, value): &(String, Value)| {
        let held = row.get(name).filter(|held| !job.same_in_line(name, value, Some(held)));
        (name.clone(), held.unwrap_or(value).clone())
    };
    LinkedLine {
        key: line.key.clone(),
        sequence: compare::sequence(row),
        id: Some(row.id.clone()),
        sent: line.sent.iter().map(holds).collect(),
        answered: compare::answered(&line.sent, row),
    }
}
