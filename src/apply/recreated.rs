//! Lines that BC made anew: another customer or currency of a document costs all its lines their ids, and may cost them
//! their sequences and prices.
//!
//! They stay in their order, those of other people among them. Ours are found by their place in it; where that cannot
//! be told, by sequence and item, and never by guessing.

use super::compare;
use super::job::ApplyJob;
use crate::bc::Row;
use crate::model::{LinkedLine, Value};

/// Our lines as they are in `held`, the document's lines in their order now; `None` when BC did not make them anew, or
/// when nobody can tell which is which. `before` are the sequences that all lines had, in order; empty: not known.
///
/// What BC set to something else counts as never sent, so that it is sent again.
pub(super) fn lines(job: &ApplyJob, ours: &[LinkedLine], before: &[i64], held: &[Row]) -> Option<Vec<LinkedLine>> {
    let still_there = |line: &LinkedLine| held.iter().any(|row| line.id.as_deref() == Some(row.id.as_str()));
    let known = ours.iter().filter(|line| line.id.is_some()).count();
    if known == 0 || held.is_empty() || ours.iter().any(still_there) {
        return None;
    }
    let mut order: Vec<i64> = ours.iter().map(|line| line.sequence).collect();
    order.sort_unstable();
    let before = if before.is_empty() { &order } else { before };
    if before.len() != held.len() {
        return None;
    }
    ours.iter()
        .map(|line| {
            let row = &held[before.iter().position(|sequence| *sequence == line.sequence)?];
            let holds = |(name, value): &(String, Value)| {
                let held = row.get(name);
                let value = if job.same_in_line(name, value, held) { value } else { held.unwrap_or(value) };
                (name.clone(), value.clone())
            };
            Some(LinkedLine {
                key: line.key.clone(),
                sequence: compare::sequence(row),
                id: Some(row.id.clone()),
                sent: line.sent.iter().map(holds).collect(),
                answered: compare::answered(&line.sent, row),
            })
        })
        .collect()
}
