//! Orders and invoices: deep insert, lines, totals, locks, posting.

use bcsync::simulator::{Deed, Options, Person};
use serde_json::{Value, json};

use super::{Answer, Bed};

const ZERO: &str = "00000000-0000-0000-0000-000000000000";

fn path_of(order: &Answer) -> String {
    format!("salesOrders({})", order.text("id"))
}

fn lines_of(order: &Answer) -> Vec<Value> {
    order.get("salesOrderLines").as_array().cloned().unwrap_or_default()
}

impl Bed {
    fn person(&self, order: &Answer, action: Deed) {
        let person = Person {
            company: None,
            set: "salesOrders".to_owned(),
            row: order.text("id"),
            action,
            changes: serde_json::Map::new(),
        };
        self.simulator.person(&person).unwrap();
    }

    async fn lines(&self, order: &Answer) -> Vec<Value> {
        self.get(&format!("{}/salesOrderLines", path_of(order))).await.is(200).value()
    }
}

#[tokio::test]
async fn a_deep_insert_copies_the_customer_and_sums_the_lines() {
    let bed = Bed::with(Options { tax_percent: "19".parse().unwrap(), ..Options::default() }).await;
    bed.item("I1", "10.50").await;
    let customer = r#"{"number":"C1","displayName":"Adatum","addressLine1":"Street 1","city":"Ulm","country":"DE","currencyCode":"EUR","salespersonCode":"JO"}"#;
    bed.post("customers", customer).await.is(201);
    let body = r#"{"customerNumber":"c1","externalDocumentNumber":" so-1 ","orderDate":"2026-01-31","salesOrderLines":[
        {"sequence":10000,"lineType":"Item","lineObjectNumber":"I1","quantity":3},
        {"sequence":15000,"lineType":"Item","lineObjectNumber":"I1","quantity":1,"unitPrice":0.335,"description":"Special"},
        {"description":"Thank you"}]}"#;
    let order = bed.post("salesOrders?$expand=salesOrderLines", body).await.is(201);
    assert_eq!(order.text("number"), "S-ORD101001");
    assert_eq!(order.text("externalDocumentNumber"), "SO-1");
    assert_eq!(order.text("orderDate"), "2026-01-31");
    assert_eq!(order.text("requestedDeliveryDate"), "0001-01-01");
    assert_eq!(order.text("status"), "Draft");
    for (property, value) in [
        ("customerName", "Adatum"),
        ("billToName", "Adatum"),
        ("sellToCity", "Ulm"),
        ("shipToCity", "Ulm"),
        ("billToCity", "Ulm"),
        ("sellToCountry", "DE"),
        ("currencyCode", "EUR"),
        ("salesperson", "JO"),
    ] {
        assert_eq!(order.text(property), value, "{property}");
    }
    // 3 x 10.50 + 0.34 (half away from zero) = 31.84, and 19 % of each line.
    for amount in
        ["\"totalAmountExcludingTax\":31.84,", "\"totalTaxAmount\":6.05,", "\"totalAmountIncludingTax\":37.89,"]
    {
        assert!(order.text.contains(amount), "{amount} in {}", order.text);
    }
    let lines = lines_of(&order);
    let sequences: Vec<_> = lines.iter().map(|line| line["sequence"].as_i64().unwrap()).collect();
    assert_eq!(sequences, [10_000, 15_000, 25_000]);
    assert_eq!(lines[0]["description"], "Item I1");
    assert_eq!(lines[0]["unitOfMeasureCode"], "PCS");
    assert_eq!(lines[1]["description"], "Special");
    assert_eq!(lines[2]["lineType"], "Comment");
    assert_eq!(lines[0]["documentId"], order.get("id"));
}

#[tokio::test]
async fn a_bad_line_takes_the_header_with_it() {
    let bed = Bed::new().await;
    bed.ready_for_orders().await;
    for (line, code) in [
        (r#"{"lineType":"Item","lineObjectNumber":"NONE","quantity":1}"#, "Application_DialogException"),
        (r#"{"itemId":"99999999-9999-9999-9999-999999999999"}"#, "Application_DialogException"),
        (r#"{"sequence":10000,"description":"taken"}"#, "Application_DialogException"),
        (r#"{"lineType":"Item","lineObjectNumber":"I1","unitOfMeasureCode":"BOX"}"#, "Internal_InvalidTableRelation"),
        (r#"{"description":"x","netAmount":1}"#, "BadRequest_InvalidOperation"),
        (r#"{"description":"x","discountPercent":101}"#, "Application_DialogException"),
    ] {
        let body = format!(
            r#"{{"customerNumber":"C1","salesOrderLines":[{{"sequence":10000,"description":"first"}},{line}]}}"#
        );
        bed.post("salesOrders", body).await.refused(400, code);
    }
    assert_eq!(bed.simulator.count("salesOrders").unwrap() + bed.simulator.count("salesOrderLines").unwrap(), 0);
    assert_eq!(bed.order("SO-1").await.text("number"), "S-ORD101001", "the series was rolled back too");
}

#[tokio::test]
async fn customers_that_cannot_be_sold_to() {
    let bed = Bed::new().await;
    bed.ready_for_orders().await;
    bed.post("customers", r#"{"number":"BLOCKED","displayName":"x","blocked":"All"}"#).await.is(201);
    bed.simulator.configure(|settings| settings.template = false);
    bed.customer("BARE").await;
    for (body, code, text) in [
        ("{}", "Application_DialogException", "A \"customerNumber\" or a \"customerId\" must be provided."),
        (r#"{"customerNumber":""}"#, "BadRequest_RequiredParamNotProvided", "Field 'customerNumber'"),
        (
            r#"{"customerNumber":"NONE"}"#,
            "Internal_InvalidTableRelation",
            "The field Sell-to Customer No. of table Sales Order Entity Buffer contains a value (NONE)",
        ),
        (
            r#"{"customerId":"99999999-9999-9999-9999-999999999999"}"#,
            "Application_DialogException",
            "The sell-to customer cannot be found.",
        ),
        (
            r#"{"customerNumber":"BLOCKED"}"#,
            "Application_DialogException",
            "You cannot create this type of document when Customer BLOCKED is blocked with type All",
        ),
        (
            r#"{"customerNumber":"BARE"}"#,
            "Application_FieldValidationException",
            "Gen. Bus. Posting Group must have a value in Customer: No.=BARE.",
        ),
    ] {
        let answer = bed.post("salesOrders", body).await;
        answer.refused(400, code);
        assert!(answer.message().starts_with(text), "{}", answer.text);
    }
    let first = bed.get("customers?$filter=number eq 'C1'").await.value().remove(0);
    let both = json!({ "customerId": first["id"], "customerNumber": "BARE" });
    let answer = bed.post("salesOrders", both).await;
    answer.refused(400, "Application_DialogException");
    assert!(answer.message().starts_with("The sell-to customer values do not match to a specific Customer."));
}

#[tokio::test]
async fn two_identical_orders_are_created_without_complaint() {
    let bed = Bed::new().await;
    bed.ready_for_orders().await;
    let (first, second) = (bed.order("SO-1").await, bed.order("SO-1").await);
    assert_ne!(first.text("number"), second.text("number"));
    assert_eq!(bed.simulator.duplicates("salesOrders", "externalDocumentNumber").unwrap()["SO-1"], 2);
    assert!(bed.simulator.duplicates("salesOrders", "number").unwrap().is_empty());
}

#[tokio::test]
async fn the_order_number_is_the_servers_unless_the_series_is_manual() {
    let bed = Bed::new().await;
    bed.ready_for_orders().await;
    let body = r#"{"number":"MINE","customerNumber":"C1"}"#;
    bed.post("salesOrders", body).await.refused(400, "Application_DialogException");
    bed.simulator.configure(|settings| {
        settings.manual_numbers.insert("salesOrders".to_owned());
    });
    assert_eq!(bed.post("salesOrders", body).await.is(201).text("number"), "MINE");
    bed.post("salesOrders", body).await.refused(400, "Internal_EntityWithSameKeyExists");
}

#[tokio::test]
async fn lines_are_written_one_by_one_and_move_the_orders_etag() {
    let bed = Bed::new().await;
    bed.ready_for_orders().await;
    let order = bed.order("SO-1").await;
    let nested = format!("{}/salesOrderLines", path_of(&order));
    let added = bed.post(&nested, r#"{"lineType":"Item","lineObjectNumber":"I1","quantity":1}"#).await.is(201);
    assert_eq!(added.get("sequence"), json!(20_000));
    let flat = json!({ "documentId": order.get("id"), "description": "Note" });
    bed.post("salesOrderLines", &flat).await.is(201);
    let stale = bed.patch(&path_of(&order), &order.etag(), r#"{"email":"a@b.example"}"#).await;
    stale.refused(409, "Request_EntityChanged");

    let line = format!("salesOrderLines({})", added.text("id"));
    let changed = bed.patch(&line, &added.etag(), r#"{"quantity":5,"discountPercent":10}"#).await.is(200);
    assert_eq!(changed.get("netAmount"), json!(47.25));
    let total = bed.get(&path_of(&order)).await.get("totalAmountExcludingTax");
    assert_eq!(total, json!(68.25));
    bed.patch(&line, "*", r#"{"sequence":5}"#).await.refused(400, "Application_DialogException");
    bed.patch(&line, "*", r#"{"lineObjectNumber":"I2"}"#).await.refused(400, "Application_DialogException");
    bed.delete(&format!("{nested}({})", added.text("id"))).await.is(204);
    assert_eq!(bed.lines(&order).await.len(), 2);
}

#[tokio::test]
async fn lines_cannot_be_read_without_their_order() {
    let bed = Bed::new().await;
    bed.ready_for_orders().await;
    let order = bed.order("SO-1").await;
    let refused = bed.get("salesOrderLines").await;
    refused.refused(400, "Application_DialogException");
    assert!(refused.message().starts_with("You must specify an Id or a Document Id to get the lines."));
    bed.get("salesOrderLines?$filter=quantity gt 0").await.refused(400, "Application_DialogException");
    let by_filter = format!("salesOrderLines?$filter=documentId eq {}", order.text("id"));
    assert_eq!(bed.get(&by_filter).await.is(200).value().len(), 1);
}

#[tokio::test]
async fn a_header_change_that_recreates_the_lines_gives_them_new_ids() {
    let bed = Bed::new().await;
    bed.ready_for_orders().await;
    bed.customer("C2").await;
    let order = bed.order("SO-1").await;
    let (path, before) = (path_of(&order), lines_of(&order));
    let changed = bed.patch(&path, "*", r#"{"externalDocumentNumber":"SO-2","email":"a@b.example"}"#).await.is(200);
    assert_eq!(bed.lines(&order).await[0]["id"], before[0]["id"], "no reason to touch the lines");
    assert_eq!(changed.text("externalDocumentNumber"), "SO-2");

    let by_customer = bed.patch(&path, "*", r#"{"customerNumber":"C2"}"#).await.is(200);
    assert_eq!(by_customer.text("customerName"), "Customer C2");
    let after_customer = bed.lines(&order).await;
    assert_ne!(after_customer[0]["id"], before[0]["id"]);
    bed.patch(&path, "*", r#"{"currencyCode":"EUR"}"#).await.is(200);
    assert_ne!(bed.lines(&order).await[0]["id"], after_customer[0]["id"]);
    bed.patch(&path, "*", r#"{"salesOrderLines":[]}"#).await.refused(400, "BadRequest");
}

#[tokio::test]
async fn prices_are_converted_when_they_are_to_include_tax() {
    let bed = Bed::with(Options { tax_percent: "19".parse().unwrap(), ..Options::default() }).await;
    bed.customer("C1").await;
    bed.item("I1", "100").await;
    let order = bed.order("SO-1").await;
    assert_eq!(order.get("totalAmountIncludingTax"), json!(238.0));
    let with_tax = bed.patch(&path_of(&order), "*", r#"{"pricesIncludeTax":true}"#).await.is(200);
    assert_eq!(with_tax.get("totalAmountIncludingTax"), json!(238.0));
    assert_eq!(bed.lines(&order).await[0]["unitPrice"], json!(119.0));
}

#[tokio::test]
async fn the_invoice_discount_is_distributed_over_the_lines() {
    let bed = Bed::new().await;
    bed.ready_for_orders().await;
    let line = r#"{"lineType":"Item","lineObjectNumber":"I1","quantity":1,"unitPrice":10}"#;
    let body = format!(r#"{{"customerNumber":"C1","discountAmount":1.00,"salesOrderLines":[{line},{line},{line}]}}"#);
    let order = bed.post("salesOrders?$expand=salesOrderLines", body).await.is(201);
    let shares: Vec<_> =
        lines_of(&order).iter().map(|line| line["invoiceDiscountAllocation"].as_f64().unwrap()).collect();
    assert_eq!(shares, [0.33, 0.33, 0.34]);
    assert_eq!(order.get("totalAmountExcludingTax"), json!(29.0));
}

#[tokio::test]
async fn a_released_order_is_locked_but_not_for_everything() {
    let bed = Bed::new().await;
    bed.ready_for_orders().await;
    let order = bed.order("SO-1").await;
    let path = path_of(&order);
    let line = format!("salesOrderLines({})", lines_of(&order)[0]["id"].as_str().unwrap());
    bed.person(&order, Deed::Release);
    assert_eq!(bed.get(&path).await.text("status"), "Open");

    for body in
        [r#"{"currencyCode":"EUR"}"#, r#"{"requestedDeliveryDate":"2026-05-01"}"#, r#"{"pricesIncludeTax":true}"#]
    {
        let refused = bed.patch(&path, "*", body).await;
        refused.refused(400, "Application_FieldValidationException");
        assert!(refused.message().starts_with(
            "Status must be equal to 'Open'  in Sales Header: Document Type=Order, No.=S-ORD101001. Current value is 'Released'."
        ));
    }
    bed.patch(&line, "*", r#"{"quantity":9}"#).await.refused(400, "Application_FieldValidationException");
    bed.delete(&line).await.refused(400, "Application_FieldValidationException");
    let new_line = format!("{path}/salesOrderLines");
    let item = r#"{"lineType":"Item","lineObjectNumber":"I1"}"#;
    bed.post(&new_line, item).await.refused(400, "Application_FieldValidationException");
    assert_eq!(bed.lines(&order).await.len(), 1, "nothing of the refused line remains");
    bed.post(&new_line, r#"{"description":"A comment is fine"}"#).await.is(201);
    bed.patch(&line, "*", r#"{"description":"So is a text"}"#).await.is(200);
    bed.patch(&path, "*", r#"{"externalDocumentNumber":"SO-2"}"#).await.is(200);

    bed.person(&order, Deed::Reopen);
    bed.patch(&line, "*", r#"{"quantity":9}"#).await.is(200);
    bed.person(&order, Deed::RequestApproval);
    assert_eq!(bed.get(&path).await.text("status"), "In_x0020_Review");
    let refused = bed.patch(&path, "*", r#"{"salesperson":"JO"}"#).await;
    refused.refused(400, "Application_FieldValidationException");
    assert!(refused.message().contains("Current value is 'Pending Approval'."));
}

#[tokio::test]
async fn a_fully_posted_order_vanishes_into_an_invoice() {
    let bed = Bed::new().await;
    bed.ready_for_orders().await;
    let order = bed.order("SO-1").await;
    let path = path_of(&order);
    bed.post(&format!("{path}/Microsoft.NAV.SHIPANDINVOICE"), "").await.is(204);
    assert_eq!(bed.get(&path).await.status, 404);
    assert!(bed.get("salesOrders?$filter=externalDocumentNumber eq 'SO-1'").await.value().is_empty());

    for filter in [
        format!("orderId eq {}", order.text("id")),
        format!("orderNumber eq '{}'", order.text("number")),
        "externalDocumentNumber eq 'SO-1'".to_owned(),
    ] {
        let invoices = bed.get(&format!("salesInvoices?$filter={filter}&$expand=salesInvoiceLines")).await.value();
        assert_eq!(invoices.len(), 1, "{filter}");
        assert_eq!(invoices[0]["status"], "Open");
        assert_eq!(invoices[0]["totalAmountIncludingTax"], json!(21.0));
        assert_eq!(invoices[0]["salesInvoiceLines"][0]["lineObjectNumber"], "I1");
        assert_ne!(invoices[0]["id"], order.get("id"));
    }
    let invoice = bed.get("salesInvoices").await.value().remove(0);
    let invoice = format!("salesInvoices({})", invoice["id"].as_str().unwrap());
    bed.patch(&invoice, "*", r#"{"email":"a@b.example"}"#).await.refused(400, "Application_DialogException");
    bed.delete(&invoice).await.refused(400, "Application_DialogException");
}

#[tokio::test]
async fn a_partly_posted_order_stays_released() {
    let bed = Bed::new().await;
    bed.ready_for_orders().await;
    let order = bed.order("SO-1").await;
    let line = format!("salesOrderLines({})", lines_of(&order)[0]["id"].as_str().unwrap());
    bed.patch(&line, "*", r#"{"shipQuantity":1,"invoiceQuantity":1}"#).await.is(200);
    bed.person(&order, Deed::Post);
    let left = bed.get(&path_of(&order)).await.is(200);
    assert_eq!(left.text("status"), "Open");
    let line = bed.lines(&order).await.remove(0);
    assert_eq!([&line["shippedQuantity"], &line["invoicedQuantity"], &line["shipQuantity"]], [1, 1, 1]);
    assert_eq!(bed.get("salesInvoices").await.value()[0]["totalAmountExcludingTax"], json!(10.5));
    bed.person(&order, Deed::Post);
    assert_eq!(bed.get(&path_of(&order)).await.status, 404);
    assert_eq!(bed.get("salesInvoices").await.value().len(), 2);
}

#[tokio::test]
async fn an_empty_order_cannot_be_posted_but_deleted() {
    let bed = Bed::new().await;
    bed.ready_for_orders().await;
    let order = bed.post("salesOrders", r#"{"customerNumber":"C1"}"#).await.is(201);
    let path = path_of(&order);
    let refused = bed.post(&format!("{path}/Microsoft.NAV.shipAndInvoice"), "").await;
    refused.refused(400, "Application_DialogException");
    assert!(refused.message().starts_with("Please add at least one line item to the estimate."));
    bed.post(&format!("{path}/Microsoft.NAV.release"), "").await.refused(404, "BadRequest_ResourceNotFound");
    bed.delete(&path).await.is(204);
    let with_lines = bed.order("SO-1").await;
    bed.delete(&path_of(&with_lines)).await.is(204);
    assert_eq!(bed.simulator.count("salesOrderLines").unwrap(), 0);
}

#[tokio::test]
async fn items_that_cannot_be_sold() {
    let bed = Bed::new().await;
    bed.customer("C1").await;
    bed.post("items", r#"{"number":"BLOCKED","displayName":"x","blocked":true}"#).await.is(201);
    bed.simulator.configure(|settings| settings.template = false);
    bed.post("items", r#"{"number":"BARE","displayName":"x"}"#).await.is(201);
    for (item, text) in [
        ("BLOCKED", "Blocked must be equal to 'No'  in Item: No.=BLOCKED."),
        ("BARE", "Gen. Prod. Posting Group must have a value in Item: No.=BARE."),
    ] {
        let body = format!(
            r#"{{"customerNumber":"C1","salesOrderLines":[{{"lineType":"Item","lineObjectNumber":"{item}"}}]}}"#
        );
        let refused = bed.post("salesOrders", body).await;
        refused.refused(400, "Application_FieldValidationException");
        assert!(refused.message().starts_with(text), "{}", refused.text);
    }
}

#[tokio::test]
async fn an_item_number_before_the_line_type_is_matched_loosely() {
    let bed = Bed::new().await;
    bed.customer("C1").await;
    bed.item("CHAIR-RED", "1").await;
    let line = |text: &str| format!(r#"{{"customerNumber":"C1","salesOrderLines":[{text}]}}"#);
    let strict = line(r#"{"lineType":"Item","lineObjectNumber":"CHAIR"}"#);
    bed.post("salesOrders", strict).await.refused(400, "Application_DialogException");
    let loose = line(r#"{"lineObjectNumber":"CHAIR","lineType":"Item"}"#);
    let order = bed.post("salesOrders?$expand=salesOrderLines", loose).await.is(201);
    assert_eq!(lines_of(&order)[0]["lineObjectNumber"], "CHAIR-RED");
}

#[tokio::test]
async fn draft_invoices_are_written_like_orders() {
    let bed = Bed::new().await;
    bed.ready_for_orders().await;
    let line = r#"{"lineType":"Item","lineObjectNumber":"I1","quantity":2}"#;
    let body = format!(r#"{{"customerNumber":"C1","salesInvoiceLines":[{line}]}}"#);
    let invoice = bed.post("salesInvoices?$expand=salesInvoiceLines", body).await.is(201);
    assert_eq!([invoice.text("status"), invoice.text("orderId")], ["Draft", ZERO]);
    let path = format!("salesInvoices({})", invoice.text("id"));
    bed.patch(&path, "*", r#"{"customerPurchaseOrderReference":"PO 7"}"#).await.is(200);
    bed.post(&format!("{path}/Microsoft.NAV.post"), "").await.is(204);
    let posted = bed.get(&path).await.is(200);
    assert_eq!(posted.text("status"), "Open");
    assert_eq!(posted.get("remainingAmount"), json!(21.0));
}
