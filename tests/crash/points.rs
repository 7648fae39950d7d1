//! Killed at every named point, twenty times each, and again while the next process recovers.
//!
//! Before each death there is something of everything to do: rows to make and to change on both sides, requests whose
//! answer was lost, one that is done late.

use bcsync::fault::POINTS;
use bcsync::simulator::{Fault, FaultKind};
use futures_util::{StreamExt as _, stream};
use rustix::process::Signal;

use crate::dice::Dice;
use crate::judge::judge;
use crate::wire::Moment;
use crate::world::{World, ended, on, was_killed};

/// How often the process dies at each point.
const DEATHS: u64 = 20;

/// Worlds that live at the same time: each of them waits for late requests most of the time.
const SIDE_BY_SIDE: usize = 4;

/// The points on the wire, where the other end of the connection kills.
const ON_THE_WIRE: [(&str, Moment); 4] = [
    ("K6: request partly sent", Moment::PartlyArrived),
    ("K7: request sent, nothing done yet", Moment::AllButArrived),
    ("K8: done, answer on its way", Moment::Answered),
    ("K9: half of the answer read", Moment::PartlyAnswered),
];

/// Points that a process passes before it has anything to do with what is in the ledger.
fn is_first_start(point: &str) -> bool {
    point == "K0: inside a migration"
}

/// A world in which everything was synced once.
async fn synced_world() -> World {
    let world = World::with_wire(12, 12).await;
    world.pass().await;
    world
}

/// Leaves something of everything to do for the next pass.
async fn make_work(world: &mut World, dice: &mut Dice) {
    for _ in 0..5 {
        world.edit_source(dice).await;
    }
    let (account, order, value) = (dice.one_of(world.accounts), dice.one_of(world.orders), dice.roll(1_000));
    world
        .source(&format!("UPDATE account SET email = '{value}@all.example', version = @VERSION WHERE id = {account}"))
        .await;
    world.change_lines(order, &format!("UPDATE order_line SET qty = {} WHERE order_id = {order}", 1 + value)).await;
    world.add_orders(1).await;
    world.edit_target(dice);
    world.add_accounts(1).await;
    // Not done, which is found out by reading back, then told of all of a request, then of one operation. These come first,
    // since only one fault at a time strikes a request.
    let unheard = FaultKind::Drop { committed: false, after_operations: 0 };
    let throttled = FaultKind::Status { status: 429, retry_after: Some(0), committed: false };
    for kind in [unheard, throttled, FaultKind::Deadlock] {
        world.simulator.inject(Fault::once(kind, on("POST", "customers")));
    }
    let late = FaultKind::LateCommit { min_ms: 50, max_ms: 300, answer: None, silent: false };
    let lost = [true, false].map(|committed| FaultKind::Drop { committed, after_operations: 0 });
    for (method, set) in [("POST", "salesOrders"), ("PATCH", "customers"), ("PATCH", "salesOrderLines")] {
        let kind = lost.get(usize::try_from(dice.roll(3)).unwrap()).unwrap_or(&late);
        world.simulator.inject(Fault::once(kind.clone(), on(method, set)));
    }
}

/// Lets a pass die at a point; `false` when it came to its end without passing it so often.
async fn die(world: &World, point: &str, nth: u64) -> bool {
    let wire = world.wire.as_ref().unwrap();
    if point.starts_with("K16") {
        wire.signal_at(Signal::TERM, Moment::Arrived, 1);
    }
    let status = match ON_THE_WIRE.iter().find(|(name, _)| *name == point) {
        Some((_, moment)) => {
            wire.signal_at(Signal::KILL, *moment, usize::try_from(nth).unwrap());
            ended(world.start(&[], &[])).await
        }
        None => world.run(&[], &[("BCSYNC_CRASH_AT", &format!("{point}#{nth}"))]).await,
    };
    wire.disarm();
    assert!(
        was_killed(status) || status.code().is_some_and(|code| code < 2 || code == 143),
        "{status}: {}",
        world.said()
    );
    was_killed(status)
}

async fn judged(world: &World, after: &str) {
    let verdict = judge(world).await;
    assert!(verdict.is_clean(), "after {after}:\n{verdict}\n{}", world.said());
}

/// Dies at `point` often, in one world, or in a new one each time where only a first start comes by.
async fn die_often_at(point: &str) {
    let mut dice = Dice::new(u64::try_from(point.len()).unwrap());
    let mut world = if is_first_start(point) { World::with_wire(3, 3).await } else { synced_world().await };
    for death in 0..DEATHS {
        if is_first_start(point) {
            world = World::with_wire(3, 3).await;
        } else {
            make_work(&mut world, &mut dice).await;
        }
        // Not always the first time it comes by, if it comes by more than once.
        let mut died = die(&world, point, if is_first_start(point) { 1 } else { 1 + death % 3 }).await;
        if is_first_start(point) {
            let tables = world.ledger("SELECT name FROM sqlite_schema WHERE type = 'table'").await;
            assert_eq!(tables, ["_sqlx_migrations"], "it did not die inside the first migration");
        }
        if !died {
            make_work(&mut world, &mut dice).await;
            died = die(&world, point, 1).await;
        }
        assert!(died, "no process came by {point:?}: {}", world.said());
        if death % 4 == 0 {
            world.pass().await;
        }
        judged(&world, &format!("death {death} at {point:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_point_twenty_times() {
    stream::iter(POINTS).for_each_concurrent(SIDE_BY_SIDE, |point| die_often_at(point)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_from_the_other_end_of_the_wire_twenty_times() {
    stream::iter(ON_THE_WIRE).for_each_concurrent(SIDE_BY_SIDE, |(point, _)| die_often_at(point)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_while_recovering() {
    let mut dice = Dice::new(15);
    let mut world = synced_world().await;
    let first =
        POINTS.iter().filter(|point| ["K4", "K5", "K10", "K11", "K12"].iter().any(|name| point.starts_with(name)));
    for first in first.copied().chain(ON_THE_WIRE.map(|(point, _)| point)) {
        for second in POINTS.iter().filter(|point| point.starts_with("K15")) {
            make_work(&mut world, &mut dice).await;
            assert!(die(&world, first, 1).await, "no process came by {first:?}: {}", world.said());
            make_work(&mut world, &mut dice).await;
            assert!(die(&world, second, 1).await, "no process came by {second:?} after {first:?}: {}", world.said());
            judged(&world, &format!("{first:?}, then {second:?}")).await;
        }
    }
}
