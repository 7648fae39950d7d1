//! What is left when the real process is killed: at every named point, at random instants, and by a power cut.
//!
//! The executable runs with the feature `fault`; Business Central is a simulator inside the test, which lives on. After
//! every scenario a judge compares both sides and reads the ledger: no row twice, nothing lost, nobody's edit
//! overwritten, nothing open, nothing more to send. That the judge would notice is shown by mutants of the protocol.
//!
//! `cargo test --features fault --test crash`; how many random kills: `BCSYNC_KILLS=10000`, see `kills.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands, helpers included")]

mod dice;
mod judge;
mod kills;
mod mutants;
mod people;
mod points;
mod power;
#[path = "../it/process.rs"]
#[expect(dead_code, reason = "shared with tests/it, which uses all of it")]
mod process;
mod wire;
mod world;
