//! The shape of an entity: its properties and the few facts that the rest of the program branches on.
//!
//! Plain data. The standard entities are built in [`super::facts`]; a custom API page, of which nothing is known
//! beforehand, is an open schema that takes any property.

use std::borrow::Cow;

use crate::model::Value;

/// The type of a property. Lengths are in UTF-16 units, as BC counts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// AL `Text`: case and blanks are kept.
    Text {
        /// The longest text that fits; `None` when there is no limit to check.
        max: Option<usize>,
    },
    /// AL `Code`: stored without outer blanks and in upper case.
    Code {
        /// The longest code that fits.
        max: Option<usize>,
    },
    /// `Edm.Decimal`.
    Decimal,
    /// `Edm.Int32` and `Edm.Int64`.
    Integer,
    /// `Edm.Boolean`.
    Boolean,
    /// `Edm.Date`.
    Date,
    /// `Edm.DateTimeOffset`.
    Stamp,
    /// `Edm.Guid`.
    Guid,
    /// An enum: its member names as on the wire, such as `In_x0020_Review`.
    Enum(Vec<String>),
    /// Nothing is known: a property of a custom API page.
    Unknown,
}

/// When a property may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// On creation and afterwards.
    Write,
    /// Never.
    Read,
    /// On creation only.
    Create,
    /// Never on creation.
    Update,
}

/// A check beyond type and length that BC is known to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Must not be blank.
    Filled,
    /// A phone number: no letters.
    Phone,
    /// One or more e-mail addresses, separated by `;`.
    Email,
    /// A currency code, of which the local one is stored as blank.
    LocalCurrency,
    /// At most five decimals.
    Quantity,
    /// Zero or more.
    NotNegative,
    /// From 0 to 100.
    Percent,
    /// BC answers it with something else than was written, so that nothing can be concluded from what it holds.
    ReadsOtherwise,
}

/// One property of an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertySchema {
    /// The name in BC's API.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// When it may be written.
    pub access: Access,
    /// What else BC checks.
    pub rule: Option<Rule>,
}

impl PropertySchema {
    /// A writable property of which nothing else is known.
    pub fn unknown(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: Kind::Unknown, access: Access::Write, rule: None }
    }
}

/// The lines of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinesFact {
    /// The entity set of the lines.
    pub set: &'static str,
    /// The navigation property of the document that holds them, for a deep insert and for `$expand`.
    pub navigation: &'static str,
}

/// What BC overwrites in a row when one of its properties changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrites {
    /// These properties.
    These(&'static [&'static str]),
    /// Possibly every property that is sent after it.
    AllThatFollow,
}

/// One entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntitySchema {
    /// The entity set.
    pub name: Cow<'static, str>,
    /// The properties, in the order in which they are safely sent: BC validates one after the other, and some overwrite
    /// others (a country blanks the city, an item re-initialises its line).
    pub properties: Vec<PropertySchema>,
    /// Whether there are properties that are not listed.
    pub open: bool,
    /// Whether rows can be created through the API.
    pub creatable: bool,
    /// The property whose uniqueness BC enforces: `number` or `code`. It is also what `lookup(...)` finds rows by.
    pub key_property: Option<&'static str>,
    /// What a new row needs: of each group at least one property.
    pub needed: &'static [&'static [&'static str]],
    /// Properties of which only one may be sent, because they say the same thing in two ways.
    pub exclusive: &'static [&'static [&'static str]],
    /// Whether rows are documents: they are posted, released, and never adopted without being asked to.
    pub document: bool,
    /// The lines of the document.
    pub lines: Option<LinesFact>,
    /// Where a document that vanished is found again: a fully invoiced order lives on among the invoices.
    pub successor: Option<&'static str>,
    /// Header properties whose change makes BC delete and re-create all lines, or convert their prices.
    pub recreates_lines: &'static [&'static str],
    /// Properties whose change makes BC overwrite others of the same row, beside their own value.
    pub overwrites: &'static [(&'static str, Overwrites)],
    /// What takes a row out of use without deleting it: a property and its value.
    pub block: Option<(&'static str, Value)>,
}

impl EntitySchema {
    /// An entity of a custom API page, which takes any property.
    #[must_use]
    pub fn open(name: &str) -> Self {
        Self {
            name: Cow::Owned(name.to_owned()),
            properties: Vec::new(),
            open: true,
            creatable: true,
            key_property: None,
            needed: &[],
            exclusive: &[],
            document: false,
            lines: None,
            successor: None,
            recreates_lines: &[],
            overwrites: &[],
            block: None,
        }
    }

    /// The property `name`; `None` when the entity has no such property. An open entity has every property.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<Cow<'_, PropertySchema>> {
        let listed = self.properties.iter().find(|property| property.name == name).map(Cow::Borrowed);
        if listed.is_none() && self.open {
            return Some(Cow::Owned(PropertySchema::unknown(name)));
        }
        listed
    }

    /// Whether BC may overwrite the property `other` when the property `changed` of the same row changes.
    #[must_use]
    pub fn overwritten(&self, changed: &str, other: &str) -> bool {
        self.overwrites.iter().filter(|(name, _)| *name == changed).any(|(_, overwrites)| match overwrites {
            Overwrites::These(names) => names.contains(&other),
            Overwrites::AllThatFollow => self.position(other) > self.position(changed),
        })
    }

    /// The place of the property `name` in the sending order; unlisted ones come last.
    #[must_use]
    pub fn position(&self, name: &str) -> usize {
        self.properties.iter().position(|property| property.name == name).unwrap_or(self.properties.len())
    }
}
