//! What became of lost creates: which row they have made, of those that match, and which of them has made it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::Applier;
use super::compare;
use super::error::ApplyError;
use super::matching::{Found, Sought};
use super::recover::Resolved;
use super::round::Note;
use crate::bc::Row;
use crate::ledger::{Intent, NewIntent, Reason, SettledLink};
use crate::model::{LinkedLine, Outcome, Snapshot, Value};
use crate::schema::is_blank;

impl Applier<'_> {
    /// What to look for to find the row that `intent` was to make: by what it was matched on when it was sent.
    pub(super) fn sought(&self, intent: &Intent) -> Sought {
        let noted = &intent.noted;
        Sought::new(&noted.key, noted.matched.clone(), self.job.schema.document, &noted.snapshot.sent)
    }

    /// Looks once more for the documents that are about to be given up, whoever's they are: a person can have given one
    /// to another customer. Those that no record is linked to may be the ones that were sent.
    pub(super) async fn look_among_others(
        &self,
        creates: &[&[Intent]],
        sought: &[Sought],
        found: &mut HashMap<String, Found>,
        as_of: Option<DateTime<Utc>>,
    ) -> Result<(), ApplyError> {
        let given_up = |(intents, one): &(&&[Intent], &Sought)| {
            one.customer.is_some()
                && matches!(found.get(&one.key), Some(Found::Absent(_)))
                && intents.iter().all(|intent| self.window_has_passed(intent, as_of))
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

    /// What became of the lost creates of one record, in the order of their sending, of which `last` is the last one.
    /// There are several only where BC enforces their key, and then they have the same. `wanted` is the match value that
    /// the record has now.
    pub(super) fn resolve_creates(
        &self,
        intents: &[Intent],
        last: &Intent,
        wanted: Option<&str>,
        found: Found,
        as_of: Option<DateTime<Utc>>,
    ) -> Resolved {
        match found {
            Found::One(row) => match self.maker(intents, &row) {
                Some(intent) => Resolved::Done(Box::new(self.done(intent, &row, Outcome::Created))),
                // A person may have made it while our requests were open; then `adopt` decides.
                None => self.not_made(intents, last, wanted, as_of),
            },
            Found::Posted(invoice) => {
                let mut settlement = self.done(last, &invoice, Outcome::Closed);
                if let Some(SettledLink::Current(link)) = settlement.link {
                    settlement.link = Some(SettledLink::Closed(link));
                    settlement.posted_as = Some(invoice.text("number").to_owned());
                }
                settlement.reason = Some(Reason::new("Business Central has made an invoice of it already"));
                Resolved::Done(Box::new(settlement))
            }
            // A person who sorts these out must not be told that it is over before it is.
            Found::Several(ids) if !intents.iter().all(|intent| self.window_has_passed(intent, as_of)) => {
                Resolved::Open(format!("{}; these rows match already: {}", self.until(last), ids.join(", ")))
            }
            Found::Several(ids) => Resolved::Unclear(format!(
                "any of these rows in Business Central can be the one of a request whose answer was lost: {}; link the \
                 right one with `bcsync links import`, and remove those that should not be there; if none of them is it, \
                 `bcsync retry {} {}`",
                ids.join(", "),
                self.job.name,
                last.noted.key
            )),
            Found::Absent(_) => self.not_made(intents, last, wanted, as_of),
        }
    }

    /// What may still become of lost creates that have made no row so far.
    pub(super) fn not_made(
        &self,
        intents: &[Intent],
        last: &Intent,
        wanted: Option<&str>,
        as_of: Option<DateTime<Utc>>,
    ) -> Resolved {
        if intents.iter().all(|intent| self.window_has_passed(intent, as_of)) {
            return Resolved::Undone(Note::default());
        }
        // BC lets only one of them be made, a lost one or the next; but only as long as they have the same key.
        let as_now = last.noted.matched.iter().map(|(name, _)| name).eq(&self.job.match_on);
        let one_at_most =
            as_now && self.job.key_is_enforced() && wanted.is_some() && wanted == last.noted.match_value.as_deref();
        if one_at_most { Resolved::Beside } else { Resolved::Open(self.until(last)) }
    }

    /// Whether `row` belongs to another record: a person gave it the match value of this one.
    pub(super) async fn is_of_another(&self, intent: &Intent, row: &Row) -> Result<bool, ApplyError> {
        let owner = self.ledger.owner_of(self.job.target, &self.job.entity.to_string(), &row.id).await?;
        Ok(owner.is_some_and(|(job, key)| job != self.job.name || key != intent.noted.key))
    }

    /// Which of these creates of one record, in the order of their sending, has made `row`, if it was one of them: that of
    /// which most is in the row, and the earliest when several say the same.
    pub(super) fn maker<'a>(&self, creates: &'a [Intent], row: &Row) -> Option<&'a Intent> {
        let mut made: Option<(usize, &Intent)> = None;
        for create in creates.iter().filter(|create| self.descends_from(&create.noted, row)) {
            let agreement = self.agreement(&create.noted.snapshot, row);
            if made.is_none_or(|(most, _)| agreement > most) {
                made = Some((agreement, create));
            }
        }
        made.map(|(_, create)| create)
    }

    /// Whether `row` is rather the one that was made as `create` says than somebody else's: most of what tells still holds,
    /// and if a document has lines, one that came with it is among them. The rest a person can have changed since.
    fn descends_from(&self, create: &NewIntent, row: &Row) -> bool {
        let Snapshot { sent, lines, .. } = &create.snapshot;
        let is_matched = |name: &String| create.matched.iter().any(|(matched, _)| matched == name);
        let overwritten = |other: &str| sent.iter().any(|(name, _)| self.job.schema.overwritten(name, other));
        let tells = |(name, value): &&(String, Value)| !is_matched(name) && !overwritten(name) && !is_blank(value);
        let telling = sent.iter().filter(tells);
        let (holds, differs): (Vec<_>, Vec<_>) =
            telling.partition(|(name, value)| self.job.same(name, value, row.get(name)));
        let rows = compare::document_lines(&self.job, row);
        let is_there = |line: &LinkedLine| compare::find_line(&self.job, line, &rows).is_some();
        let has_line = lines.is_empty() || rows.is_empty() || lines.iter().any(is_there);
        has_line && holds.len() >= differs.len()
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
