//! What networks do to requests, and the one rule about writes: what never left is sent again, what left is read back.

use std::time::Duration;

use crate::bed::{TestBed, bed};
use crate::proxy::At::{Body, Byte, HalfBody, Header, LastByte};
use crate::proxy::{At, End, Proxy, Trouble};

/// What only an envelope has that makes customers, changes customers, makes orders, or changes an order with its lines.
const NEW_CUSTOMERS: &str = r#""number":"#;
const CHANGED_CUSTOMERS: &str = r#""creditLimit":"#;
const NEW_ORDERS: &str = r#""salesOrderLines":["#;
const CHANGED_ORDER: &str = "isolation: snapshot";

/// A look-up of customers by number, and the read of an order whose total is checked.
const LOOK_UP: &str = "customers?$filter=number";
const ORDER_BY_ID: &str = "salesOrders?$expand";

/// A settle window, in seconds.
const WINDOW: i64 = 21 * 60;

/// A bed whose requests to Business Central go through a proxy; tokens do not.
async fn behind_a_proxy(story: impl AsyncFnOnce(&mut TestBed, &mut Proxy)) {
    bed(async |bed| {
        let direct = bed.simulator.base_url();
        let mut proxy = Proxy::start(&direct).await;
        bed.configure(&format!("base_url = \"{direct}\""), &format!("base_url = \"{}\"", proxy.url()));
        story(bed, &mut proxy).await;
        assert_eq!(proxy.left(), 0, "a trouble never struck");
    })
    .await;
}

/// Every way in which a connection ends, at every place in a message.
fn cuts(places: &[At]) -> Vec<(At, End)> {
    let ends = [End::Close, End::Reset];
    ends.into_iter().flat_map(|end| places.iter().map(move |at| (*at, end))).collect()
}

/// Places at which Business Central has not got the whole request.
const TOO_EARLY: [At; 5] = [Byte(0), Byte(1), Header, HalfBody, LastByte];
/// Places at which the program has not got the whole answer.
const TOO_SHORT: [At; 6] = [Byte(0), Byte(1), Header, Body, HalfBody, LastByte];

#[tokio::test]
async fn a_name_that_leads_nowhere_is_told() {
    bed(async |bed| {
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        bed.crm("UPDATE account SET credit = '7'").await;
        let (there, nowhere) = (bed.simulator.base_url(), "https://bc.nowhere.invalid");
        bed.configure(&format!("base_url = \"{there}\""), &format!("base_url = \"{nowhere}\""));
        let pass = bed.run().await.exits(3);
        assert!(pass.message("customers").contains("check the host name"), "{}", pass.details());
        assert_eq!(bed.ledger("SELECT key FROM intent").await, [""; 0]);
        bed.configure(nowhere, &there);
        bed.run().await.exits(0).did("customers", "1 staged, 1 updated");
    })
    .await;
}

#[tokio::test]
async fn customers_whose_request_never_arrived_whole_are_made_once() {
    behind_a_proxy(async |bed, proxy| {
        for (id, (at, end)) in (1..).zip(cuts(&TOO_EARLY)) {
            bed.accounts([id]).await;
            proxy.strike(NEW_CUSTOMERS, Trouble::CutRequest(at, end), 1);
            let pass = bed.run().await.exits(0);
            assert_eq!(pass.count("customers", "created"), 1, "{at:?} {end:?}: {}", pass.details());
        }
        assert_eq!(bed.simulator.stats().set("customers").creates, 10);
    })
    .await;
}

#[tokio::test]
async fn customers_whose_answer_broke_off_are_found_and_not_made_again() {
    behind_a_proxy(async |bed, proxy| {
        for (id, (at, end)) in (1..).zip(cuts(&TOO_SHORT)) {
            bed.accounts([id]).await;
            proxy.strike(NEW_CUSTOMERS, Trouble::CutAnswer(at, end), 1);
            let pass = bed.run().await.exits(0);
            assert_eq!(pass.count("customers", "created"), 1, "{at:?} {end:?}: {}", pass.details());
        }
        assert_eq!(
            bed.simulator.stats().set("customers"),
            bcsync::simulator::Operations { creates: 12, ..bed.simulator.stats().set("customers") }
        );
        let told = "SELECT count(*) FROM change WHERE reason = 'found by reading back a request whose answer was lost'";
        assert_eq!(bed.ledger_value(told).await, "12");
    })
    .await;
}

#[tokio::test]
async fn changed_customers_survive_every_cut() {
    behind_a_proxy(async |bed, proxy| {
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        let requests = cuts(&TOO_EARLY).into_iter().map(|(at, end)| Trouble::CutRequest(at, end));
        let answers = cuts(&TOO_SHORT).into_iter().map(|(at, end)| Trouble::CutAnswer(at, end));
        for (credit, trouble) in (1..).zip(requests.chain(answers)) {
            bed.crm(&format!("UPDATE account SET credit = '{credit}.25'")).await;
            proxy.strike(CHANGED_CUSTOMERS, trouble, 1);
            let pass = bed.run().await.exits(0);
            assert_eq!(pass.counters("customers"), "1 staged, 1 updated", "{trouble:?}: {}", pass.details());
            assert_eq!(bed.customer("C1")["creditLimit"].to_string(), format!("{credit}.25"), "{trouble:?}");
        }
        assert_eq!(bed.simulator.stats().set("customers").updates, 22);
    })
    .await;
}

#[tokio::test]
async fn orders_whose_request_never_arrived_wait_for_the_window_and_are_made_once() {
    behind_a_proxy(async |bed, proxy| {
        for (id, (at, end)) in (1..).zip(cuts(&TOO_EARLY)) {
            bed.accounts([id]).await;
            bed.orders([id], 2).await;
            proxy.strike(NEW_ORDERS, Trouble::CutRequest(at, end), 1);
            let pass = bed.run().await.exits(0);
            assert_eq!(pass.count("orders", "pending"), 1, "{at:?} {end:?}: {}", pass.details());
            bed.let_time_pass(WINDOW);
            let pass = bed.run().await.exits(0);
            assert_eq!(pass.count("orders", "created"), 1, "{at:?} {end:?}: {}", pass.details());
        }
        assert_eq!((bed.rows("salesOrders").len(), bed.rows("salesOrderLines").len()), (10, 20));
    })
    .await;
}

#[tokio::test]
async fn orders_whose_answer_broke_off_are_found_and_not_made_again() {
    behind_a_proxy(async |bed, proxy| {
        for (id, (at, end)) in (1..).zip(cuts(&TOO_SHORT)) {
            bed.accounts([id]).await;
            bed.orders([id], 2).await;
            proxy.strike(NEW_ORDERS, Trouble::CutAnswer(at, end), 1);
            let pass = bed.run().await.exits(0);
            assert_eq!(pass.count("orders", "created"), 1, "{at:?} {end:?}: {}", pass.details());
        }
        assert_eq!((bed.rows("salesOrders").len(), bed.rows("salesOrderLines").len()), (12, 24));
    })
    .await;
}

#[tokio::test]
async fn an_order_that_is_changed_with_its_lines_survives_every_cut() {
    behind_a_proxy(async |bed, proxy| {
        bed.accounts([1]).await;
        bed.orders([1], 1).await;
        bed.run().await.exits(0);
        let requests = cuts(&TOO_EARLY).into_iter().map(|(at, end)| Trouble::CutRequest(at, end));
        let answers = cuts(&TOO_SHORT).into_iter().map(|(at, end)| Trouble::CutAnswer(at, end));
        let mut wanted = vec!["10000 2 Line 1".to_owned()];
        for (line, trouble) in (2..).zip(requests.chain(answers)) {
            bed.crm(&format!(
                "INSERT INTO order_line VALUES (1, {line}, 'ITEM-3', '1', '2.25', 'Line {line}', {line})"
            ))
            .await;
            wanted.push(format!("{line}0000 1 Line {line}"));
            proxy.strike(CHANGED_ORDER, trouble, 1);
            let pass = bed.run().await.exits(0);
            assert_eq!(pass.counters("orders"), "1 staged, 1 updated", "{trouble:?}: {}", pass.details());
            assert_eq!(bed.told_lines(1), wanted, "{trouble:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_business_central_that_turns_connections_down_leaves_nothing_open() {
    behind_a_proxy(async |bed, proxy| {
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        proxy.refuse().await;
        bed.accounts([2]).await;
        for _ in 0..10 {
            let pass = bed.run().await.exits(3);
            assert!(pass.message("customers").contains("could not connect"), "{}", pass.details());
            assert_eq!(bed.ledger("SELECT key FROM intent").await, [""; 0]);
        }
        proxy.resume().await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 created");
    })
    .await;
}

#[tokio::test]
async fn reads_that_break_off_are_repeated() {
    behind_a_proxy(async |bed, proxy| {
        bed.configure("[retry]", "[retry]\nattempts = 30");
        bed.accounts([1]).await;
        bed.orders([1], 1).await;
        for (at, end) in cuts(&TOO_SHORT) {
            proxy.strike(LOOK_UP, Trouble::CutAnswer(at, end), 1);
            proxy.strike(ORDER_BY_ID, Trouble::CutAnswer(at, end), 1);
        }
        bed.run().await.exits(0).did("customers", "1 staged, 1 created").did("orders", "1 staged, 1 created");
    })
    .await;
}

#[tokio::test]
async fn slow_connections_are_only_slow() {
    behind_a_proxy(async |bed, proxy| {
        let slow = Duration::from_millis(1);
        proxy.strike(LOOK_UP, Trouble::Drip(Byte(0), slow), 1);
        proxy.strike(NEW_CUSTOMERS, Trouble::Drip(Body, slow), 1);
        proxy.strike(NEW_ORDERS, Trouble::Late(Duration::from_millis(300)), 1);
        bed.accounts([1]).await;
        bed.orders([1], 1).await;
        bed.run().await.exits(0).did("customers", "1 staged, 1 created").did("orders", "1 staged, 1 created");
        assert_eq!(bed.simulator.stats().set("customers").creates, 1);
    })
    .await;
}
