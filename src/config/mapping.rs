//! What a job writes: properties with their expressions, the lines of a document, and the check of its total.
//!
//! Expressions are only carried here, with their places; who compiles them reports through the same
//! [`Report`](super::Report).

use rust_decimal::Decimal;

use super::entity::{self, IDENTIFIER};
use super::reader::{Table, Value};
use super::text::Located;

/// A property of Business Central and the expression it gets its value from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The property, such as `displayName`.
    pub property: Located<String>,
    /// The expression over the record.
    pub expression: Located<String>,
}

/// The lines of a document: a nested collection that is sent with it as one unit.
#[derive(Debug, Clone)]
pub struct Lines {
    /// The entity set of the collection, such as `salesOrderLines`.
    pub entity: Located<String>,
    /// Where they come from.
    pub origin: LinesOrigin,
    /// The column that tells the lines of one record apart.
    pub key: Located<String>,
    /// What is written of each line; not empty.
    pub fields: Vec<Field>,
}

/// Where lines come from.
#[derive(Debug, Clone)]
pub enum LinesOrigin {
    /// From a query of their own.
    Query {
        /// The query.
        query: Located<String>,
        /// Its column that holds the key of the record a line belongs to.
        parent: Located<String>,
    },
    /// From within the record, at this JSON pointer.
    Path(Located<String>),
}

/// A total that Business Central calculates and that must be what the source says.
#[derive(Debug, Clone)]
pub struct CheckTotal {
    /// The property that Business Central calculates.
    pub property: Located<String>,
    /// The expression over the record that it must equal.
    pub equals: Located<String>,
    /// The difference that is still right.
    pub tolerance: Decimal,
}

/// What a table of properties and expressions says, in the order of the file.
#[derive(Default)]
pub(super) struct Mapped {
    /// Every property that is named, also with an expression that cannot be used.
    pub(super) properties: Vec<Located<String>>,
    /// What can be used.
    pub(super) fields: Vec<Field>,
}

/// A table of properties and expressions; `None` if it is not there.
pub(super) fn read_fields(parent: &mut Table<'_>, key: &'static str) -> Option<Mapped> {
    let table = parent.table(key)?;
    let entries = table.entries();
    if entries.is_empty() {
        table.findings().push(table.problem("no property is mapped here").hint("number = \"account_no\""));
    }
    Some(Mapped {
        properties: entries.iter().map(Value::key).collect(),
        fields: entries.iter().filter_map(read_field).collect(),
    })
}

fn read_field(value: &Value<'_>) -> Option<Field> {
    let property = value.key();
    if !entity::is_identifier(&property.value) {
        let problem = property.error(format!("`{}` is not the name of a property", property.value));
        return value.reject(problem.allowed(IDENTIFIER));
    }
    let expression = value.locate(read_expression(value)?);
    Some(Field { property, expression })
}

/// An expression is always text; a constant is text that holds one.
pub(super) fn read_expression(value: &Value<'_>) -> Option<String> {
    if value.is_text() {
        return value.text();
    }
    let problem = value.mismatch_problem("an expression in a string");
    value.reject(problem.hint("a constant is written in quotes too: \"1\", \"true\", \"'text'\""))
}

/// `[jobs.NAME.lines]`, if it is there and can be used.
pub(super) fn read_lines(job: &mut Table<'_>) -> Option<Lines> {
    let mut table = job.table("lines")?;
    let entity = table.required("entity", entity::read_identifier);
    let origin = read_origin(&mut table);
    let key = table.required("key", Value::text);
    if !table.has("fields") {
        table.findings().push(table.problem("`fields` is missing"));
    }
    let fields = read_fields(&mut table, "fields");
    table.finish();
    Some(Lines { entity: entity?, origin: origin?, key: key?, fields: fields?.fields })
}

fn read_origin(table: &mut Table<'_>) -> Option<LinesOrigin> {
    let (has_query, has_parent) = (table.has("query"), table.has("parent"));
    let query = table.optional("query", Value::text);
    let parent = table.optional("parent", Value::text);
    let path = table.optional("path", read_pointer);
    let refuse = |problem| table.findings().push(problem);
    match (has_query, table.has("path")) {
        (false, false) => {
            refuse(table.problem("`query` or `path` is missing").hint("`query` for lines in a table of their own"));
        }
        (true, true) => refuse(table.problem_of("path", "`query` and `path` exclude each other")),
        _ => {}
    }
    if has_query && !has_parent {
        let hint = "the column of the lines' query that holds the `key` of the record they belong to";
        refuse(table.problem("`parent` is missing").hint(hint));
    }
    if let (Some(parent), false) = (&parent, has_query) {
        refuse(parent.error("`parent` has no meaning without `query`"));
    }
    path.map(LinesOrigin::Path).or(Some(LinesOrigin::Query { query: query?, parent: parent? }))
}

/// A JSON pointer (RFC 6901) below the record itself.
fn read_pointer(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if text.starts_with('/') {
        return Some(text);
    }
    let problem = value.problem(format!("`{text}` is not a JSON pointer"));
    value.reject(problem.hint(format!("write \"/{text}\"")))
}

/// `check_total`.
pub(super) fn read_check_total(value: &Value<'_>) -> Option<CheckTotal> {
    let mut table = value.table()?;
    let property = table.required("property", entity::read_identifier);
    let equals = table.required("equals", read_expression);
    let tolerance = table.or("tolerance", Value::decimal, Decimal::ZERO);
    table.finish();
    Some(CheckTotal { property: property?, equals: equals?, tolerance })
}
