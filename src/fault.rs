//! Named crash points and mutants: nothing at all, unless the non-default feature `fault` is on.
//!
//! [`fault!`](crate::fault!) marks an instant at which the process may die without harm, [`mutant!`](crate::mutant!) a
//! decision that the tests take the other way to see that they would notice. All names stand in this file, so that a
//! test can go through them. In a build without the feature neither the names nor the checks are in the binary.

/// Marks a crash point: `fault!("K12: settled")`.
///
/// With the feature `fault`, the environment variable `BCSYNC_CRASH_AT=NAME[#N]` makes the process end itself with
/// `SIGKILL` when it passes the point for the `N`th time.
#[cfg(feature = "fault")]
#[macro_export]
macro_rules! fault {
    ($name:literal) => {
        $crate::fault::pass($name)
    };
}

/// Marks a crash point in the build for crash tests, and nothing in this one.
#[cfg(not(feature = "fault"))]
#[macro_export]
macro_rules! fault {
    ($name:literal) => {};
}

/// Whether a decision is to be taken wrongly: `if mutant!("no If-Match") { .. }`.
///
/// With the feature `fault`, the environment variable `BCSYNC_MUTANT=NAME` says so.
#[cfg(feature = "fault")]
#[macro_export]
macro_rules! mutant {
    ($name:literal) => {
        $crate::fault::is_mutant($name)
    };
}

/// Takes a decision wrongly in the build for crash tests, and never in this one.
#[cfg(not(feature = "fault"))]
#[macro_export]
macro_rules! mutant {
    ($name:literal) => {
        false
    };
}

#[cfg(feature = "fault")]
pub use armed::{MUTANTS, POINTS, is_mutant, pass};

#[cfg(feature = "fault")]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    /// All crash points, in the order in which a pass comes by. Those on the wire (K6 to K9: a request partly sent, sent,
    /// done, half answered) are not in this program; the tests kill it from the other end of the connection.
    pub const POINTS: &[&str] = &[
        "K0: locked, nothing opened",
        "K0: inside a migration",
        "K0: migrated, no trace beside the file",
        "K0: migrated, epoch not counted",
        "K17: token received, not kept",
        "K1: page read",
        "K2: page mapped",
        "K2: inside the staging transaction",
        "K2: staged, with the cursor",
        "K3: read to the end",
        "K15: open intents found, nothing read back",
        "K15: read back, nothing concluded",
        "K15: concluded, not stored",
        "K15: inside the removal of intents",
        "K15: one record resolved",
        "K3: writes prepared",
        "K4: inside the intent transaction",
        "K5: intents committed, nothing sent",
        "K10: answer understood, nothing settled",
        "K10: inside the removal of refused intents",
        "K11: inside the settling transaction",
        "K12: settled",
        "K13: applied, run open",
        "K14: inside the pruning of history",
        "K14: before the log is folded in",
        "K14: log folded in",
        "K14: copy written, not named",
        "K16: asked to stop",
        "K17: half of another configuration in force",
    ];

    /// All mutants: each takes back one rule of the protocol.
    pub const MUTANTS: &[&str] = &[
        "intent after send",
        "no settle window",
        "no If-Match",
        "fast path without the outbox",
        "503 to a write means not done",
        "invoices before orders",
        "parts of a failed transaction count",
        "an open write is sent again",
        "no unique match value",
        "line changes without a fence",
        "an open change is settled by reading",
    ];

    static WANTED: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let wanted = std::env::var("BCSYNC_CRASH_AT").ok()?;
        match wanted.split_once('#') {
            Some((point, nth)) => Some((point.to_owned(), nth.parse().ok()?)),
            None => Some((wanted, 1)),
        }
    });

    static MUTANT: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("BCSYNC_MUTANT").ok());

    /// Kills the process when the environment asks for it at this point.
    ///
    /// # Panics
    /// When the point is not listed.
    pub fn pass(name: &str) {
        static HITS: AtomicU64 = AtomicU64::new(0);
        assert!(POINTS.contains(&name), "the crash point {name:?} is not in the list");
        let Some((point, nth)) = WANTED.as_ref() else { return };
        if point == name && HITS.fetch_add(1, Ordering::SeqCst) + 1 == *nth {
            // No destructor runs and nothing is flushed, as in a real crash. The signal is delivered before the call
            // returns; nothing behind this point is ever executed.
            let _ = kill_process(getpid(), Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }

    /// Whether the environment names this mutant.
    ///
    /// # Panics
    /// When the mutant is not listed.
    #[must_use]
    pub fn is_mutant(name: &str) -> bool {
        assert!(MUTANTS.contains(&name), "the mutant {name:?} is not in the list");
        MUTANT.as_deref() == Some(name)
    }
}
