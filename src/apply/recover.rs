//! Finding out by reading what became of requests whose answer was lost. Never by repeating them.
//!
//! A create is there, or it is not *and cannot come any more*, which the settle window tells, measured on BC's clock.
//! Where BC itself refuses a second row with the key, the next create need not wait for that: of the two only one can
//! win. A change is told by the etag: as long as it stands nothing happened, and of the lost request and the next one
//! under the same etag only one can win.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::{info, warn};

use super::Applier;
use super::error::ApplyError;
use super::foreign::Foreign;
use super::matching::Found;
use super::reasons::FOUND;
use super::round::{Note, Released, Round, RowIs, lock};
use crate::bc::Row;
use crate::ledger::{Intent, IntentKind, NewIntent, Next, Reason, RunId, SettledLink, Settlement};
use crate::model::{Outcome, RecordState, Value};

/// BC's `Date` has whole seconds, and two of its servers need not agree to the second.
const CLOCK_SLACK: TimeDelta = TimeDelta::seconds(2);

/// What is known of a request with an open outcome.
pub(super) enum Resolved {
    /// BC did it.
    Done(Box<Settlement>),
    /// BC did it, and it was one step of a change.
    Step(Box<Settlement>),
    /// BC did not, and cannot any more; what is known is noted.
    Undone(Note),
    /// A person may have changed what BC did, or what was there before: the link says what is not known any more.
    Untold(Box<Settlement>),
    /// BC did not so far; the next write under the same etag decides.
    Released {
        /// That etag.
        etag: String,
        /// How long it may still take effect, in words.
        until: String,
    },
    /// BC did not make a row so far; whatever is made under the same key next, there will be one.
    Beside,
    /// Nobody can tell yet.
    Open(String),
    /// Only a person can tell.
    Unclear(String),
}

/// `intents` by their records: those of one stand together.
fn of_one_record(intents: &[Intent]) -> impl Iterator<Item = &[Intent]> {
    intents.chunk_by(|one, next| one.noted.key == next.noted.key)
}

impl Applier<'_> {
    /// Resolves what can be resolved of the job's open intents. Safe to be interrupted anywhere.
    pub(super) async fn recover(&self, run: RunId, round: &Mutex<Round>) -> Result<(), ApplyError> {
        {
            let mut round = lock(round);
            round.open.clear();
            round.released.clear();
            round.lost_creates.clear();
        }
        let intents = self.ledger.open_intents(self.job.id).await?;
        if intents.is_empty() {
            return Ok(());
        }
        crate::fault!("K15: open intents found, nothing read back");
        info!(job = %self.job.name, records = intents.len(), "finding out what became of requests without an answer");
        // The look-ups below begin now: what BC's clock said until here is earlier than their answers.
        let as_of = self.outlet.reader.connection().newest_date();
        let (creates, changes): (Vec<_>, Vec<_>) =
            intents.into_iter().partition(|intent| intent.noted.kind == IntentKind::Create);
        let creates: Vec<_> = of_one_record(&creates).collect();
        let sought: Vec<_> = creates.iter().filter_map(|intents| Some(self.sought(intents.last()?))).collect();
        let mut found = self.look_up(&sought).await?;
        self.look_among_others(&creates, &sought, &mut found, as_of).await?;
        let ids: Vec<_> = changes.iter().filter_map(|intent| intent.noted.bc_id.as_deref()).map(Value::from).collect();
        let rows = self.rows_with_ids(&ids).await?;
        crate::fault!("K15: read back, nothing concluded");
        let links = self.ledger.links(self.job.id, changes.iter().map(|intent| intent.noted.key.as_str())).await?;
        // A row that is being changed is known, whatever has made it.
        let mut has_row = HashSet::new();
        for intents in of_one_record(&changes) {
            let Some(last) = intents.last() else { continue };
            let row = last.noted.bc_id.as_ref().and_then(|id| rows.get(id));
            // BC refused the last one as a whole, so that it cannot take effect late.
            let Note { refusal, stale, .. } = lock(round).note(&last.noted.key);
            let (answered, stale) = (!last.released && refusal.is_some(), !last.released && stale);
            if answered {
                self.ledger.drop_refused(self.job.id, &[&last.noted.key]).await?;
            }
            let open = if answered { &intents[..intents.len() - 1] } else { intents };
            let resolved = self.resolve_changes(open, row, links.get(&last.noted.key), stale, as_of);
            if !matches!(resolved, Resolved::Undone(_)) {
                has_row.insert(last.noted.key.as_str());
            }
            self.act(run, round, intents, resolved).await?;
        }
        let keys = creates.iter().filter_map(|intents| Some(intents.last()?.noted.key.as_str()));
        let wanted = self.ledger.wanted_match_values(self.job.id, keys).await?;
        for intents in creates {
            let Some(last) = intents.last().filter(|last| !has_row.contains(last.noted.key.as_str())) else { continue };
            let wanted = wanted.get(&last.noted.key).map(String::as_str);
            let resolved = match found.remove(&last.noted.key) {
                None => continue,
                Some(Found::One(row)) if self.is_of_another(last, &row).await? => {
                    self.not_made(intents, last, wanted, as_of)
                }
                Some(found) => self.resolve_creates(intents, last, wanted, found, as_of),
            };
            self.act(run, round, intents, resolved).await?;
        }
        Ok(())
    }

    /// The settlement of a request that was found done: with the intent's own copy of everything, since the outbox may
    /// hold a newer version by now.
    pub(super) fn done(&self, intent: &Intent, row: &Row, outcome: Outcome) -> Settlement {
        let noted = &intent.noted;
        // Somebody may have been there since.
        let foreign = Foreign::unexplained(&self.job, &noted.snapshot, row);
        let link = self.link_update(row, &noted.snapshot, noted.draft, noted.match_value.clone(), &[], &foreign);
        let link = SettledLink::Current(link);
        let settlement = Settlement::done(&noted.key, noted.fingerprint, outcome, link);
        let reason = Some(Reason::new(FOUND));
        let mut settlement = Settlement { reason, ..settlement };
        if let (Some(total), false) = (&noted.total, noted.partial) {
            self.check_total(total, row, &mut settlement);
        }
        settlement
    }

    /// Stores what was found out about `intents`, requests of one kind for one record.
    async fn act(
        &self,
        run: RunId,
        round: &Mutex<Round>,
        intents: &[Intent],
        resolved: Resolved,
    ) -> Result<(), ApplyError> {
        let Some(Intent { noted, .. }) = intents.last() else { return Ok(()) };
        let (job, key) = (self.job.id, noted.key.as_str());
        crate::fault!("K15: concluded, not stored");
        match resolved {
            Resolved::Done(settlement) => {
                self.settle(run, round, vec![*settlement]).await?;
                // A newer version of the record, or a later request that lost against this one, is still to be sent.
                lock(round).take_up(key);
            }
            Resolved::Step(settlement) => {
                self.settle_step(run, round, *settlement).await?;
                lock(round).take_up(key);
            }
            Resolved::Undone(note) => {
                if noted.kind == IntentKind::Create {
                    self.ledger.drop_creates(job, key).await?;
                } else {
                    self.ledger.drop_changes(job, key).await?;
                }
                let mut round = lock(round);
                let refusal = round.note(key).refusal;
                *round.note_mut(key) =
                    Note { refusal: refusal.filter(|_| !note.refresh && note.row == RowIs::There), ..note };
                round.take_up(key);
            }
            Resolved::Untold(settlement) => {
                self.ledger.settle(self.job.target, &self.job.entity.to_string(), job, run, &[*settlement]).await?;
                let mut round = lock(round);
                *round.note_mut(key) = Note { refresh: true, ..Note::default() };
                round.take_up(key);
            }
            Resolved::Released { etag, until } => {
                self.ledger.release_intents(job, key).await?;
                let mut round = lock(round);
                round.released.insert(key.to_owned(), Released { etag, until });
                // The etag that the link knows may be older than the one that was sent.
                round.note_mut(key).refresh = true;
                round.take_up(key);
            }
            Resolved::Beside => {
                self.ledger.release_intents(job, key).await?;
                let mut round = lock(round);
                round.lost_creates.insert(key.to_owned(), intents.to_vec());
                round.take_up(key);
            }
            Resolved::Open(reason) => {
                self.ledger.hold_back(job, key).await?;
                self.leave_open(run, noted, reason).await?;
                lock(round).open.insert(key.to_owned());
            }
            // Once in a run, however often it is looked at.
            Resolved::Unclear(_) if lock(round).unclear.contains(key) => {}
            Resolved::Unclear(reason) => {
                lock(round).unclear.insert(key.to_owned());
                warn!(job = %self.job.name, record = %key, "several rows match a request whose answer was lost");
                // Nothing is sent before a person has said which: the request stays noted as open.
                self.ledger.hold_back(job, key).await?;
                let state = RecordState::Quarantined;
                let settlement = Settlement::left(key, noted.fingerprint, state, Reason::new(reason));
                let next = Next { retry_after: Some(Duration::MAX), ..settlement.next };
                self.settle(run, round, vec![Settlement { open: true, next, ..settlement }]).await?;
            }
        }
        crate::fault!("K15: one record resolved");
        Ok(())
    }

    async fn leave_open(&self, run: RunId, noted: &NewIntent, reason: String) -> Result<(), ApplyError> {
        let mut settlement = Settlement::left(&noted.key, noted.fingerprint, RecordState::Pending, Reason::new(reason));
        settlement.open = true;
        let entity = self.job.entity.to_string();
        Ok(self.ledger.settle(self.job.target, &entity, self.job.id, run, &[settlement]).await?)
    }

    /// Whether the lost request can no longer take effect: a `Date` of BC from before the look-up is later than its
    /// sending by the whole window.
    pub(super) fn window_has_passed(&self, intent: &Intent, as_of: Option<DateTime<Utc>>) -> bool {
        as_of.is_some_and(|date| date >= self.window_ends(intent)) || crate::mutant!("no settle window")
    }

    /// The end of the window on BC's clock. Where no offset of the two clocks is known, neither from before the sending nor
    /// by now, ours stands in for the sending; that the window has passed is told by BC's alone.
    fn window_ends(&self, intent: &Intent) -> DateTime<Utc> {
        let ahead = intent.clock_ahead.or_else(|| self.outlet.reader.connection().clock_ahead()).unwrap_or(0);
        let window = TimeDelta::from_std(self.job.settle_window).unwrap_or(TimeDelta::MAX);
        intent.sent_at + TimeDelta::milliseconds(ahead) + window + CLOCK_SLACK
    }

    pub(super) fn until(&self, intent: &Intent) -> String {
        format!(
            "a request whose answer was lost may still take effect until {} (Business Central's clock)",
            crate::clock::iso(self.window_ends(intent))
        )
    }
}
