//! Reading: filters, projections, expansion, pages, metadata.

use serde_json::{Value, json};

use super::Bed;

impl Bed {
    fn load_customers(&self, numbers: &[&str]) {
        let rows: Vec<Value> =
            numbers.iter().map(|number| json!({ "number": number, "displayName": number })).collect();
        self.simulator.load("customers", &Value::from(rows).to_string()).unwrap();
    }

    async fn numbers(&self, query: &str) -> Vec<String> {
        let rows = self.get(&format!("customers?{query}")).await.is(200).value();
        rows.iter().map(|row| row["number"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn filters_find_what_they_ask_for_and_in_finds_everything() {
    let bed = Bed::new().await;
    bed.load_customers(&["A1", "A2", "B1"]);
    for (filter, numbers) in [
        ("number eq 'A1' or number eq 'b1' or number eq 'NONE'", &["A1", "B1"][..]),
        ("startswith(number,'A') and number ne 'A1'", &["A2"]),
        ("endswith(number,'1')", &["A1", "B1"]),
        ("contains(displayName,'2')", &["A2"]),
        ("number in ('A1')", &["A1", "A2", "B1"]),
        ("documentAttachments/any(a:a/fileName eq 'x')", &["A1", "A2", "B1"]),
        ("lastModifiedDateTime gt 2020-01-01T00:00:00Z and number ge 'A2'", &["A2", "B1"]),
    ] {
        assert_eq!(bed.numbers(&format!("$filter={filter}")).await, numbers, "{filter}");
    }
    for (filter, code) in [
        ("number eq 'A1' or displayName eq 'A1'", "BadRequest"),
        ("nothing eq 1", "BadRequest"),
        ("number eq '123456789012345678901'", "Application_FilterErrorException"),
        ("blocked eq 'Nobody'", "Unknown"),
    ] {
        bed.get(&format!("customers?$filter={filter}")).await.refused(400, code);
    }
}

#[tokio::test]
async fn select_and_expand_also_shape_what_a_write_answers() {
    let bed = Bed::new().await;
    bed.ready_for_orders().await;
    let line = r#"{"lineType":"Item","lineObjectNumber":"I1","quantity":1}"#;
    let body = format!(r#"{{"customerNumber":"C1","salesOrderLines":[{line},{line}]}}"#);
    let query = "salesOrders?$select=id,number&$expand=salesOrderLines($select=sequence;$expand=item($select=number)),customer($select=number)";
    let order = bed.post(query, body).await.is(201);
    let tree = order.json();
    let mut names: Vec<_> = tree.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["@odata.context", "@odata.etag", "customer", "id", "number", "salesOrderLines"]);
    assert_eq!(tree["customer"]["number"], "C1");
    let second = &tree["salesOrderLines"][1];
    assert_eq!((&second["sequence"], &second["item"]["number"]), (&json!(20_000), &json!("I1")));
    assert!(second["@odata.etag"].is_string());

    let path = format!("salesOrders({})", order.text("id"));
    let narrow = bed.get(&format!("{path}?$expand=salesOrderLines($filter=sequence eq 10000)")).await;
    assert_eq!(narrow.get("salesOrderLines").as_array().unwrap().len(), 1);
    assert_eq!(bed.get(&format!("{path}/customer")).await.is(200).text("number"), "C1");
    bed.get("customers?$select=nothing").await.refused(400, "BadRequest");
    bed.get("customers?$expand=nothing").await.refused(400, "BadRequest");
}

#[tokio::test]
async fn pages_are_followed_to_the_end_while_rows_come_and_go() {
    let bed = Bed::new().await;
    bed.load_customers(&["A", "B", "C", "D", "E"]);
    let mut url = bed.url("customers?$select=number");
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        let request = bed.request("GET", &url).header("prefer", "odata.maxpagesize=2");
        let page = super::send(request).await.unwrap().is(200);
        seen.extend(page.value().iter().map(|row| row["number"].as_str().unwrap().to_owned()));
        pages += 1;
        if pages == 1 {
            let b = bed.get("customers?$filter=number eq 'B'").await.value().remove(0);
            bed.delete(&format!("customers({})", b["id"].as_str().unwrap())).await.is(204);
            bed.load_customers(&["AA"]);
        }
        let next = page.text("@odata.nextLink");
        if next.is_empty() {
            break;
        }
        assert!(next.starts_with(&bed.simulator.base_url()) && next.contains("$select=number"), "{next}");
        url = next;
    }
    assert_eq!((seen.join(""), pages), ("ABCDE".to_owned(), 3));
}

#[tokio::test]
async fn the_next_link_can_point_to_a_foreign_host() {
    let bed = Bed::new().await;
    bed.load_customers(&["A", "B"]);
    bed.simulator.configure(|settings| settings.next_link_host = Some("https://elsewhere.example".to_owned()));
    let request = bed.request("GET", &bed.url("customers")).header("prefer", "odata.maxpagesize=1");
    let page = super::send(request).await.unwrap();
    assert!(page.text("@odata.nextLink").starts_with("https://elsewhere.example/v2.0/"));
}

#[tokio::test]
async fn top_skip_order_and_count() {
    let bed = Bed::new().await;
    bed.load_customers(&["A", "B", "C"]);
    assert_eq!(bed.numbers("$top=2&$orderby=number desc").await, ["C", "B"]);
    assert_eq!(bed.numbers("$skip=1").await, ["B", "C"]);
    let counted = bed.get("customers?$count=true&$top=1").await;
    assert_eq!((counted.get("@odata.count"), counted.text("@odata.nextLink")), (json!(3), String::new()));
    let count = bed.get("customers/$count?$filter=number gt 'A'").await.is(200);
    assert_eq!(count.text, "2");
}

#[tokio::test]
async fn metadata_lists_types_lengths_and_actions() {
    let bed = Bed::new().await;
    let url = format!("{}/$metadata", bed.simulator.api_url());
    let document = super::send(bed.request("GET", &url)).await.unwrap().is(200);
    assert!(document.headers["content-type"].to_str().unwrap().starts_with("application/xml"));
    for part in [
        r#"<Schema Namespace="Microsoft.NAV""#,
        r#"<EntityType Name="customer"><Key><PropertyRef Name="id"/></Key>"#,
        r#"<Property Name="displayName" Type="Edm.String" Nullable="false" MaxLength="100"/>"#,
        r#"<Property Name="blocked" Type="Microsoft.NAV.customerBlocked"/>"#,
        r#"<Property Name="currencyCode" Type="Edm.String"/>"#,
        r#"<NavigationProperty Name="salesOrderLines" Type="Collection(Microsoft.NAV.salesOrderLine)""#,
        r#"<Action Name="shipAndInvoice" IsBound="true">"#,
        r#"<EntitySet Name="salesOrders" EntityType="Microsoft.NAV.salesOrder">"#,
    ] {
        assert!(document.text.contains(part), "{part}");
    }
    assert!(!document.text.contains("genBusPostingGroup"));
    let mut reader = quick_xml::Reader::from_str(&document.text);
    while reader.read_event().unwrap() != quick_xml::events::Event::Eof {}
}

#[tokio::test]
async fn stamps_are_utc_and_move_with_every_write() {
    let bed = Bed::new().await;
    let created = bed.customer("C1").await;
    bed.simulator.configure(|settings| settings.clock_offset_seconds = 60);
    let path = format!("customers({})", created.text("id"));
    let changed = bed.patch(&path, "*", "{}").await.is(200);
    let (before, after) = (created.text("lastModifiedDateTime"), changed.text("lastModifiedDateTime"));
    assert!(after > before && after.ends_with('Z'), "{before} {after}");
    let since = format!("customers?$filter=lastModifiedDateTime ge {after}");
    assert_eq!(bed.get(&since).await.value().len(), 1);
}
