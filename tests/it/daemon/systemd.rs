//! What systemd is told.

use std::path::Path;

use tokio::net::UnixDatagram;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{PATIENCE, Running};
use crate::bed::bed;

/// systemd's end of the line. It listens all the time: a daemon that is not listened to waits.
pub(super) struct Systemd {
    lines: UnboundedReceiver<String>,
    /// What the daemon was doing by the last line that was looked at.
    pub(super) status: String,
}

impl Systemd {
    pub(super) fn listen(folder: &Path) -> Self {
        let socket = UnixDatagram::bind(folder.join("notify")).unwrap();
        let (heard, lines) = unbounded_channel();
        tokio::spawn(async move {
            let mut message = [0; 4096];
            while let Ok(length) = socket.recv(&mut message).await {
                for line in std::str::from_utf8(&message[..length]).unwrap().lines() {
                    // Nobody is interested any more when the story is over.
                    let _ = heard.send(line.to_owned());
                }
            }
        });
        Self { lines, status: String::new() }
    }

    /// Waits until a line that begins so comes.
    pub(super) async fn hears(&mut self, start: &str) -> String {
        let wanted = async {
            loop {
                let line = self.lines.recv().await.unwrap();
                self.note(&line);
                if line.starts_with(start) {
                    return line;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wanted).await.unwrap_or_else(|_| panic!("no {start}"))
    }

    /// Looks at all lines that have come.
    pub(super) fn catch_up(&mut self) {
        while let Ok(line) = self.lines.try_recv() {
            self.note(&line);
        }
    }

    fn note(&mut self, line: &str) {
        if let Some(status) = line.strip_prefix("STATUS=") {
            status.clone_into(&mut self.status);
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
        systemd.hears("READY=1").await;
        assert!(systemd.hears("STATUS=").await.starts_with("STATUS=idle, next customers at 20"));
        systemd.hears("WATCHDOG=1").await;
        systemd.hears("WATCHDOG=1").await;
        daemon.signal("HUP");
        systemd.hears("RELOADING=1").await;
        systemd.hears("MONOTONIC_USEC=").await;
        systemd.hears("READY=1").await;
        bed.configure("match_on = \"number\"", "match_on = \"nothing\"");
        daemon.signal("HUP");
        systemd.hears("RELOADING=1").await;
        systemd.hears("READY=1").await;
        bed.configure("match_on = \"nothing\"", "match_on = \"number\"");
        daemon.signal("TERM");
        systemd.hears("STOPPING=1").await;
        systemd.hears("EXTEND_TIMEOUT_USEC=").await;
        assert_eq!(daemon.ends().await, Some(0));
        std::fs::remove_file(bed.folder().join("notify")).unwrap();
    })
    .await;
}
