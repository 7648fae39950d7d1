//! Killed at random instants of passes over 500 customers and 500 orders with lines.
//!
//! Each ledger lives through [`KILLS_PER_LEDGER`] kills, during which both sides go on being edited, many of the
//! requests that create rows take effect late or without their answer arriving, and others are throttled, refused and
//! cut off. Then it is judged, and the next one begins. What is edited, what goes wrong and after how long a pass is
//! killed is drawn from the number of the ledger. What a pass has come to by then is up to the machine: a ledger lives
//! a similar life when it is begun again, not the same.
//!
//! 500 kills, or as many as `BCSYNC_KILLS` says, rounded up to whole ledgers; `BCSYNC_KILLS_BEFORE` is how many were made
//! before, to go on behind them. A line of figures is printed after every thousand and at the end, where enough of
//! everything must have happened. The folder of a ledger that fails is kept; where it is and how to begin that ledger
//! again is said.

use std::fmt;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::pin;
use std::time::Duration;

use bcsync::simulator::{Fault, FaultKind};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::dice::Dice;
use crate::judge::{Verdict, judge};
use crate::people::Edits;
use crate::world::{World, ended, ended_well, on, was_killed};

/// Kills that one ledger lives through.
const KILLS_PER_LEDGER: u64 = 50;

/// Kills after which figures are printed.
const KILLS_PER_LINE: u64 = 1_000;

/// From so many kills on, everything that is left to chance must have happened.
const MANY_KILLS: u64 = 500;

/// Ledgers that live at the same time.
const SIDE_BY_SIDE: usize = 3;

/// Records of each kind that a ledger begins with.
const RECORDS: i64 = 500;

/// The settle window is 2 s; late requests take effect within nine tenths of it.
const LATEST_MS: u64 = 1_800;

/// A request that creates rows is late with this probability. That of a customer is mostly found undone and sent again
/// before it takes effect, and refused when it does; that of an order, whose number nobody enforces, is waited for.
const LATE: [(&str, f64); 2] = [("customers", 0.1), ("salesOrders", 0.2)];

/// What is expected of a pass before one was measured.
const FIRST_GUESS: Duration = Duration::from_millis(1_500);

/// What was done and what was found.
#[derive(Debug, Default)]
struct Figures {
    kills: u64,
    /// Kills that left requests whose outcome was open.
    left_intents: u64,
    /// Passes that came to their end before they could be killed.
    ended: u64,
    creates: u64,
    /// Of these: by requests that took effect after their client had been told otherwise.
    late_creates: u64,
    /// Requests that were to be late, whatever came of them.
    late_requests: u64,
    committed_and_dropped: u64,
    /// Requests answered with these by the gateway.
    throttled: u64,
    unavailable: u64,
    timed_out: u64,
    /// Of any kind.
    faults: u64,
    edits_in_source: u64,
    edits_by_people: u64,
    /// Of these: where the source was edited last.
    edits_on_both_sides: u64,
    /// Operations that were refused because a person had changed the row.
    stale: u64,
    /// Records that were in conflict.
    conflicts: u64,
    duplicates: usize,
    lost: usize,
    overwritten: usize,
    unresolved: usize,
    unsound: usize,
}

impl Figures {
    fn found(&mut self, verdict: &Verdict) {
        self.duplicates += verdict.duplicates.len();
        self.lost += verdict.lost.len();
        self.overwritten += verdict.overwritten.len();
        self.unresolved += verdict.unresolved.len();
        self.unsound += verdict.unsound.len();
    }

    fn add(&mut self, more: &Self) {
        self.kills += more.kills;
        self.left_intents += more.left_intents;
        self.ended += more.ended;
        self.creates += more.creates;
        self.late_creates += more.late_creates;
        self.late_requests += more.late_requests;
        self.committed_and_dropped += more.committed_and_dropped;
        self.throttled += more.throttled;
        self.unavailable += more.unavailable;
        self.timed_out += more.timed_out;
        self.faults += more.faults;
        self.edits_in_source += more.edits_in_source;
        self.edits_by_people += more.edits_by_people;
        self.edits_on_both_sides += more.edits_on_both_sides;
        self.stale += more.stale;
        self.conflicts += more.conflicts;
        self.duplicates += more.duplicates;
        self.lost += more.lost;
        self.overwritten += more.overwritten;
        self.unresolved += more.unresolved;
        self.unsound += more.unsound;
    }

    /// Fails when something was spared: then nothing was shown about it.
    fn spared_nothing(&self) {
        let happened = [
            self.committed_and_dropped,
            self.throttled,
            self.unavailable,
            self.timed_out,
            self.edits_in_source,
            self.edits_on_both_sides,
            self.stale,
            self.conflicts,
        ];
        assert!(happened.iter().all(|count| *count > 0), "something never happened: {self}");
        assert!(self.late_creates * 20 >= self.creates, "fewer than 5 % of the creates took effect late: {self}");
        assert!(self.left_intents * 20 >= self.kills, "fewer than 5 % of the kills left an open intent: {self}");
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, left_intents, ended, creates, late_creates, late_requests, committed_and_dropped, .. } = self;
        let Self { throttled, unavailable, timed_out, faults, stale, conflicts, .. } = self;
        let Self { edits_in_source, edits_by_people, edits_on_both_sides, .. } = self;
        let Self { duplicates, lost, overwritten, unresolved, unsound, .. } = self;
        write!(
            formatter,
            "{kills} kills of which {left_intents} left open intents, {ended} undisturbed passes, {creates} creates of \
             which {late_creates} took effect late, {late_requests} late requests, {committed_and_dropped} done and \
             dropped, {faults} faults ({throttled} of them 429, {unavailable} 503, {timed_out} 504), {edits_in_source} \
             edits in the source, {edits_by_people} by people, {edits_on_both_sides} of them to what the source had \
             changed last, {stale} refused as stale, {conflicts} conflicts: {duplicates} duplicates, {lost} lost, \
             {overwritten} overwritten, {unresolved} unresolved, {unsound} unsound"
        )
    }
}

/// The faults of one pass.
fn arm(world: &World, dice: &mut Dice) {
    let status = |status, committed| FaultKind::Status { status, retry_after: None, committed };
    for (set, probability) in LATE {
        let answer = [None, Some(504)][usize::from(dice.roll(2) == 0)];
        let late = FaultKind::LateCommit { min_ms: 1, max_ms: LATEST_MS, answer, silent: false };
        world.simulator.inject(Fault::with_probability(late.clone(), on("POST", set), probability));
        world.simulator.inject(Fault::with_probability(late, on("PATCH", set), 0.05));
    }
    for _ in 0..2 {
        let set = ["customers", "salesOrders", "salesOrderLines"][usize::try_from(dice.roll(3)).unwrap()];
        let committed = dice.roll(2) == 0;
        let kind = match dice.roll(10) {
            0 => status(504, committed),
            1 => status(502, committed),
            2 => status(503, committed),
            3 => status(429, false),
            4 => FaultKind::Drop { committed: false, after_operations: usize::try_from(dice.roll(20)).unwrap() },
            5 => FaultKind::CutBody,
            6 => FaultKind::MalformedJson,
            7 => FaultKind::MissingEntry,
            8 => FaultKind::Lock,
            _ => FaultKind::Deadlock,
        };
        let method = ["POST", "PATCH", "GET"][usize::try_from(dice.roll(3)).unwrap()];
        world.simulator.inject(Fault { times: Some(2), ..Fault::with_probability(kind, on(method, set), 0.3) });
    }
}

/// Arms what is done and never answered, a few times in a pass; gives how often it may strike.
fn arm_dropping(world: &World) -> u64 {
    for set in ["customers", "salesOrders"] {
        let kind = FaultKind::Drop { committed: true, after_operations: 0 };
        world.simulator.inject(Fault { times: Some(3), ..Fault::with_probability(kind, on("POST", set), 0.2) });
    }
    6
}

/// How often what [`arm_dropping`] armed may still strike.
fn left_to_drop(world: &World) -> u64 {
    let drops = |fault: &&Fault| matches!(fault.kind, FaultKind::Drop { committed: true, .. });
    world.simulator.faults().iter().filter(drops).filter_map(|fault| fault.times).map(u64::from).sum()
}

/// A share of the length of a pass after which something happens: anywhere in it, or mostly near its beginning.
fn instant(dice: &mut Dice, pass: Duration) -> Duration {
    let longest = pass.mul_f64(1.2);
    if dice.roll(2) == 0 {
        longest.mul_f64(dice.fraction())
    } else {
        Duration::from_millis(1).mul_f64(longest.as_secs_f64().mul_add(1_000.0, 1.0).powf(dice.fraction()))
    }
}

/// How a pass ended.
enum End {
    Killed,
    /// By itself, after so long.
    Itself(Duration),
}

/// One pass that is killed at `instant` unless it ends before; both sides are edited meanwhile.
async fn killed_pass(world: &mut World, dice: &mut Dice, instant: Duration) -> End {
    let mut edits = [instant.mul_f64(dice.fraction()), instant.mul_f64(dice.fraction())];
    edits.sort();
    let process = world.start(&[], &[]);
    let pid = Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap();
    let started = Instant::now();
    let mut end = pin!(ended(process));
    for at in edits.map(Some).into_iter().chain([None]) {
        // The one place where it is tested that time passes.
        tokio::select! {
            status = &mut end => {
                assert!(ended_well(status), "a pass ended with {status}: {}", world.said());
                return End::Itself(started.elapsed());
            }
            () = tokio::time::sleep_until(started + at.unwrap_or(instant)) => {}
        }
        if at.is_none() {
            break;
        }
        if dice.roll(2) == 0 {
            world.edit_source(dice).await;
        } else {
            world.edit_target(dice);
        }
    }
    // It is gone only when it ended by itself in this very moment.
    let _ = kill_process(pid, Signal::KILL);
    let status = end.await;
    if was_killed(status) {
        return End::Killed;
    }
    assert!(ended_well(status), "a pass ended with {status}: {}", world.said());
    End::Itself(started.elapsed())
}

/// The life of one ledger, which is kept when something is wrong with it.
async fn life(number: u64) -> Figures {
    let mut world = World::seeded(RECORDS, RECORDS, number).await;
    match AssertUnwindSafe(live(&mut world, number)).catch_unwind().await {
        Ok(figures) => figures,
        Err(failure) => {
            say(&format!(
                "ledger {number} failed; everything of it is kept in {}. To begin it again: BCSYNC_KILLS={KILLS_PER_LEDGER} \
                 BCSYNC_KILLS_BEFORE={} cargo test --features fault --test crash random",
                world.keep().display(),
                number * KILLS_PER_LEDGER
            ));
            resume_unwind(failure);
        }
    }
}

async fn live(world: &mut World, number: u64) -> Figures {
    let mut figures = Figures::default();
    let mut dice = Dice::new(number);
    world.simulator.configure(|settings| settings.request_ms = 2);
    let mut pass = FIRST_GUESS;
    let mut killed = 0;
    while killed < KILLS_PER_LEDGER {
        for _ in 0..dice.roll(6) {
            world.edit_source(&mut dice).await;
        }
        if dice.roll(2) == 0 {
            world.edit_target(&mut dice);
        }
        let droppable = arm_dropping(world);
        arm(world, &mut dice);
        let instant = instant(&mut dice, pass);
        match killed_pass(world, &mut dice, instant).await {
            End::Killed => {
                killed += 1;
                figures.left_intents += u64::from(world.has_open_intents().await);
                pass = pass.mul_f64(1.02);
            }
            End::Itself(lasted) => {
                figures.ended += 1;
                pass = (pass + lasted) / 2;
            }
        }
        // The next one begins while requests of this one are still on their way.
        figures.committed_and_dropped += droppable - left_to_drop(world);
        world.simulator.clear_faults();
    }
    figures.kills += killed;
    world.simulator.settled().await;
    let verdict = {
        let stats = world.simulator.stats();
        let struck = |kind: &str| stats.struck.get(kind).copied().unwrap_or_default();
        figures.faults = stats.faults;
        figures.late_requests = struck("late_commit");
        [figures.throttled, figures.unavailable, figures.timed_out] = ["429", "503", "504"].map(struck);
        figures.late_creates = stats.late_creates;
        figures.creates = stats.sets.values().map(|set| set.creates).sum();
        figures.stale = stats.stale;
        judge(world).await
    };
    let Edits { in_source, by_people, on_both_sides } = world.edits;
    figures.edits_in_source = in_source;
    figures.edits_by_people = by_people;
    figures.edits_on_both_sides = on_both_sides;
    let conflicts = "SELECT DISTINCT job_id, key FROM change WHERE outcome = 'conflict'";
    figures.conflicts = world.ledger(conflicts).await.len() as u64;
    figures.found(&verdict);
    assert!(verdict.is_clean(), "ledger {number}, after {killed} kills; {figures}\n{verdict}\n{}", world.said());
    figures
}

fn asked(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{variable}: a number")))
}

/// Says it also when the test passes.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_instants() {
    let (kills, before) = (asked("BCSYNC_KILLS", 500), asked("BCSYNC_KILLS_BEFORE", 0));
    let begun = Instant::now();
    let mut all = Figures::default();
    while all.kills < kills {
        let first = (before + all.kills) / KILLS_PER_LEDGER;
        let ledgers = (kills - all.kills).min(KILLS_PER_LINE).div_ceil(KILLS_PER_LEDGER);
        let mut lives = stream::iter(first..first + ledgers).map(life).buffer_unordered(SIDE_BY_SIDE);
        let mut line = Figures::default();
        while let Some(figures) = lives.next().await {
            line.add(&figures);
        }
        all.add(&line);
        say(&format!("random kills from {}: {line}; {} s", first * KILLS_PER_LEDGER, begun.elapsed().as_secs()));
    }
    say(&format!("random kills in all: {all}; {} s", begun.elapsed().as_secs()));
    if all.kills >= MANY_KILLS {
        all.spared_nothing();
    }
}
