//! The standard entities of API v2.0, compiled in.
//!
//! `facts.csv` holds one row per property, in sending order. Facts are from Microsoft's documentation of API v2.0 and the
//! published AL source of its pages (BC 26 to 29); a tenant can be older, then BC's own refusal is what tells.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::entity::{Access, EntitySchema, Kind, LinesFact, Overwrites, PropertySchema, Rule};
use crate::model::Value;

static ENTITIES: LazyLock<Vec<EntitySchema>> = LazyLock::new(|| read(include_str!("facts.csv")));

/// The schema of a standard entity set such as `customers`.
#[must_use]
pub fn standard(set: &str) -> Option<&'static EntitySchema> {
    ENTITIES.iter().find(|entity| entity.name == set)
}

/// The names of all standard entity sets that are known, in the order of their importance.
pub fn standard_sets() -> impl Iterator<Item = &'static str> {
    ENTITIES.iter().map(|entity| entity.name.as_ref())
}

fn read(csv: &'static str) -> Vec<EntitySchema> {
    let mut entities: Vec<EntitySchema> = Vec::new();
    for row in csv.lines().skip(1) {
        let mut cells = row.split(',');
        let mut cell = || cells.next().unwrap_or_default();
        let (set, name, kind, access, rule) = (cell(), cell(), cell(), cell(), cell());
        let property = PropertySchema {
            name: name.to_owned(),
            kind: kind_of(kind).expect("facts.csv is compiled in and tested"),
            access: access_of(access).expect("facts.csv is compiled in and tested"),
            rule: rule_of(rule),
        };
        match entities.last_mut() {
            Some(entity) if entity.name == set => entity.properties.push(property),
            _ => entities.push(entity(set, property)),
        }
    }
    entities
}

fn kind_of(text: &str) -> Option<Kind> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    Some(match word {
        "text" => Kind::Text { max: rest.parse().ok() },
        "code" => Kind::Code { max: rest.parse().ok() },
        "decimal" => Kind::Decimal,
        "integer" => Kind::Integer,
        "boolean" => Kind::Boolean,
        "date" => Kind::Date,
        "stamp" => Kind::Stamp,
        "guid" => Kind::Guid,
        "enum" => Kind::Enum(rest.split('|').map(ToOwned::to_owned).collect()),
        _ => return None,
    })
}

fn access_of(text: &str) -> Option<Access> {
    Some(match text {
        "write" => Access::Write,
        "read" => Access::Read,
        "create" => Access::Create,
        "update" => Access::Update,
        _ => return None,
    })
}

fn rule_of(text: &str) -> Option<Rule> {
    Some(match text {
        "filled" => Rule::Filled,
        "phone" => Rule::Phone,
        "email" => Rule::Email,
        "local-currency" => Rule::LocalCurrency,
        "quantity" => Rule::Quantity,
        "not-negative" => Rule::NotNegative,
        "percent" => Rule::Percent,
        "reads-otherwise" => Rule::ReadsOtherwise,
        _ => return None,
    })
}

const CURRENCY: &[&str] = &["currencyId", "currencyCode"];
const CUSTOMER: &[&str] = &["customerId", "customerNumber"];
const BILL_TO: &[&str] = &["billToCustomerId", "billToCustomerNumber"];

/// A post code that BC knows brings its own city and state; a country blanks all three.
const ADDRESS: &[(&str, Overwrites)] = &[
    ("country", Overwrites::These(&["postalCode", "city", "state"])),
    ("postalCode", Overwrites::These(&["city", "state"])),
];

/// A customer fills the header: addresses, terms, currency, contact. Post codes work as in [`ADDRESS`].
const HEADER: &[(&str, Overwrites)] = &[
    ("customerId", Overwrites::AllThatFollow),
    ("customerNumber", Overwrites::AllThatFollow),
    ("billToCustomerId", Overwrites::AllThatFollow),
    ("billToCustomerNumber", Overwrites::AllThatFollow),
    ("sellToCountry", Overwrites::These(&["sellToPostCode", "sellToCity", "sellToState"])),
    ("sellToPostCode", Overwrites::These(&["sellToCity", "sellToState"])),
    ("shipToCountry", Overwrites::These(&["shipToPostCode", "shipToCity", "shipToState"])),
    ("shipToPostCode", Overwrites::These(&["shipToCity", "shipToState"])),
];

/// An item fills its line; variant, location, unit and quantity price it again; the price decides the discount.
const LINE: &[(&str, Overwrites)] = &[
    ("lineType", Overwrites::AllThatFollow),
    ("itemId", Overwrites::AllThatFollow),
    ("accountId", Overwrites::AllThatFollow),
    ("lineObjectNumber", Overwrites::AllThatFollow),
    ("itemVariantId", Overwrites::AllThatFollow),
    ("locationId", Overwrites::AllThatFollow),
    ("unitOfMeasureId", Overwrites::AllThatFollow),
    ("unitOfMeasureCode", Overwrites::AllThatFollow),
    ("quantity", Overwrites::These(&["unitPrice", "discountPercent", "discountAmount"])),
    ("unitPrice", Overwrites::These(&["discountPercent", "discountAmount"])),
];

/// What is known of the entity `set` beside its properties.
fn entity(set: &'static str, first: PropertySchema) -> EntitySchema {
    let coded = EntitySchema {
        name: Cow::Borrowed(set),
        properties: vec![first],
        open: false,
        key_property: Some("code"),
        needed: &[&["code"]],
        ..EntitySchema::open(set)
    };
    let numbered = EntitySchema { key_property: Some("number"), needed: &[&["displayName"]], ..coded.clone() };
    let plain = EntitySchema { key_property: None, needed: &[], ..coded.clone() };
    match set {
        "customers" => EntitySchema {
            exclusive: &[CURRENCY],
            overwrites: ADDRESS,
            block: Some(("blocked", Value::from("All"))),
            ..numbered
        },
        "contacts" => EntitySchema { exclusive: &[&["companyNumber", "companyName"]], overwrites: ADDRESS, ..numbered },
        "items" => EntitySchema {
            needed: &[],
            exclusive: &[
                &["itemCategoryId", "itemCategoryCode"],
                &["taxGroupId", "taxGroupCode"],
                &["generalProductPostingGroupId", "generalProductPostingGroupCode"],
                &["inventoryPostingGroupId", "inventoryPostingGroupCode"],
                &["baseUnitOfMeasureId", "baseUnitOfMeasureCode"],
            ],
            block: Some(("blocked", Value::Bool(true))),
            ..numbered
        },
        "salesOrders" => EntitySchema {
            needed: &[CUSTOMER],
            exclusive: &[CUSTOMER, BILL_TO, CURRENCY],
            document: true,
            lines: Some(LinesFact { set: "salesOrderLines", navigation: "salesOrderLines" }),
            successor: Some("salesInvoices"),
            overwrites: HEADER,
            recreates_lines: &[
                "customerId",
                "customerNumber",
                "billToCustomerId",
                "billToCustomerNumber",
                "currencyId",
                "currencyCode",
                "pricesIncludeTax",
            ],
            ..plain
        },
        "salesInvoices" => EntitySchema {
            needed: &[CUSTOMER],
            exclusive: &[CUSTOMER, BILL_TO, CURRENCY, &["disputeStatusId", "disputeStatus"]],
            document: true,
            lines: Some(LinesFact { set: "salesInvoiceLines", navigation: "salesInvoiceLines" }),
            overwrites: HEADER,
            recreates_lines: &[
                "customerId",
                "customerNumber",
                "billToCustomerId",
                "billToCustomerNumber",
                "currencyId",
                "currencyCode",
            ],
            ..plain
        },
        "salesOrderLines" | "salesInvoiceLines" => EntitySchema {
            exclusive: &[
                &["itemId", "accountId", "lineObjectNumber"],
                &["unitOfMeasureId", "unitOfMeasureCode"],
                &["discountPercent", "discountAmount"],
            ],
            overwrites: LINE,
            ..plain
        },
        // A code of a variant or of a dimension value is unique in its item or dimension only.
        "itemVariants" => EntitySchema {
            needed: &[&["itemId", "itemNumber"], &["code"]],
            exclusive: &[&["itemId", "itemNumber"]],
            ..plain
        },
        "dimensions" => EntitySchema { creatable: false, needed: &[], ..coded },
        "dimensionValues" | "companies" | "companyInformation" | "customerContacts" => {
            EntitySchema { creatable: false, ..plain }
        }
        "defaultDimensions" => EntitySchema { needed: &[&["dimensionId"], &["dimensionValueId"]], ..plain },
        _ => coded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_names_a_property_that_exists() {
        for entity in ENTITIES.iter() {
            let groups = entity.needed.iter().chain(entity.exclusive).copied();
            let overwritten = entity.overwrites.iter().flat_map(|(name, overwrites)| match overwrites {
                Overwrites::These(names) => [&[*name], *names].concat(),
                Overwrites::AllThatFollow => vec![*name],
            });
            let overwritten: Vec<_> = overwritten.collect();
            let named = groups.flatten().chain(entity.recreates_lines).chain(&entity.key_property).chain(&overwritten);
            for name in named.chain(entity.block.iter().map(|(name, _)| name)) {
                assert!(entity.property(name).is_some(), "{}.{name}", entity.name);
            }
            if let Some(name) = entity.key_property {
                assert!(matches!(entity.property(name).unwrap().kind, Kind::Code { .. }), "{}.{name}", entity.name);
            }
            if let Some(lines) = entity.lines {
                assert!(standard(lines.set).is_some());
            }
            if let Some(successor) = entity.successor {
                assert!(standard(successor).is_some());
            }
        }
    }

    #[test]
    fn every_row_of_the_table_is_understood() {
        for row in include_str!("facts.csv").lines().skip(1) {
            let cells: Vec<&str> = row.split(',').collect();
            assert_eq!(cells.len(), 5, "{row}");
            assert!(kind_of(cells[2]).is_some(), "{row}");
            assert!(access_of(cells[3]).is_some(), "{row}");
            assert!(cells[4].is_empty() || rule_of(cells[4]).is_some(), "{row}");
        }
        assert_eq!(standard_sets().count(), 25);
    }

    #[test]
    fn properties_are_listed_in_the_order_in_which_they_are_safely_sent() {
        let sorted = |set: &str, names: &[&str]| {
            let schema = standard(set).unwrap();
            let positions: Vec<usize> = names.iter().map(|name| schema.position(name)).collect();
            assert!(positions.is_sorted(), "{set}: {names:?} at {positions:?}");
        };
        sorted(
            "customers",
            &["number", "displayName", "type", "country", "postalCode", "city", "state", "addressLine1"],
        );
        sorted("items", &["number", "displayName", "type", "itemCategoryCode", "baseUnitOfMeasureCode", "unitPrice"]);
        sorted("salesOrders", &["customerId", "billToCustomerId", "orderDate", "currencyCode", "paymentTermsId"]);
        sorted("salesOrders", &["paymentTermsId", "shipToCountry", "shipToPostCode", "shipToCity", "shipToState"]);
        sorted("salesOrders", &["shipToState", "externalDocumentNumber"]);
        sorted("salesOrderLines", &["sequence", "lineType", "itemId", "itemVariantId", "locationId"]);
        sorted("salesOrderLines", &["locationId", "unitOfMeasureCode", "description", "quantity", "unitPrice"]);
        sorted("salesOrderLines", &["unitPrice", "discountPercent", "taxCode", "shipmentDate", "shipQuantity"]);
    }

    #[test]
    fn some_properties_overwrite_others() {
        let overwritten = |set: &str, changed: &str, other: &str| standard(set).unwrap().overwritten(changed, other);
        assert!(overwritten("customers", "country", "city"));
        assert!(overwritten("contacts", "postalCode", "state"));
        assert!(!overwritten("customers", "city", "country") && !overwritten("customers", "email", "city"));
        assert!(overwritten("salesOrders", "customerId", "email"));
        assert!(!overwritten("salesOrders", "email", "customerId"));
        assert!(overwritten("salesOrderLines", "itemId", "unitPrice"));
        assert!(!overwritten("salesOrderLines", "quantity", "itemId"));
    }

    #[test]
    fn facts_of_single_properties() {
        let property = |set: &str, name: &str| standard(set).unwrap().property(name).unwrap().into_owned();
        assert_eq!(property("salesOrders", "externalDocumentNumber").kind, Kind::Code { max: Some(35) });
        assert_eq!(property("customers", "city").kind, Kind::Text { max: Some(30) });
        assert_eq!(property("salesOrders", "number").access, Access::Read);
        assert_eq!(property("items", "inventory").access, Access::Update);
        assert_eq!(property("salesOrderLines", "sequence").access, Access::Create);
        assert_eq!(property("customers", "displayName").rule, Some(Rule::Filled));
        assert!(standard("customers").unwrap().property("posting").is_none());
        assert_eq!(EntitySchema::open("cards").property("x").unwrap().kind, Kind::Unknown);
    }
}
