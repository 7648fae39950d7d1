//! The field table: which sets exist, which properties they have, and what may be written.
//!
//! Read once from `fields.txt`, the simulator's own copy of the facts; it never looks at the client's schema. A mistake
//! in the file is found by the tests below, so reading it panics rather than answers an error.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Text of the field table.
const TABLE: &str = include_str!("fields.txt");

/// All sets, in the order of the file.
static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::parse(TABLE));

/// An option type.
#[derive(Debug, PartialEq)]
pub(super) struct Enum {
    /// Name in `$metadata`.
    pub(super) name: &'static str,
    /// Member names as the wire writes them.
    pub(super) members: Vec<&'static str>,
}

/// The kind of a property's values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Text that keeps its case; the maximum length in UTF-16 units, 0 for none.
    Text(usize),
    /// Trimmed, upper-case text with a maximum length.
    Code(usize),
    /// Exact decimal.
    Decimal,
    /// Whole number.
    Int,
    /// Yes or no.
    Bool,
    /// Calendar date.
    Date,
    /// Instant in UTC.
    DateTime,
    /// Row id.
    Guid,
    /// Option.
    Option(&'static Enum),
}

impl Kind {
    /// The type's name in `$metadata` and in error texts.
    pub(super) fn edm(self) -> String {
        match self {
            Kind::Text(_) | Kind::Code(_) => "Edm.String".to_owned(),
            Kind::Decimal => "Edm.Decimal".to_owned(),
            Kind::Int => "Edm.Int32".to_owned(),
            Kind::Bool => "Edm.Boolean".to_owned(),
            Kind::Date => "Edm.Date".to_owned(),
            Kind::DateTime => "Edm.DateTimeOffset".to_owned(),
            Kind::Guid => "Edm.Guid".to_owned(),
            Kind::Option(option) => format!("Microsoft.NAV.{}", option.name),
        }
    }
}

/// Who may write a property.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Access {
    /// POST and PATCH.
    ReadWrite,
    /// Nobody.
    ReadOnly,
    /// POST only.
    CreateOnly,
    /// PATCH only.
    PatchOnly,
    /// Anybody, without effect.
    Ignored,
    /// Not on the wire at all.
    Hidden,
}

/// A check of a single value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Check {
    /// No letters.
    Phone,
    /// E-mail syntax.
    Email,
    /// No negative number.
    NotNegative,
}

/// One property.
#[derive(Debug)]
pub(super) struct Field {
    /// Name on the wire.
    pub(super) name: &'static str,
    /// Kind of its values.
    pub(super) kind: Kind,
    /// Who may write it.
    pub(super) access: Access,
    /// Whether equality filters use an index.
    pub(super) indexed: bool,
    /// Whether it may not be blank.
    pub(super) required: bool,
    /// What else is checked.
    pub(super) check: Option<Check>,
    /// Whether a released order refuses it.
    pub(super) locked: bool,
    /// Set that must hold this code.
    pub(super) relation: Option<&'static str>,
    /// Set that must hold this id.
    pub(super) reference: Option<&'static str>,
    /// The other property that names the same row.
    pub(super) twin: Option<&'static str>,
    /// The table's own word for the field, for error texts.
    pub(super) caption: String,
}

/// A navigation property.
#[derive(Debug)]
pub(super) struct Navigation {
    /// Name on the wire.
    pub(super) name: &'static str,
    /// Target set.
    pub(super) target: &'static str,
    /// Whether it leads to a collection.
    pub(super) many: bool,
    /// Own property with the target's id, or the target's property with our id when it leads to a collection.
    pub(super) via: &'static str,
}

/// An entity set with its type.
#[derive(Debug)]
pub(super) struct EntitySet {
    /// Name in URLs.
    pub(super) name: &'static str,
    /// Name of the entity type.
    pub(super) type_name: &'static str,
    /// Caption of the table behind it.
    pub(super) caption: String,
    /// Whether POST is allowed.
    pub(super) insertable: bool,
    /// Whether PATCH is allowed.
    pub(super) updatable: bool,
    /// Whether DELETE is allowed.
    pub(super) deletable: bool,
    /// Properties in page order; the first is always `id`.
    pub(super) fields: Vec<Field>,
    /// Navigation properties.
    pub(super) navigations: Vec<Navigation>,
    /// Position of the natural key (`number` or `code`).
    pub(super) key: Option<usize>,
    positions: HashMap<&'static str, usize>,
}

impl EntitySet {
    /// Position of a property, hidden ones included.
    pub(super) fn position(&self, property: &str) -> Option<usize> {
        self.positions.get(property).copied()
    }

    /// Position of a property that clients can see.
    pub(super) fn visible(&self, property: &str) -> Option<usize> {
        self.position(property).filter(|position| self.fields[*position].access != Access::Hidden)
    }

    /// The navigation property of that name.
    pub(super) fn navigation(&self, name: &str) -> Option<&Navigation> {
        self.navigations.iter().find(|navigation| navigation.name == name)
    }

    /// The caption of the natural key in error texts.
    pub(super) fn key_caption(&self) -> &'static str {
        match self.key.map(|key| self.fields[key].name) {
            Some("number") => "No.",
            Some(_) => "Code",
            None => "Id",
        }
    }
}

/// All sets and options.
struct Schema {
    sets: Vec<EntitySet>,
    enums: Vec<&'static Enum>,
}

impl Schema {
    fn parse(table: &'static str) -> Self {
        let mut schema = Schema { sets: Vec::new(), enums: Vec::new() };
        for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let words: Vec<&'static str> = line.split_whitespace().collect();
            match words[0] {
                // Options live as long as the program: fields refer to them from everywhere.
                "enum" => {
                    schema.enums.push(Box::leak(Box::new(Enum { name: words[1], members: words[2..].to_vec() })));
                }
                "set" => schema.sets.push(EntitySet {
                    name: words[1],
                    type_name: words[2],
                    caption: words[4..].join(" "),
                    insertable: words[3] == "crud",
                    updatable: words[3] == "crud" || words[3].contains("patch"),
                    deletable: words[3] == "crud",
                    fields: Vec::new(),
                    navigations: Vec::new(),
                    key: None,
                    positions: HashMap::new(),
                }),
                "nav" => schema.current().navigations.push(Navigation {
                    name: words[1],
                    target: words[2],
                    many: words[3] == "many",
                    via: words[4],
                }),
                _ => schema.field(&words),
            }
        }
        schema
    }

    fn current(&mut self) -> &mut EntitySet {
        self.sets.last_mut().expect("a `set` line comes first")
    }

    fn field(&mut self, words: &[&'static str]) {
        let kind = self.kind(words[1]);
        let flag = |name: &str| words[3..].contains(&name);
        let value = |name: &str| words[3..].iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let field = Field {
            name: words[0],
            kind,
            access: match words[2] {
                "rw" => Access::ReadWrite,
                "ro" => Access::ReadOnly,
                "create" => Access::CreateOnly,
                "patch" => Access::PatchOnly,
                "ignored" => Access::Ignored,
                "hidden" => Access::Hidden,
                other => panic!("`{other}` is no access"),
            },
            indexed: flag("index"),
            required: flag("required"),
            check: [("phone", Check::Phone), ("email", Check::Email), ("min0", Check::NotNegative)]
                .into_iter()
                .find_map(|(name, check)| flag(name).then_some(check)),
            locked: flag("locked"),
            relation: value("rel"),
            reference: value("ref"),
            twin: value("twin"),
            caption: value("caption").unwrap_or(words[0]).replace('_', " "),
        };
        let set = self.current();
        let position = set.fields.len();
        set.positions.insert(field.name, position);
        if flag("key") {
            set.key = Some(position);
        }
        set.fields.push(field);
    }

    fn kind(&self, word: &'static str) -> Kind {
        let length = |prefix: &str| word.strip_prefix(prefix).map(|digits| digits.parse().unwrap_or(0));
        match word {
            "decimal" => Kind::Decimal,
            "int" => Kind::Int,
            "bool" => Kind::Bool,
            "date" => Kind::Date,
            "datetime" => Kind::DateTime,
            "guid" => Kind::Guid,
            _ => match self.enums.iter().find(|option| option.name == word) {
                Some(option) => Kind::Option(option),
                None => match (length("text"), length("code")) {
                    (Some(length), _) => Kind::Text(length),
                    (_, Some(length)) => Kind::Code(length),
                    _ => panic!("`{word}` is no kind"),
                },
            },
        }
    }
}

/// All sets, in the order of the table.
pub(super) fn sets() -> &'static [EntitySet] {
    &SCHEMA.sets
}

/// All options.
pub(super) fn enums() -> &'static [&'static Enum] {
    &SCHEMA.enums
}

/// Position of the set of that name in [`sets`].
pub(super) fn set_position(name: &str) -> Option<usize> {
    SCHEMA.sets.iter().position(|set| set.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_the_table_leads_somewhere() {
        for set in sets() {
            assert_eq!(set.fields[0].name, "id", "{}", set.name);
            for field in &set.fields {
                for target in [field.relation, field.reference].into_iter().flatten() {
                    assert!(set_position(target).is_some(), "{}.{} leads to {target}", set.name, field.name);
                }
                if let Some(twin) = field.twin {
                    let twin = &set.fields[set.position(twin).expect(twin)];
                    assert_eq!(twin.twin, Some(field.name));
                }
            }
            for navigation in &set.navigations {
                let target = &sets()[set_position(navigation.target).expect(navigation.target)];
                let owner = if navigation.many { target } else { set };
                assert!(owner.position(navigation.via).is_some(), "{}.{}", set.name, navigation.name);
            }
        }
    }

    #[test]
    fn natural_keys_are_indexed() {
        for set in sets() {
            assert!(set.key.is_none_or(|key| set.fields[key].indexed), "{}", set.name);
        }
    }

    #[test]
    fn lengths_and_access_are_read() {
        let customers = &sets()[set_position("customers").unwrap()];
        let number = &customers.fields[customers.key.unwrap()];
        assert_eq!((number.name, number.kind, number.access), ("number", Kind::Code(20), Access::ReadWrite));
        assert_eq!(customers.visible("genBusPostingGroup"), None);
        assert_eq!(customers.fields[customers.position("country").unwrap()].caption, "Country/Region Code");
    }
}
