//! Random histories of a CRM, of the people in Business Central, and of everything that can go wrong between the two.
//!
//! proptest draws sequences of steps: edits, reverts and deletions in the source, people at work in Business Central,
//! faults on the way, passes that end well or are cut off at any await point, clocks that jump. `model` is what the
//! source holds, `world` the real program between a real SQLite source, a real ledger and the simulator, `company` what
//! happens in Business Central, `people` what belongs to a person, `verdict` what must hold after each step and in the end.
//!
//! `PROPTEST_CASES=10000 cargo test --test property` is the long run. Histories that failed are kept in
//! `proptest-regressions`, beside this file, and are tried first.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands, helpers included")]

mod company;
mod model;
mod people;
mod verdict;
mod world;

use proptest::test_runner::{Config, FileFailurePersistence};
use proptest_state_machine::{StateMachineTest, prop_state_machine};

use model::{History, Source, Step};
use world::World;

/// The program against the model; its passes read what changed since the cursor, or everything.
struct Program<const CURSOR: bool>;

impl<const CURSOR: bool> StateMachineTest for Program<CURSOR> {
    type SystemUnderTest = World;
    type Reference = History<CURSOR>;

    fn init_test(source: &Source) -> World {
        World::new(source)
    }

    fn apply(mut world: World, source: &Source, step: Step) -> World {
        world.take(source, &step);
        world
    }

    fn check_invariants(world: &World, source: &Source) {
        verdict::after_a_step(world, source);
    }

    fn teardown(mut world: World, source: Source) {
        verdict::in_the_end(&mut world, &source);
    }
}

fn config() -> Config {
    let default = Config::default();
    Config {
        // Half of them for each of the two tests, which run side by side.
        cases: default.cases.div_ceil(2),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/property/proptest-regressions"))),
        // Each attempt to make a failing history shorter is a history of its own.
        max_shrink_iters: 400,
        ..default
    }
}

prop_state_machine! {
    #![proptest_config(config())]

    #[test]
    fn nothing_is_doubled_lost_or_overwritten(sequential 1..60 => Program<false>);

    #[test]
    fn nor_is_it_when_only_changes_are_read(sequential 1..60 => Program<true>);
}
