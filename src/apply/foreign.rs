//! Properties of ours that somebody else has changed in BC.
//!
//! The answer to a write tells what became of the properties that it sent. One that somebody changed before, and that the
//! write left alone, is in it too, with their value. Were that taken for ours, the next change in the source would
//! overwrite it without asking. So such a property has no entry in what BC "answered": nobody knows what it holds, and
//! before it is sent again the row is read and `on_conflict` decides. In lines that a change of the header is about to
//! change, their values are noted, to be put back if BC does not keep them.

use std::collections::HashSet;

use super::compare;
use super::job::ApplyJob;
use crate::bc::Row;
use crate::model::{LinkedLine, Snapshot, Value};

/// Names of properties, those of lines as `lines[KEY].NAME`.
#[derive(Debug, Clone, Default)]
pub(super) struct Foreign(HashSet<String>);

impl Foreign {
    /// What is known to be somebody else's without looking.
    pub(super) fn known(last: &Snapshot) -> Self {
        let header = last.sent.iter().filter(|(name, _)| is_foreign(last, name));
        Self(header.map(|(name, _)| name.clone()).collect())
    }

    /// What `row` holds otherwise than we left it (`last`), as far as nothing is decided about it now: of a property for
    /// which `now` says something new, it is known whether that is sent or not.
    pub(super) fn found(job: &ApplyJob, last: &Snapshot, now: &Snapshot, row: &Row) -> Self {
        let mut names = HashSet::new();
        for (name, sent) in &last.sent {
            let ours = [Some(sent), last.answered(name)];
            if now.sent(name) == Some(sent)
                && compare::is_theirs(row.get(name), ours, |value, held| job.same(name, value, held))
            {
                names.insert(name.clone());
            }
        }
        let rows = compare::document_lines(job, row);
        for line in &last.lines {
            let Some(row) = compare::find_line(job, line, &rows) else { continue };
            let Some(now) = now.lines.iter().find(|known| known.key == line.key) else { continue };
            for (name, sent) in &line.sent {
                let ours = [Some(sent), line.answered(name)];
                let same = |value: &Value, held: Option<&Value>| job.same_in_line(name, value, held);
                let theirs = line.put_back(name).is_some() || compare::is_theirs(row.get(name), ours, same);
                if theirs && now.sent(name) == Some(sent) {
                    names.insert(in_line(&line.key, name));
                }
            }
        }
        Self(names)
    }

    /// These, and `more` of them.
    pub(super) fn and(mut self, more: impl Iterator<Item = String>) -> Self {
        self.0.extend(more);
        self
    }

    /// What nobody knows the origin of in a row that was read back: neither as the lost request was to make it nor, as
    /// far as that is known, as it was before.
    pub(super) fn unexplained(job: &ApplyJob, noted: &Snapshot, row: &Row) -> Self {
        Self::found(job, noted, noted, row)
    }

    /// Takes these properties out of what BC answered.
    pub(super) fn leave_out_of(&self, snapshot: &mut Snapshot) {
        snapshot.answered.retain(|(name, _)| !self.0.contains(name));
        for line in &mut snapshot.lines {
            let LinkedLine { key, answered, .. } = line;
            answered.retain(|(name, _)| !self.0.contains(&in_line(key, name)));
        }
    }
}

/// Whether the property was sent and is not ours any more.
pub(super) fn is_foreign(last: &Snapshot, name: &str) -> bool {
    last.sent(name).is_some() && last.answered(name).is_none()
}

/// The name of a property of the line `key`.
pub(super) fn in_line(key: &str, name: &str) -> String {
    format!("lines[{key}].{name}")
}
