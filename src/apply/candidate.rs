//! A row of the outbox whose references are resolved, on its way to a write or a settlement.

use super::compare;
use super::foreign::in_line;
use super::job::ApplyJob;
use super::operation::Prepared;
use super::reasons::{KEPT, NEVER_CHANGED, decided};
use super::round::Note;
use crate::bc::Row;
use crate::ledger::{FieldChange, Link, LinkUpdate, OutboxRow, Reason, SettledLink, Settlement};
use crate::model::{OnConflict, Outcome, RecordState, Resolved, ResolvedLine, Snapshot, Take, Value};

/// A row whose references are resolved.
pub(super) struct Candidate {
    pub(super) row: OutboxRow,
    pub(super) resolved: Resolved,
    pub(super) link: Option<Link>,
    pub(super) note: Note,
}

impl Candidate {
    pub(super) fn settled(&self, outcome: Outcome, link: SettledLink, reason: Option<Reason>) -> Prepared {
        let settlement = Settlement::done(&self.row.key, self.row.fingerprint, outcome, link);
        Prepared::Settled(Box::new(Settlement { reason, ..settlement }))
    }

    /// Closed, because the document was posted as the invoice with this number.
    pub(super) fn posted(&self, link: SettledLink, reason: Reason, invoice: &str) -> Prepared {
        let settlement = Settlement::done(&self.row.key, self.row.fingerprint, Outcome::Closed, link);
        let posted_as = Some(invoice.to_owned());
        Prepared::Settled(Box::new(Settlement { reason: Some(reason), posted_as, ..settlement }))
    }

    /// Settled with `outcome`, unless the brake is against it: BC no longer has the row. `posted_as` is the number of the
    /// invoice that it became.
    pub(super) fn gone(
        &self,
        outcome: Outcome,
        link: SettledLink,
        reason: Reason,
        posted_as: Option<String>,
    ) -> Prepared {
        let settlement = Settlement::done(&self.row.key, self.row.fingerprint, outcome, link);
        let settlement = Box::new(Settlement { reason: Some(reason), posted_as, ..settlement });
        // What was closed before is no news.
        let is_news = self.link.as_ref().is_none_or(|link| !link.closed);
        if is_news { Prepared::Gone(settlement) } else { Prepared::Settled(settlement) }
    }

    pub(super) fn left(&self, state: RecordState, reason: impl Into<String>) -> Prepared {
        let reason = Reason::new(reason);
        Prepared::Settled(Box::new(Settlement::left(&self.row.key, self.row.fingerprint, state, reason)))
    }

    /// Whether the lines of `row` are exactly those of the record, or it says nothing of lines.
    pub(super) fn has_same_lines(&self, job: &ApplyJob, row: &Row) -> bool {
        self.resolved.lines.as_ref().is_none_or(|lines| compare::same_lines(job, lines, row))
    }

    /// From what the lines `held` hold to what those of the record are to hold; `None` when they are not lines of the same
    /// items, one by one.
    pub(super) fn line_differences(&self, job: &ApplyJob, held: &[Row]) -> Option<Vec<FieldChange>> {
        let wanted = self.resolved.lines.as_deref().unwrap_or_default();
        let is_it = |(line, row): (&ResolvedLine, &Row)| compare::is_line(job, &line.properties, row);
        if wanted.len() != held.len() || !wanted.iter().zip(held).all(is_it) {
            return None;
        }
        let differs = |line: &ResolvedLine, row: &Row| {
            let differs = |(name, value): &&(String, Value)| !job.may_be_same_in_line(name, value, row.get(name));
            let field = |(name, value): &(String, Value)| FieldChange {
                property: in_line(&line.key, name),
                old: row.get(name).cloned(),
                new: Some(value.clone()),
            };
            line.properties.iter().filter(differs).map(field).collect::<Vec<_>>()
        };
        Some(wanted.iter().zip(held).flat_map(|(line, row)| differs(line, row)).collect())
    }

    /// Whether a person has said that the lines of `row` are those of the record, of which these `differences` were told.
    pub(super) fn settles_lines(&self, differences: Option<&[FieldChange]>, row: &Row) -> bool {
        let told = differences.is_some_and(|differences| differences.is_empty() || self.is_as_seen(row));
        told && self.row.decision == Some(Take::Source)
    }

    /// Who wins about the row `bc`: as a person decided when it was as it is now, or before a step of ours left it so,
    /// else as configured.
    pub(super) fn policy(&self, configured: OnConflict, bc: &Row) -> OnConflict {
        match self.row.decision {
            None => configured,
            Some(Take::Bc) => OnConflict::BcWins,
            Some(Take::Source) if self.is_as_seen(bc) => OnConflict::SourceWins,
            Some(Take::Source) => OnConflict::Hold,
        }
    }

    fn is_as_seen(&self, bc: &Row) -> bool {
        let left_by_step = self.link.as_ref().filter(|link| link.is_part_applied()).map(|link| &link.etag);
        self.row.seen_etag.as_ref() == Some(&bc.etag) || left_by_step == Some(&bc.etag)
    }

    /// The conflict about `held` properties of the row `bc`; both values are told.
    pub(super) fn conflict(&self, job: &str, held: Vec<FieldChange>, bc: &Row) -> Prepared {
        let names: Vec<_> = held.iter().map(|field| field.property.as_str()).collect();
        let key = &self.row.key;
        let reason = format!(
            "someone changed {} in Business Central; decide with `bcsync resolve {job} {key} --take source` or \
             `--take bc`",
            names.join(", ")
        );
        self.in_conflict(reason, held, bc)
    }

    /// The conflict about the lines of the row `bc`, of which nobody can tell which are ours. If they can be those of the
    /// record, these are the `differences`.
    pub(super) fn unclear_lines(&self, job: &str, differences: Vec<FieldChange>, bc: &Row) -> Prepared {
        let key = &self.row.key;
        let reason = format!(
            "Business Central has made the lines of this document anew, and they cannot be told from lines of other \
             people; give it exactly the items of the source, line by line, and then decide with `bcsync resolve {job} \
             {key} --take source`, or leave it as it is with `--take bc`"
        );
        self.in_conflict(reason, differences, bc)
    }

    fn in_conflict(&self, reason: String, fields: Vec<FieldChange>, bc: &Row) -> Prepared {
        let state = RecordState::Conflict;
        let mut settlement = Settlement::left(&self.row.key, self.row.fingerprint, state, Reason::new(reason));
        settlement.fields = fields;
        settlement.next.etag = Some(bc.etag.clone());
        Prepared::Settled(Box::new(settlement))
    }

    /// Of what BC keeps against us, that which stays somebody else's. What a person decided for is what we want, until
    /// the source changes again.
    pub(super) fn not_ours(&self, kept: &[FieldChange]) -> impl Iterator<Item = String> {
        let undecided = if self.row.decision.is_none() { kept } else { &[] };
        undecided.iter().map(|field| field.property.clone())
    }

    /// Why nothing was sent although BC does not hold what the source has.
    pub(super) fn kept(&self) -> Reason {
        self.row.decision.map_or_else(|| Reason::new(KEPT), decided)
    }

    /// Settled without a write, in a job that never changes rows. The link still says what was written, so that with
    /// another `mode` the difference is found again.
    pub(super) fn stays_as_written(&self, link: &Link) -> Prepared {
        let unchanged = LinkUpdate {
            bc_id: link.bc_id.clone(),
            number: link.number.clone(),
            etag: link.etag.clone(),
            draft: link.draft,
            match_value: link.match_value.clone(),
            snapshot: link.snapshot.clone(),
        };
        self.settled(Outcome::Equal, SettledLink::Current(unchanged), Some(Reason::new(NEVER_CHANGED)))
    }

    /// The link as it is, for this version of the record.
    pub(super) fn link_as_it_is(&self, link: &Link) -> LinkUpdate {
        LinkUpdate {
            bc_id: link.bc_id.clone(),
            number: link.number.clone(),
            etag: link.etag.clone(),
            draft: self.row.draft.fingerprint(),
            match_value: self.row.match_value.clone(),
            snapshot: link.snapshot.clone(),
        }
    }

    /// The link as it will be when BC holds what is wanted.
    pub(super) fn link_to(&self, row: &Row, number: &str, snapshot: Snapshot) -> LinkUpdate {
        LinkUpdate {
            bc_id: row.id.clone(),
            number: number.to_owned(),
            etag: row.etag.clone(),
            draft: self.row.draft.fingerprint(),
            match_value: self.row.match_value.clone(),
            snapshot,
        }
    }
}
