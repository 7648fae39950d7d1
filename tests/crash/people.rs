//! People at work in Business Central, and what they entered there.
//!
//! Every job has `on_conflict = "hold"`: what a person entered may never be overwritten, and the judge wants to see it
//! again. Rows are known by names that outlive their ids.

use std::collections::BTreeMap;

use bcsync::simulator::{Deed, Person};
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::world::World;

/// A property of a row in Business Central, by names that outlive the row's id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A customer's number, and the property.
    Customer(String, &'static str),
    /// An order's external document number, and the property.
    Order(String, &'static str),
    /// An order's external document number, and the description of the line whose quantity it is.
    Quantity(String, String),
}

/// What a person entered at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entered {
    pub(crate) value: String,
    /// What stood there before any person entered something, as the program knows it.
    pub(crate) over: String,
}

impl Entered {
    /// Whether the source wants something else since: then it is for people to say who is right.
    pub(crate) fn is_contested(&self, wanted: &str) -> bool {
        wanted != self.over && wanted != self.value
    }
}

/// How often both sides were edited.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Edits {
    pub(crate) in_source: u64,
    pub(crate) by_people: u64,
    /// Of those by people: where the source was edited last.
    pub(crate) on_both_sides: u64,
}

/// A row by the number of the customer or order, and the description of the line, if it is one.
pub(crate) type RowName = (String, String);

impl World {
    /// Something that a person does in Business Central to a row that is there, every other time to what the source
    /// has changed last.
    pub(crate) fn edit_target(&mut self, dice: &mut Dice) {
        let value = dice.roll(1_000_000);
        let (account, order) = (dice.one_of(self.accounts), dice.one_of(self.orders));
        let order = format!("WEB-{order}");
        let anywhere = match dice.roll(5) {
            // Nobody else's business.
            0 | 1 => Place::Customer(format!("C{account}"), "phoneNumber"),
            2 => Place::Customer(format!("C{account}"), "email"),
            3 => Place::Order(order, "email"),
            _ => Place::Quantity(order, "Line 1".to_owned()),
        };
        let contested = if dice.roll(2) == 0 { self.edited_last.take() } else { None };
        let on_both_sides = contested.is_some();
        let place = contested.unwrap_or(anywhere);
        let value = match place.property() {
            "phoneNumber" => format!("555 {value}"),
            "email" => format!("{value}@person.example"),
            _ => (10 + value).to_string(),
        };
        if self.enter(place, value) {
            self.edits.by_people += 1;
            self.edits.on_both_sides += u64::from(on_both_sides);
        }
    }

    /// Lets a person enter a value; `false` when the row is not there.
    pub(crate) fn enter(&mut self, place: Place, value: String) -> bool {
        let Some(row) = self.id_of(&place) else { return false };
        let (set, json) = match &place {
            Place::Customer(..) => ("customers", json!(value)),
            Place::Order(..) => ("salesOrders", json!(value)),
            Place::Quantity(..) => ("salesOrderLines", serde_json::from_str(&value).unwrap()),
        };
        let mut changes = json!({ place.property(): json }).as_object().unwrap().clone();
        if matches!(place, Place::Quantity(..)) {
            // With the quantity comes the item's price, which is not the one that was agreed on.
            changes.insert("unitPrice".to_owned(), json!(2.25));
        }
        let person = Person { company: None, set: set.to_owned(), row, action: Deed::Edit, changes };
        let stood = told(&self.simulator.person(&person).unwrap()[place.property()]);
        let over = self.entered.get(&place).filter(|last| last.value == stood).map(|last| last.over.clone());
        self.entered.insert(place, Entered { value, over: over.unwrap_or(stood) });
        true
    }

    /// The id of the row that a place is in. Those that were seen once are remembered: reading all rows takes longer than
    /// the pass that a person is to meddle with.
    fn id_of(&mut self, place: &Place) -> Option<String> {
        if !self.ids.contains_key(&place.row()) {
            self.ids = self.held().ids();
        }
        self.ids.get(&place.row()).cloned()
    }

    /// Everything that Business Central holds now.
    pub(crate) fn held(&self) -> Held {
        // Lines before orders: while both come into being, each line has its order.
        let [lines, orders, customers] = ["salesOrderLines", "salesOrders", "customers"].map(|set| self.rows(set));
        Held { customers, orders, lines }
    }
}

/// All rows that are of interest, as Business Central holds them at one moment.
pub(crate) struct Held {
    pub(crate) customers: Vec<Value>,
    pub(crate) orders: Vec<Value>,
    pub(crate) lines: Vec<Value>,
}

impl Held {
    /// The row that a place is in.
    fn row(&self, place: &Place) -> Option<&Value> {
        let order = |number: &str| self.orders.iter().find(|row| row["externalDocumentNumber"] == number);
        match place {
            Place::Customer(number, _) => self.customers.iter().find(|row| row["number"] == number.as_str()),
            Place::Order(number, _) => order(number),
            Place::Quantity(number, line) => {
                let id = &order(number)?["id"];
                self.lines.iter().find(|row| row["documentId"] == *id && row["description"] == line.as_str())
            }
        }
    }

    /// The ids of all rows.
    fn ids(&self) -> BTreeMap<RowName, String> {
        let text = |row: &Value, property: &str| row[property].as_str().unwrap().to_owned();
        let of = |rows: &[Value], name: &dyn Fn(&Value) -> RowName| {
            rows.iter().map(|row| (name(row), text(row, "id"))).collect::<Vec<_>>()
        };
        let orders: BTreeMap<_, _> =
            self.orders.iter().map(|row| (text(row, "id"), text(row, "externalDocumentNumber"))).collect();
        let line = |row: &Value| (orders[&text(row, "documentId")].clone(), text(row, "description"));
        let named = |property: &'static str| move |row: &Value| (text(row, property), String::new());
        let all = [
            of(&self.customers, &named("number")),
            of(&self.orders, &named("externalDocumentNumber")),
            of(&self.lines, &line),
        ];
        all.into_iter().flatten().collect()
    }

    /// What stands at a place.
    pub(crate) fn at(&self, place: &Place) -> Option<String> {
        Some(told(&self.row(place)?[place.property()]))
    }
}

/// A value as text.
fn told(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Place {
    fn row(&self) -> RowName {
        match self {
            Self::Customer(number, _) | Self::Order(number, _) => (number.clone(), String::new()),
            Self::Quantity(number, line) => (number.clone(), line.clone()),
        }
    }

    fn property(&self) -> &'static str {
        match self {
            Self::Customer(_, property) | Self::Order(_, property) => property,
            Self::Quantity(..) => "quantity",
        }
    }

    /// The number of the customer or order.
    pub(crate) fn number(&self) -> &str {
        match self {
            Self::Customer(number, _) | Self::Order(number, _) | Self::Quantity(number, _) => number,
        }
    }

    /// Whether it is in a line of the order with this number.
    pub(crate) fn is_line_of(&self, number: &str) -> bool {
        matches!(self, Self::Quantity(order, _) if order == number)
    }
}
