//! From configuration to mapping: every mistake that can be found without data.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use super::expression::{Expression, compile};
use super::filters::Settings;
use super::lines::Lines;
use super::mapped::Mapping;
use super::reference::{Form, parts};
use super::scan::scan;
use super::spec::{ColumnUse, CompileError, LinesMapping, MappingSpec, Mistake, NameUse, Place};
use super::target::{Target, Wanted};
use crate::model::Fingerprint;
use crate::schema::{
    Access, EntitySchema, Kind, NORMALISER_VERSION, PropertySchema, Rule, closest, standard, standard_sets,
};

impl Mapping {
    /// Compiles `spec`, or gives all that is wrong with it.
    pub fn compile(spec: &MappingSpec) -> Result<Self, Vec<CompileError>> {
        let settings = Arc::new(Settings { timezone: spec.timezone, tables: spec.maps.clone() });
        let mut compiler = Compiler { settings, errors: Vec::new(), uses: Uses::default() };
        let schema = compiler.schema(spec);
        let properties = compiler.targets(&schema, &spec.fields, Place::Field);
        let create_only = compiler.targets(&schema, &spec.create_only, Place::CreateOnly);
        compiler.check_header(spec, &schema, &create_only);
        let condition = compiler.optional(spec.where_.as_deref(), &Place::Where);
        let total = compiler.optional(spec.total.as_deref(), &Place::Total).map(|total| (total_schema(), total));
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
            match property(schema, name, &place) {
                Ok(property) => targets.extend(self.target(property.into_owned(), source, &place)),
                Err(mistake) => self.fail(place, mistake),
            }
        }
        targets.sort_by_key(|target| schema.position(&target.schema.name));
        targets
    }

    fn target(&mut self, schema: PropertySchema, source: &str, place: &Place) -> Option<Target> {
        let tokens = scan(source);
        let wanted = match parts(&tokens) {
            None => Wanted::Value(self.expression(source, 0, place)?),
            Some(Err(mistake)) => {
                self.fail(place.clone(), mistake);
                return None;
            }
            Some(Ok(parts)) => {
                let (name, range) = parts.scope;
                if !matches!(schema.kind, Kind::Guid | Kind::Unknown) {
                    let twin = schema.name.replace("Number", "Id").replace("Code", "Id");
                    let hint = if twin == schema.name {
                        "give the value itself".to_owned()
                    } else {
                        format!("map `{twin}` instead")
                    };
                    self.fail(
                        place.clone(),
                        Mistake::new(format!("it stands for an id, but `{}` is none", schema.name)).hint(hint),
                    );
                    return None;
                }
                let used = NameUse { name: name.to_owned(), place: place.clone(), range: range.clone() };
                let key = self.expression(&source[parts.key.clone()], parts.key.start, place);
                match parts.form {
                    Form::Link => {
                        self.uses.jobs.push(used);
                        Wanted::Link { job: name.to_owned(), key: key? }
                    }
                    Form::Lookup => {
                        let Some(code) = lookup_property(name) else {
                            self.fail(place.clone(), no_lookup(name).at(range));
                            return None;
                        };
                        self.uses.lookups.push(used);
                        Wanted::Lookup { set: name.to_owned(), code, key: key? }
                    }
                }
            }
        };
        Some(Target { schema, wanted })
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

    /// What holds for a header as a whole: nothing twice, nothing missing, and something to match on.
    fn check_header(&mut self, spec: &MappingSpec, schema: &EntitySchema, create_only: &[Target]) {
        let mut seen = HashSet::new();
        for (name, _) in &spec.fields {
            if !seen.insert(name) {
                self.fail(Place::Field(name.clone()), Mistake::new("it is mapped twice"));
            }
            if schema.property(name).is_some_and(|property| property.access == Access::Create) {
                let mistake = Mistake::new(format!("`{name}` can only be written when the row is created"));
                self.fail(Place::Field(name.clone()), mistake.hint("move it to the table `create_only`"));
            }
        }
        for (name, _) in &spec.create_only {
            if !seen.insert(name) {
                self.fail(Place::CreateOnly(name.clone()), Mistake::new("it is mapped twice"));
            }
        }
        for target in create_only.iter().filter(|target| target.schema.access == Access::Update) {
            let name = &target.schema.name;
            self.fail(
                Place::CreateOnly(name.clone()),
                Mistake::new(format!("`{name}` is refused when a row is created")),
            );
        }
        self.check_exclusive(schema, &spec.fields, &spec.create_only, Place::Field);
        if spec.creates {
            self.check_creation(spec, schema);
        }
        for name in &spec.match_on {
            self.check_match(spec, name);
        }
    }

    fn check_creation(&mut self, spec: &MappingSpec, schema: &EntitySchema) {
        let set = &schema.name;
        if !schema.creatable {
            let mistake = Mistake::new(format!("rows of {set} cannot be created through the API"));
            self.fail(Place::Entity, mistake.hint("mode = \"update_only\""));
        }
        if spec.match_on.is_empty() {
            let mistake =
                Mistake::new("a job that creates rows needs `match_on`: how a row is found that is there already");
            self.fail(
                Place::MatchOn,
                match schema.key_property {
                    Some(key) => mistake.hint(format!("match_on = \"{key}\"")),
                    None if schema.document => mistake.hint("match_on = \"externalDocumentNumber\""),
                    None => mistake,
                },
            );
        }
        for (name, _) in &spec.fields {
            if schema.property(name).is_some_and(|property| property.access == Access::Update) {
                let mistake = Mistake::new(format!("`{name}` is refused when a row is created"));
                self.fail(Place::Field(name.clone()), mistake.hint("a job with mode = \"update_only\" can map it"));
            }
        }
        let mapped = |name: &&&str| spec.fields.iter().chain(&spec.create_only).any(|(mapped, _)| mapped == **name);
        for group in schema.needed {
            if group.iter().find(mapped).is_none() {
                let names = group.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
                self.fail(
                    Place::Fields,
                    Mistake::new(format!("{names} is not mapped; without it no row of {set} can be created")),
                );
            }
        }
    }

    fn check_match(&mut self, spec: &MappingSpec, name: &str) {
        let mapped = || spec.fields.iter().chain(&spec.create_only);
        match mapped().find(|(mapped, _)| mapped == name) {
            None => {
                let mistake = Mistake::new(format!("`{name}` is matched on, but not mapped"));
                self.fail(Place::MatchOn, mistake.meant(closest(name, mapped().map(|(mapped, _)| mapped.as_str()))));
            }
            Some((_, source)) if parts(&scan(source)).is_some() => {
                let mistake =
                    Mistake::new(format!("`{name}` cannot be matched on: it stands for a row that is not known yet"));
                self.fail(Place::MatchOn, mistake.hint("match on a property with a value, such as a number"));
            }
            Some(_) => {}
        }
    }

    /// Of properties that say one thing in two ways only one may be mapped.
    fn check_exclusive(
        &mut self,
        schema: &EntitySchema,
        fields: &[(String, String)],
        more: &[(String, String)],
        place: fn(String) -> Place,
    ) {
        for group in schema.exclusive {
            let both = fields.iter().chain(more).map(|(name, _)| name).filter(|name| group.contains(&name.as_str()));
            let both: Vec<&String> = both.collect();
            if let [first, second, ..] = both.as_slice() {
                let mistake = Mistake::new(format!("`{first}` and `{second}` say the same in two ways"));
                self.fail(place((*second).clone()), mistake.hint("map one of them"));
            }
        }
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
        self.check_exclusive(&schema, &spec.fields, &[], Place::LinesField);
        self.uses.columns.push(ColumnUse { name: spec.key.clone(), place: Place::LinesKey, range: 0..spec.key.len() });
        let computed = computed_columns(targets.iter().map(|target| target.wanted.expression()));
        Some(Lines { path: path(&spec.path), key: spec.key.clone(), targets, computed })
    }
}

/// The property `name`, when it may be mapped at `place`.
fn property<'a>(schema: &'a EntitySchema, name: &str, place: &Place) -> Result<Cow<'a, PropertySchema>, Mistake> {
    let set = &schema.name;
    let ours = matches!(place, Place::LinesField(_)) && matches!(name, "sequence" | "documentId");
    if ours {
        return Err(Mistake::new(format!("`{name}` is set by the program itself")));
    }
    let Some(property) = schema.property(name) else {
        let writable = schema.properties.iter().filter(|property| property.access != Access::Read);
        let meant = closest(name, writable.map(|property| property.name.as_str()));
        return Err(Mistake::new(format!("{set} have no property `{name}`")).meant(meant));
    };
    match property.access {
        Access::Read => Err(Mistake::new(format!("`{name}` of {set} cannot be written"))),
        Access::Write | Access::Create | Access::Update => Ok(property),
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
    for (name, source) in [("where", &spec.where_), ("total", &spec.total)] {
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
