//! What can be checked offline beyond the grammar: the mappings are compiled and tried, names are looked up.
//!
//! Every finding goes to the configuration's own report, at the place of the text that is meant.

use std::collections::BTreeMap;

use crate::config::{CheckTotal, Config, Field, Job, LinesOrigin, Located, Problem, Report, SourceKind};
use crate::mapping::{CompileError, LinesMapping, Mapping, MappingSpec, NameUse, Place};
use crate::model::Mode;
use crate::schema::{closest, standard, standard_sets};
use crate::source::{Dialect, declared_columns};

/// The report of a configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CheckFailed(pub Report);

/// Compiles the mappings of all jobs; every mistake is in the configuration's report afterwards.
///
/// # Errors
/// When the report has errors by now; it is in the error.
pub fn check(config: &mut Config) -> Result<BTreeMap<String, Mapping>, Box<CheckFailed>> {
    let mut found = Vec::new();
    let mut mappings = BTreeMap::new();
    if config.monitor.is_some() {
        let problem = Problem::of_file("[monitor] has no effect in this version: nothing is served");
        found.push(problem.hint("watch `bcsync status` and the exit codes").as_warning());
    }
    for job in &config.jobs {
        match Mapping::compile(&spec(config, job)) {
            Ok(mapping) => {
                columns(config, job, &mapping, &mut found);
                names(config, job, &mapping, &mut found);
                mappings.insert(job.name.value.clone(), mapping);
            }
            Err(errors) => found.extend(errors.iter().map(|error| problem(config, job, error))),
        }
    }
    for problem in found {
        config.report.push(problem);
    }
    if config.report.has_errors() { Err(Box::new(CheckFailed(config.report.clone()))) } else { Ok(mappings) }
}

/// What the mapping of `job` is compiled from.
fn spec(config: &Config, job: &Job) -> MappingSpec {
    let pairs = |fields: &[Field]| {
        fields.iter().map(|field| (field.property.value.clone(), field.expression.value.clone())).collect()
    };
    let codes = |map: &crate::config::CodeMap| {
        let codes = map.codes.iter().map(|(from, to)| (from.clone(), to.value.clone())).collect();
        (map.name.value.clone(), codes)
    };
    MappingSpec {
        entity: job.entity.value.clone(),
        creates: job.mode != Mode::UpdateOnly,
        fields: pairs(&job.fields),
        create_only: pairs(&job.create_only),
        where_: job.condition.as_ref().map(|condition| condition.value.clone()),
        lines: job.lines.as_ref().map(|lines| LinesMapping {
            entity: lines.entity.value.clone(),
            key: lines.key.value.clone(),
            path: match &lines.origin {
                LinesOrigin::Query { .. } => "lines".to_owned(),
                LinesOrigin::Path(path) => path.value.clone(),
            },
            fields: pairs(&lines.fields),
        }),
        maps: config.maps.iter().map(codes).collect(),
        match_on: job.match_on.iter().map(|name| name.value.clone()).collect(),
        timezone: job.timezone,
        total: job.check_total.as_ref().map(|check| {
            let CheckTotal { property, equals, .. } = &check.value;
            (property.value.clone(), equals.value.clone())
        }),
    }
}

/// Compares the columns that the mapping uses with those of the query, where they can be told without the database.
fn columns(config: &Config, job: &Job, mapping: &Mapping, found: &mut Vec<Problem>) {
    let Some(dialect) = config.source(&job.source.value).map(|source| dialect(&source.kind)) else { return };
    let Some(columns) = declared_columns(&job.stream.query.value, dialect) else { return };
    let lines = match job.lines.as_ref().map(|lines| &lines.origin) {
        Some(LinesOrigin::Query { query, .. }) => match declared_columns(&query.value, dialect) {
            Some(columns) => columns,
            None => return,
        },
        _ => Vec::new(),
    };
    for error in mapping.check_columns(&columns, &lines) {
        let given = if matches!(error.place, Place::LinesField(_) | Place::LinesKey) { &lines } else { &columns };
        found.push(problem(config, job, &error).allowed(format!("the query gives {}", given.join(", "))));
    }
    let cursor = job.stream.cursor.as_ref().map(|cursor| &cursor.column);
    for (setting, column) in [("key", Some(&job.stream.key)), ("cursor", cursor)] {
        let Some(column) = column.filter(|column| !columns.contains(&column.value)) else { continue };
        let message = format!("the query has no column `{}`, which `{setting}` names", column.value);
        let meant = closest(&column.value, columns.iter().map(String::as_str));
        let problem = column.error(message).allowed(format!("the query gives {}", columns.join(", ")));
        found.push(problem.maybe_hint(meant.map(|name| format!("did you mean `{name}`?"))));
    }
}

/// The dialect of a source.
pub(super) fn dialect(kind: &SourceKind) -> Dialect {
    match kind {
        SourceKind::Sqlite(_) => Dialect::Sqlite,
        SourceKind::Postgres(_) => Dialect::Postgres,
        SourceKind::Mysql(_) => Dialect::MySql,
    }
}

/// Jobs and entity sets that the mapping refers to.
fn names(config: &Config, job: &Job, mapping: &Mapping, found: &mut Vec<Problem>) {
    let mut report = |used: &NameUse, message: String, meant: Option<&str>| {
        let hint = meant.map(|name| format!("did you mean `{name}`?"));
        let error = CompileError { place: used.place.clone(), range: Some(used.range.clone()), message, hint };
        found.push(problem(config, job, &error));
    };
    for used in mapping.jobs() {
        let jobs = || config.jobs.iter().map(|job| job.name.value.as_str());
        if !jobs().any(|name| name == used.name) {
            let message = format!("there is no job `{}` to link to; there is {}", used.name, config.job_names());
            report(used, message, closest(&used.name, jobs()));
        }
    }
    for used in mapping.lookups() {
        if standard(&used.name).is_none_or(|schema| schema.key_property.is_none()) {
            let sets = standard_sets().filter(|set| standard(set).is_some_and(|schema| schema.key_property.is_some()));
            let message = format!("`{}` has no code or number to look up by", used.name);
            report(used, message, closest(&used.name, sets));
        }
    }
}

fn problem(config: &Config, job: &Job, error: &CompileError) -> Problem {
    let message = error.message.clone();
    let problem = match (located(job, &error.place), property(job, &error.place), &error.range) {
        (Some(text), _, Some(range)) => {
            let span = config.report.source().span_within(text, range.clone());
            Problem::error(span, text.path.clone(), message)
        }
        // Nothing in the expression is wrong, so it is the property.
        (_, Some(text), None) | (Some(text), None, None) => text.error(message),
        (None, ..) => job.name.error(format!("{}: {message}", error.place)),
    };
    problem.maybe_hint(error.hint.clone())
}

/// The name of the property that a place of a mapping is about.
fn property<'j>(job: &'j Job, place: &Place) -> Option<&'j Located<String>> {
    let (fields, name) = match place {
        Place::Field(name) => (&job.fields, name),
        Place::CreateOnly(name) => (&job.create_only, name),
        Place::LinesField(name) => (&job.lines.as_ref()?.fields, name),
        _ => return None,
    };
    fields.iter().map(|field| &field.property).find(|property| property.value == *name)
}

/// The text of the configuration that a place of a mapping stands for.
fn located<'j>(job: &'j Job, place: &Place) -> Option<&'j Located<String>> {
    let expression = |fields: &'j [Field], name: &str| {
        fields.iter().find(|field| field.property.value == name).map(|field| &field.expression)
    };
    let lines = job.lines.as_ref();
    match place {
        Place::Field(name) => expression(&job.fields, name),
        Place::CreateOnly(name) => expression(&job.create_only, name),
        Place::LinesField(name) => expression(&lines?.fields, name),
        Place::Where => job.condition.as_ref(),
        Place::MatchOn => job.match_on.first(),
        Place::TotalProperty => job.check_total.as_ref().map(|check| &check.value.property),
        Place::Total => job.check_total.as_ref().map(|check| &check.value.equals),
        Place::LinesEntity => lines.map(|lines| &lines.entity),
        Place::LinesKey => lines.map(|lines| &lines.key),
        Place::LinesPath => match &lines?.origin {
            LinesOrigin::Path(path) => Some(path),
            LinesOrigin::Query { query, .. } => Some(query),
        },
        Place::Entity | Place::Fields => None,
    }
}
