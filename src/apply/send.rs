//! Sending: envelopes side by side, each with its intents committed before it leaves.

use std::collections::HashMap;
use std::sync::Mutex;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Applier;
use super::error::ApplyError;
use super::operation::{Prepared, What, Write, object};
use super::pace::Pace;
use super::proof::{Renewals, is_stale};
use super::references::Lookups;
use super::round::{Again, Round, lock};
use super::stamp::{Notes, Stamp};
use super::waiting::tell_once;
use crate::bc::{Answer, ApiRoute, Failure, Mode, Operation};
use crate::ledger::{OutboxRow, Reason, RunId, Settlement};
use crate::model::{Outcome, RecordState, Value};

/// Rows of the outbox that are prepared at once, at most: as many as one envelope of look-ups asks for.
const LARGEST_CHUNK: usize = 4_000;

impl Applier<'_> {
    /// Takes up the rows of the outbox that this round is about, prepares and sends them.
    pub(super) async fn drain(
        &self,
        run: RunId,
        round: &Mutex<Round>,
        lookups: &mut Lookups,
    ) -> Result<(), ApplyError> {
        let pace = Mutex::new(Pace::new(self.job.batch_size));
        let (sender, receiver) = mpsc::channel(self.outlet.lanes);
        let (filled, sent) =
            tokio::join!(self.fill(run, round, lookups, &pace, sender), self.send_all(run, round, &pace, receiver));
        sent.and(filled)
    }

    async fn fill(
        &self,
        run: RunId,
        round: &Mutex<Round>,
        lookups: &mut Lookups,
        pace: &Mutex<Pace>,
        envelopes: mpsc::Sender<Vec<Write>>,
    ) -> Result<(), ApplyError> {
        let mut after = 0;
        let mut gathered: Vec<Write> = Vec::new();
        loop {
            if self.cancel.is_cancelled() {
                return Err(Failure::Cancelled.into());
            }
            let as_of = lock(round).as_of;
            let mut rows = self.ledger.due(self.job.id, after, self.chunk(), as_of).await?;
            let Some(last) = rows.last() else { break };
            after = last.seq;
            rows.retain(|row| lock(round).takes(row));
            let total = |row: &OutboxRow| Some((row.key.clone(), (row.draft.fingerprint(), row.total().cloned()?)));
            let totals: HashMap<_, _> = rows.iter().filter_map(total).collect();
            let (mut settlements, mut closes) = (Vec::new(), Vec::new());
            let all = self.prepare(rows, round, lookups).await?;
            crate::fault!("K3: writes prepared");
            for prepared in all {
                match prepared {
                    Prepared::Settled(settlement) => settlements.push(with_open_intent(*settlement, &lock(round))),
                    Prepared::Gone(settlement) => closes.push(*settlement),
                    Prepared::Write(write) => {
                        let alone = matches!(write.what, What::Order { .. });
                        let full = {
                            let pace = pace.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                            let weight: usize = gathered.iter().map(Write::weight).sum();
                            gathered.len() >= pace.operations() || weight + write.weight() > pace.rows()
                        };
                        if full && !gathered.is_empty() && !self.hand_over(&envelopes, round, &mut gathered).await {
                            return Ok(());
                        }
                        if alone {
                            if !self.hand_over(&envelopes, round, &mut vec![*write]).await {
                                return Ok(());
                            }
                        } else {
                            gathered.push(*write);
                        }
                    }
                }
            }
            let total = |settled: &Settlement| {
                let (draft, total) = totals.get(&settled.key)?;
                // A row that is not to hold the draft need not come to its total.
                settled.link.as_ref().filter(|link| link.update().draft == *draft).map(|_| total.clone())
            };
            self.check_totals(total, &mut settlements).await?;
            tell_once(round, &mut settlements);
            self.settle(run, round, settlements).await?;
            self.gather_closes(run, round, closes).await?;
        }
        if !gathered.is_empty() {
            self.hand_over(&envelopes, round, &mut gathered).await;
        }
        Ok(())
    }

    /// How many rows of the outbox are prepared at once. Their look-ups wait for a permit behind the writes that are ready
    /// to go: only a chunk that feeds all lanes for longer than that keeps them from running dry.
    pub(super) fn chunk(&self) -> u32 {
        let chunk = (self.outlet.lanes * self.job.batch_size).clamp(1, LARGEST_CHUNK);
        u32::try_from(chunk).unwrap_or(u32::MAX)
    }

    /// Hands `gathered` over to be sent; `false` when nothing is sent any more.
    async fn hand_over(
        &self,
        envelopes: &mpsc::Sender<Vec<Write>>,
        round: &Mutex<Round>,
        gathered: &mut Vec<Write>,
    ) -> bool {
        match envelopes.send(std::mem::take(gathered)).await {
            Ok(()) => true,
            Err(mpsc::error::SendError(unsent)) => {
                left_over(round, &unsent);
                false
            }
        }
    }

    /// Sends what comes, several envelopes at once, until there is no more or one of them fails for all.
    async fn send_all(
        &self,
        run: RunId,
        round: &Mutex<Round>,
        pace: &Mutex<Pace>,
        mut envelopes: mpsc::Receiver<Vec<Write>>,
    ) -> Result<(), ApplyError> {
        let mut under_way = FuturesUnordered::new();
        let mut more = true;
        let mut failed = None;
        while more || !under_way.is_empty() {
            tokio::select! {
                envelope = envelopes.recv(), if more && under_way.len() < self.outlet.lanes => match envelope {
                    Some(writes) => under_way.push(self.send_envelope(run, round, pace, writes)),
                    None => more = false,
                },
                Some(result) = under_way.next(), if !under_way.is_empty() => if let Err(error) = result {
                    // Those under way are seen to their end; nothing new is begun.
                    failed.get_or_insert(error);
                    more = false;
                    envelopes.close();
                },
            }
        }
        while let Ok(unsent) = envelopes.try_recv() {
            left_over(round, &unsent);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Sends one envelope until BC has answered it or may have done it.
    async fn send_envelope(
        &self,
        run: RunId,
        round: &Mutex<Round>,
        pace: &Mutex<Pace>,
        mut writes: Vec<Write>,
    ) -> Result<(), ApplyError> {
        let result = self.try_envelope(run, round, pace, &mut writes).await;
        if result.is_err() {
            left_over(round, &writes);
        }
        result
    }

    async fn try_envelope(
        &self,
        run: RunId,
        round: &Mutex<Round>,
        pace: &Mutex<Pace>,
        writes: &mut Vec<Write>,
    ) -> Result<(), ApplyError> {
        let route = ApiRoute::of(&self.job.entity);
        let mut delays = self.outlet.writer.delays(&self.retry);
        let begun = Instant::now();
        let mut renewals = Renewals::default();
        let mut notes = Notes::default();
        loop {
            self.renew_proofs(round, writes, &mut renewals).await?;
            if writes.is_empty() {
                return Ok(());
            }
            let intents: Vec<_> = writes.iter().map(Write::intent).collect();
            let operations: Vec<_> = writes.iter().flat_map(|write| self.operations(write)).collect();
            let single = matches!(writes.as_slice(), [Write { what: What::Order { .. }, .. }]);
            let mode = if single { Mode::Snapshot } else { Mode::Independent };
            let slot = self.outlet.writer.ready().await?;
            if writes.iter().any(is_stale) {
                // The permit was long in coming. A look-up needs one too, so this one is given back first.
                continue;
            }
            renewals.held();
            let noting = lock(round).noting();
            let stamp = Stamp::new(self.ledger.time());
            if !crate::mutant!("intent after send") {
                self.ledger.note_intents(self.job.id, run, &intents, self.outlet.writer.clock_ahead()).await?;
            }
            drop(noting);
            if stamp.is_old(self.ledger.time()) {
                warn!(job = %self.job.name, "noting a request took long; it is noted again before it is sent");
                self.ledger.drop_refused(self.job.id, &keys_of(writes)).await?;
                notes.took_long()?;
                continue;
            }
            let mut answer = self.outlet.writer.send(slot, &route, &operations, mode).await;
            if crate::mutant!("intent after send") {
                self.ledger.note_intents(self.job.id, run, &intents, self.outlet.writer.clock_ahead()).await?;
            }
            if crate::mutant!("an open write is sent again")
                && let Answer::Open { cause } = answer
            {
                answer = Answer::NotDone { cause };
            }
            let keys = keys_of(writes);
            match answer {
                Answer::Parts { parts, elapsed } => {
                    crate::fault!("K10: answer understood, nothing settled");
                    let rows = writes.iter().map(Write::weight).sum();
                    pace.lock().unwrap_or_else(std::sync::PoisonError::into_inner).measured(rows, elapsed);
                    let writes = std::mem::take(writes);
                    return if single {
                        self.settle_order(run, round, writes, parts).await
                    } else {
                        self.settle_parts(run, round, writes, parts).await
                    };
                }
                Answer::Open { cause } => {
                    warn!(job = %self.job.name, records = keys.len(), %cause, "the outcome is open; it will be read back");
                    for key in keys {
                        lock(round).again(key, Again::Now);
                    }
                    return Ok(());
                }
                Answer::Denied(failure) => {
                    self.ledger.drop_refused(self.job.id, &keys).await?;
                    return Err(failure.into());
                }
                Answer::TooBig => {
                    self.ledger.drop_refused(self.job.id, &keys).await?;
                    return self.too_big(run, round, pace, std::mem::take(writes)).await;
                }
                Answer::Throttled { cause } => {
                    // Burns no attempt: the next permit comes when the pause is over.
                    self.ledger.drop_refused(self.job.id, &keys).await?;
                    if begun.elapsed() > self.retry.patience {
                        return Err(Failure::Unavailable { what: "writing a batch".to_owned(), cause }.into());
                    }
                    info!(job = %self.job.name, %cause, "sending again after the pause");
                }
                Answer::NotDone { cause } => {
                    self.ledger.drop_refused(self.job.id, &keys).await?;
                    let Some(delay) = delays.next(None) else {
                        return Err(Failure::Unavailable { what: "writing a batch".to_owned(), cause }.into());
                    };
                    info!(job = %self.job.name, %cause, delay_ms = delay.as_millis(), "sending again");
                    tokio::select! {
                        () = self.cancel.cancelled() => return Err(Failure::Cancelled.into()),
                        () = tokio::time::sleep(delay) => {}
                    }
                }
            }
        }
    }

    fn operations(&self, write: &Write) -> Vec<Operation> {
        let set = format!("companies({})/{}", self.job.company, self.job.entity.set());
        match &write.what {
            What::Create { properties, lines, .. } => {
                let mut body = properties.clone();
                let mut url = set;
                if let (Some(lines), Some(fact)) = (lines, &self.job.schema.lines) {
                    let line = |line: &crate::model::NewLine| {
                        let mut values = vec![("sequence".to_owned(), Value::Int(line.sequence))];
                        values.extend(line.properties.iter().cloned());
                        object(&values)
                    };
                    body.push((fact.navigation.to_owned(), Value::List(lines.iter().map(line).collect())));
                    url = format!("{url}?$expand={}", fact.navigation);
                }
                vec![Operation::post(url, object(&body))]
            }
            What::Update { bc_id, etag, properties, .. } => {
                let etag = if crate::mutant!("no If-Match") { "*" } else { etag };
                vec![Operation::patch(format!("{set}({bc_id})"), etag, object(properties))]
            }
            What::Delete { bc_id, etag, .. } => vec![Operation::delete(format!("{set}({bc_id})"), etag)],
            What::Order { operations, .. } => operations.clone(),
        }
    }

    /// BC found the envelope too big, and nothing of it was done: halves from now on.
    async fn too_big(
        &self,
        run: RunId,
        round: &Mutex<Round>,
        pace: &Mutex<Pace>,
        writes: Vec<Write>,
    ) -> Result<(), ApplyError> {
        pace.lock().unwrap_or_else(std::sync::PoisonError::into_inner).halve();
        if let [only] = writes.as_slice() {
            let reason = Reason::new("the record is larger than Business Central takes in one request");
            let settlement = Settlement::left(&only.key, only.fingerprint, RecordState::Quarantined, reason);
            return self.settle(run, round, vec![settlement]).await;
        }
        for write in &writes {
            lock(round).again(&write.key, Again::Now);
        }
        Ok(())
    }
}

fn keys_of(writes: &[Write]) -> Vec<&str> {
    writes.iter().map(|write| write.key.as_str()).collect()
}

/// What is settled without sending anything tells nothing of a request that is still open. Where nothing that competes
/// with that request has to be sent, the record waits until it can no longer take effect.
fn with_open_intent(settlement: Settlement, round: &Round) -> Settlement {
    let Some(released) = round.released.get(&settlement.key) else { return settlement };
    if matches!(settlement.outcome, Outcome::Left(_)) {
        return Settlement { open: true, ..settlement };
    }
    let reason = Reason::new(released.until.as_str());
    let pending = Settlement::left(&settlement.key, settlement.fingerprint, RecordState::Pending, reason);
    Settlement { open: true, ..pending }
}

/// Records whose write was prepared and not sent stay in the outbox.
fn left_over(round: &Mutex<Round>, unsent: &[Write]) {
    let mut round = lock(round);
    for write in unsent {
        round.again(&write.key, Again::Later);
    }
}
