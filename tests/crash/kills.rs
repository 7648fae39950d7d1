//! Killed at random instants of passes over 500 customers and 500 orders with lines.
//!
//! Each ledger lives through [`KILLS_PER_LEDGER`] kills, during which both sides go on being edited, a tenth of the
//! requests that create rows take effect late or without their answer arriving, and others are throttled, refused and
//! cut off. Then it is judged, and the next one begins. Everything random follows from the number of the ledger.
//!
//! 500 kills, or as many as `BCSYNC_KILLS` says, rounded up to whole ledgers; `BCSYNC_KILLS_BEFORE` is how many were made
//! before, to go on behind them. A line of figures is printed after every thousand and at the end, where enough of
//! everything must have happened. The folder of a ledger that fails is kept, and where it is is said.

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

/// What is expected of a pass before one was measured.
const FIRST_GUESS: Duration = Duration::from_millis(1_500);

/// What was done and what was found.
#[derive(Debug, Default)]
struct Figures {
    kills: u64,
    /// That came to their end before they could be killed.
    ended: u64,
    creates: u64,
    late_creates: u64,
    committed_and_dropped: u64,
    /// Of any kind.
    faults: u64,
    edits_in_source: u64,
    edits_by_people: u64,
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
        self.ended += more.ended;
        self.creates += more.creates;
        self.late_creates += more.late_creates;
        self.committed_and_dropped += more.committed_and_dropped;
        self.faults += more.faults;
        self.edits_in_source += more.edits_in_source;
        self.edits_by_people += more.edits_by_people;
        self.duplicates += more.duplicates;
        self.lost += more.lost;
        self.overwritten += more.overwritten;
        self.unresolved += more.unresolved;
        self.unsound += more.unsound;
    }

    /// Fails when something was spared: then nothing was shown about it.
    fn spared_nothing(&self) {
        let happened = [self.late_creates, self.committed_and_dropped, self.edits_in_source, self.edits_by_people];
        assert!(happened.iter().all(|count| *count > 0), "something never happened: {self}");
        assert!(self.late_creates * 20 >= self.creates, "fewer than 5 % of the creates were late: {self}");
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, ended, creates, late_creates, committed_and_dropped, faults, .. } = self;
        let Self { edits_in_source, edits_by_people, duplicates, lost, overwritten, unresolved, unsound, .. } = self;
        write!(
            formatter,
            "{kills} kills, {ended} undisturbed passes, {creates} creates of which {late_creates} late, \
             {committed_and_dropped} done and dropped, {faults} faults, {edits_in_source} edits in the source, \
             {edits_by_people} by people: {duplicates} duplicates, {lost} lost, {overwritten} overwritten, \
             {unresolved} unresolved, {unsound} unsound"
        )
    }
}

/// The faults of one pass.
fn arm(world: &World, dice: &mut Dice) {
    let status = |status, committed| FaultKind::Status { status, retry_after: None, committed };
    for set in ["customers", "salesOrders"] {
        let answer = [None, Some(504)][usize::from(dice.roll(2) == 0)];
        let late = FaultKind::LateCommit { min_ms: 1, max_ms: LATEST_MS, answer, silent: false };
        world.simulator.inject(Fault::with_probability(late.clone(), on("POST", set), 0.1));
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
async fn killed_pass(world: &mut World, dice: &mut Dice, instant: Duration, figures: &mut Figures) -> End {
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
            figures.edits_in_source += 1;
        } else {
            world.edit_target(dice);
            figures.edits_by_people += 1;
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
    let mut world = World::new(RECORDS, RECORDS).await;
    match AssertUnwindSafe(live(&mut world, number)).catch_unwind().await {
        Ok(figures) => figures,
        Err(failure) => {
            say(&format!("ledger {number} failed; everything of it is kept in {}", world.keep().display()));
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
            figures.edits_in_source += 1;
        }
        if dice.roll(2) == 0 {
            world.edit_target(&mut dice);
            figures.edits_by_people += 1;
        }
        let droppable = arm_dropping(world);
        arm(world, &mut dice);
        let instant = instant(&mut dice, pass);
        match killed_pass(world, &mut dice, instant, &mut figures).await {
            End::Killed => {
                killed += 1;
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
        figures.faults += stats.faults;
        figures.late_creates += stats.late_creates;
        figures.creates += stats.sets.values().map(|set| set.creates).sum::<u64>();
        judge(world).await
    };
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
