//! The first load of 20,000 customers into a simulator that takes 5 ms for each operation inside a batch and runs five
//! requests at once. Ideal is what the server alone needs; the ratio says how much of the possible rate was reached,
//! from the start of the process to the last settle, look-ups included.
//!
//! `cargo bench --bench first_load`

#![expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "a benchmark prints rounded figures")]

mod bed;

use bed::{Bed, cpu_seconds};

const ROWS: u64 = 20_000;
const OPERATION_MS: u64 = 5;
const CONCURRENCY: u32 = 5;

#[tokio::main]
async fn main() {
    let bed = Bed::new(OPERATION_MS).await;
    bed.make_crm(ROWS);
    bed.configure(CONCURRENCY);
    let cpu = cpu_seconds("self");
    let took = bed.pass().await;
    let cpu = cpu_seconds("self") - cpu;
    assert!(took.ok, "the load ends with exit code 0");
    let stats = bed.simulator.stats();
    let customers = stats.set("customers");
    assert_eq!(customers.creates, ROWS, "each customer is created once");
    let wall = took.wall.as_secs_f64();
    let ideal = (ROWS * OPERATION_MS) as f64 / 1000.0 / f64::from(CONCURRENCY);
    println!("customers              {ROWS}");
    println!("ideal                  {ideal:.2} s");
    println!("actual                 {wall:.2} s");
    println!("ratio                  {:.3} of the possible rate", ideal / wall);
    println!(
        "requests               {} ({:.3} per 50 customers)",
        stats.requests,
        stats.requests as f64 * 50.0 / ROWS as f64
    );
    println!("batch envelopes        {}, operations in them {}", stats.batches, stats.batched);
    println!("peak memory            {:.1} MiB", took.peak_mib);
    println!("CPU of the simulator   {:.1} % of one core", 100.0 * cpu / wall);
    bed.simulator.stop().await.expect("it stops");
}
