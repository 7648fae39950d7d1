//! Mutants: the protocol without one of its rules. Each has a scenario that is harmless with the rule, and that the judge
//! must object to without it, for the very harm that the rule prevents; a suite that lets one pass, or notices only that
//! it crashes, proves nothing about the rule.

use bcsync::fault::MUTANTS;
use bcsync::simulator::{Deed, Fault, FaultKind, Person};
use rustix::process::Signal;

use crate::judge::{Verdict, judge};
use crate::people::Place;
use crate::wire::{Go, Moment};
use crate::world::{World, ended, on, was_killed};

/// Long enough for two passes on a busy machine.
const LATER: FaultKind = FaultKind::LateCommit { min_ms: 4_000, max_ms: 4_000, answer: None, silent: false };

/// The lists of the verdict that must have something, for each mutant.
const HARM: [(&str, &[&str]); 11] = [
    ("intent after send", &["twice"]),
    ("no settle window", &["twice"]),
    ("no If-Match", &["overwritten"]),
    ("fast path without the outbox", &["lost"]),
    ("503 to a write means not done", &["twice"]),
    ("invoices before orders", &["twice"]),
    ("parts of a failed transaction count", &["lost"]),
    ("an open write is sent again", &["twice"]),
    ("no unique match value", &["twice", "lost"]),
    ("line changes without a fence", &["lost"]),
    ("an open change is settled by reading", &["lost"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_mutant_is_caught_and_the_real_one_is_not() {
    for mutant in MUTANTS {
        let (real, mutated) = tokio::join!(scenario(mutant, None), scenario(mutant, Some(mutant)));
        assert!(real.is_clean(), "the scenario of {mutant:?} without the mutant:\n{real}");
        let harm = HARM.iter().find(|(of, _)| of == mutant).map(|(_, lists)| *lists);
        let harm = harm.unwrap_or_else(|| panic!("nobody says what the mutant {mutant:?} harms"));
        let found = mutated.found();
        assert!(harm.iter().all(|list| found.contains(list)), "{mutant:?} is to have {harm:?}, and has:\n{mutated}");
    }
}

/// Plays the scenario that is made for the mutant `of`, with the rule or as `mutant`.
async fn scenario(of: &str, mutant: Option<&'static str>) -> Verdict {
    let mut world = World::with_wire(1, 1).await;
    world.mutate(mutant);
    match of {
        "intent after send" => dies_with_a_create_on_its_way(&world).await,
        "no settle window" => create_that_comes_late(&world).await,
        "no If-Match" => person_was_there_first(&mut world).await,
        "fast path without the outbox" => there_and_back_again(&mut world).await,
        "503 to a write means not done" => {
            let kind = FaultKind::Status { status: 503, retry_after: Some(1), committed: true };
            strike(&world, "POST", "salesOrders", kind);
            world.pass().await;
        }
        "invoices before orders" => posted_between_two_looks(&mut world).await,
        "parts of a failed transaction count" => {
            world.pass().await;
            world.change_lines(1, "UPDATE order_line SET qty = 7 WHERE order_id = 1 AND line_no = 1").await;
            strike(&world, "PATCH", "salesOrderLines", FaultKind::Deadlock);
            world.pass().await;
        }
        "an open write is sent again" => {
            strike(&world, "POST", "salesOrders", FaultKind::Drop { committed: true, after_operations: 0 });
            world.pass().await;
        }
        "no unique match value" => {
            world.add_orders(1).await;
            world.source("UPDATE sales_order SET no = 'WEB-1', version = @VERSION WHERE id = 2").await;
            world.pass().await;
            world.source("UPDATE sales_order SET no = 'WEB-2', version = @VERSION WHERE id = 2").await;
        }
        "line changes without a fence" => line_change_that_comes_late(&world).await,
        "an open change is settled by reading" => change_that_is_taken_back_while_on_its_way(&world).await,
        unknown => panic!("the mutant {unknown:?} has no scenario"),
    }
    judge(&world).await
}

fn strike(world: &World, method: &str, set: &str, kind: FaultKind) {
    world.simulator.inject(Fault::once(kind, on(method, set)));
}

/// The order arrives, and is made long after the process has died and another one has looked for it.
async fn dies_with_a_create_on_its_way(world: &World) {
    strike(world, "POST", "salesOrders", LATER);
    die_at_arrival_of_write(world, 2).await;
    world.pass().await;
}

async fn die_at_arrival_of_write(world: &World, nth: usize) {
    let wire = world.wire.as_ref().unwrap();
    wire.signal_at(Signal::KILL, Moment::Arrived, nth);
    let status = ended(world.start(&[], &[])).await;
    assert!(was_killed(status), "{status}: {}", world.said());
    wire.disarm();
}

/// The order is made long after its connection was cut.
async fn create_that_comes_late(world: &World) {
    strike(world, "POST", "salesOrders", LATER);
    world.pass().await;
    world.pass().await;
}

/// A person and the CRM change the same property, and nobody wins by himself.
async fn person_was_there_first(world: &mut World) {
    world.pass().await;
    world.source("UPDATE account SET email = 'new@c1.example', version = @VERSION").await;
    world.enter(Place::Customer("C1".to_owned(), "email"), "person@c1.example".to_owned());
    world.pass().await;
}

/// A change is queued, and taken back before it is sent. Nothing but the values tells that: there is no cursor.
async fn there_and_back_again(world: &mut World) {
    world.reconfigure("SELECT * FROM account", "SELECT id, no, name, email, credit FROM account");
    world.reconfigure("cursor = \"version\"\noverlap = 0\nmatch_on = \"number\"", "match_on = \"number\"");
    world.pass().await;
    world.source("UPDATE account SET email = 'new@c1.example', version = @VERSION").await;
    world.crash("K2: staged, with the cursor").await;
    // The judge makes the pass that must not send the queued change.
    world.source("UPDATE account SET email = 'office@c1.example', version = @VERSION").await;
}

/// The ledger is lost, and an order of ours is posted while it is looked for.
async fn posted_between_two_looks(world: &mut World) {
    world.reconfigure("adopt = \"never\"", "adopt = \"if_equal\"");
    world.pass().await;
    world.forget_everything();
    let order = world.rows("salesOrders")[0]["id"].as_str().unwrap().to_owned();
    let simulator = world.simulator.clone();
    let mut posted = false;
    world.wire.as_ref().unwrap().arm(move |request, moment| {
        if !posted && request.contains("salesInvoices") && moment == Moment::Answered {
            posted = true;
            let (set, row) = ("salesOrders".to_owned(), order.clone());
            let changes = serde_json::Map::new();
            simulator.person(&Person { company: None, set, row, action: Deed::Post, changes }).unwrap();
        }
        Go::On
    });
    world.pass().await;
}

/// A change of a line takes effect after the next change of the same line.
async fn line_change_that_comes_late(world: &World) {
    world.pass().await;
    strike(world, "PATCH", "salesOrderLines", LATER);
    world.change_lines(1, "UPDATE order_line SET qty = 5 WHERE order_id = 1 AND line_no = 1").await;
    world.pass().await;
    world.change_lines(1, "UPDATE order_line SET qty = 7 WHERE order_id = 1 AND line_no = 1").await;
    world.pass().await;
}

/// A change takes effect after it was taken back: when the row is read, it looks as wanted.
async fn change_that_is_taken_back_while_on_its_way(world: &World) {
    world.pass().await;
    world.source("UPDATE account SET email = 'new@c1.example', version = @VERSION").await;
    strike(world, "PATCH", "customers", LATER);
    die_at_arrival_of_write(world, 1).await;
    world.source("UPDATE account SET email = 'office@c1.example', version = @VERSION").await;
    world.pass().await;
}
