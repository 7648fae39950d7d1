//! The units, as systemd reads them.

use std::path::Path;
use std::process::Command;

/// What `systemd-analyze` says about the services, offline. Where it is not installed, that is said and fails in CI.
#[test]
fn services_expose_no_more_than_they_must() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    for unit in ["bcsync.service", "bcsync-run.service"] {
        let mut analyze = Command::new("systemd-analyze");
        let analyze =
            analyze.args(["security", "--no-pager", "--offline=true", "--threshold=11"]).arg(units.join(unit));
        match analyze.output() {
            Ok(output) => {
                assert!(output.status.success(), "{unit}: {}", String::from_utf8_lossy(&output.stdout));
            }
            Err(error) if std::env::var_os("CI").is_none() => eprintln!("not run: systemd-analyze: {error}"),
            Err(error) => panic!("systemd-analyze: {error}"),
        }
    }
}

/// The timer's service is hardened as the daemon's is.
#[test]
fn both_services_are_hardened_alike() {
    let hardening = |unit: &str| {
        let (_, rest) = unit.split_once("\nUser=bcsync\n").unwrap();
        rest.split("\n[Install]").next().unwrap().trim_end().to_owned()
    };
    let (daemon, run) =
        (include_str!("../../../systemd/bcsync.service"), include_str!("../../../systemd/bcsync-run.service"));
    assert_eq!(hardening(daemon), hardening(run));
}
