//! What must hold after each step, and what must hold in the end.

use std::collections::{BTreeMap, BTreeSet};

use bcsync::app::Finished;
use bcsync::model::RunResult;

use super::model::{Policy, Property, Source};
use super::people::GONE;
use super::world::World;

/// Passes that are enough for everything to arrive.
const PASSES: usize = 6;

/// What is still to come to its end. A match value that the last of its owner's requests gave up is taken in the next pass.
const UNDER_WAY: &str = "SELECT key FROM outbox WHERE state IN ('pending', 'locked') \
     OR (claim IS NOT NULL AND claim NOT IN (SELECT value FROM match_claims)) UNION SELECT key FROM intent";

/// The e-mail address that stands for a number.
pub(crate) fn email(number: u32) -> String {
    format!("v{number}@example.com")
}

/// Who wins when both sides edit `property`.
pub(crate) fn policy(source: &Source, property: Property) -> Policy {
    match property {
        Property::CustomerEmail(_) | Property::CustomerCity(_) => source.customers_policy,
        Property::OrderEmail(_) | Property::Line(..) => source.orders_policy,
    }
}

/// What the source wants of a property; `None` when it has no such record.
pub(crate) fn wanted(source: &Source, property: Property) -> Option<String> {
    let account = |no: u8| source.accounts.values().find(|account| account.no == no);
    match property {
        Property::CustomerEmail(no) => account(no).map(|account| email(account.email.now)),
        Property::CustomerCity(no) => account(no).map(|_| "Oslo".to_owned()),
        Property::OrderEmail(id) => source.orders.get(&id).map(|order| email(order.email.now)),
        Property::Line(id, number) => source
            .orders
            .get(&id)
            .map(|order| order.lines.get(&number).map_or(GONE.to_owned(), |quantity| quantity.now.to_string())),
    }
}

/// Whether what the source wants of a property was never wanted before.
fn is_fresh(source: &Source, property: Property) -> bool {
    match property {
        Property::CustomerEmail(no) => {
            source.accounts.values().any(|account| account.no == no && account.email.is_fresh())
        }
        Property::CustomerCity(_) => false,
        Property::OrderEmail(id) => source.orders.get(&id).is_some_and(|order| order.email.is_fresh()),
        Property::Line(id, number) => {
            source.orders.get(&id).and_then(|order| order.lines.get(&number)).is_some_and(super::model::Cell::is_fresh)
        }
    }
}

/// The record that a property is of, or was of, as job and key.
pub(crate) fn record_of(source: &Source, property: Property) -> (&'static str, u8) {
    match property {
        Property::CustomerEmail(no) | Property::CustomerCity(no) => {
            let account = source.accounts.iter().find(|(_, account)| account.no == no);
            ("customers", account.map_or(no, |(id, _)| *id))
        }
        Property::OrderEmail(id) | Property::Line(id, _) => ("orders", id),
    }
}

/// Whether a job came to its end with all that it was to read.
pub(crate) fn has_read_all(job: &Finished, source: &Source) -> bool {
    let Ok(report) = &job.outcome else { return false };
    let records = if report.job == "customers" { source.accounts.len() } else { source.orders.len() };
    let complete = report.message.is_none() && matches!(report.result, RunResult::Done | RunResult::Attention);
    assert!(!complete || !report.full || report.counters.read == records as u64, "not everything was read: {report:?}");
    complete
}

/// What holds at any time.
pub(crate) fn after_a_step(world: &World, source: &Source) {
    no_row_is_there_twice(world);
    every_record_is_counted(world);
    every_intent_has_its_record(world, source);
    what_is_a_persons_stays(world, source);
}

fn no_row_is_there_twice(world: &World) {
    let twice = world.simulator.duplicates("customers", "number").unwrap();
    assert!(twice.is_empty(), "customers that are there twice: {twice:?}");
    let mut documents: BTreeMap<String, u32> = BTreeMap::new();
    for set in ["salesOrders", "salesInvoices"] {
        for row in world.simulator.rows(set).unwrap() {
            *documents.entry(row["externalDocumentNumber"].to_string()).or_default() += 1;
        }
    }
    documents.retain(|_, count| *count > 1);
    assert!(documents.is_empty(), "orders that are there twice: {documents:?}");
    for order in world.simulator.rows("salesOrders").unwrap() {
        let lines = world.lines(&order);
        let descriptions: BTreeSet<String> = lines.iter().map(|line| line["description"].to_string()).collect();
        assert_eq!(descriptions.len(), lines.len(), "an order has a line twice: {lines:#?}");
    }
    let linked =
        world.ledger("SELECT entity, bc_id FROM links WHERE state = 'linked' GROUP BY 1, 2 HAVING count(*) > 1");
    assert!(linked.is_empty(), "two records are linked to one row: {linked:?}");
}

fn every_record_is_counted(world: &World) {
    for job in &world.reports {
        let Ok(report) = &job.outcome else { continue };
        assert!(report.counters.add_up(), "the counters do not add up: {report:?}");
    }
}

fn every_intent_has_its_record(world: &World, source: &Source) {
    let sql = "SELECT job.name, intent.key FROM intent JOIN job USING (job_id) \
               LEFT JOIN outbox USING (job_id, key) LEFT JOIN link USING (job_id, key) \
               WHERE outbox.key IS NULL AND link.key IS NULL";
    for intent in world.ledger(sql) {
        let (job, key) = intent.split_once('|').unwrap();
        let key: u8 = key.parse().unwrap();
        let there =
            if job == "customers" { source.accounts.contains_key(&key) } else { source.orders.contains_key(&key) };
        assert!(!there, "a request about record {key} of {job} is open, and the ledger has no such record");
    }
}

fn what_is_a_persons_stays(world: &World, source: &Source) {
    for (property, claim) in &world.people.claims {
        if claim.is_protected(policy(source, *property))
            && let Some(held) = world.held(*property)
        {
            assert_eq!(held, claim.value, "a person's value was overwritten: {property:?}, {claim:?}");
        }
    }
    for ((set, number), phone) in &world.people.phones {
        let row = if *set == "customers" { world.customer(*number) } else { world.order(*number) };
        let Some(row) = row else { continue };
        let held = row["phoneNumber"].as_str().unwrap_or_default();
        assert!(held == phone || held == "555 0001", "{set} {number}: {held} is not the phone number {phone}");
    }
    for (id, own) in &world.people.own_lines {
        let Some(order) = world.order(*id) else { continue };
        let lines = world.lines(&order);
        for (description, quantity) in own {
            let line = lines.iter().find(|line| line["description"] == **description);
            let line = line.unwrap_or_else(|| panic!("order {id} lost a person's line {description}: {lines:#?}"));
            assert_eq!(line["quantity"].as_f64(), Some(f64::from(*quantity)), "{line:#?}");
        }
    }
    for (set, number) in &world.people.removed {
        let back = if *set == "customers" { world.customer(*number) } else { world.order(*number) };
        let disputed = *set == "customers" && source.disputed.contains(number);
        assert!(disputed || back.is_none(), "{set} {number} was removed by a person, and is there again");
    }
}

/// What holds when nothing goes wrong any more: both sides are equal, but for what waits for a person and says why.
pub(crate) fn in_the_end(world: &mut World, source: &Source) {
    world.simulator.clear_faults();
    world.let_everything_arrive();
    world.reopen_orders();
    for _ in 0..PASSES {
        world.let_the_window_pass();
        world.let_days_pass();
        world.pass(source, false);
        after_a_step(world, source);
        if world.ledger(UNDER_WAY).is_empty() {
            break;
        }
    }
    compare(world, source);
    // A full pass finds nothing that the others have missed, and nothing is left to be written.
    for full in [true, false] {
        world.let_the_window_pass();
        world.simulator.reset_stats();
        world.pass(source, full);
        after_a_step(world, source);
        let stats = world.simulator.stats();
        assert_eq!(stats.writes(), 0, "a pass with nothing to do wrote: {:#?} {:#?}", stats.sets, world.ledger(FIELDS));
    }
    compare(world, source);
    let left = world.ledger("SELECT * FROM intent");
    assert!(left.is_empty(), "requests that nobody found out about: {left:?}");
    assert_eq!(world.ledger("PRAGMA integrity_check"), ["ok"]);
}

const FIELDS: &str = "SELECT * FROM field_changes LIMIT 20";

/// State and reason of what is left in the outbox, by job and key.
fn parked(world: &World) -> BTreeMap<(String, u8), (String, String)> {
    let rows = world.ledger("SELECT job.name, key, state, reason FROM outbox JOIN job USING (job_id)");
    let parked = rows.iter().map(|row| {
        let [job, key, state, reason] = row.splitn(4, '|').collect::<Vec<_>>()[..] else { panic!("{row}") };
        ((job.to_owned(), key.parse().unwrap()), (state.to_owned(), reason.to_owned()))
    });
    parked.collect()
}

fn compare(world: &World, source: &Source) {
    let parked = parked(world);
    let touched = |is: &dyn Fn(Property) -> bool| world.people.claims.keys().any(|property| is(*property));
    for ((job, key), (state, reason)) in &parked {
        let because = format!("{job} {key} is {state}: {reason}");
        assert!(!reason.is_empty(), "nobody is told why {because}");
        let of_customer =
            |property| matches!(property, Property::CustomerEmail(no) | Property::CustomerCity(no) if no == *key);
        let of_order = |property| matches!(property, Property::OrderEmail(id) | Property::Line(id, _) if id == *key);
        let removed = |set, number: u8| {
            let row = (set, number);
            world.people.removed.contains(&row) || world.people.removed_early.contains(&row)
        };
        let justified = match (job.as_str(), state.as_str()) {
            // A record that the source dropped stays as it was until a full read misses it.
            ("customers", _) if !source.accounts.contains_key(key) => true,
            ("orders", _) if !source.orders.contains_key(key) => true,
            ("customers", "conflict") => {
                touched(&of_customer) || removed("customers", source.accounts[key].no) || source.disputed.contains(key)
            }
            ("customers", "quarantined") => source.disputed.contains(key),
            ("orders", "conflict") => {
                let adds_up = !source.check_total || !world.people.own_lines.contains_key(key);
                touched(&of_order) || removed("salesOrders", *key) || !adds_up
            }
            ("orders", "waiting" | "quarantined") => {
                let account = source.orders[key].account;
                let known = source.accounts.contains_key(&account) && !source.disputed.contains(&account);
                !known || removed("customers", account)
            }
            _ => false,
        };
        assert!(justified, "without a reason that the history gives, {because}");
    }
    let is_parked = |job: &str, key: u8| parked.contains_key(&(job.to_owned(), key));
    for (id, account) in &source.accounts {
        let no = account.no;
        if is_parked("customers", *id) || source.disputed.contains(id) || source.disputed.contains(&no) {
            continue;
        }
        if world.customer(no).is_none() {
            assert!(world.people.removed.contains(&("customers", no)), "customer C{no} is missing");
            continue;
        }
        agree(world, source, &[Property::CustomerEmail(no), Property::CustomerCity(no)]);
        let country = world.customer(no).unwrap()["country"].clone();
        assert_eq!(country, ["NO", "SE", "DK"][usize::from(account.country)], "the country of customer C{no}");
    }
    for (id, order) in &source.orders {
        if is_parked("orders", *id) {
            continue;
        }
        let Some(row) = world.order(*id) else {
            let number = format!("WEB-{id}");
            let invoices = world.simulator.rows("salesInvoices").unwrap();
            let posted = invoices.iter().any(|invoice| invoice["externalDocumentNumber"] == *number);
            let removed = world.people.removed.contains(&("salesOrders", *id));
            assert!(posted || removed, "order {id} is missing");
            continue;
        };
        let lines = super::model::IDS.map(|number| Property::Line(*id, number));
        let properties: Vec<_> = lines.chain([Property::OrderEmail(*id)]).collect();
        agree(world, source, &properties);
        if !source.disputed.contains(&order.account) {
            assert_eq!(row["customerNumber"], format!("C{}", order.account), "the customer of order {id}");
        }
    }
}

/// Business Central holds what the source wants, or what a person put there.
fn agree(world: &World, source: &Source, properties: &[Property]) {
    for property in properties {
        let (held, wanted) = (world.held(*property).unwrap(), wanted(source, *property).unwrap());
        let policy = policy(source, *property);
        let claim = world.people.claims.get(property);
        let agrees = match claim {
            None => held == wanted,
            Some(claim) if claim.is_protected(policy) => held == claim.value,
            Some(claim) if claim.is_overwritten(policy, is_fresh(source, *property)) => held == wanted,
            Some(claim) => held == wanted || held == claim.value,
        };
        assert!(agrees, "{property:?} is {held}, and the source wants {wanted}; {claim:?}, {policy:?}");
    }
}
