//! Named crash points, empty unless the non-default feature `fault` is on.
//!
//! [`fault!`](crate::fault!) marks the instants at which a process may die without harm. In a build without the feature
//! the macro expands to nothing, and neither the names nor the check are in the binary.

/// Marks a named crash point: `fault!("settle: before commit")`.
///
/// With the feature `fault`, the environment variable `BCSYNC_CRASH_AT=NAME[:N]` makes the process kill itself with
/// `SIGKILL` when it passes the point for the `N`th time.
#[macro_export]
macro_rules! fault {
    ($name:literal) => {
        #[cfg(feature = "fault")]
        $crate::fault::pass($name);
    };
}

/// Kills the process when the environment asks for it at this point.
#[cfg(feature = "fault")]
pub fn pass(name: &str) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static HITS: AtomicU64 = AtomicU64::new(0);
    let Ok(wanted) = std::env::var("BCSYNC_CRASH_AT") else { return };
    let (point, nth) = match wanted.rsplit_once(':') {
        Some((point, nth)) => (point, nth.parse().unwrap_or(1)),
        None => (wanted.as_str(), 1),
    };
    if point == name && HITS.fetch_add(1, Ordering::SeqCst) + 1 == nth {
        // `kill -9` on ourselves: no destructor runs, as in a real crash.
        let _ = std::process::Command::new("kill").arg("-9").arg(std::process::id().to_string()).status();
    }
}
