//! What we want Business Central to hold for a record.
//!
//! Values are normalised already; references to other records and to code tables stay symbolic until the draft is
//! applied, because what they stand for can change. Written to and read from the ledger as JSON.

use super::{Fingerprint, Value, ValueError};

/// What a property is to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DraftValue {
    /// A value, normalised to BC's rules.
    Value(Value),
    /// The id of another BC row, not known yet.
    Reference(Reference),
}

/// A symbolic reference: the id of a row that a record or a code stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reference {
    /// The row that the record `key` of `job` is linked to.
    Link {
        /// The job whose record is meant.
        job: String,
        /// That record's key.
        key: String,
    },
    /// The row of the entity set `set` whose code or number is `code`.
    Lookup {
        /// The entity set, such as `paymentTerms`.
        set: String,
        /// Its code, normalised.
        code: String,
    },
}

/// One property of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// The name in BC's API.
    pub name: String,
    /// What it is to become.
    pub value: DraftValue,
}

/// One line of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftLine {
    /// The source's key of the line, unique in its record.
    pub key: String,
    /// The properties in the order in which they are sent.
    pub properties: Vec<Property>,
}

/// What we want BC to hold for a record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Draft {
    /// Properties that we own, in the order in which they are sent.
    pub properties: Vec<Property>,
    /// Properties that are sent when BC has no such row yet, and never afterwards.
    pub create_only: Vec<Property>,
    /// The lines; `None` when the job has none.
    pub lines: Option<Vec<DraftLine>>,
    /// The total that BC must arrive at, when the job checks it.
    pub total: Option<Value>,
}

/// Properties and their values, in the order in which they are sent.
pub type Values = Vec<(String, Value)>;

/// A line whose references are resolved to ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedLine {
    /// The source's key of the line.
    pub key: String,
    /// Its properties.
    pub properties: Values,
}

/// A draft whose references are resolved to ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resolved {
    /// Properties that we own.
    pub properties: Values,
    /// Properties that are sent on creation only.
    pub create_only: Values,
    /// The lines, each with the source's key.
    pub lines: Option<Vec<ResolvedLine>>,
}

impl Resolved {
    /// All its values, those of its lines included.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        let lines = self.lines.iter().flatten().flat_map(|line| &line.properties);
        self.properties.iter().chain(&self.create_only).chain(lines).map(|(_, value)| value)
    }
}

impl Draft {
    /// Replaces each reference by what `find` knows of it, or gives the references that it does not know.
    pub fn resolve(&self, find: impl Fn(&Reference) -> Option<Value>) -> Result<Resolved, Vec<Reference>> {
        let mut missing = Vec::new();
        let mut resolve = |properties: &[Property]| {
            let mut values = Vec::with_capacity(properties.len());
            for property in properties {
                match &property.value {
                    DraftValue::Value(value) => values.push((property.name.clone(), value.clone())),
                    DraftValue::Reference(reference) => match find(reference) {
                        Some(id) => values.push((property.name.clone(), id)),
                        None => missing.push(reference.clone()),
                    },
                }
            }
            values
        };
        let resolved = Resolved {
            properties: resolve(&self.properties),
            create_only: resolve(&self.create_only),
            lines: self.lines.as_ref().map(|lines| {
                let line =
                    |line: &DraftLine| ResolvedLine { key: line.key.clone(), properties: resolve(&line.properties) };
                lines.iter().map(line).collect()
            }),
        };
        missing.sort();
        missing.dedup();
        if missing.is_empty() { Ok(resolved) } else { Err(missing) }
    }

    /// The literal value of the property `name`, among those owned and those sent on creation.
    #[must_use]
    pub fn literal(&self, name: &str) -> Option<&Value> {
        self.properties.iter().chain(&self.create_only).find(|property| property.name == name).and_then(|property| {
            match &property.value {
                DraftValue::Value(value) => Some(value),
                DraftValue::Reference(_) => None,
            }
        })
    }

    /// All references of the draft, in order, with repetitions.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        let lines = self.lines.iter().flatten().flat_map(|line| &line.properties);
        self.properties.iter().chain(&self.create_only).chain(lines).filter_map(|property| match &property.value {
            DraftValue::Reference(reference) => Some(reference),
            DraftValue::Value(_) => None,
        })
    }

    /// The hash of everything in the draft.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of([self.to_json().as_str()])
    }

    /// The draft as the ledger stores it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut members = vec![("properties".to_owned(), properties_to_value(&self.properties))];
        if !self.create_only.is_empty() {
            members.push(("create_only".to_owned(), properties_to_value(&self.create_only)));
        }
        if let Some(lines) = &self.lines {
            let lines = lines.iter().map(|line| {
                Value::Map(vec![
                    ("key".to_owned(), Value::Str(line.key.clone())),
                    ("properties".to_owned(), properties_to_value(&line.properties)),
                ])
            });
            members.push(("lines".to_owned(), Value::List(lines.collect())));
        }
        if let Some(total) = &self.total {
            members.push(("total".to_owned(), total.clone()));
        }
        Value::Map(members).to_json()
    }

    /// Reads what [`Draft::to_json`] wrote.
    pub fn parse(json: &str) -> Result<Self, ValueError> {
        let value = Value::parse(json)?;
        let lines = match value.get("lines") {
            Some(Value::List(lines)) => Some(
                lines
                    .iter()
                    .map(|line| DraftLine {
                        key: line.get("key").and_then(Value::as_str).unwrap_or_default().to_owned(),
                        properties: properties_from_value(line.get("properties")),
                    })
                    .collect(),
            ),
            _ => None,
        };
        Ok(Self {
            properties: properties_from_value(value.get("properties")),
            create_only: properties_from_value(value.get("create_only")),
            lines,
            total: value.get("total").cloned(),
        })
    }
}

// BC's property values are scalars, so an object can only be one of our references.
fn properties_to_value(properties: &[Property]) -> Value {
    let member = |property: &Property| {
        let value = match &property.value {
            DraftValue::Value(value) => value.clone(),
            DraftValue::Reference(Reference::Link { job, key }) => reference_to_value("link", job, key),
            DraftValue::Reference(Reference::Lookup { set, code }) => reference_to_value("lookup", set, code),
        };
        (property.name.clone(), value)
    };
    Value::Map(properties.iter().map(member).collect())
}

fn reference_to_value(kind: &str, scope: &str, key: &str) -> Value {
    Value::Map(vec![(kind.to_owned(), Value::List(vec![Value::from(scope), Value::from(key)]))])
}

fn properties_from_value(value: Option<&Value>) -> Vec<Property> {
    let Some(Value::Map(members)) = value else { return Vec::new() };
    let property = |(name, value): &(String, Value)| Property {
        name: name.clone(),
        value: reference_from_value(value).map_or_else(|| DraftValue::Value(value.clone()), DraftValue::Reference),
    };
    members.iter().map(property).collect()
}

fn reference_from_value(value: &Value) -> Option<Reference> {
    let Value::Map(members) = value else { return None };
    let [(kind, Value::List(parts))] = members.as_slice() else { return None };
    let [Value::Str(scope), Value::Str(key)] = parts.as_slice() else { return None };
    match kind.as_str() {
        "link" => Some(Reference::Link { job: scope.clone(), key: key.clone() }),
        "lookup" => Some(Reference::Lookup { set: scope.clone(), code: key.clone() }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        let value = |name: &str, value: Value| Property { name: name.to_owned(), value: DraftValue::Value(value) };
        Draft {
            properties: vec![
                value("externalDocumentNumber", Value::from("WEB-1")),
                Property {
                    name: "customerId".to_owned(),
                    value: DraftValue::Reference(Reference::Link { job: "customers".to_owned(), key: "7".to_owned() }),
                },
            ],
            create_only: vec![value("salesperson", Value::from("WEB"))],
            lines: Some(vec![DraftLine {
                key: "1".to_owned(),
                properties: vec![
                    Property {
                        name: "itemId".to_owned(),
                        value: DraftValue::Reference(Reference::Lookup {
                            set: "items".to_owned(),
                            code: "A".to_owned(),
                        }),
                    },
                    value("quantity", Value::number("2.50")),
                ],
            }]),
            total: Some(Value::number("12.30")),
        }
    }

    #[test]
    fn a_draft_reads_back_from_the_ledger() {
        assert_eq!(Draft::parse(&draft().to_json()).unwrap(), draft());
        assert_eq!(draft().references().count(), 2);
    }

    #[test]
    fn the_fingerprint_sees_every_part() {
        let base = draft().fingerprint();
        let mut changed = draft();
        changed.lines.as_mut().unwrap()[0].key = "2".to_owned();
        assert_ne!(changed.fingerprint(), base);
        let mut changed = draft();
        changed.create_only.clear();
        assert_ne!(changed.fingerprint(), base);
    }
}
