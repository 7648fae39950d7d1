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

/// A row by the number of the customer or order, and the description of the line, if it is one.
pub(crate) type RowName = (String, String);

impl World {
    /// Something that a person does in Business Central to a row that is there.
    pub(crate) fn edit_target(&mut self, dice: &mut Dice) {
        let value = dice.roll(1_000_000);
        let (account, order) = (dice.one_of(self.accounts), dice.one_of(self.orders));
        let order = format!("WEB-{order}");
        let (place, value) = match dice.roll(5) {
            // Nobody else's business.
            0 | 1 => (Place::Customer(format!("C{account}"), "phoneNumber"), format!("555 {value}")),
            2 => (Place::Customer(format!("C{account}"), "email"), format!("{value}@person.example")),
            3 => (Place::Order(order, "email"), format!("{value}@person.example")),
            _ => (Place::Quantity(order, "Line 1".to_owned()), (10 + value).to_string()),
        };
        self.enter(place, value);
    }

    /// Lets a person enter a value; nothing happens when the row is not there.
    pub(crate) fn enter(&mut self, place: Place, value: String) {
        let Some(row) = self.id_of(&place) else { return };
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
        self.simulator.person(&person).unwrap();
        self.entered.insert(place, value);
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
        let value = &self.row(place)?[place.property()];
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }
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

    /// Whether it is in a line of the order with this number.
    pub(crate) fn is_line_of(&self, number: &str) -> bool {
        matches!(self, Self::Quantity(order, _) if order == number)
    }
}
