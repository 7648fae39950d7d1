//! Headers of orders whose change makes Business Central change the lines too, and whose the lines are afterwards.

use bcsync::simulator::{Deed, FaultKind, Options};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::bed::{TestBed, bed, bed_with};
use crate::outbox::{DONE_AND_DROPPED, DROPPED, cut_off};

/// Order 1 with so many lines for customer 1, and a customer 2. Totals are not looked at.
async fn an_order(bed: &mut TestBed, lines: i64) {
    bed.configure("check_total", "# check_total");
    bed.accounts([1, 2]).await;
    bed.orders([1], lines).await;
    bed.run().await.exits(0).did("orders", "1 staged, 1 created");
}

/// The lines of order 1, each as `quantity price description`.
fn priced(bed: &TestBed) -> Vec<String> {
    let number = |value: &Value| value.as_f64().unwrap();
    let told = |line: &Value| {
        format!(
            "{} {} {}",
            number(&line["quantity"]),
            number(&line["unitPrice"]),
            line["description"].as_str().unwrap()
        )
    };
    bed.lines(1).iter().map(told).collect()
}

/// A person gives order 1 to customer 2.
fn a_person_moves_it(bed: &TestBed) {
    bed.edit("salesOrders", &bed.order(1), &json!({ "customerId": bed.customer("C2")["id"] }));
}

#[tokio::test]
async fn a_line_of_the_same_item_that_a_person_put_in_the_place_of_ours_is_theirs() {
    for policy in ["hold", "source_wins", "bc_wins"] {
        bed(async |bed| {
            bed.configure("on_conflict = \"hold\"", &format!("on_conflict = \"{policy}\""));
            an_order(bed, 1).await;
            bed.person("salesOrderLines", &bed.lines(1)[0], Deed::Delete);
            let id = bed.order(1)["id"].as_str().unwrap().to_owned();
            bed.insert_line(&id, &json!({ "lineType": "Item", "lineObjectNumber": "ITEM-2", "quantity": 5 })).await;
            for change in [
                "UPDATE sales_order SET email = 'buyer@c1.example'",
                // Business Central makes the person's line anew, too.
                "UPDATE sales_order SET account_id = 2",
                "DELETE FROM order_line",
            ] {
                bed.crm(change).await;
                bed.run().await.exits(0);
                assert_eq!(priced(bed), ["5 1 Item"], "{policy}: {change}");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn what_a_person_entered_in_lines_that_they_had_made_anew_stays_theirs() {
    bed(async |bed| {
        an_order(bed, 2).await;
        a_person_moves_it(bed);
        bed.edit("salesOrderLines", &bed.lines(1)[0], &json!({ "quantity": 30, "unitPrice": 9.99 }));
        bed.crm("UPDATE sales_order SET ordered_on = '2026-02-04'").await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        assert_eq!(bed.order(1)["orderDate"], "2026-02-04");
        assert_eq!(priced(bed), ["30 9.99 Line 1", "3 1 Line 2"]);

        bed.crm("UPDATE order_line SET qty = '7' WHERE line_no = 1; UPDATE order_line SET price = '3'").await;
        bed.run().await.exits(1).did("orders", "1 staged, 1 conflict");
        let reason = bed.reason("orders", "1").await;
        assert!(reason.contains("lines[1].quantity, lines[1].unitPrice, lines[2].unitPrice"), "{reason}");
        assert_eq!(priced(bed), ["30 9.99 Line 1", "3 1 Line 2"]);
    })
    .await;
}

#[tokio::test]
async fn lines_of_one_item_are_told_apart_by_their_place_or_not_at_all() {
    bed(async |bed| {
        an_order(bed, 2).await;
        bed.crm("UPDATE order_line SET sku = 'ITEM-3'").await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        a_person_moves_it(bed);
        bed.crm("UPDATE order_line SET qty = '8' WHERE line_no = 2").await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        assert_eq!(bed.told_lines(1), ["10000 2 Line 1", "20000 8 Line 2"]);

        // One of two is gone: nobody knows which.
        bed.edit("salesOrders", &bed.order(1), &json!({ "customerId": bed.customer("C1")["id"] }));
        bed.person("salesOrderLines", &bed.lines(1)[0], Deed::Delete);
        bed.crm("UPDATE order_line SET qty = '9' WHERE line_no = 2").await;
        bed.run().await.exits(1).did("orders", "1 staged, 1 conflict");
        assert!(bed.reason("orders", "1").await.contains("cannot be told from lines of other people"));
        assert_eq!(bed.told_lines(1), ["20000 8 Line 2"]);

        // Once a part of it is shipped that is no question any more.
        bed.edit("salesOrderLines", &bed.lines(1)[0], &json!({ "shipQuantity": 3, "invoiceQuantity": 3 }));
        bed.person("salesOrders", &bed.order(1), Deed::Post);
        bed.crm("UPDATE order_line SET qty = '10' WHERE line_no = 2").await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 closed");
    })
    .await;
}

#[tokio::test]
async fn lines_are_ours_after_the_customer_was_changed_there_and_back() {
    for policy in ["hold", "source_wins", "bc_wins"] {
        for change in ["UPDATE order_line SET qty = '8' WHERE line_no = 2", "DELETE FROM order_line WHERE line_no = 2"]
        {
            bed(async |bed| {
                bed.configure("on_conflict = \"hold\"", &format!("on_conflict = \"{policy}\""));
                an_order(bed, 3).await;
                // The prices of the items, so that nothing is anybody's edit.
                bed.crm("UPDATE order_line SET price = '1'").await;
                bed.run().await.exits(0);
                let before: Vec<_> = bed.lines(1).iter().map(|line| line["id"].clone()).collect();
                a_person_moves_it(bed);
                bed.edit("salesOrders", &bed.order(1), &json!({ "customerId": bed.customer("C1")["id"] }));
                assert!(bed.lines(1).iter().all(|line| !before.contains(&line["id"])));
                bed.crm(change).await;
                bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
                let wanted = if change.starts_with("DELETE") {
                    vec!["10000 2 Line 1", "30000 1 Line 3"]
                } else {
                    vec!["10000 2 Line 1", "20000 8 Line 2", "30000 1 Line 3"]
                };
                assert_eq!(bed.told_lines(1), wanted, "{policy}");
            })
            .await;
        }
    }
}

/// What was lost may have been done: that the source takes it back does not make the document as it was.
#[tokio::test]
async fn a_person_is_asked_also_when_the_source_takes_its_lost_change_back() {
    for (change, back) in [
        (
            "INSERT INTO order_line VALUES (1, 4, 'ITEM-9', '4', '2.50', 'Line 4', 4)",
            "DELETE FROM order_line WHERE line_no = 4",
        ),
        ("UPDATE order_line SET qty = '7' WHERE line_no = 2", "UPDATE order_line SET qty = '3' WHERE line_no = 2"),
    ] {
        for there_and_back in [false, true] {
            bed(async |bed| {
                bed.configure("on_conflict = \"hold\"", "on_conflict = \"source_wins\"");
                an_order(bed, 3).await;
                bed.crm(change).await;
                cut_off(bed, DONE_AND_DROPPED).await;
                a_person_moves_it(bed);
                if there_and_back {
                    bed.edit("salesOrders", &bed.order(1), &json!({ "customerId": bed.customer("C1")["id"] }));
                }
                let held = priced(bed);
                bed.run().await.exits(1).did("orders", "1 queued, 1 conflict");
                bed.crm(back).await;
                bed.run().await.exits(1).did("orders", "1 staged, 1 conflict");
                assert_eq!(priced(bed), held, "{change} {there_and_back}");
                bed.output(&["resolve", "orders", "1", "--take", "bc"]).await;
                bed.run().await.exits(0);
                bed.crm("UPDATE order_line SET qty = '9' WHERE line_no = 1").await;
                bed.run().await.exits(1).did("orders", "1 staged, 1 conflict");
                assert_eq!(priced(bed), held, "{change} {there_and_back}");
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_removal_that_was_lost_is_made_although_the_lines_were_made_anew_before_or_since() {
    for since in [false, true] {
        bed(async |bed| {
            an_order(bed, 3).await;
            bed.crm("UPDATE order_line SET price = '1'").await;
            bed.run().await.exits(0);
            let there_and_back = |bed: &TestBed| {
                a_person_moves_it(bed);
                bed.edit("salesOrders", &bed.order(1), &json!({ "customerId": bed.customer("C1")["id"] }));
            };
            if !since {
                there_and_back(bed);
            }
            bed.crm("DELETE FROM order_line WHERE line_no = 3").await;
            cut_off(bed, DROPPED).await;
            if since {
                there_and_back(bed);
                bed.run().await.exits(1).did("orders", "1 queued, 1 conflict");
                bed.person("salesOrderLines", &bed.lines(1)[2], Deed::Delete);
                bed.output(&["resolve", "orders", "1", "--take", "source"]).await;
            } else {
                bed.edit("salesOrders", &bed.order(1), &json!({ "phoneNumber": "1" }));
            }
            bed.run().await.exits(0);
            assert_eq!(bed.told_lines(1), ["10000 2 Line 1", "20000 3 Line 2"], "{since}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_person_is_asked_when_lines_were_made_anew_and_changed_and_the_header_tells_nothing() {
    for policy in ["hold", "source_wins", "bc_wins"] {
        bed(async |bed| {
            bed.configure("on_conflict = \"hold\"", &format!("on_conflict = \"{policy}\""));
            an_order(bed, 2).await;
            a_person_moves_it(bed);
            bed.edit("salesOrders", &bed.order(1), &json!({ "customerId": bed.customer("C1")["id"] }));
            bed.edit("salesOrderLines", &bed.lines(1)[0], &json!({ "quantity": 30 }));
            bed.crm("UPDATE order_line SET qty = '8' WHERE line_no = 2").await;
            bed.run().await.exits(1).did("orders", "1 staged, 1 conflict");
            assert_eq!(bed.told_lines(1), ["10000 30 Line 1", "20000 3 Line 2"], "{policy}");
            // The document is as it was when its differences were told.
            bed.output(&["resolve", "orders", "1", "--take", "source"]).await;
            bed.run().await.exits(0).did("orders", "1 queued, 1 updated");
            assert_eq!(bed.told_lines(1), ["10000 2 Line 1", "20000 8 Line 2"], "{policy}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_line_is_not_made_beside_one_of_its_item_unless_a_person_says_so() {
    bed(async |bed| {
        bed.configure("on_conflict = \"hold\"", "on_conflict = \"source_wins\"");
        an_order(bed, 2).await;
        bed.person("salesOrderLines", &bed.lines(1)[1], Deed::Delete);
        let id = bed.order(1)["id"].as_str().unwrap().to_owned();
        bed.insert_line(&id, &json!({ "lineType": "Item", "lineObjectNumber": "ITEM-3", "quantity": 5 })).await;
        bed.crm("UPDATE order_line SET qty = '8' WHERE line_no = 2").await;
        bed.run().await.exits(1).did("orders", "1 staged, 1 conflict");
        assert_eq!(bed.told_lines(1), ["10000 2 Line 1", "20000 5 Item"]);
        bed.output(&["resolve", "orders", "1", "--take", "source"]).await;
        bed.run().await.exits(0).did("orders", "1 queued, 1 updated");
        assert_eq!(bed.told_lines(1), ["10000 2 Line 1", "20000 5 Item", "30000 8 Line 2"]);
    })
    .await;
}

#[tokio::test]
async fn lines_are_told_from_those_that_a_person_adds_by_their_items() {
    bed(async |bed| {
        an_order(bed, 3).await;
        bed.crm("DELETE FROM order_line WHERE line_no = 1").await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        // Business Central numbers the lines anew: theirs gets the sequence that line 3 had.
        a_person_moves_it(bed);
        let id = bed.order(1)["id"].as_str().unwrap().to_owned();
        bed.insert_line(&id, &json!({ "lineType": "Item", "lineObjectNumber": "ITEM-9", "quantity": 5 })).await;
        bed.crm("UPDATE order_line SET qty = '8' WHERE line_no = 3").await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        assert_eq!(bed.told_lines(1), ["10000 3 Line 2", "20000 8 Line 3", "30000 5 Item"]);
    })
    .await;
}

#[tokio::test]
async fn a_person_is_asked_when_a_lost_change_may_lie_under_lines_that_they_had_made_anew() {
    const ADDED: &str = "INSERT INTO order_line VALUES (1, 4, 'ITEM-9', '4', '2.50', 'Line 4', 4)";
    const REMOVED: &str = "DELETE FROM order_line WHERE line_no = 3";
    const CHANGED: &str = "UPDATE order_line SET qty = '7' WHERE line_no = 3";
    for policy in ["hold", "source_wins", "bc_wins"] {
        for (change, there) in
            [ADDED, REMOVED, CHANGED].into_iter().flat_map(|change| [(change, true), (change, false)])
        {
            bed(async |bed| {
                bed.configure("on_conflict = \"hold\"", &format!("on_conflict = \"{policy}\""));
                an_order(bed, 3).await;
                bed.crm(change).await;
                cut_off(bed, if there { DONE_AND_DROPPED } else { DROPPED }).await;
                a_person_moves_it(bed);
                let held = priced(bed);
                bed.run().await.exits(1).did("orders", "1 queued, 1 conflict");
                let reason = bed.reason("orders", "1").await;
                assert!(reason.contains("`bcsync resolve orders 1 --take source`"), "{reason}");
                assert_eq!(bed.ledger("SELECT * FROM intent").await, [""; 0]);
                // Nothing is written before somebody has said whose the lines are, and not when they cannot be.
                bed.crm("UPDATE sales_order SET ordered_on = '2026-02-04'").await;
                bed.run().await.exits(1).did("orders", "1 staged, 1 conflict");
                bed.output(&["resolve", "orders", "1", "--take", "source"]).await;
                if change != CHANGED && !there {
                    bed.run().await.exits(1);
                    assert_eq!(priced(bed), held, "{policy} {change} {there}");
                    if change == ADDED {
                        let line = json!({ "lineType": "Item", "lineObjectNumber": "ITEM-9", "quantity": 3 });
                        bed.insert_line(bed.order(1)["id"].as_str().unwrap(), &line).await;
                    } else {
                        bed.person("salesOrderLines", &bed.lines(1)[2], Deed::Delete);
                    }
                    bed.output(&["resolve", "orders", "1", "--take", "source"]).await;
                }
                if change == ADDED && !there {
                    // The document is another one than when its differences were told.
                    bed.run().await.exits(1).did("orders", "1 queued, 1 conflict");
                    let told = bed
                        .ledger(
                            "SELECT DISTINCT property, old, new FROM field_changes
                             WHERE outcome = 'conflict' AND property = 'lines[1].unitPrice'",
                        )
                        .await;
                    assert_eq!(told, ["lines[1].unitPrice|1|2.25"]);
                    bed.output(&["resolve", "orders", "1", "--take", "source"]).await;
                }
                bed.run().await.exits(0).did("orders", "1 queued, 1 updated");
                let mut wanted = vec!["2 2.25 Line 1", "3 2.25 Line 2", "1 2.25 Line 3"];
                match change {
                    ADDED => wanted.push("4 2.5 Line 4"),
                    REMOVED => wanted.truncate(2),
                    _ => wanted[2] = "7 2.25 Line 3",
                }
                assert_eq!(priced(bed), wanted, "{policy} {change} {there}");
                assert_eq!(bed.order(1)["customerNumber"], "C2");
                bed.crm("UPDATE order_line SET qty = '12' WHERE line_no = 1").await;
                bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
                wanted[0] = "12 2.25 Line 1";
                assert_eq!(priced(bed), wanted);
            })
            .await;
        }
    }
}

#[tokio::test]
async fn another_currency_costs_the_lines_neither_price_nor_identity() {
    bed(async |bed| {
        an_order(bed, 2).await;
        let before: Vec<_> = bed.lines(1).iter().map(|line| line["id"].clone()).collect();
        bed.crm("UPDATE sales_order SET currency = 'EUR'").await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        assert_eq!(bed.order(1)["currencyCode"], "EUR");
        assert!(bed.lines(1).iter().all(|line| !before.contains(&line["id"])));
        assert_eq!(priced(bed), ["2 2.25 Line 1", "3 2.25 Line 2"]);
        bed.crm("UPDATE order_line SET qty = '8' WHERE line_no = 2").await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        assert_eq!(priced(bed), ["2 2.25 Line 1", "8 2.25 Line 2"]);
    })
    .await;
}

#[tokio::test]
async fn a_price_that_a_person_entered_survives_another_customer_of_the_source() {
    // Business Central makes the line anew at the price of the item, which nobody wants.
    for policy in ["hold", "source_wins", "bc_wins"] {
        for lost in [false, true] {
            bed(async |bed| {
                bed.configure("on_conflict = \"hold\"", &format!("on_conflict = \"{policy}\""));
                an_order(bed, 2).await;
                bed.edit("salesOrderLines", &bed.lines(1)[0], &json!({ "unitPrice": 99 }));
                bed.crm("UPDATE sales_order SET account_id = 2").await;
                if lost {
                    bed.strike("PATCH", "salesOrders", FaultKind::Drop { committed: true, after_operations: 0 });
                }
                bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
                assert_eq!(bed.order(1)["customerNumber"], "C2");
                assert_eq!(priced(bed), ["2 99 Line 1", "3 2.25 Line 2"], "{policy} {lost}");
                let told = bed.field_changes("orders").await;
                assert!(told.contains(&"1|lines[1].unitPrice|1|99".to_owned()), "{told:?}");

                // It is still theirs.
                bed.crm("UPDATE order_line SET price = '3' WHERE line_no = 1").await;
                bed.run().await.exits(i32::from(policy == "hold"));
                assert_eq!(priced(bed)[0], if policy == "source_wins" { "2 3 Line 1" } else { "2 99 Line 1" });
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_price_that_a_person_entered_and_one_of_the_source_meet_as_ever() {
    for (policy, price) in [("source_wins", "2 3 Line 1"), ("bc_wins", "2 99 Line 1")] {
        bed(async |bed| {
            bed.configure("on_conflict = \"hold\"", &format!("on_conflict = \"{policy}\""));
            an_order(bed, 2).await;
            bed.edit("salesOrderLines", &bed.lines(1)[0], &json!({ "unitPrice": 99 }));
            bed.crm("UPDATE sales_order SET account_id = 2; UPDATE order_line SET price = '3' WHERE line_no = 1").await;
            bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
            assert_eq!(priced(bed), [price, "3 2.25 Line 2"]);
            let told = "SELECT old, new FROM field_changes WHERE property = 'lines[1].unitPrice'";
            assert_eq!(bed.ledger(told).await, [if policy == "bc_wins" { "3|99" } else { "99|3" }]);
        })
        .await;
    }
}

#[tokio::test]
async fn a_text_that_a_person_entered_survives_a_new_customer_whose_answer_is_lost() {
    bed(async |bed| {
        an_order(bed, 2).await;
        bed.edit("salesOrderLines", &bed.lines(1)[0], &json!({ "description": "As agreed" }));
        bed.crm("UPDATE sales_order SET account_id = 2").await;
        bed.strike("PATCH", "salesOrders", FaultKind::Drop { committed: true, after_operations: 0 });
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        assert_eq!(priced(bed), ["2 2.25 As agreed", "3 2.25 Line 2"]);
        bed.crm("UPDATE order_line SET text = 'From the CRM' WHERE line_no = 1").await;
        bed.run().await.exits(1).did("orders", "1 staged, 1 conflict");
        assert_eq!(priced(bed), ["2 2.25 As agreed", "3 2.25 Line 2"]);
    })
    .await;
}

#[tokio::test]
async fn prices_stay_as_the_source_has_them_when_they_include_the_tax_from_now_on() {
    let tax = Options { tax_percent: Decimal::from(25), ..Options::default() };
    bed_with(tax, async |bed| {
        bed.configure(
            "email = \"email\"\n\n[jobs.orders.lines]",
            "pricesIncludeTax = \"email == 'gross'\"\n\n[jobs.orders.lines]",
        );
        an_order(bed, 2).await;
        bed.edit("salesOrderLines", &bed.lines(1)[1], &json!({ "unitPrice": 99 }));
        bed.crm("UPDATE sales_order SET email = 'gross'").await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        assert_eq!(bed.order(1)["pricesIncludeTax"], true);
        assert_eq!(priced(bed), ["2 2.25 Line 1", "3 99 Line 2"]);
    })
    .await;
}

#[tokio::test]
async fn lines_keep_their_dates_when_the_order_gets_another_one() {
    bed(async |bed| {
        bed.configure(
            "email = \"email\"\n\n[jobs.orders.lines]",
            "requestedDeliveryDate = \"ordered_on | date\"\n\n[jobs.orders.lines]",
        );
        bed.configure("unitPrice = \"price\"", "unitPrice = \"price\"\nshipmentDate = \"'2026-05-01' | date\"");
        an_order(bed, 2).await;
        bed.edit("salesOrderLines", &bed.lines(1)[1], &json!({ "shipmentDate": "2026-06-01" }));
        bed.crm("UPDATE sales_order SET ordered_on = '2026-04-01'").await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        assert_eq!(bed.order(1)["requestedDeliveryDate"], "2026-04-01");
        let dates: Vec<_> = bed.lines(1).iter().map(|line| line["shipmentDate"].clone()).collect();
        assert_eq!(dates, ["2026-05-01", "2026-06-01"]);
    })
    .await;
}
