//! A full pass over 1,000,000 customers that did not change, after a real first load of all of them, against the time
//! that the `sqlite3` shell takes to read the same table. Both are run in turn, five times, warm; the medians count.
//! The peak memory is compared with that of the same pass over a tenth of the customers. What `run --full` takes on top
//! for walking the ids in Business Central is told apart.
//!
//! `cargo bench --bench unchanged_pass` (`BENCH_ROWS=100000` for a shorter look)

#![expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "a benchmark prints rounded figures")]

mod bed;

use std::process::{Command, Stdio};
use std::time::Duration;

use bed::{Bed, Took, median, watch};

const ROUNDS: usize = 5;

#[tokio::main]
async fn main() {
    let rows = std::env::var("BENCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(1_000_000);
    let (small, _, _) = measure(rows / 10).await;
    let (peak, pass, shell) = measure(rows).await;
    println!("customers                    {rows}");
    println!("unchanged full pass          {:.2} s (median of {ROUNDS})", pass.as_secs_f64());
    println!("sqlite3 select * >/dev/null  {:.2} s (median of {ROUNDS})", shell.as_secs_f64());
    println!("ratio                        {:.2}", pass.as_secs_f64() / shell.as_secs_f64());
    println!(
        "peak memory                  {peak:.1} MiB; of a tenth of the customers {small:.1} MiB; ratio {:.2}",
        peak / small
    );
}

/// Peak memory, median pass, median of the shell.
async fn measure(rows: u64) -> (f64, Duration, Duration) {
    let bed = Bed::new(0).await;
    bed.make_crm(rows);
    bed.configure(5);
    let load = bed.pass().await;
    assert!(load.ok, "the first load ends with exit code 0");
    assert_eq!(bed.simulator.count("customers").expect("a known set") as u64, rows);
    println!("first load of {rows} customers: {:.1} s, {:.1} MiB", load.wall.as_secs_f64(), load.peak_mib);
    bed.simulator.reset_stats();
    let (mut passes, mut shells): (Vec<Took>, Vec<Duration>) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        passes.push(bed.pass().await);
        let mut shell = Command::new("sqlite3");
        shell.arg(bed.path("crm.db")).arg("select * from customer").stdout(Stdio::null());
        shells.push(watch(shell).await.wall);
    }
    assert!(passes.iter().all(|took| took.ok), "each pass ends with exit code 0");
    let walked = bed.full_pass().await;
    assert!(walked.ok, "the pass that walks the ids ends with exit code 0");
    let median_pass = median(passes.iter().map(|took| took.wall).collect());
    println!(
        "walk of {rows} ids in Business Central: {:.2} s more",
        (walked.wall.saturating_sub(median_pass)).as_secs_f64()
    );
    let stats = bed.simulator.stats();
    assert_eq!(stats.writes(), 0, "nothing is written to Business Central");
    let peak = passes.iter().map(|took| took.peak_mib).fold(0.0, f64::max);
    bed.simulator.stop().await.expect("it stops");
    (peak, median(passes.iter().map(|took| took.wall).collect()), median(shells))
}
