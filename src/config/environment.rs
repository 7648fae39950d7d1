//! What the configuration takes from the process: variables and groups, behind a trait so that a test can supply its own.

use std::ffi::OsString;
use std::fs;

/// The surroundings that a configuration is loaded in.
pub trait Environment {
    /// The value of an environment variable, if it is set.
    fn variable(&self, name: &str) -> Option<OsString>;

    /// The ids of the groups that the process acts for: its effective group and the supplementary ones.
    fn groups(&self) -> Vec<u32>;
}

/// The process's own surroundings.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }

    /// Read from `/proc/self/status`, since the standard library does not tell. Without it: none, the strict answer.
    fn groups(&self) -> Vec<u32> {
        fs::read_to_string("/proc/self/status").map(|status| groups_in(&status)).unwrap_or_default()
    }
}

/// The effective group and the supplementary ones in the text of a `/proc/PID/status` (proc(5)).
fn groups_in(status: &str) -> Vec<u32> {
    let ids = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>()
    };
    let effective = ids("Gid:").get(1).copied();
    effective.into_iter().chain(ids("Groups:")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_group_and_the_supplementary_ones_are_read() {
        let status = "Name:\tbcsync\nUid:\t1\t1\t1\t1\nGid:\t100\t101\t102\t103\nFDSize:\t64\nGroups:\t4 998 \n";
        assert_eq!(groups_in(status), [101, 4, 998]);
        assert_eq!(groups_in(""), Vec::<u32>::new());
    }
}
