//! Customers, contacts, items and code tables: what is accepted, what is refused, and what BC makes of it.

use serde_json::{Value, json};

use super::Bed;

#[tokio::test]
async fn a_customer_is_created_read_changed_and_deleted() {
    let bed = Bed::new().await;
    let body =
        json!({ "number": " c1 ", "displayName": "Adatum", "type": "Company", "blocked": " ", "creditLimit": 1000.5 });
    let created = bed.post("customers", &body).await.is(201);
    assert_eq!(created.text("number"), "C1");
    assert_eq!(created.text("blocked"), "_x0020_");
    assert_eq!(created.text("currencyCode"), "USD");
    assert_eq!(created.text("currencyId"), "00000000-0000-0000-0000-000000000000");
    assert!(created.text.contains("\"creditLimit\":1000.5,"), "{}", created.text);
    assert!(created.etag().starts_with("W/\"JzIwO"));
    let id = created.text("id");
    let location = created.headers["location"].to_str().unwrap();
    assert_eq!(location, bed.url(&format!("customers({id})")));

    let path = format!("customers({id})");
    let read = bed.get(&path).await.is(200);
    assert_eq!(read.etag(), created.etag());
    assert!(read.text("@odata.context").ends_with("/customers/$entity"));

    let changed = bed.patch(&path, &read.etag(), &json!({ "displayName": "Adatum 2" })).await.is(200);
    assert_ne!(changed.etag(), read.etag());
    assert_eq!(changed.text("displayName"), "Adatum 2");

    bed.delete(&path).await.is(204);
    assert_eq!(bed.get(&path).await.status, 404);
}

#[tokio::test]
async fn an_etag_is_needed_and_must_be_current() {
    let bed = Bed::new().await;
    let created = bed.customer("C1").await;
    let path = format!("customers({})", created.text("id"));
    let change = json!({ "city": "Ulm" });
    bed.patch(&path, "", &change).await.refused(400, "BadRequest_InvalidToken");
    bed.patch(&path, "garbled", &change).await.refused(400, "BadRequest_InvalidToken");
    bed.patch(&path, &created.etag(), &change).await.is(200);
    bed.patch(&path, &created.etag(), &change).await.refused(409, "Request_EntityChanged");
    bed.patch(&path, "*", &change).await.is(200);
    let request = bed.request("DELETE", &bed.url(&path)).header("if-match", created.etag());
    super::send(request).await.unwrap().refused(409, "Request_EntityChanged");
}

#[tokio::test]
async fn what_is_absent_is_not_created_by_a_change() {
    let bed = Bed::new().await;
    let path = "customers(00000000-0000-0000-0000-000000000009)";
    bed.patch(path, "*", &json!({ "displayName": "x" })).await.refused(404, "Internal_RecordNotFound");
    bed.delete(path).await.refused(404, "Internal_RecordNotFound");
    bed.get(path).await.refused(404, "BadRequest_ResourceNotFound");
}

#[tokio::test]
async fn bad_customers_are_refused_with_their_codes() {
    let bed = Bed::new().await;
    bed.customer("TAKEN").await;
    let unknown = "99999999-9999-9999-9999-999999999999";
    let long = "x".repeat(101);
    for (extra, code) in [
        (json!({ "number": "taken" }), "Internal_EntityWithSameKeyExists"),
        (json!({ "id": unknown }), "BadRequest_InvalidOperation"),
        (json!({ "balanceDue": 1 }), "BadRequest_InvalidOperation"),
        (json!({ "taxAreaDisplayName": "x" }), "BadRequest_InvalidOperation"),
        (json!({ "yourReference": "x" }), "BadRequest"),
        (json!({ "displayName": 5 }), "BadRequest"),
        (json!({ "creditLimit": "5" }), "BadRequest"),
        (json!({ "displayName": { "a": 1 } }), "BadRequest"),
        (json!({ "displayName": long }), "Application_StringExceededLength"),
        (json!({ "displayName": "" }), "Application_DialogException"),
        (json!({ "blocked": "Nobody" }), "Unknown"),
        (json!({ "phoneNumber": "0711 ext 5" }), "Application_FieldValidationException"),
        (json!({ "email": "nobody" }), "Application_DialogException"),
        (json!({ "country": "XX" }), "Internal_InvalidTableRelation"),
        (json!({ "salespersonCode": "XX" }), "Internal_InvalidTableRelation"),
        (json!({ "currencyCode": "XXX" }), "Internal_InvalidTableRelation"),
        (json!({ "paymentTermsId": unknown }), "Application_DialogException"),
        (json!({ "currencyId": unknown }), "Application_DialogException"),
        (json!({ "currencyId": "EUR" }), "Application_InvalidGUID"),
    ] {
        let mut body = json!({ "displayName": "Somebody" });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let answer = bed.post("customers", &body).await;
        answer.refused(400, code);
    }
    bed.post("customers", &json!({ "number": "X" })).await.refused(400, "Application_DialogException");
    let area = bed.post("customers", &json!({ "displayName": "x", "taxAreaId": unknown })).await;
    area.refused(404, "Internal_RecordNotFound");
    assert_eq!(bed.simulator.count("customers").unwrap(), 1);
}

#[tokio::test]
async fn texts_of_refusals_can_be_recognised() {
    let bed = Bed::new().await;
    bed.customer("C1").await;
    let twin = bed.post("customers", &json!({ "number": "C1", "displayName": "x" })).await;
    assert!(twin.message().starts_with(
        "The record in table Customer already exists. Identification fields and values: No.='C1'  CorrelationId:  "
    ));
    let long = bed.post("customers", &json!({ "addressLine2": "x".repeat(57) })).await;
    assert!(
        long.message()
            .starts_with("The length of the string is 57, but it must be less than or equal to 50 characters.")
    );
    let read_only = bed.post("customers", &json!({ "balanceDue": 1 })).await;
    assert!(read_only.message().starts_with("Control 'balanceDue' is read-only."));
}

#[tokio::test]
async fn ids_and_codes_that_disagree_are_refused() {
    let bed = Bed::new().await;
    let euro = bed.get("currencies?$filter=code eq 'EUR'").await.value().remove(0);
    let good = json!({ "displayName": "x", "currencyId": euro["id"], "currencyCode": "EUR" });
    assert_eq!(bed.post("customers", &good).await.is(201).text("currencyCode"), "EUR");
    let bad = json!({ "displayName": "x", "currencyId": euro["id"], "currencyCode": "GBP" });
    let answer = bed.post("customers", &bad).await;
    answer.refused(400, "Application_DialogException");
    assert!(answer.message().starts_with("The currency values do not match to a specific Currency."));
}

#[tokio::test]
async fn the_local_currency_is_stored_blank_and_shown_by_its_code() {
    let bed = Bed::new().await;
    let by_code = bed.post("customers", &json!({ "displayName": "x", "currencyCode": "USD" })).await.is(201);
    let blank = bed.post("customers", &json!({ "displayName": "x", "currencyCode": "" })).await.is(201);
    for customer in [by_code, blank] {
        assert_eq!(customer.text("currencyCode"), "USD");
        assert_eq!(customer.text("currencyId"), "00000000-0000-0000-0000-000000000000");
    }
    assert_eq!(bed.get("companyInformation").await.value()[0]["currencyCode"], "USD");
}

#[tokio::test]
async fn addresses_follow_country_and_postal_code() {
    let bed = Bed::new().await;
    let body = r#"{"displayName":"x","city":"Springfield","state":"XX","country":"US","postalCode":"98052"}"#;
    let found = bed.post("customers", body).await.is(201);
    assert_eq!([found.text("city"), found.text("state"), found.text("country")], ["Redmond", "WA", "US"]);

    let path = format!("customers({})", found.text("id"));
    let moved = bed.patch(&path, "*", r#"{"city":"Graz","country":"AT"}"#).await.is(200);
    assert_eq!([moved.text("city"), moved.text("state"), moved.text("postalCode")], ["", "", ""]);
    let again = bed.patch(&path, "*", r#"{"country":"DE","postalCode":"71638","city":"Ludwigsburg"}"#).await;
    assert_eq!([again.text("city"), again.text("postalCode")], ["Ludwigsburg", "71638"]);
}

#[tokio::test]
async fn numbers_come_from_the_series_or_from_the_client() {
    let bed = Bed::new().await;
    bed.customer("C10020").await;
    let drawn = [
        bed.post("customers", &json!({ "displayName": "x" })).await.is(201).text("number"),
        bed.post("customers", &json!({ "displayName": "x" })).await.is(201).text("number"),
    ];
    assert_eq!(drawn, ["C10010", "C10030"], "the taken number is skipped");

    bed.simulator.configure(|settings| {
        settings.manual_numbers.remove("customers");
    });
    let manual = bed.post("customers", &json!({ "number": "MINE", "displayName": "x" })).await;
    manual.refused(400, "Application_DialogException");
    assert!(manual.message().starts_with("You may not enter numbers manually."));
    bed.item("MINE", "1").await;
}

#[tokio::test]
async fn a_changed_number_renames_the_row_and_what_refers_to_it() {
    let bed = Bed::new().await;
    bed.ready_for_orders().await;
    bed.customer("C2").await;
    let order = bed.order("SO-1").await;
    let customer = bed.get("customers?$filter=number eq 'C1'").await.value().remove(0);
    let path = format!("customers({})", customer["id"].as_str().unwrap());
    bed.patch(&path, "*", &json!({ "number": "C2" })).await.refused(400, "Internal_EntityWithSameKeyExists");
    assert_eq!(bed.patch(&path, "*", &json!({ "number": "c9" })).await.is(200).text("number"), "C9");
    let order = bed.get(&format!("salesOrders({})", order.text("id"))).await;
    assert_eq!(order.text("customerNumber"), "C9");
    assert_eq!(order.get("customerId"), customer["id"]);
}

#[tokio::test]
async fn a_customer_with_an_open_order_is_not_deleted() {
    let bed = Bed::new().await;
    bed.ready_for_orders().await;
    bed.order("SO-1").await;
    let customer = bed.get("customers?$filter=number eq 'C1'").await.value().remove(0);
    let path = format!("customers({})", customer["id"].as_str().unwrap());
    bed.delete(&path).await.refused(400, "Application_DialogException");
}

#[tokio::test]
async fn items_have_pairs_prices_and_posting_groups() {
    let bed = Bed::new().await;
    let item = bed.item("I1", "12345678901234567.89").await;
    assert!(item.text.contains("\"unitPrice\":12345678901234567.89,"), "{}", item.text);
    assert_ne!(item.text("baseUnitOfMeasureId"), "00000000-0000-0000-0000-000000000000");
    assert_eq!(item.text("generalProductPostingGroupCode"), "RETAIL");
    assert_eq!(item.text("type"), "Inventory");
    for (body, code) in [
        (json!({ "displayName": "x", "inventory": 5 }), "Application_DialogException"),
        (json!({ "displayName": "x", "type": "Invalid Type" }), "Unknown"),
        (json!({ "displayName": "x", "unitPrice": -1 }), "Application_DialogException"),
        (json!({ "displayName": "x", "itemCategoryCode": "NONE" }), "Internal_InvalidTableRelation"),
    ] {
        bed.post("items", &body).await.refused(400, code);
    }
    let wrong = bed.post("items", &json!({ "type": "Invalid Type" })).await;
    assert!(wrong.message().contains("The existing options are: Inventory,Service,Non-Inventory"));
}

#[tokio::test]
async fn contacts_belong_to_companies_only_as_persons() {
    let bed = Bed::new().await;
    bed.post("contacts", &json!({ "number": "CO1", "displayName": "Adatum" })).await.is(201);
    let person = r#"{"displayName":"Ann","type":"Person","companyNumber":"co1"}"#;
    assert_eq!(bed.post("contacts", person).await.is(201).text("companyName"), "Adatum");
    let company = json!({ "displayName": "B", "companyNumber": "CO1" });
    bed.post("contacts", &company).await.refused(400, "Application_FieldValidationException");
    let unknown = r#"{"displayName":"C","type":"Person","companyNumber":"NONE"}"#;
    bed.post("contacts", unknown).await.refused(400, "Internal_InvalidTableRelation");
}

#[tokio::test]
async fn code_tables_are_there_and_can_be_written() {
    let bed = Bed::new().await;
    for set in [
        "currencies",
        "paymentTerms",
        "paymentMethods",
        "shipmentMethods",
        "countriesRegions",
        "taxAreas",
        "taxGroups",
        "unitsOfMeasure",
        "itemCategories",
        "locations",
        "salespeoplePurchasers",
    ] {
        let rows = bed.get(&format!("{set}?$select=code,displayName")).await.is(200).value();
        assert!(rows.len() > 2, "{set}");
        let body = json!({ "code": "zz9", "displayName": "New" });
        let created = bed.post(set, &body).await.is(201);
        assert_eq!(created.text("code"), "ZZ9");
        bed.post(set, &body).await.refused(400, "Internal_EntityWithSameKeyExists");
        bed.post(set, &json!({ "displayName": "No code" })).await.refused(400, "BadRequest_RequiredParamNotProvided");
    }
    for country in "US CA DE FR GB AT CH NL BE BR CZ PT DK FI NO SE HU IN IE IT PL ES AR CL AU".split(' ') {
        let found = bed.get(&format!("countriesRegions?$filter=code eq '{country}'")).await.value();
        assert_eq!(found.len(), 1, "{country}");
    }
}

#[tokio::test]
async fn companies_can_only_be_read() {
    let bed = Bed::new().await;
    let url = format!("{}/companies", bed.simulator.api_url());
    let companies = super::send(bed.request("GET", &url)).await.unwrap().is(200);
    assert_eq!(companies.value()[0]["name"], "CRONUS USA, Inc.");
    assert_eq!(companies.value()[0]["id"], Value::from(bed.company.clone()));
    let posted = super::send(bed.request("POST", &url).body("{}")).await.unwrap();
    posted.refused(405, "BadRequest_MethodNotAllowed");
    let by_name = format!("{url}(name='CRONUS%20USA,%20Inc.')/customers");
    super::send(bed.request("GET", &by_name)).await.unwrap().is(200);
    let by_query = format!("{}/customers?company={}", bed.simulator.api_url(), bed.company);
    super::send(bed.request("GET", &by_query)).await.unwrap().is(200);
    let unknown = format!("{url}(00000000-0000-0000-0000-000000000000)/customers");
    super::send(bed.request("GET", &unknown)).await.unwrap().refused(404, "Internal_CompanyNotFound");
}

#[tokio::test]
async fn the_environment_is_listed() {
    let bed = Bed::new().await;
    let url = format!("{}/environments/v1.2", bed.simulator.base_url());
    let listed = super::send(bed.request("GET", &url)).await.unwrap().is(200);
    assert_eq!(listed.value()[0]["name"], "production");
    super::send(bed.http.get(&url)).await.unwrap().refused(401, "Authentication_InvalidCredentials");
}

#[tokio::test]
async fn a_read_only_intent_does_not_write() {
    let bed = Bed::new().await;
    let intent = |method: &str| bed.request(method, &bed.url("customers")).header("data-access-intent", "ReadOnly");
    super::send(intent("GET")).await.unwrap().is(200);
    super::send(intent("POST").body(r#"{"displayName":"x"}"#)).await.unwrap().refused(400, "BadRequest");
}

#[tokio::test]
async fn verbs_and_segments_that_lead_nowhere() {
    let bed = Bed::new().await;
    bed.patch("customers", "*", &json!({})).await.refused(405, "BadRequest_MethodNotAllowed");
    bed.get("nothings").await.refused(404, "BadRequest_ResourceNotFound");
    let elsewhere = format!("{}/v2.0/contoso.onmicrosoft.com/sandbox/api/v2.0/companies", bed.simulator.base_url());
    super::send(bed.request("GET", &elsewhere)).await.unwrap().refused(404, "BadRequest_NotFound");
}
