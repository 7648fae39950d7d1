//! Runs operations and envelopes: with their latency, their faults and their place in the counts.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::batch::{Envelope, Mode};
use super::call::{Call, Reply, Surroundings};
use super::errors::ApiError;
use super::faults::{FaultKind, Subject};
use super::route::{self, Address, Target};
use super::service;
use super::state::State;
use super::store::Store;

/// The answers to an envelope, in order.
pub(super) type Answers = Vec<(Option<String>, Reply)>;

/// Runs one operation that came alone.
pub(super) fn run_alone(state: &State, call: &Call) -> Reply {
    perform(state, &mut state.store(), &state.surroundings(), call, false)
}

/// Runs at most `limit` operations of an envelope, each taking the time that the settings give it.
pub(super) async fn run_envelope(state: &State, envelope: &Envelope<'_>, mode: Mode, limit: usize) -> Answers {
    let operations = &envelope.requests[..envelope.requests.len().min(limit)];
    let each = Duration::from_millis(state.settings().operation_ms);
    let begun = Instant::now();
    // Deadlines count from the beginning, so that rounding does not add up over a hundred operations.
    let pace = async |done: usize| {
        if !each.is_zero() {
            sleep_until(begun + each * u32::try_from(done).unwrap_or(u32::MAX)).await;
        }
    };
    state.stats().batched += operations.len() as u64;
    if mode == Mode::Snapshot {
        pace(operations.len()).await;
        return state.store().snapshot(|store| run_snapshot(state, store, envelope, operations.len()));
    }
    let mut answers = Answers::with_capacity(operations.len());
    for (at, operation) in operations.iter().enumerate() {
        pace(at + 1).await;
        let around = state.surroundings();
        let reply = match operation.call(&around.root) {
            Ok(call) => perform(state, &mut state.store(), &around, &call, true),
            Err(reply) => reply,
        };
        let failed = reply.failed();
        answers.push((operation.id.clone(), reply));
        if failed && mode == Mode::StopAtFailure {
            break;
        }
    }
    answers
}

/// All operations as one transaction; the answers before a failure still say that they succeeded.
fn run_snapshot(state: &State, store: &mut Store, envelope: &Envelope, limit: usize) -> (Answers, bool) {
    let around = state.surroundings();
    let mut answers = Answers::new();
    for operation in &envelope.requests[..limit] {
        let reply = match operation.call(&around.root) {
            Ok(call) => perform(state, store, &around, &call, true),
            Err(reply) => reply,
        };
        let first_failed = reply.failed() && answers.is_empty();
        answers.push((operation.id.clone(), reply));
        if first_failed {
            break;
        }
    }
    let commit = !answers.iter().any(|(_, reply)| reply.failed());
    (answers, commit)
}

fn perform(state: &State, store: &mut Store, around: &Surroundings, call: &Call, in_batch: bool) -> Reply {
    let subject = subject(call, in_batch);
    let fault = state.faults().for_operation(&subject);
    let reply = match fault {
        None => service::execute(store, around, call),
        Some(FaultKind::PersonEdit { changes }) => {
            let changes = serde_json::Value::Object(changes).to_string();
            if let Err(error) = edit_addressed(store, around, call, &changes) {
                Reply::from(error)
            } else {
                service::execute(store, around, call)
            }
        }
        Some(kind) => Reply::from(refusal(&kind, &subject.set)),
    };
    let is_action = call.path.to_lowercase().contains("microsoft.nav.");
    let mut counts = state.stats();
    counts.count(&subject.set, call.method, is_action, reply.failed());
    counts.stale += u64::from(reply.failed() && reply.body.contains("\"Request_EntityChanged\""));
    reply
}

/// What the rules are matched against.
pub(super) fn subject<'a>(call: &Call<'a>, in_batch: bool) -> Subject<'a> {
    Subject { method: call.method, set: route::set_name(call.path), in_batch, body: call.body }
}

/// A person changes the row that `call` addresses; nothing happens when it addresses none.
fn edit_addressed(store: &mut Store, around: &Surroundings, call: &Call, changes: &str) -> Result<(), ApiError> {
    let Ok(Target::Rows(rows)) = route::resolve(store, call.path, call.company) else { return Ok(()) };
    let Address::One(id) = rows.address else { return Ok(()) };
    let company = &mut store.companies[rows.company];
    company.now = around.now;
    service::edit(company, rows.set.name, id, changes).map(drop)
}

fn refusal(kind: &FaultKind, set: &str) -> ApiError {
    match kind {
        FaultKind::Refuse { status, code, message } => ApiError::new(*status, code.clone(), message.clone()),
        FaultKind::Lock => ApiError::new(
            409,
            "Internal_ServerError",
            format!(
                "The operation could not complete because a record in the '{set}' table was locked by another user. Please retry the activity."
            ),
        ),
        _ => ApiError::new(
            409,
            "Internal_ServerError",
            format!(
                "Your activity was deadlocked with another user who is modifying the {set} table. Start your activity again."
            ),
        ),
    }
}
