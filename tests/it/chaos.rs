//! Random edits and random faults over several passes; in the end Business Central holds exactly what the source holds.
//!
//! Each seed is one history. Whatever was lost, cut off, late or refused on the way: no row twice, no change lost, no
//! line too many.

use std::collections::BTreeMap;

use bcsync::simulator::{Fault, FaultKind};
use serde_json::{Value, json};

use crate::bed::{TestBed, bed, writes};

/// `SplitMix64`, as small as a generator can be.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number from 0 to `sides - 1`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    /// A fault that strikes requests, or for the last ones operations.
    pub(crate) fn fault(&mut self) -> FaultKind {
        let ms = self.roll(120);
        match self.roll(12) {
            0 => FaultKind::Drop { committed: true, after_operations: 0 },
            1 => FaultKind::Drop { committed: false, after_operations: 0 },
            2 => FaultKind::Drop { committed: false, after_operations: 1 + usize::try_from(ms).unwrap() % 5 },
            3 | 4 => FaultKind::LateCommit { min_ms: ms, max_ms: ms, answer: None, silent: false },
            5 => FaultKind::LateCommit { min_ms: ms, max_ms: ms, answer: Some(504), silent: false },
            6 => FaultKind::Status { status: 502, retry_after: None, committed: self.roll(2) == 0 },
            7 => FaultKind::CutBody,
            8 => FaultKind::MalformedJson,
            9 => FaultKind::MissingEntry,
            10 => FaultKind::Lock,
            _ => FaultKind::Deadlock,
        }
    }
}

/// What people do in a CRM, six times, to the first six accounts and orders.
pub(crate) async fn edit(bed: &TestBed, dice: &mut Dice) {
    for _ in 0..6 {
        let (id, line, value) = (1 + dice.roll(6), 1 + dice.roll(4), dice.roll(4));
        let sql = match dice.roll(9) {
            0 | 1 => format!("UPDATE account SET email = 'v{value}@c{id}.example' WHERE id = {id}"),
            2 => format!(
                "UPDATE account SET country = '{}' WHERE id = {id}",
                ["NO", "SE", "DK", "FI"][usize::try_from(value).unwrap()]
            ),
            3 => format!("UPDATE sales_order SET email = 'v{value}@c{id}.example' WHERE id = {id}"),
            4 | 5 => format!("UPDATE order_line SET qty = '{}' WHERE order_id = {id} AND line_no = {line}", 1 + value),
            6 => format!("DELETE FROM order_line WHERE order_id = {id} AND line_no = {line} AND line_no > 1"),
            7 => format!(
                "INSERT OR IGNORE INTO order_line VALUES ({id}, {line}, 'ITEM-{line}', '{}', '2.50', 'Line {line}', {line})",
                1 + value
            ),
            _ => format!("UPDATE sales_order SET account_id = {} WHERE id = {id}", 1 + value),
        };
        bed.crm(&sql).await;
    }
}

/// A person notes a phone number, which is nobody else's business. Gives whose and which.
fn note_a_number(bed: &TestBed, dice: &mut Dice) -> Option<(String, String)> {
    let rows = bed.rows("customers");
    let row = rows.get(usize::try_from(dice.roll(6)).unwrap())?;
    let number = format!("555 {}", dice.roll(10_000));
    bed.edit("customers", row, &json!({ "phoneNumber": number }));
    Some((row["number"].as_str().unwrap().to_owned(), number))
}

/// One history.
async fn history(seed: u64) {
    let mut dice = Dice(seed);
    let mut numbers = BTreeMap::new();
    bed(async |bed| {
        bed.configure("on_conflict = \"hold\"", "on_conflict = \"source_wins\"");
        bed.configure("[retry]", "[retry]\nattempts = 3");
        bed.accounts(1..=6).await;
        bed.orders(1..=6, 2).await;
        for round in 0..5 {
            for set in ["customers", "salesOrders"] {
                for method in ["POST", "PATCH"] {
                    let fault =
                        Fault { times: Some(2), ..Fault::with_probability(dice.fault(), writes(method, set), 0.5) };
                    bed.simulator.inject(fault);
                }
                if dice.roll(3) == 0 {
                    let kind = FaultKind::Status { status: 500, retry_after: None, committed: false };
                    bed.simulator
                        .inject(Fault { times: Some(3), ..Fault::with_probability(kind, writes("GET", set), 0.7) });
                }
            }
            bed.run().await;
            bed.simulator.clear_faults();
            edit(bed, &mut dice).await;
            numbers.extend(note_a_number(bed, &mut dice));
            if round == 2 {
                bed.accounts(7..=9).await;
                bed.orders(7..=9, 3).await;
            }
            if dice.roll(4) == 0 {
                bed.simulator.settled().await;
                bed.let_time_pass(21 * 60);
            }
        }
        bed.simulator.settled().await;
        for _ in 0..3 {
            bed.let_time_pass(21 * 60);
            let pass = bed.run().await;
            let left = bed.ledger("SELECT key, state, reason, record FROM outbox").await;
            assert!(left.is_empty(), "seed {seed}: {left:#?}\n{}", pass.details());
        }
        compare(bed, seed).await;
        for (customer, number) in numbers {
            assert_eq!(bed.customer(&customer)["phoneNumber"], number, "seed {seed}");
        }
    })
    .await;
}

/// Business Central holds what the source holds.
pub(crate) async fn compare(bed: &TestBed, seed: u64) {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let rows = bed.rows("customers");
    let mut customers: Vec<_> = rows
        .iter()
        .map(|row| {
            ["number", "displayName", "country", "postalCode", "city", "email"].map(|name| text(row, name)).join("|")
        })
        .collect();
    customers.sort();
    let mut wanted = bed.source("SELECT no, name, country, zip, city, email FROM account").await;
    wanted.sort();
    assert_eq!(customers, wanted, "seed {seed}");

    let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in bed.rows("salesOrderLines") {
        let told = format!("{} {} {}", text(&line, "description"), line["quantity"], line["unitPrice"]);
        lines.entry(text(&line, "documentId")).or_default().push(told);
    }
    let mut orders: Vec<_> = bed
        .rows("salesOrders")
        .iter()
        .map(|order| {
            let mut lines = lines.remove(&text(order, "id")).unwrap_or_default();
            lines.sort();
            let head = ["externalDocumentNumber", "customerNumber", "email"].map(|name| text(order, name)).join("|");
            format!("{head}|{}", lines.join(","))
        })
        .collect();
    orders.sort();
    let mut wanted = bed
        .source(
            "SELECT 'WEB-' || id, 'C' || account_id, email,
             (SELECT group_concat(told, ',') FROM
                 (SELECT text || ' ' || qty || ' ' || (price + 0) AS told FROM order_line
                  WHERE order_id = sales_order.id ORDER BY told))
             FROM sales_order",
        )
        .await;
    wanted.sort();
    assert_eq!(orders, wanted, "seed {seed}");
}

#[tokio::test]
async fn whatever_goes_wrong_both_sides_are_equal_in_the_end() {
    for seed in 1..=3 {
        history(seed).await;
    }
}
