//! What systemd is told.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use super::{PATIENCE, Running};
use crate::bed::bed;

/// systemd's end of the line.
struct Systemd {
    socket: UnixDatagram,
    told: Vec<String>,
}

impl Systemd {
    fn listen(folder: &std::path::Path) -> Self {
        let socket = UnixDatagram::bind(folder.join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self { socket, told: Vec::new() }
    }

    /// Waits until a message that begins so comes.
    fn hears(&mut self, start: &str) -> String {
        let since = Instant::now();
        loop {
            let mut message = [0; 4096];
            if let Ok(length) = self.socket.recv(&mut message) {
                let lines = std::str::from_utf8(&message[..length]).unwrap().lines();
                self.told.extend(lines.map(str::to_owned));
            }
            if let Some(index) = self.told.iter().position(|line| line.starts_with(start)) {
                let line = self.told[index].clone();
                self.told.drain(..=index);
                return line;
            }
            assert!(since.elapsed() < PATIENCE, "no {start} in {:?}", self.told);
        }
    }
}

#[tokio::test]
async fn systemd_is_told_of_every_step() {
    bed(async |bed| {
        bed.configure("[jobs.customers]\n", "[jobs.customers]\nschedule = \"@yearly\"\n");
        let mut systemd = Systemd::listen(bed.folder());
        let daemon = Running::start_with(bed, |command| {
            command.env("NOTIFY_SOCKET", bed.folder().join("notify")).env("WATCHDOG_USEC", "3000000");
        });
        systemd.hears("READY=1");
        assert!(systemd.hears("STATUS=").starts_with("STATUS=idle, next customers at 20"));
        systemd.hears("WATCHDOG=1");
        systemd.hears("WATCHDOG=1");
        daemon.signal("HUP");
        systemd.hears("RELOADING=1");
        systemd.hears("MONOTONIC_USEC=");
        systemd.hears("READY=1");
        bed.configure("match_on = \"number\"", "match_on = \"nothing\"");
        daemon.signal("HUP");
        systemd.hears("RELOADING=1");
        systemd.hears("READY=1");
        bed.configure("match_on = \"nothing\"", "match_on = \"number\"");
        daemon.signal("TERM");
        systemd.hears("STOPPING=1");
        systemd.hears("EXTEND_TIMEOUT_USEC=");
        assert_eq!(daemon.ends().await, Some(0));
        std::fs::remove_file(bed.folder().join("notify")).unwrap();
    })
    .await;
}
