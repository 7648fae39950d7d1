//! What a daemon with 20 jobs takes while there is nothing to do, with a ledger of 1,000,000 links: memory, CPU and
//! wake-ups, over a minute after its start and over another one after a pass of each job. And how long it takes from the
//! start of its process until systemd is told that it is ready, after a clean stop, against the same with 20 links;
//! both in turn, twenty times, the medians count.
//!
//! `cargo bench --bench idle_daemon` (`BENCH_ROWS=100000` for a shorter look)

#![expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "a benchmark prints rounded figures")]

mod bed;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bed::{Bed, cpu_seconds, figure, median};

const JOBS: u64 = 20;

/// Odd, for a median.
const STARTS: usize = 21;

/// How long figures are taken.
const MINUTE: Duration = Duration::from_mins(1);

/// After this the threads are gone that a pass needed.
const SETTLED: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() {
    let rows = std::env::var("BENCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(1_000_000);
    let small = loaded(JOBS).await;
    let large = loaded(rows).await;
    let (mut of_small, mut of_large) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        of_small.push(Daemon::start(&small).await.stop().await);
        of_large.push(Daemon::start(&large).await.stop().await);
    }
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let milliseconds = |times| median(times).as_secs_f64() * 1000.0;
    let (small_ms, large_ms) = (milliseconds(of_small), milliseconds(of_large));
    println!("start to READY, {JOBS} links        {small_ms:.0} ms (median of {STARTS})");
    println!("start to READY, {rows} links   {large_ms:.0} ms (median of {STARTS}), ratio {:.2}", large_ms / small_ms);
    println!("load average meanwhile         {}", load.split_whitespace().next().unwrap_or_default());

    let daemon = Daemon::start(&large).await;
    tokio::time::sleep(SETTLED).await;
    daemon.idle("after its start").await;
    let passes = large.pass().await;
    assert!(passes.ok, "the daemon makes a pass of each job");
    tokio::time::sleep(SETTLED).await;
    daemon.idle("after a pass of each job").await;
    daemon.stop().await;
    for bed in [small, large] {
        bed.simulator.stop().await.expect("it stops");
    }
}

/// A ledger with so many links, closed cleanly.
async fn loaded(rows: u64) -> Bed {
    let bed = Bed::new(0).await;
    bed.make_crm(rows);
    // Not due within the benchmark.
    bed.configure_scheduled(JOBS, rows, "0 0 29 2 *");
    let load = bed.pass().await;
    assert!(load.ok, "the first load ends with exit code 0");
    assert_eq!(bed.simulator.count("customers").expect("a known set") as u64, rows);
    println!("first load of {rows} customers by {JOBS} jobs: {:.1} s", load.wall.as_secs_f64());
    bed
}

/// A daemon that is ready.
struct Daemon {
    process: Child,
    /// From the start of the process on.
    ready: Duration,
}

impl Daemon {
    async fn start(bed: &Bed) -> Self {
        let place = bed.path("notify");
        let _ = fs::remove_file(&place);
        let socket = UnixDatagram::bind(&place).expect("the folder can be written");
        let mut command = bed.command(&["-q", "daemon"]);
        command.env("NOTIFY_SOCKET", &place).stdout(Stdio::null()).stderr(Stdio::inherit());
        let started = Instant::now();
        let process = command.spawn().expect("the program starts");
        let told = tokio::task::spawn_blocking(move || {
            let mut message = [0; 4096];
            let length = socket.recv(&mut message).expect("the daemon tells that it is ready");
            message[..length].starts_with(b"READY=1").then(|| started.elapsed())
        });
        let ready = told.await.expect("no panic").expect("that it is ready comes first");
        Self { process, ready }
    }

    /// Stops it cleanly; gives how long it had taken until it was ready.
    async fn stop(mut self) -> Duration {
        let sent = Command::new("kill").arg(self.process.id().to_string()).status();
        assert!(sent.is_ok_and(|sent| sent.success()), "it can be sent a signal");
        let exit = tokio::task::spawn_blocking(move || self.process.wait());
        let exit = exit.await.expect("no panic").expect("a child of ours");
        assert!(exit.success(), "it ends with exit code 0");
        self.ready
    }

    /// What it takes for a minute.
    async fn idle(&self, when: &str) {
        let process = self.process.id().to_string();
        let (cpu, before, since) = (cpu_seconds(&process), wakeups(&process), Instant::now());
        tokio::time::sleep(MINUTE).await;
        let wall = since.elapsed().as_secs_f64();
        let cpu = cpu_seconds(&process) - cpu;
        let more = |(thread, count): (OsString, u64)| count - before.get(&thread).unwrap_or(&0);
        let wakeups: u64 = wakeups(&process).into_iter().map(more).sum();
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let mib = |name| figure(&status, name) as f64 / 1024.0;
        println!("{when}:");
        println!("  memory      {:.1} MiB (most so far {:.1} MiB)", mib("VmRSS:"), mib("VmHWM:"));
        println!("  of it       {:.1} MiB its own, {:.1} MiB of files", mib("RssAnon:"), mib("RssFile:"));
        println!("  CPU         {:.3} % of one core", 100.0 * cpu / wall);
        println!("  wake-ups    {:.1} a second, of {} threads", wakeups as f64 / wall, figure(&status, "Threads:"));
    }
}

/// How often each thread of the process has gone to sleep until something woke it.
fn wakeups(process: &str) -> BTreeMap<OsString, u64> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let status = |path: PathBuf| fs::read_to_string(path.join("status")).unwrap_or_default();
    tasks.map(|task| (task.file_name(), figure(&status(task.path()), "voluntary_ctxt_switches:"))).collect()
}
