//! Killed at every named point, twenty times each, and again while the next process recovers.
//!
//! Before each death there is something of everything to do: rows to make and to change on both sides, requests whose
//! answer was lost, one that is done late, history that is to be removed.

use bcsync::fault::POINTS;
use bcsync::simulator::{Fault, FaultKind};
use futures_util::{StreamExt as _, stream};
use rustix::process::Signal;
use sqlx::sqlite::SqliteConnectOptions;

use crate::dice::Dice;
use crate::judge::judge;
use crate::wire::Moment;
use crate::world::{World, ended, on, rows_of, was_killed};

/// How often the process dies at each point.
const DEATHS: u64 = 20;

/// Passes within which one comes by each point.
const ATTEMPTS: usize = 5;

/// Worlds that live at the same time: each of them waits for late requests most of the time.
const SIDE_BY_SIDE: usize = 4;

/// The points on the wire, where the other end of the connection kills.
const ON_THE_WIRE: [(&str, Moment); 4] = [
    ("K6: request partly sent", Moment::PartlyArrived),
    ("K7: request sent, nothing done yet", Moment::AllButArrived),
    ("K8: done, answer on its way", Moment::Answered),
    ("K9: half of the answer read", Moment::PartlyAnswered),
];

/// Points that no pass comes by, but a copy of the ledger and a daemon that is told of another configuration.
const COPY: &str = "K14: copy written, not named";
const RELOAD: &str = "K17: half of another configuration in force";

/// A pass comes by here when requests that were lost cannot be done any more.
const REMOVAL: &str = "K15: inside the removal of intents";

/// A pass comes by here again when its token is refused.
const TOKEN: &str = "K17: token received, not kept";

/// The points that leave a request without a known outcome.
const LEAVE_INTENTS: [&str; 4] = [
    "K5: intents committed, nothing sent",
    "K10: answer understood, nothing settled",
    "K10: inside the removal of refused intents",
    "K11: inside the settling transaction",
];

/// Points that a process passes before it has anything to do with what is in the ledger.
fn is_first_start(point: &str) -> bool {
    point == "K0: inside a migration"
}

/// A world in which everything was synced once, and history does not last.
async fn synced_world() -> World {
    let mut world = World::with_wire(12, 12).await;
    world.reconfigure("[ledger]\n", "[ledger]\nkeep_history = \"1ms\"\n");
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
            if point == TOKEN {
                world.simulator.inject(Fault::once(FaultKind::RevokeTokens, on("POST", "customers")));
            }
            make_work(&mut world, &mut dice).await;
        }
        // Not always the first time it comes by, if it comes by more than once.
        let nth = match point {
            // The first one is fetched before there is anything to lose.
            TOKEN => 2,
            _ if is_first_start(point) => 1,
            _ => 1 + death % 3,
        };
        let mut died = die(&world, point, nth).await;
        if is_first_start(point) {
            let tables = world.ledger("SELECT name FROM sqlite_schema WHERE type = 'table'").await;
            assert_eq!(tables, ["_sqlx_migrations"], "it did not die inside the first migration");
        }
        // Some points are passed only after certain faults, which are drawn, and when their windows have passed.
        let mut attempts = if point == TOKEN { 0 } else { ATTEMPTS };
        while !died && attempts > 0 {
            attempts -= 1;
            world.let_windows_pass().await;
            // An order that is not made, so that the next attempt gives its create up.
            let unheard = FaultKind::Drop { committed: false, after_operations: 0 };
            world.simulator.inject(Fault::once(unheard, on("POST", "salesOrders")));
            make_work(&mut world, &mut dice).await;
            died = die(&world, point, 1).await;
        }
        if point == "K14: inside the pruning of history" {
            let old = "SELECT run_id FROM run WHERE run_id NOT IN (SELECT max(run_id) FROM run GROUP BY job_id)";
            assert!(!world.ledger(old).await.is_empty(), "nothing was to be removed");
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
    let points = POINTS.iter().filter(|point| ![COPY, RELOAD].contains(point));
    stream::iter(points).for_each_concurrent(SIDE_BY_SIDE, |point| die_often_at(point)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_from_the_other_end_of_the_wire_twenty_times() {
    stream::iter(ON_THE_WIRE).for_each_concurrent(SIDE_BY_SIDE, |(point, _)| die_often_at(point)).await;
}

/// Asked to stop, it sees to its end what it has sent; nobody waits for that.
#[tokio::test(flavor = "multi_thread")]
async fn killed_twenty_times_between_the_signal_to_stop_and_the_end() {
    let mut dice = Dice::new(16);
    let mut world = synced_world().await;
    world.simulator.configure(|settings| settings.request_ms = 5);
    for death in 0..DEATHS {
        make_work(&mut world, &mut dice).await;
        // The request that it waits for is answered.
        world.simulator.clear_faults();
        let at = [Moment::Answered, Moment::PartlyAnswered][usize::try_from(death % 2).unwrap()];
        world.wire.as_ref().unwrap().signals_at([(Signal::TERM, Moment::Arrived), (Signal::KILL, at)], 1);
        let status = ended(world.start(&[], &[])).await;
        world.wire.as_ref().unwrap().disarm();
        assert!(was_killed(status), "{status}: {}", world.said());
        judged(&world, &format!("death {death} at {at:?} after it was asked to stop")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_a_daemon_takes_over_another_configuration() {
    let die = async |death| {
        let mut dice = Dice::new(death);
        let mut world = synced_world().await;
        for job in ["[jobs.customers]\n", "[jobs.orders]\n"] {
            world.reconfigure(job, &format!("{job}schedule = \"* * * * * *\"\n"));
        }
        let daemon = world.start_command("daemon", &["-v"], &[("BCSYNC_CRASH_AT", RELOAD)]);
        world.hears("ready:").await;
        world.reconfigure("batch_size = 20", "batch_size = 3");
        world.reconfigure("email = \"email\"", "email = \"email | lower\"");
        world.wire.as_ref().unwrap().signal_at(Signal::HUP, Moment::Arrived, 1);
        make_work(&mut world, &mut dice).await;
        let status = ended(daemon).await;
        assert!(was_killed(status), "{status}: {}", world.said());
        judged(&world, &format!("death {death} of a daemon that was reloaded")).await;
    };
    stream::iter(0..DEATHS).for_each_concurrent(SIDE_BY_SIDE, die).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_ledger_is_copied() {
    let mut dice = Dice::new(14);
    let mut world = synced_world().await;
    for death in 0..DEATHS {
        // Something is left to do in the ledger that is copied.
        make_work(&mut world, &mut dice).await;
        world.pass().await;
        let copy = world.folder().join(format!("copy-{death}.db"));
        let backup = async |variables: &[(&str, &str)]| {
            ended(world.start_command("backup", &[copy.to_str().unwrap()], variables)).await
        };
        assert!(was_killed(backup(&[("BCSYNC_CRASH_AT", COPY)]).await), "{}", world.said());
        let unfinished = world.folder().join(format!("copy-{death}.db.unfinished"));
        assert!(unfinished.exists() && !copy.exists(), "half a copy under its name");
        assert_eq!(backup(&[]).await.code(), Some(0), "{}", world.said());
        assert!(!unfinished.exists(), "the half copy is still there");
        let copied = |sql| rows_of(SqliteConnectOptions::new().filename(&copy).read_only(true), sql);
        assert_eq!(copied("PRAGMA integrity_check").await, ["ok"]);
        let all =
            "SELECT count(*) FROM link UNION ALL SELECT count(*) FROM outbox UNION ALL SELECT count(*) FROM intent";
        assert_eq!(copied(all).await, world.ledger(all).await);
    }
    judged(&world, "copies").await;
}

/// The first death leaves requests without a known outcome; the second comes while the next process finds them out. Not
/// every outcome comes by every point: what was done is not removed, and what was not is not linked.
#[tokio::test(flavor = "multi_thread")]
async fn killed_again_while_recovering() {
    let mut dice = Dice::new(15);
    let mut world = synced_world().await;
    let firsts: Vec<_> = LEAVE_INTENTS.into_iter().chain(ON_THE_WIRE.map(|(point, _)| point)).collect();
    let seconds: Vec<_> = POINTS.iter().copied().filter(|point| point.starts_with("K15")).collect();
    let mut pairs = Vec::new();
    for &first in &firsts {
        for &second in &seconds {
            // What is settled first need not have been sent.
            let mut left = false;
            for nth in [1, 2, 3, 1, 2, 3] {
                make_work(&mut world, &mut dice).await;
                left = die(&world, first, nth).await && world.has_open_intents().await;
                if left {
                    break;
                }
            }
            assert!(left, "{first:?} left nothing to find out: {}", world.said());
            if second == REMOVAL {
                world.let_windows_pass().await;
            }
            if die(&world, second, 1).await {
                pairs.push((first, second));
            }
            judged(&world, &format!("{first:?}, then {second:?}")).await;
        }
    }
    for first in firsts {
        let after = pairs.iter().filter(|(before, _)| *before == first).count();
        assert!(after > 1, "after {first:?} it died {after} times: {pairs:?}");
    }
    for second in seconds {
        assert!(pairs.iter().any(|(_, after)| *after == second), "it never died at {second:?}: {pairs:?}");
    }
}
