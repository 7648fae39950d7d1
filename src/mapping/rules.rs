//! What may be mapped: which properties where, which of them together, and what a new row needs.

use super::reference::parts;
use super::scan::scan;
use super::spec::{CompileError, LinesMapping, MappingSpec, Mistake, Place};
use crate::schema::{Access, EntitySchema, Kind, PropertySchema, closest};

/// The property `name` of `schema`, when it may be mapped at `place`.
pub(super) fn property(schema: &EntitySchema, name: &str, place: &Place) -> Result<PropertySchema, Mistake> {
    let set = &schema.name;
    if matches!(place, Place::LinesField(_)) && matches!(name, "sequence" | "documentId") {
        return Err(Mistake::new(format!("`{name}` is set by the program itself")));
    }
    let Some(property) = schema.property(name) else {
        let writable = schema.properties.iter().filter(|property| property.access != Access::Read);
        let meant = closest(name, writable.map(|property| property.name.as_str()));
        return Err(Mistake::new(format!("{set} have no property `{name}`")).meant(meant));
    };
    match (property.access, place) {
        (Access::Read, _) => Err(Mistake::new(format!("`{name}` of {set} cannot be written"))),
        (Access::Create, Place::Field(_)) => {
            Err(Mistake::new(format!("`{name}` can only be written when the row is created"))
                .hint("move it to the table `create_only`"))
        }
        (Access::Update, Place::CreateOnly(_)) => Err(refused_on_creation(name)),
        _ => Ok(property.into_owned()),
    }
}

fn refused_on_creation(name: &str) -> Mistake {
    Mistake::new(format!("`{name}` is refused when a row is created"))
}

/// What is wrong with a header as a whole.
pub(super) fn header(spec: &MappingSpec, schema: &EntitySchema) -> Vec<CompileError> {
    let owned = spec.fields.iter().map(|(name, source)| Entry { place: Place::Field(name.clone()), name, source });
    let once =
        spec.create_only.iter().map(|(name, source)| Entry { place: Place::CreateOnly(name.clone()), name, source });
    let entries: Vec<Entry<'_>> = owned.chain(once).collect();
    let mut errors = together(&entries, schema);
    if spec.creates {
        errors.extend(creation(spec, schema, &entries));
    }
    errors.extend(spec.match_on.iter().filter_map(|name| matching(name, &entries)));
    errors
}

/// What is wrong with the properties of lines as a whole.
pub(super) fn lines(spec: &LinesMapping, schema: &EntitySchema) -> Vec<CompileError> {
    let entry = |(name, source)| Entry { place: Place::LinesField(String::clone(name)), name, source };
    let entries: Vec<Entry<'_>> = spec.fields.iter().map(|(name, source)| entry((name, source))).collect();
    together(&entries, schema)
}

/// A property with its expression.
struct Entry<'a> {
    place: Place,
    name: &'a str,
    source: &'a str,
}

/// What is wrong with `name` as the property of the total that is checked.
pub(super) fn total(schema: &EntitySchema, name: &str) -> Option<CompileError> {
    let set = &schema.name;
    let is_amount = |property: &PropertySchema| matches!(property.kind, Kind::Decimal | Kind::Unknown);
    let mistake = match schema.property(name) {
        Some(property) if is_amount(&property) => return None,
        Some(_) => Mistake::new(format!("`{name}` of {set} is no amount")),
        None => {
            let amounts = schema.properties.iter().filter(|property| is_amount(property));
            Mistake::new(format!("{set} have no property `{name}`"))
                .meant(closest(name, amounts.map(|property| property.name.as_str())))
        }
    };
    Some(mistake.in_place(Place::TotalProperty))
}

/// Nothing is mapped twice; of properties that say one thing in two ways, only one is mapped.
fn together(entries: &[Entry<'_>], schema: &EntitySchema) -> Vec<CompileError> {
    let mut errors = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let earlier = || entries[..index].iter().map(|earlier| earlier.name);
        if earlier().any(|name| name == entry.name) {
            errors.push(Mistake::new("it is mapped twice").in_place(entry.place.clone()));
            continue;
        }
        let mut groups = schema.exclusive.iter().filter(|group| group.contains(&entry.name));
        if let Some(other) = groups.find_map(|group| earlier().find(|name| group.contains(name))) {
            let mistake = Mistake::new(format!("`{other}` and `{}` say the same in two ways", entry.name));
            errors.push(mistake.hint("map one of them").in_place(entry.place.clone()));
        }
    }
    errors
}

/// What a job needs that creates rows.
fn creation(spec: &MappingSpec, schema: &EntitySchema, entries: &[Entry<'_>]) -> Vec<CompileError> {
    let set = &schema.name;
    let mut errors = Vec::new();
    if !schema.creatable {
        let mistake = Mistake::new(format!("rows of {set} cannot be created through the API"));
        errors.push(mistake.hint("mode = \"update_only\"").in_place(Place::Entity));
    }
    if spec.match_on.is_empty() {
        let mistake =
            Mistake::new("a job that creates rows needs `match_on`: how a row that is there already is found");
        let usual = schema.key_property.or(schema.document.then_some("externalDocumentNumber"));
        let mistake = match usual {
            Some(name) => mistake.hint(format!("match_on = \"{name}\"")),
            None => mistake,
        };
        errors.push(mistake.in_place(Place::MatchOn));
    }
    for entry in entries.iter().filter(|entry| matches!(entry.place, Place::Field(_))) {
        if schema.property(entry.name).is_some_and(|property| property.access == Access::Update) {
            let mistake = refused_on_creation(entry.name).hint("a job with mode = \"update_only\" can map it");
            errors.push(mistake.in_place(entry.place.clone()));
        }
    }
    for group in schema.needed {
        if !entries.iter().any(|entry| group.contains(&entry.name)) {
            let names = group.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
            let message = format!("{names} is not mapped; without it no row of {set} can be created");
            errors.push(Mistake::new(message).in_place(Place::Fields));
        }
    }
    errors
}

/// What is wrong with `name` as a part of `match_on`.
fn matching(name: &str, entries: &[Entry<'_>]) -> Option<CompileError> {
    let mistake = match entries.iter().find(|entry| entry.name == name) {
        None => Mistake::new(format!("`{name}` is matched on, but not mapped"))
            .meant(closest(name, entries.iter().map(|entry| entry.name))),
        Some(entry) if parts(&scan(entry.source)).is_some() => {
            Mistake::new(format!("`{name}` cannot be matched on: it stands for a row that is not known yet"))
                .hint("match on a property with a value, such as a number")
        }
        Some(_) => return None,
    };
    Some(mistake.in_place(Place::MatchOn))
}
