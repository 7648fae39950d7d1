//! The judge: what is wrong when everything has come to rest.
//!
//! Rest means that faults are over, nothing is on its way, every window has passed and a few undisturbed passes were
//! made. Then both sides must be equal but for what people changed, and one more pass over everything must send nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use crate::people::{Held, Place};
use crate::world::World;

/// Undisturbed passes within which everything must have come to rest.
const PASSES: usize = 5;

/// What is wrong, each as a text; empty is right.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Rows, lines or documents that are there more than once.
    pub(crate) duplicates: Vec<String>,
    /// Records that are not in Business Central as they are in the source.
    pub(crate) lost: Vec<String>,
    /// Values that a person entered and that are gone.
    pub(crate) overwritten: Vec<String>,
    /// Requests that nobody knows the outcome of, and records that are left for no reason of theirs.
    pub(crate) unresolved: Vec<String>,
    /// A ledger that is damaged, a pass that fails, a pass that sends what is there.
    pub(crate) unsound: Vec<String>,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.found().is_empty()
    }

    /// The names of the lists that have something.
    pub(crate) fn found(&self) -> Vec<&'static str> {
        self.lists().into_iter().filter(|(_, wrong)| !wrong.is_empty()).map(|(what, _)| what).collect()
    }

    fn lists(&self) -> [(&'static str, &[String]); 5] {
        [
            ("twice", &self.duplicates),
            ("lost", &self.lost),
            ("overwritten", &self.overwritten),
            ("unresolved", &self.unresolved),
            ("unsound", &self.unsound),
        ]
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, wrong) in self.lists().into_iter().filter(|(_, wrong)| !wrong.is_empty()) {
            writeln!(formatter, "{what}:\n  {}", wrong.join("\n  "))?;
        }
        Ok(())
    }
}

/// Brings the world to rest and judges it.
pub(crate) async fn judge(world: &World) -> Verdict {
    let mut verdict = Verdict::default();
    world.simulator.clear_faults();
    if let Some(wire) = &world.wire {
        wire.disarm();
    }
    for _ in 0..PASSES {
        world.let_windows_pass().await;
        let status = world.run(&[], &[]).await;
        if !matches!(status.code(), Some(0 | 1)) {
            verdict.unsound.push(format!("an undisturbed pass ended with {status}: {}", world.said()));
            return verdict;
        }
        if world.ledger("SELECT 1 FROM outbox WHERE state NOT IN ('conflict', 'quarantined') LIMIT 1").await.is_empty()
        {
            break;
        }
    }
    // Everything is compared as it stands before the last pass, which reads all records again and could heal it.
    let held = world.held();
    world.simulator.reset_stats();
    let status = world.run(&["--full"], &[]).await;
    let writes = world.simulator.stats().writes();
    if writes > 0 || !matches!(status.code(), Some(0 | 1)) {
        verdict.unsound.push(format!("the last pass sent {writes} and ended with {status}: {}", world.said()));
    }
    look_into_ledger(world, &mut verdict).await;
    compare_links(world, &held, &mut verdict).await;
    find_duplicates(world, &held, &mut verdict);
    let disputed = disputed(world, &mut verdict).await;
    compare_customers(world, &held, &disputed, &mut verdict).await;
    compare_orders(world, &held, &disputed, &mut verdict).await;
    for (place, entered) in &world.entered {
        let now = held.at(place);
        if now.as_ref() != Some(&entered.value) {
            verdict.overwritten.push(format!("{place:?}: a person entered {}, now it is {now:?}", entered.value));
        }
    }
    verdict
}

async fn look_into_ledger(world: &World, verdict: &mut Verdict) {
    let open = world.ledger("SELECT job_id, key, kind, sent_at FROM intent").await;
    verdict.unresolved.extend(open.into_iter().map(|intent| format!("intent {intent}")));
    for (sql, right) in [
        ("PRAGMA integrity_check", &["ok"][..]),
        ("PRAGMA foreign_key_check", &[]),
        ("SELECT run_id FROM run WHERE result = 'running'", &[]),
    ] {
        let found = world.ledger(sql).await;
        if found != right {
            verdict.unsound.push(format!("{sql}: {found:?}"));
        }
    }
}

/// Every record is linked to a row of its own, and every row is the one that the record of its number is linked to:
/// nobody would keep any other in step. Orders that were posted are no rows any more; their links stay.
async fn compare_links(world: &World, held: &Held, verdict: &mut Verdict) {
    let posted: BTreeSet<_> =
        world.rows("salesInvoices").iter().map(|row| text(row, "externalDocumentNumber")).collect();
    for (set, rows, property, prefix, count) in [
        ("customers", &held.customers, "number", "C", world.accounts),
        ("salesOrders", &held.orders, "externalDocumentNumber", "WEB-", world.orders),
    ] {
        let distinct = world.ledger(&format!("SELECT DISTINCT bc_id FROM links WHERE entity = '{set}'")).await.len();
        if i64::try_from(distinct).unwrap() != count {
            verdict.unsound.push(format!("{distinct} rows of {set} are linked, the source has {count} records"));
        }
        let links = format!("SELECT '{prefix}' || key, bc_id FROM links WHERE entity = '{set}' AND state = 'linked'");
        let linked: BTreeSet<_> = world.ledger(&links).await.into_iter().collect();
        let there: BTreeSet<_> =
            rows.iter().map(|row| format!("{}|{}", text(row, property), text(row, "id"))).collect();
        let unlinked = there.difference(&linked).map(|row| format!("no record is linked to {row} of {set}"));
        let gone = |link: &&String| !posted.contains(link.split_once('|').unwrap().0);
        let nowhere = linked.difference(&there).filter(gone);
        let nowhere = nowhere.map(|link| format!("{link} is linked, and no row of {set}"));
        verdict.unsound.extend(unlinked.chain(nowhere));
    }
}

fn find_duplicates(world: &World, held: &Held, verdict: &mut Verdict) {
    for (set, property) in [("customers", "number"), ("salesOrders", "externalDocumentNumber")] {
        for (value, count) in world.simulator.duplicates(set, property).unwrap() {
            verdict.duplicates.push(format!("{count} {set} with {property} {value}"));
        }
    }
    let orders: BTreeSet<_> = held.orders.iter().map(|row| text(row, "externalDocumentNumber")).collect();
    for invoice in world.rows("salesInvoices") {
        let number = text(&invoice, "externalDocumentNumber");
        if orders.contains(&number) {
            verdict.duplicates.push(format!("{number} is an order and an invoice"));
        }
    }
    let mut lines: BTreeMap<_, usize> = BTreeMap::new();
    for line in &held.lines {
        *lines.entry((text(line, "documentId"), text(line, "description"))).or_default() += 1;
    }
    for ((document, line), count) in lines.into_iter().filter(|(_, count)| *count > 1) {
        verdict.duplicates.push(format!("document {document} has {line:?} {count} times"));
    }
}

/// The records of which the source wants something else than a person entered. Where the program had written that and the
/// answer was lost, nobody can tell from the row that it had: then a person is rightly asked, too.
async fn may_be_contested(world: &World) -> BTreeSet<String> {
    let mut wanted = BTreeMap::new();
    for row in world.rows_of_source("SELECT no, email FROM account").await {
        let (number, email) = row.split_once('|').unwrap();
        wanted.insert(Place::Customer(number.to_owned(), "email"), email.to_owned());
    }
    for row in world.rows_of_source("SELECT no, email FROM sales_order").await {
        let (number, email) = row.split_once('|').unwrap();
        wanted.insert(Place::Order(number.to_owned(), "email"), email.to_owned());
    }
    let lines = "SELECT no, text, qty FROM order_line JOIN sales_order ON id = order_id";
    for row in world.rows_of_source(lines).await {
        let [number, text, quantity] = row.split('|').collect::<Vec<_>>()[..] else { panic!("{row}") };
        wanted.insert(Place::Quantity(number.to_owned(), text.to_owned()), quantity.to_owned());
    }
    let contested = world
        .entered
        .iter()
        .filter(|(place, entered)| wanted.get(place).is_some_and(|wanted| *wanted != entered.value));
    contested.map(|(place, _)| place.number().to_owned()).collect()
}

/// The records that are in conflict, as they may be where source and person differ: until somebody decides, nothing of
/// them is sent. Anything else in the outbox is not right.
async fn disputed(world: &World, verdict: &mut Verdict) -> BTreeSet<String> {
    let contested = may_be_contested(world).await;
    let mut disputed = BTreeSet::new();
    let left = world
        .ledger(
            "SELECT json_extract(outbox.record, '$.no'), outbox.state, outbox.reason FROM outbox JOIN job USING (job_id)",
        )
        .await;
    for row in left {
        let (number, state) = row.split_once('|').unwrap();
        if state.starts_with("conflict|") && contested.contains(number) {
            disputed.insert(number.to_owned());
        } else {
            verdict.unresolved.push(format!("{number} is left: {state}"));
        }
    }
    disputed
}

/// What is to stand where the source wants `wanted`, in a record that is in no conflict.
fn right_at(world: &World, place: &Place, wanted: &str) -> String {
    let protected = world.entered.get(place).filter(|entered| !entered.is_contested(wanted));
    protected.map_or(wanted, |entered| &entered.value).to_owned()
}

async fn compare_customers(world: &World, held: &Held, disputed: &BTreeSet<String>, verdict: &mut Verdict) {
    let told = |row: &Value| {
        let credit = row["creditLimit"].to_string();
        (text(row, "number"), format!("{}|{}|{credit}", text(row, "displayName"), text(row, "email")))
    };
    let customers: BTreeMap<_, _> = held.customers.iter().map(told).collect();
    for row in world.rows_of_source("SELECT no, name, email, credit + 0 FROM account").await {
        let [number, name, email, credit] = row.split('|').collect::<Vec<_>>()[..] else { panic!("{row}") };
        if disputed.contains(number) {
            continue;
        }
        let email = right_at(world, &Place::Customer(number.to_owned(), "email"), email);
        let wanted = format!("{name}|{email}|{credit}");
        let held = customers.get(number);
        if held != Some(&wanted) {
            verdict.lost.push(format!("customer {number} is to be {wanted}, and is {held:?}"));
        }
    }
}

async fn compare_orders(world: &World, held: &Held, disputed: &BTreeSet<String>, verdict: &mut Verdict) {
    let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in &held.lines {
        let told = format!("{} {} {}", text(line, "description"), line["quantity"], line["unitPrice"]);
        lines.entry(text(line, "documentId")).or_default().push(told);
    }
    let mut orders = BTreeMap::new();
    for order in &held.orders {
        let mut lines = lines.remove(&text(order, "id")).unwrap_or_default();
        lines.sort();
        let header = format!("{}|{}", text(order, "customerNumber"), text(order, "email"));
        orders.insert(text(order, "externalDocumentNumber"), format!("{header}|{}", lines.join(",")));
    }
    for invoice in world.rows("salesInvoices") {
        orders.entry(text(&invoice, "externalDocumentNumber")).or_insert_with(|| "posted".to_owned());
    }
    let mut wanted_lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in world
        .rows_of_source("SELECT sales_order.no, text, qty, price + 0 FROM order_line JOIN sales_order ON id = order_id")
        .await
    {
        let [number, text, quantity, price] = row.split('|').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let place = Place::Quantity(number.to_owned(), text.to_owned());
        let quantity = right_at(world, &place, quantity);
        wanted_lines.entry(number.to_owned()).or_default().push(format!("{text} {quantity} {price}"));
    }
    for row in world.rows_of_source("SELECT no, 'C' || account_id, email FROM sales_order").await {
        let [number, customer, email] = row.split('|').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let held = orders.get(number).map(String::as_str);
        if disputed.contains(number) || held == Some("posted") {
            continue;
        }
        let email = right_at(world, &Place::Order(number.to_owned(), "email"), email);
        let mut lines = wanted_lines.remove(number).unwrap_or_default();
        lines.sort();
        let wanted = format!("{customer}|{email}|{}", lines.join(","));
        if held != Some(wanted.as_str()) {
            verdict.lost.push(format!("order {number} is to be {wanted}, and is {held:?}"));
        }
    }
}

fn text(row: &Value, property: &str) -> String {
    row[property].as_str().unwrap_or_default().to_owned()
}

/// A world after a pass, with one record of each kind.
async fn synced_world() -> World {
    let world = World::new(1, 1).await;
    world.pass().await;
    world
}

/// Lets a person and the source change the same.
async fn both_change_it(world: &mut World) {
    world.enter(Place::Customer("C1".to_owned(), "email"), "person@c1.example".to_owned());
    world.source("UPDATE account SET email = 'new@c1.example', version = @VERSION").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_intent_is_unresolved() {
    let world = synced_world().await;
    let planted = "INSERT INTO intent (job_id, key, kind, fingerprint, draft, snapshot, run_id, sent_at, checksum) \
                   SELECT job_id, '1', 'create', x'', x'', '{}', run_id, started_at, x'' FROM run LIMIT 1";
    world.change_ledger(planted).await;
    let mut verdict = Verdict::default();
    look_into_ledger(&world, &mut verdict).await;
    assert_eq!(verdict.found(), ["unresolved"], "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_source_changed_since_a_person_did_is_lost_unless_it_is_in_conflict() {
    let mut world = synced_world().await;
    both_change_it(&mut world).await;
    let mut verdict = Verdict::default();
    let disputed = disputed(&world, &mut verdict).await;
    compare_customers(&world, &world.held(), &disputed, &mut verdict).await;
    assert_eq!(verdict.found(), ["lost"], "{verdict}");
    world.pass().await;
    assert!(judge(&world).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_about_what_nobody_wants_otherwise_is_unresolved() {
    let mut world = synced_world().await;
    both_change_it(&mut world).await;
    world.pass().await;
    for entered in world.entered.values_mut() {
        entered.value = "new@c1.example".to_owned();
    }
    let mut verdict = Verdict::default();
    assert!(disputed(&world, &mut verdict).await.is_empty());
    assert_eq!(verdict.found(), ["unresolved"], "{verdict}");
}
