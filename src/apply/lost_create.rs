//! Which row a lost create has made: of the rows that match, and of the creates of one record.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::Applier;
use super::compare;
use super::error::ApplyError;
use super::matching::{Found, Sought};
use crate::bc::Row;
use crate::ledger::{Intent, Wanted};
use crate::model::{LinkedLine, Snapshot, Value};
use crate::schema::is_blank;

impl Applier<'_> {
    /// Looks once more for the documents that are about to be given up, whoever's they are: a person can have given one
    /// to another customer. Those that no record is linked to may be the ones that were sent.
    pub(super) async fn look_among_others(
        &self,
        creates: &[Intent],
        sought: &[Sought],
        found: &mut HashMap<String, Found>,
        as_of: Option<DateTime<Utc>>,
    ) -> Result<(), ApplyError> {
        let given_up = |(intent, one): &(&Intent, &Sought)| {
            one.customer.is_some()
                && matches!(found.get(&one.key), Some(Found::Absent(_)))
                && self.window_has_passed(intent, as_of)
        };
        let given_up = creates.iter().zip(sought).filter(given_up);
        let anybodys: Vec<_> = given_up.map(|(_, one)| Sought { customer: None, ..one.clone() }).collect();
        for (key, elsewhere) in self.look_up(&anybodys).await? {
            let ids = match elsewhere {
                Found::One(row) => vec![row.id],
                Found::Several(ids) => ids,
                // Of an invoice nobody can say where it came from.
                Found::Absent(_) | Found::Posted(_) => continue,
            };
            let mut unknown = Vec::new();
            for id in ids {
                if self.ledger.owner_of(self.job.target, &self.job.entity.to_string(), &id).await?.is_none() {
                    unknown.push(id);
                }
            }
            if !unknown.is_empty() {
                found.insert(key, Found::Several(unknown));
            }
        }
        Ok(())
    }

    /// Whether `row` was made by an earlier create of the same record, and not by `intent`.
    pub(super) fn is_of_earlier(&self, intent: &Intent, wanted: Option<&Wanted>, row: &Row) -> bool {
        let earlier = wanted.into_iter().flat_map(|wanted| &wanted.attempted);
        let maker = self.maker(earlier.chain([&intent.noted.snapshot]), row);
        maker.is_some_and(|maker| *maker != intent.noted.snapshot)
    }

    /// Whether `row` belongs to another record: a person gave it the match value of this one.
    pub(super) async fn is_of_another(&self, intent: &Intent, row: &Row) -> Result<bool, ApplyError> {
        let owner = self.ledger.owner_of(self.job.target, &self.job.entity.to_string(), &row.id).await?;
        Ok(owner.is_some_and(|(job, key)| job != self.job.name || key != intent.noted.key))
    }

    /// Which of these creates of one record, in the order of their sending, has made `row`, if it was one of them: that of
    /// which most is in the row, and the earliest when several say the same.
    pub(super) fn maker<'a>(&self, creates: impl IntoIterator<Item = &'a Snapshot>, row: &Row) -> Option<&'a Snapshot> {
        let mut made: Option<(usize, &Snapshot)> = None;
        for create in creates.into_iter().filter(|create| self.descends_from(&create.sent, row)) {
            let agreement = self.agreement(create, row);
            if made.is_none_or(|(most, _)| agreement > most) {
                made = Some((agreement, create));
            }
        }
        made.map(|(_, create)| create)
    }

    /// Whether `row` is rather the one that was made with the properties `sent` than somebody else's: most of what tells
    /// still holds. The rest a person can have changed since.
    pub(super) fn descends_from(&self, sent: &[(String, Value)], row: &Row) -> bool {
        let overwritten = |other: &str| sent.iter().any(|(name, _)| self.job.schema.overwritten(name, other));
        let tells = |(name, value): &&(String, Value)| {
            !self.job.match_on.contains(name) && !overwritten(name) && !is_blank(value)
        };
        let telling = sent.iter().filter(tells);
        let (holds, differs): (Vec<_>, Vec<_>) =
            telling.partition(|(name, value)| self.job.same(name, value, row.get(name)));
        holds.len() >= differs.len()
    }

    /// How much of `snapshot` is in `row`.
    pub(super) fn agreement(&self, snapshot: &Snapshot, row: &Row) -> usize {
        let rows = compare::document_lines(&self.job, row);
        let of_line = |line: &LinkedLine| {
            let Some(row) = compare::find_line(&self.job, line, &rows) else { return 0 };
            line.sent.iter().filter(|(name, value)| self.job.same_in_line(name, value, row.get(name))).count()
        };
        let header = snapshot.sent.iter().filter(|(name, value)| self.job.same(name, value, row.get(name))).count();
        header + snapshot.lines.iter().map(of_line).sum::<usize>()
    }
}
