//! Signals while something hangs: whatever the program waits for, it stops waiting; what was sent is seen to its end;
//! the ledger stays consistent, and the next pass completes what was left.

use std::process::{Child, Output};
use std::time::{Duration, Instant};

use bcsync::simulator::{Fault, FaultKind};

use crate::bed::{Pass, TestBed, bed, pass_of, writes};

/// Longer than any of these stories may take.
const HANGS: Duration = Duration::from_mins(1);

fn signal(child: &Child, name: &str) {
    // It may have ended by now.
    let _ = std::process::Command::new("kill")
        .args([name, &child.id().to_string()])
        .stderr(std::process::Stdio::null())
        .status();
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn output(child: Child) -> Output {
    let begun = Instant::now();
    let output = crate::process::ended(child).await;
    assert!(begun.elapsed() < HANGS / 3, "it was waited for in spite of the signal");
    output
}

/// Begins a pass, and interrupts it when the request of `method` to `set` hangs.
async fn interrupted(bed: &mut TestBed, method: &str, set: &str, name: &str) -> Pass {
    let hang = FaultKind::Latency { ms: u64::try_from(HANGS.as_millis()).unwrap() };
    bed.strike(method, set, hang);
    let child = bed.command(&["run", "--json"]).spawn().unwrap();
    let simulator = &bed.simulator;
    until(&format!("no {method} {set}"), || simulator.faults().is_empty()).await;
    signal(&child, name);
    let output = output(child).await;
    bed.simulator.clear_faults();
    pass_of(&output)
}

#[tokio::test]
async fn a_read_that_hangs_is_given_up_wherever_it_stands() {
    bed(async |bed| {
        // Those that hang go on without us, and would take all the places that there are.
        bed.simulator.configure(|settings| settings.limits.running = 50);
        for (n, set) in (1..).zip(["token", "companies", "customers", "salesOrders", "salesInvoices", "items"]) {
            bed.accounts([n]).await;
            bed.orders([n], 2).await;
            let method = if set == "token" { "POST" } else { "GET" };
            let (name, code) = if n % 2 == 0 { ("-INT", 130) } else { ("-TERM", 143) };
            interrupted(bed, method, set, name).await.exits(code);
            assert_eq!(bed.ledger("SELECT * FROM run WHERE result = 'running'").await, [""; 0], "{set}");
            bed.run().await.exits(0);
            assert_eq!(bed.order(n)["customerNumber"], format!("C{n}"), "{set}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_order_whose_total_could_not_be_read_any_more_is_settled_by_the_next_pass() {
    bed(async |bed| {
        bed.accounts([1, 2]).await;
        bed.orders([1, 2], 2).await;
        bed.crm("UPDATE sales_order SET total = '1' WHERE id = 2").await;
        // The look-up before the create is answered; the read of the totals hangs.
        let hang = FaultKind::Latency { ms: u64::try_from(HANGS.as_millis()).unwrap() };
        let reads = Fault { every: Some(2), ..Fault::once(hang, writes("GET", "salesOrders")) };
        bed.simulator.inject(reads);
        let child = bed.command(&["run", "--json"]).spawn().unwrap();
        let simulator = &bed.simulator;
        until("the totals are not read", || simulator.faults().is_empty()).await;
        signal(&child, "-INT");
        pass_of(&output(child).await).exits(130);
        assert_eq!(bed.ledger("SELECT key, kind FROM intent ORDER BY key").await, ["1|create", "2|create"]);
        bed.simulator.clear_faults();
        bed.run().await.exits(1).did("orders", "2 queued, 1 created, 1 conflict");
        assert_eq!(bed.rows("salesOrders").len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_write_that_takes_long_is_seen_to_its_end_and_a_second_signal_ends_it() {
    for signals in [1, 2] {
        bed(async |bed| {
            bed.accounts([1]).await;
            bed.orders([1], 2).await;
            bed.simulator.configure(|settings| settings.operation_ms = 400);
            let child = bed.command(&["run", "--json"]).spawn().unwrap();
            let simulator = &bed.simulator;
            until("nothing is sent", || simulator.stats().requests > 2 && simulator.count("customers").unwrap() == 0)
                .await;
            let ledger = bed.folder().join("ledger.db");
            until("there is no ledger", || ledger.exists()).await;
            while bed.ledger("SELECT key FROM intent").await.is_empty() {
                tokio::task::yield_now().await;
            }
            for name in ["-TERM", "-INT"].iter().take(signals) {
                signal(&child, name);
            }
            assert_eq!(output(child).await.status.code(), Some(143));
            let open = bed.ledger("SELECT key FROM intent").await;
            assert_eq!(open.is_empty(), signals == 1, "{open:?}");
            bed.simulator.settled().await;
            bed.simulator.configure(|settings| settings.operation_ms = 0);
            bed.run().await.exits(0);
            assert_eq!((bed.rows("customers").len(), bed.rows("salesOrders").len()), (1, 1));
            assert_eq!(bed.simulator.stats().set("customers").creates, 1);
        })
        .await;
    }
}

#[tokio::test]
async fn storms_of_signals_leave_nothing_behind() {
    bed(async |bed| {
        bed.configure("batch_size = 100", "batch_size = 5\nconcurrency = 2");
        bed.accounts(1..=40).await;
        bed.orders(1..=40, 2).await;
        bed.simulator.configure(|settings| settings.request_ms = 4);
        for round in 0..40_u64 {
            let child = bed.command(&["run", "--json"]).spawn().unwrap();
            tokio::time::sleep(Duration::from_millis(10 + 7 * (round % 20))).await;
            for name in ["-INT", "-TERM", "-INT"].iter().take(1 + usize::try_from(round % 3).unwrap()) {
                signal(&child, name);
            }
            let code = output(child).await.status.code();
            assert!(matches!(code, None | Some(0 | 130 | 143)), "round {round}: {code:?}");
        }
        bed.simulator.configure(|settings| settings.request_ms = 0);
        bed.simulator.settled().await;
        bed.run().await.exits(0);
        bed.let_time_pass(21 * 60);
        bed.run().await.exits(0);
        assert_eq!((bed.rows("customers").len(), bed.rows("salesOrders").len()), (40, 40));
    })
    .await;
}
