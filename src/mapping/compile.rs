//! From configuration to mapping: every mistake that can be found without data.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::expression::{Expression, compile};
use super::filters::Settings;
use super::lines::Lines;
use super::mapped::Mapping;
use super::reference::{Form, Parts, parts};
use super::rules;
use super::scan::scan;
use super::spec::{ColumnUse, CompileError, LinesMapping, MappingSpec, Mistake, NameUse, Place};
use super::target::{Target, Wanted};
use crate::model::Fingerprint;
use crate::schema::{
    EntitySchema, Kind, Locale, NORMALISER_VERSION, PropertySchema, Rule, closest, normalise, standard, standard_sets,
};

impl Mapping {
    /// Compiles `spec`, or gives all that is wrong with it.
    pub fn compile(spec: &MappingSpec) -> Result<Self, Vec<CompileError>> {
        let settings = Arc::new(Settings { timezone: spec.timezone, tables: spec.maps.clone() });
        let mut compiler = Compiler { settings, errors: Vec::new(), uses: Uses::default() };
        let schema = compiler.schema(spec);
        let properties = compiler.targets(&schema, &spec.fields, Place::Field);
        let create_only = compiler.targets(&schema, &spec.create_only, Place::CreateOnly);
        compiler.errors.extend(rules::header(spec, &schema));
        let condition = compiler.optional(spec.where_.as_deref(), &Place::Where);
        let (property, equals) = spec.total.as_ref().map(|(property, equals)| (property, equals.as_str())).unzip();
        compiler.errors.extend(property.and_then(|property| rules::total(&schema, property)));
        let total = compiler.optional(equals, &Place::Total).map(|total| (total_schema(), total));
        let header = std::mem::take(&mut compiler.uses);
        let lines = spec.lines.as_ref().and_then(|lines| compiler.lines(lines, &schema));
        let Compiler { settings, errors, uses } = compiler;
        if !errors.is_empty() {
            return Err(errors);
        }
        let targets = properties.iter().chain(&create_only).map(|target| target.wanted.expression());
        let computed = computed_columns(targets.chain(total.iter().map(|(_, total)| total)));
        let mut columns = header.columns;
        columns.extend(spec.lines.as_ref().and_then(path_column));
        Ok(Self {
            computed,
            condition_computed: computed_columns(condition.iter()),
            properties,
            create_only,
            condition,
            lines,
            total,
            match_on: spec.match_on.clone(),
            fingerprint: fingerprint(spec, &settings),
            settings,
            columns,
            line_columns: uses.columns,
            jobs: [header.jobs, uses.jobs].concat(),
            lookups: [header.lookups, uses.lookups].concat(),
        })
    }
}

/// Collects what is found on the way.
struct Compiler {
    settings: Arc<Settings>,
    errors: Vec<CompileError>,
    uses: Uses,
}

/// The names that expressions use.
#[derive(Default)]
struct Uses {
    columns: Vec<ColumnUse>,
    jobs: Vec<NameUse>,
    lookups: Vec<NameUse>,
}

impl Compiler {
    fn fail(&mut self, place: Place, mistake: Mistake) {
        self.errors.push(mistake.in_place(place));
    }

    /// The schema of the job's entity. An unknown set is taken as an open one, unless it looks like a slip.
    fn schema(&mut self, spec: &MappingSpec) -> Cow<'static, EntitySchema> {
        let set = spec.entity.set();
        let known = (spec.entity.route() == "v2.0").then(|| standard(set)).flatten();
        if let Some(schema) = known {
            return Cow::Borrowed(schema);
        }
        if spec.entity.route() == "v2.0"
            && let Some(meant) = closest(set, standard_sets())
        {
            self.fail(Place::Entity, Mistake::new(format!("there is no entity set `{set}`")).meant(Some(meant)));
        }
        Cow::Owned(EntitySchema::open(set))
    }

    /// The targets of `fields`, in sending order.
    fn targets(
        &mut self,
        schema: &EntitySchema,
        fields: &[(String, String)],
        place: fn(String) -> Place,
    ) -> Vec<Target> {
        let mut targets = Vec::with_capacity(fields.len());
        for (name, source) in fields {
            let place = place(name.clone());
            match rules::property(schema, name, &place) {
                Ok(property) => targets.extend(self.target(property, source, &place)),
                Err(mistake) => self.fail(place, mistake),
            }
        }
        targets.sort_by_key(|target| schema.position(&target.schema.name));
        targets
    }

    fn target(&mut self, schema: PropertySchema, source: &str, place: &Place) -> Option<Target> {
        let wanted = match parts(&scan(source)) {
            None => self.value(&schema, source, place)?,
            Some(Ok(parts)) => self.reference(&schema, parts, source, place)?,
            Some(Err(mistake)) => {
                self.fail(place.clone(), mistake);
                return None;
            }
        };
        Some(Target { schema, wanted })
    }

    fn value(&mut self, schema: &PropertySchema, source: &str, place: &Place) -> Option<Wanted> {
        let expression = self.expression(source, 0, place)?;
        // What is wrong with a constant is wrong for every record.
        if let Expression::Constant(value) = &expression
            && let Err(problem) = normalise(schema, value.clone(), &Locale::default())
        {
            self.fail(place.clone(), Mistake::new(problem.message));
            return None;
        }
        Some(Wanted::Value(expression))
    }

    fn reference(&mut self, schema: &PropertySchema, parts: Parts<'_>, source: &str, place: &Place) -> Option<Wanted> {
        let Parts { form, scope: (name, range), key } = parts;
        if !matches!(schema.kind, Kind::Guid | Kind::Unknown) {
            let mistake = Mistake::new(format!("it stands for an id, but `{}` is none", schema.name));
            let twin = schema.name.replace("Number", "Id").replace("Code", "Id");
            let hint = if twin == schema.name { "give the value itself" } else { &format!("map `{twin}` instead") };
            self.fail(place.clone(), mistake.hint(hint));
            return None;
        }
        let name = name.to_owned();
        let used = NameUse { name: name.clone(), place: place.clone(), range: range.clone() };
        let key = self.expression(&source[key.clone()], key.start, place);
        match form {
            Form::Link => {
                self.uses.jobs.push(used);
                Some(Wanted::Link { job: name, key: key? })
            }
            Form::Lookup => {
                let Some(code) = lookup_property(&name) else {
                    self.fail(place.clone(), no_lookup(&name).at(range));
                    return None;
                };
                self.uses.lookups.push(used);
                Some(Wanted::Lookup { set: name, code, key: key? })
            }
        }
    }

    /// Compiles `source`, which begins at the byte `offset` of the text at `place`.
    fn expression(&mut self, source: &str, offset: usize, place: &Place) -> Option<Expression> {
        let shift = |range: Range<usize>| range.start + offset..range.end + offset;
        match compile(source, &self.settings) {
            Ok((expression, columns)) => {
                self.uses.columns.extend(columns.into_iter().map(|mut column| ColumnUse {
                    name: column.path.swap_remove(0),
                    place: place.clone(),
                    range: shift(column.range),
                }));
                Some(expression)
            }
            Err(mistakes) => {
                for mistake in mistakes {
                    let range = mistake.range.clone().map(shift);
                    self.fail(place.clone(), Mistake { range, ..mistake });
                }
                None
            }
        }
    }

    fn optional(&mut self, source: Option<&str>, place: &Place) -> Option<Expression> {
        source.and_then(|source| self.expression(source, 0, place))
    }

    fn lines(&mut self, spec: &LinesMapping, header: &EntitySchema) -> Option<Lines> {
        let schema = match header.lines {
            Some(lines) if lines.set != spec.entity => {
                let mistake = Mistake::new(format!("the lines of {} are {}", header.name, lines.set));
                self.fail(Place::LinesEntity, mistake.hint(format!("entity = \"{}\"", lines.set)));
                return None;
            }
            Some(lines) => standard(lines.set).map_or_else(|| Cow::Owned(EntitySchema::open(lines.set)), Cow::Borrowed),
            None if header.open => Cow::Owned(EntitySchema::open(&spec.entity)),
            None => {
                self.fail(Place::LinesEntity, Mistake::new(format!("{} have no lines", header.name)));
                return None;
            }
        };
        let targets = self.targets(&schema, &spec.fields, Place::LinesField);
        self.errors.extend(rules::lines(spec, &schema));
        self.uses.columns.push(ColumnUse { name: spec.key.clone(), place: Place::LinesKey, range: 0..spec.key.len() });
        let computed = computed_columns(targets.iter().map(|target| target.wanted.expression()));
        Some(Lines { path: path(&spec.path), key: spec.key.clone(), targets, computed })
    }
}

/// The property by which rows of `set` are looked up.
fn lookup_property(set: &str) -> Option<PropertySchema> {
    let schema = standard(set)?;
    schema.property(schema.key_property?).map(Cow::into_owned)
}

fn no_lookup(set: &str) -> Mistake {
    let known = || standard_sets().filter(|set| lookup_property(set).is_some());
    let mistake = Mistake::new(format!("rows of `{set}` cannot be looked up by code"));
    match closest(set, known()) {
        Some(name) => mistake.meant(Some(name)),
        None => mistake.hint(format!("possible are {}", known().collect::<Vec<_>>().join(", "))),
    }
}

/// The names that lead to the lines: a JSON pointer taken apart, or one column.
fn path(text: &str) -> Vec<String> {
    match text.strip_prefix('/') {
        Some(pointer) => pointer.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")).collect(),
        None => vec![text.to_owned()],
    }
}

/// The column that holds the lines, unless they are read by a query of their own and put in under `lines`.
fn path_column(lines: &LinesMapping) -> Option<ColumnUse> {
    let name = path(&lines.path).into_iter().next().filter(|name| name != "lines")?;
    Some(ColumnUse { name, place: Place::LinesPath, range: 0..lines.path.len() })
}

fn total_schema() -> PropertySchema {
    PropertySchema { kind: Kind::Decimal, rule: Some(Rule::Filled), ..PropertySchema::unknown("check_total") }
}

fn computed_columns<'a>(expressions: impl Iterator<Item = &'a Expression>) -> Arc<[String]> {
    let mut columns: Vec<String> = expressions.flat_map(Expression::computed_columns).cloned().collect();
    columns.sort();
    columns.dedup();
    columns.into()
}

/// What a draft depends on, beside the record. Tables that no expression uses are left out, so that a change of one
/// does not disturb other jobs.
fn fingerprint(spec: &MappingSpec, settings: &Settings) -> Fingerprint {
    let entity = spec.entity.to_string();
    let mut parts: Vec<&str> = vec![NORMALISER_VERSION, &entity, spec.timezone.name()];
    let tables = [("fields", &spec.fields), ("create_only", &spec.create_only)];
    let lines = spec.lines.iter().map(|lines| ("lines", &lines.fields));
    let mut sources: Vec<&str> = Vec::new();
    for (table, fields) in tables.into_iter().chain(lines) {
        parts.push(table);
        for (name, source) in fields {
            parts.extend([name.as_str(), source.as_str()]);
            sources.push(source);
        }
    }
    for (name, source) in [("where", spec.where_.as_ref()), ("total", spec.total.as_ref().map(|(_, equals)| equals))] {
        if let Some(source) = source {
            parts.extend([name, source]);
            sources.push(source);
        }
    }
    if let Some(lines) = &spec.lines {
        parts.extend(["lines from", &lines.entity, &lines.key, &lines.path]);
    }
    parts.push("match_on");
    parts.extend(spec.match_on.iter().map(String::as_str));
    for (name, table) in settings.tables.iter().filter(|(name, _)| sources.iter().any(|source| source.contains(*name)))
    {
        parts.extend(["map", name]);
        parts.extend(table.iter().flat_map(|(from, to)| [from.as_str(), to.as_str()]));
    }
    Fingerprint::of(parts)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::EntityName;

    fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned())).collect()
    }

    fn spec(entity: &str, fields: &[(&str, &str)]) -> MappingSpec {
        MappingSpec {
            entity: EntityName::parse(entity).unwrap(),
            creates: true,
            fields: pairs(fields),
            create_only: Vec::new(),
            where_: None,
            lines: None,
            maps: BTreeMap::from([("country".to_owned(), BTreeMap::from([("Norway".to_owned(), "NO".to_owned())]))]),
            match_on: vec![fields[0].0.to_owned()],
            timezone: chrono_tz::Tz::UTC,
            total: None,
        }
    }

    fn customers(more: &[(&str, &str)]) -> MappingSpec {
        spec("customers", &[[("number", "no"), ("displayName", "name")].as_slice(), more].concat())
    }

    fn orders(lines: &[(&str, &str)]) -> MappingSpec {
        let fields = [("externalDocumentNumber", "'WEB-' ~ no"), ("customerId", "link('customers', account)")];
        let lines = LinesMapping {
            entity: "salesOrderLines".to_owned(),
            key: "line_no".to_owned(),
            path: "lines".to_owned(),
            fields: pairs(lines),
        };
        MappingSpec { lines: Some(lines), ..spec("salesOrders", &fields) }
    }

    #[test]
    fn a_total_is_a_decimal_that_the_entity_has() {
        for (property, told) in [
            ("totalAmountExcludingTax", None),
            (
                "totalAmountExcludingVat",
                Some(
                    "check_total.property: salesOrders have no property `totalAmountExcludingVat`; did you mean \
                     `totalAmountExcludingTax`?",
                ),
            ),
            ("number", Some("check_total.property: `number` of salesOrders is no amount")),
        ] {
            let total = Some((property.to_owned(), "total".to_owned()));
            let found = errors(&MappingSpec { total, ..orders(&[("itemId", "lookup('items', sku)")]) });
            assert_eq!(found, told.map_or_else(Vec::new, |told| vec![told.to_owned()]), "{property}");
        }
        let total = Some(("anything".to_owned(), "total".to_owned()));
        let custom = MappingSpec { total, ..spec("acme/sales/v1.0/orders", &[("number", "no")]) };
        assert_eq!(errors(&custom), [""; 0]);
    }

    fn errors(spec: &MappingSpec) -> Vec<String> {
        Mapping::compile(spec).err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    fn only(spec: &MappingSpec) -> String {
        let errors = errors(spec);
        let [error] = errors.as_slice() else { panic!("{errors:?}") };
        error.clone()
    }

    #[test]
    fn properties_are_checked_against_the_entity() {
        for (field, source, expected) in [
            (
                "adressLine1",
                "street",
                "fields.adressLine1: customers have no property `adressLine1`; did you mean `addressLine1`?",
            ),
            ("balanceDue", "due", "fields.balanceDue: `balanceDue` of customers cannot be written"),
            ("number", "other", "fields.number: it is mapped twice"),
            (
                "currencyId",
                "cur",
                "fields.currencyId: `currencyCode` and `currencyId` say the same in two ways; map one of them",
            ),
            ("type", "'Firm'", "fields.type: it is none of the allowed words; allowed are Company, Person"),
            (
                "city",
                "lookup('items', sku)",
                "fields.city: it stands for an id, but `city` is none; give the value itself",
            ),
            (
                "country",
                "c | translate('contry')",
                "fields.country: there is no table [maps.contry]; did you mean `country`?",
            ),
            (
                "paymentTermsId",
                "lookup('paymentTerm', t)",
                "fields.paymentTermsId: rows of `paymentTerm` cannot be looked up by code; did you mean `paymentTerms`?",
            ),
            (
                "paymentTermsId",
                "lookup('paymentTerms')",
                "fields.paymentTermsId: two arguments are needed; `lookup('entitySet', code)`: the name of an entity set in quotes, and a code",
            ),
        ] {
            assert_eq!(only(&customers(&[("currencyCode", "cur"), (field, source)])), expected);
        }
        let swapped =
            spec("salesOrders", &[("externalDocumentNumber", "no"), ("customerNumber", "link('customers', a)")]);
        assert_eq!(
            only(&swapped),
            "fields.customerNumber: it stands for an id, but `customerNumber` is none; map `customerId` instead"
        );
    }

    #[test]
    fn what_a_creating_job_needs() {
        let mut missing = spec("customers", &[("number", "no")]);
        let needed = "fields: `displayName` is not mapped; without it no row of customers can be created";
        assert_eq!(only(&missing), needed);
        missing.create_only = pairs(&[("displayName", "name")]);
        assert_eq!(errors(&missing), [""; 0]);
        let order = spec("salesOrders", &[("externalDocumentNumber", "no")]);
        assert_eq!(
            only(&order),
            "fields: `customerId` or `customerNumber` is not mapped; without it no row of salesOrders can be created"
        );
        let unmatched = MappingSpec { match_on: Vec::new(), ..customers(&[]) };
        assert_eq!(
            only(&unmatched),
            "match_on: a job that creates rows needs `match_on`: how a row that is there already is found; match_on = \"number\""
        );
        assert_eq!(errors(&MappingSpec { creates: false, ..unmatched }), [""; 0]);
        let item = spec("items", &[("number", "no"), ("inventory", "stock")]);
        assert_eq!(
            only(&item),
            "fields.inventory: `inventory` is refused when a row is created; a job with mode = \"update_only\" can map it"
        );
        let contact = spec("customerContacts", &[("email", "mail")]);
        assert_eq!(
            only(&contact),
            "entity: rows of customerContacts cannot be created through the API; mode = \"update_only\""
        );
    }

    #[test]
    fn rows_are_matched_on_mapped_values() {
        let unmapped = MappingSpec { match_on: vec!["numbr".to_owned()], ..customers(&[]) };
        assert_eq!(only(&unmapped), "match_on: `numbr` is matched on, but not mapped; did you mean `number`?");
        let symbolic = MappingSpec { match_on: vec!["customerId".to_owned()], ..orders(&[]) };
        assert_eq!(
            only(&symbolic),
            "match_on: `customerId` cannot be matched on: it stands for a row that is not known yet; \
             match on a property with a value, such as a number"
        );
    }

    #[test]
    fn lines_belong_to_their_document() {
        assert_eq!(errors(&orders(&[("itemId", "lookup('items', sku)"), ("lineObjectNumber", "no")])).len(), 1);
        assert_eq!(
            only(&orders(&[("sequence", "line_no")])),
            "lines.fields.sequence: `sequence` is set by the program itself"
        );
        assert_eq!(only(&orders(&[("quantity", "a"), ("quantity", "b")])), "lines.fields.quantity: it is mapped twice");
        assert_eq!(only(&orders(&[("quantity", "qty |")])).split(':').next(), Some("lines.fields.quantity"));
        let mut wrong = orders(&[]);
        wrong.lines.as_mut().unwrap().entity = "salesInvoiceLines".to_owned();
        assert_eq!(
            only(&wrong),
            "lines.entity: the lines of salesOrders are salesOrderLines; entity = \"salesOrderLines\""
        );
        let misplaced = MappingSpec { lines: orders(&[]).lines, ..customers(&[]) };
        assert_eq!(only(&misplaced), "lines.entity: customers have no lines");
    }

    #[test]
    fn entities_without_facts_take_any_property() {
        let slip = spec("custmers", &[("number", "no")]);
        assert_eq!(only(&slip), "entity: there is no entity set `custmers`; did you mean `customers`?");
        assert_eq!(errors(&spec("contoso/app/v1.0/custmers", &[("cardNo", "no")])), [""; 0]);
        assert_eq!(errors(&spec("vendors", &[("number", "no")])), [""; 0]);
    }

    #[test]
    fn all_mistakes_are_found_at_once_with_their_places() {
        let mut spec = customers(&[("city", "town | uper"), ("email", "mail | lower | trimm")]);
        spec.where_ = Some("kind = 'x'".to_owned());
        let errors = Mapping::compile(&spec).unwrap_err();
        let found: Vec<_> = errors
            .iter()
            .map(|error| {
                let text = match &error.place {
                    Place::Where => "kind = 'x'",
                    place if place.to_string() == "fields.city" => "town | uper",
                    _ => "mail | lower | trimm",
                };
                (error.place.to_string(), error.range.clone().map(|range| &text[range]))
            })
            .collect();
        assert_eq!(
            found,
            [
                ("fields.city".to_owned(), Some("uper")),
                ("fields.email".to_owned(), Some("trimm")),
                ("where".to_owned(), Some("=")),
            ]
        );
    }

    #[test]
    fn columns_are_compared_with_those_of_the_source() {
        let spec = orders(&[("itemId", "lookup('items', sku)"), ("quantity", "qty")]);
        let mapping = Mapping::compile(&spec).unwrap();
        let names = |text: &str| -> Vec<String> { text.split(' ').map(ToOwned::to_owned).collect() };
        assert_eq!(mapping.check_columns(&names("no account"), &names("line_no sku qty")), []);
        let errors = mapping.check_columns(&names("no acount"), &names("line_no sku q"));
        let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "fields.customerId: the source has no column `account`; did you mean `acount`?",
                "lines.fields.quantity: the lines have no column `qty`; there are line_no, sku, q",
            ]
        );
        assert_eq!(&spec.fields[1].1[errors[0].range.clone().unwrap()], "account");
        assert_eq!(mapping.jobs()[0].name, "customers");
        assert_eq!(mapping.lookups()[0].name, "items");
    }

    #[test]
    fn the_fingerprint_changes_with_everything_that_drafts_depend_on() {
        let base = customers(&[("country", "c | translate('country')")]);
        let fingerprint = |spec: &MappingSpec| Mapping::compile(spec).unwrap().fingerprint();
        let mut seen = vec![fingerprint(&base)];
        assert_eq!(fingerprint(&base), seen[0]);
        let mut unused = base.clone();
        unused.maps.insert("zones".to_owned(), BTreeMap::new());
        assert_eq!(fingerprint(&unused), seen[0]);
        let mut table = base.clone();
        table.maps.get_mut("country").unwrap().insert("Sweden".to_owned(), "SE".to_owned());
        for changed in [
            table,
            customers(&[("country", "c | translate('country') ")]),
            MappingSpec { where_: Some("active".to_owned()), ..base.clone() },
            MappingSpec { total: Some(("creditLimit".to_owned(), "total".to_owned())), ..base.clone() },
            MappingSpec { timezone: chrono_tz::Europe::Oslo, ..base.clone() },
            MappingSpec { create_only: pairs(&[("city", "town")]), ..base.clone() },
            MappingSpec { match_on: vec!["displayName".to_owned()], ..base.clone() },
            orders(&[]),
            orders(&[("quantity", "qty")]),
        ] {
            let changed = fingerprint(&changed);
            assert!(!seen.contains(&changed));
            seen.push(changed);
        }
    }
}
