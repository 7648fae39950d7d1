//! A row in two shapes: [`Row`], packed for memory, and [`Record`], unpacked for work.
//!
//! A packed row keeps only the properties that are not blank, so that a million customers fit into a few hundred
//! megabytes. The id, the version behind the etag and the stamp stand outside the packed bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::fields::{EntitySet, Kind};
use super::value::Value;

/// A row at rest.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// `SystemId`.
    pub(super) id: Uuid,
    /// Grows with every write anywhere in the company.
    pub(super) version: u64,
    /// `SystemModifiedAt`.
    pub(super) modified: DateTime<Utc>,
    data: Box<[u8]>,
}

impl Row {
    /// The value at `position`, without unpacking the others.
    pub(super) fn value(&self, set: &EntitySet, position: usize) -> Value {
        let field = &set.fields[position];
        match field.name {
            "id" => Value::Guid(self.id),
            "lastModifiedDateTime" => Value::DateTime(self.modified),
            _ => Packed { bytes: &self.data, set }
                .find(|(at, _)| *at == position)
                .map_or_else(|| Value::blank(field.kind), |(_, bytes)| unpack_value(field.kind, bytes)),
        }
    }
}

/// A row at work: every property has its value.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// The set it belongs to.
    pub(super) set: &'static EntitySet,
    /// `SystemId`.
    pub(super) id: Uuid,
    /// See [`Row::version`].
    pub(super) version: u64,
    /// See [`Row::modified`].
    pub(super) modified: DateTime<Utc>,
    values: Vec<Value>,
}

impl Record {
    /// A new row with blank values and a fresh id.
    pub(super) fn new(set: &'static EntitySet) -> Self {
        let values = set.fields.iter().map(|field| Value::blank(field.kind)).collect();
        let mut record = Self { set, id: Uuid::nil(), version: 0, modified: DateTime::UNIX_EPOCH, values };
        record.give_id(Uuid::new_v4());
        record
    }

    /// The unpacked form of `row`.
    pub(super) fn unpack(set: &'static EntitySet, row: &Row) -> Self {
        let mut values: Vec<Value> = set.fields.iter().map(|field| Value::blank(field.kind)).collect();
        for (position, bytes) in (Packed { bytes: &row.data, set }) {
            values[position] = unpack_value(set.fields[position].kind, bytes);
        }
        let mut record = Self { set, id: row.id, version: row.version, modified: row.modified, values };
        record.give_id(row.id);
        record.stamp(row.version, row.modified);
        record
    }

    /// The packed form.
    pub(super) fn pack(&self) -> Row {
        let mut data = Vec::with_capacity(192);
        for (position, (field, value)) in self.set.fields.iter().zip(&self.values).enumerate() {
            if !value.is_blank() && field.name != "id" && field.name != "lastModifiedDateTime" {
                data.push(u8::try_from(position).expect("no set has 256 properties"));
                pack_value(value, &mut data);
            }
        }
        Row { id: self.id, version: self.version, modified: self.modified, data: data.into_boxed_slice() }
    }

    /// Gives the row another id.
    pub(super) fn give_id(&mut self, id: Uuid) {
        self.id = id;
        self.set("id", Value::Guid(id));
    }

    /// Marks the row as written now.
    pub(super) fn stamp(&mut self, version: u64, modified: DateTime<Utc>) {
        self.version = version;
        self.modified = modified;
        if self.set.position("lastModifiedDateTime").is_some() {
            self.set("lastModifiedDateTime", Value::DateTime(modified));
        }
    }

    /// The etag: weak and opaque, different after every write.
    pub(super) fn etag(&self) -> String {
        format!("W/\"{}\"", STANDARD.encode(format!("'20;{:020}1;00;'", self.version)))
    }

    /// The value at `position`.
    pub(super) fn at(&self, position: usize) -> &Value {
        &self.values[position]
    }

    /// Replaces the value at `position`.
    pub(super) fn put(&mut self, position: usize, value: Value) {
        self.values[position] = value;
    }

    /// The value of `property`, which the set must have.
    pub(super) fn get(&self, property: &str) -> &Value {
        &self.values[self.position(property)]
    }

    /// Replaces the value of `property`, which the set must have.
    pub(super) fn set(&mut self, property: &str, value: Value) {
        let position = self.position(property);
        self.values[position] = value;
    }

    /// The text of `property`; blank for any other kind.
    pub(super) fn text(&self, property: &str) -> &str {
        match self.get(property) {
            Value::Text(text) => text,
            _ => "",
        }
    }

    /// The decimal of `property`; zero for any other kind.
    pub(super) fn decimal(&self, property: &str) -> Decimal {
        match self.get(property) {
            Value::Decimal(decimal) => *decimal,
            _ => Decimal::ZERO,
        }
    }

    /// The id in `property`; zero for any other kind.
    pub(super) fn guid(&self, property: &str) -> Uuid {
        match self.get(property) {
            Value::Guid(id) => *id,
            _ => Uuid::nil(),
        }
    }

    /// The whole number in `property`; zero for any other kind.
    pub(super) fn int(&self, property: &str) -> i64 {
        match self.get(property) {
            Value::Int(int) => *int,
            _ => 0,
        }
    }

    /// The wire name of the option member in `property`, or the plain text of any other kind.
    pub(super) fn plain(&self, property: &str) -> String {
        let position = self.position(property);
        self.values[position].plain(self.set.fields[position].kind)
    }

    /// Sets text.
    pub(super) fn set_text(&mut self, property: &str, text: &str) {
        self.set(property, Value::Text(text.to_owned()));
    }

    /// Sets an option by its wire name, which must be a member.
    pub(super) fn set_option(&mut self, property: &str, member: &str) {
        let position = self.position(property);
        let Kind::Option(option) = self.set.fields[position].kind else { panic!("{property} is no option") };
        let at = option.members.iter().position(|name| *name == member).unwrap_or_default();
        self.values[position] = Value::Option(u8::try_from(at).unwrap_or_default());
    }

    fn position(&self, property: &str) -> usize {
        self.set.position(property).unwrap_or_else(|| panic!("{} has no {property}", self.set.name))
    }
}

fn pack_value(value: &Value, data: &mut Vec<u8>) {
    match value {
        Value::Text(text) => {
            let mut length = text.len();
            while length >= 0x80 {
                data.push(0x80 | low_seven_bits(length));
                length >>= 7;
            }
            data.push(low_seven_bits(length));
            data.extend_from_slice(text.as_bytes());
        }
        Value::Decimal(decimal) => data.extend_from_slice(&decimal.serialize()),
        Value::Int(int) => data.extend_from_slice(&int.to_le_bytes()),
        // Only `true` is ever packed.
        Value::Bool(_) => {}
        Value::Date(day) => {
            let days = day.signed_duration_since(NaiveDate::MIN).num_days();
            data.extend_from_slice(&days.to_le_bytes());
        }
        Value::DateTime(time) => data.extend_from_slice(&time.timestamp_millis().to_le_bytes()),
        Value::Guid(id) => data.extend_from_slice(id.as_bytes()),
        Value::Option(member) => data.push(*member),
    }
}

fn low_seven_bits(number: usize) -> u8 {
    u8::try_from(number & 0x7f).expect("seven bits fit")
}

/// Walks packed bytes: position and undecoded value of each property that is not blank.
struct Packed<'a> {
    bytes: &'a [u8],
    set: &'a EntitySet,
}

impl<'a> Iterator for Packed<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (position, rest) = self.bytes.split_first()?;
        let position = usize::from(*position);
        let (length, rest) = match self.set.fields[position].kind {
            Kind::Text(_) | Kind::Code(_) => text_length(rest),
            Kind::Decimal | Kind::Guid => (16, rest),
            Kind::Int | Kind::Date | Kind::DateTime => (8, rest),
            Kind::Option(_) => (1, rest),
            Kind::Bool => (0, rest),
        };
        let (value, rest) = rest.split_at(length);
        self.bytes = rest;
        Some((position, value))
    }
}

/// The length that packed text begins with, and the bytes behind it.
fn text_length(bytes: &[u8]) -> (usize, &[u8]) {
    let mut length = 0;
    for (at, byte) in bytes.iter().enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            return (length, &bytes[at + 1..]);
        }
    }
    (0, &[])
}

fn unpack_value(kind: Kind, bytes: &[u8]) -> Value {
    match kind {
        Kind::Text(_) | Kind::Code(_) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
        Kind::Decimal => Value::Decimal(Decimal::deserialize(array(bytes))),
        Kind::Guid => Value::Guid(Uuid::from_bytes(array(bytes))),
        Kind::Int => Value::Int(i64::from_le_bytes(array(bytes))),
        Kind::Date => Value::Date(NaiveDate::MIN + chrono::Duration::days(i64::from_le_bytes(array(bytes)))),
        Kind::DateTime => {
            let millis = i64::from_le_bytes(array(bytes));
            Value::DateTime(DateTime::from_timestamp_millis(millis).unwrap_or_default())
        }
        Kind::Option(_) => Value::Option(array::<1>(bytes)[0]),
        Kind::Bool => Value::Bool(true),
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("packed rows are whole")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::fields;

    #[test]
    fn packing_loses_nothing() {
        let set = &fields::sets()[fields::set_position("salesOrders").unwrap()];
        let mut order = Record::new(set);
        order.set_text("number", "S-ORD101001");
        order.set_text("shipToName", &"ä".repeat(100));
        order.set("orderDate", Value::Date(NaiveDate::from_ymd_opt(2026, 2, 28).unwrap()));
        order.set("discountAmount", Value::Decimal(Decimal::new(-1_234_500, 4)));
        order.set("pricesIncludeTax", Value::Bool(true));
        order.set("customerId", Value::Guid(Uuid::max()));
        order.set_option("status", "Open");
        order.stamp(77, DateTime::from_timestamp_millis(1_700_000_000_123).unwrap());

        let row = order.pack();
        let back = Record::unpack(set, &row);
        for position in 0..set.fields.len() {
            assert_eq!(back.at(position), order.at(position), "{}", set.fields[position].name);
            assert_eq!(&row.value(set, position), order.at(position), "{}", set.fields[position].name);
        }
        assert_eq!((back.id, back.version, back.etag()), (order.id, 77, order.etag()));
    }

    #[test]
    fn a_usual_customer_takes_little_room() {
        let set = &fields::sets()[fields::set_position("customers").unwrap()];
        let mut customer = Record::new(set);
        for (property, text) in [
            ("number", "C123456"),
            ("displayName", "Adatum Corporation"),
            ("addressLine1", "192 Market Square"),
            ("city", "Atlanta"),
            ("state", "GA"),
            ("country", "US"),
            ("postalCode", "31772"),
            ("phoneNumber", "+1 425 555 0100"),
            ("email", "robert.townes@contoso.com"),
            ("genBusPostingGroup", "DOMESTIC"),
        ] {
            customer.set_text(property, text);
        }
        assert!(customer.pack().data.len() < 160);
    }
}
