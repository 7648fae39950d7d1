//! Crash points and mutants are in no build but the one for crash tests.

use std::fs;

/// All names of crash points and mutants, as the source lists them, and the variables that choose one.
fn names() -> Vec<&'static str> {
    let source = include_str!("../../src/fault.rs");
    let listed = |line: &'static str| line.strip_prefix("        \"")?.strip_suffix("\",");
    source.lines().filter_map(listed).chain(["BCSYNC_CRASH_AT", "BCSYNC_MUTANT"]).collect()
}

#[test]
fn only_the_build_for_crash_tests_knows_crash_points_and_mutants() {
    let names = names();
    assert!(names.len() > 30, "{names:?}");
    let binary = fs::read(env!("CARGO_BIN_EXE_bcsync")).unwrap();
    let binary = String::from_utf8_lossy(&binary);
    for name in names {
        let found = binary.contains(name);
        assert_eq!(found, cfg!(feature = "fault"), "{name:?}");
    }
}
