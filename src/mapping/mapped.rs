//! The compiled mapping, and what it makes of a record.

use std::sync::Arc;

use super::convert::NullIs;
use super::expression::Expression;
use super::filters::Settings;
use super::lines::Lines;
use super::row::Row;
use super::spec::{ColumnUse, CompileError, NameUse};
use super::target::Target;
use crate::model::{Draft, Fingerprint, Problem, Property, Value};
use crate::schema::{Locale, PropertySchema, closest, is_blank, normalise};

/// A compiled mapping. Cheap to use, meant to be shared by all records of a job.
#[derive(Debug)]
pub struct Mapping {
    pub(super) properties: Vec<Target>,
    pub(super) create_only: Vec<Target>,
    pub(super) condition: Option<Expression>,
    pub(super) lines: Option<Lines>,
    /// The total, and the normal form that it is brought into.
    pub(super) total: Option<(PropertySchema, Expression)>,
    pub(super) match_on: Vec<String>,
    /// The columns that computed expressions read; those of the condition apart, where null is something else.
    pub(super) computed: Arc<[String]>,
    pub(super) condition_computed: Arc<[String]>,
    pub(super) settings: Arc<Settings>,
    pub(super) fingerprint: Fingerprint,
    pub(super) columns: Vec<ColumnUse>,
    pub(super) line_columns: Vec<ColumnUse>,
    pub(super) jobs: Vec<NameUse>,
    pub(super) lookups: Vec<NameUse>,
}

/// What mapping depends on beside the record.
#[derive(Debug, Clone, Default)]
pub struct MapContext {
    /// The code of the company's local currency, which BC stores as blank.
    pub local_currency: Option<String>,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mapped {
    /// What BC is to hold.
    Draft(Draft),
    /// The record does not take part: its `where` is false.
    Filtered,
    /// Everything that keeps the record from BC.
    Problems(Vec<Problem>),
}

impl Mapping {
    /// The hash of the mapping: another one means that every record has to be mapped again. It covers the expressions,
    /// the tables that they use, the time zone, and the version of the normal forms.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The columns that the mapping reads, with their places, in the order of the configuration.
    #[must_use]
    pub fn columns(&self) -> &[ColumnUse] {
        &self.columns
    }

    /// The columns of lines that the mapping reads.
    #[must_use]
    pub fn line_columns(&self) -> &[ColumnUse] {
        &self.line_columns
    }

    /// The jobs that `link(...)` names.
    #[must_use]
    pub fn jobs(&self) -> &[NameUse] {
        &self.jobs
    }

    /// The entity sets that `lookup(...)` names.
    #[must_use]
    pub fn lookups(&self) -> &[NameUse] {
        &self.lookups
    }

    /// Compares with the columns that a source really has.
    #[must_use]
    pub fn check_columns(&self, columns: &[String], line_columns: &[String]) -> Vec<CompileError> {
        let unknown = |used: &[ColumnUse], known: &[String], what: &str| {
            let missing = used.iter().filter(|column| !known.contains(&column.name));
            let error = |column: &ColumnUse| {
                let meant = closest(&column.name, known.iter().map(String::as_str));
                CompileError {
                    place: column.place.clone(),
                    range: Some(column.range.clone()),
                    message: format!("{what} no column `{}`", column.name),
                    hint: Some(match meant {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => format!("there are {}", known.join(", ")),
                    }),
                }
            };
            missing.map(error).collect::<Vec<_>>()
        };
        let mut errors = unknown(&self.columns, columns, "the source has");
        errors.extend(unknown(&self.line_columns, line_columns, "the lines have"));
        errors
    }

    /// Maps the fields of one record.
    #[must_use]
    pub fn map(&self, fields: &Value, context: &MapContext) -> Mapped {
        match self.takes_part(fields) {
            Ok(true) => {}
            Ok(false) => return Mapped::Filtered,
            Err(message) => return Mapped::Problems(vec![Problem::of("where", message)]),
        }
        let row = Row::new(fields, &self.computed, &self.settings, NullIs::Undefined);
        let locale = Locale { local_currency: context.local_currency.as_deref(), timezone: self.settings.timezone };
        let mut problems = Vec::new();
        let mut properties = |targets: &[Target]| -> Vec<Property> {
            let mapped = targets.iter().map(|target| target.property(&row, &locale));
            mapped.filter_map(|property| property.map_err(|problem| problems.push(problem)).ok()).collect()
        };
        let mut draft = Draft {
            properties: properties(&self.properties),
            create_only: properties(&self.create_only),
            ..Draft::default()
        };
        if let Some(lines) = &self.lines {
            match lines.map(&row, &self.settings, &locale) {
                Ok(lines) => draft.lines = Some(lines),
                Err(found) => problems.extend(found),
            }
        }
        if let Some((schema, expression)) = &self.total {
            let total = expression.evaluate(&row).map_err(|message| Problem::of(&schema.name, message));
            match total.and_then(|value| normalise(schema, value, &locale)) {
                Ok(total) => draft.total = Some(total),
                Err(problem) => problems.push(problem),
            }
        }
        for name in &self.match_on {
            if draft.literal(name).is_some_and(is_blank) {
                problems.push(Problem::of(name, "it is blank, but rows are matched on it"));
            }
        }
        if problems.is_empty() { Mapped::Draft(draft) } else { Mapped::Problems(problems) }
    }

    fn takes_part(&self, fields: &Value) -> Result<bool, String> {
        let Some(condition) = &self.condition else { return Ok(true) };
        let row = Row::new(fields, &self.condition_computed, &self.settings, NullIs::None);
        match condition.evaluate(&row)? {
            Value::Bool(truth) => Ok(truth),
            // As in SQL, a condition on something unknown does not hold. Some databases have 0 and 1 for booleans.
            Value::Null | Value::Int(0) => Ok(false),
            Value::Int(1) => Ok(true),
            other => Err(format!("it is {}, but true or false is needed", other.kind())),
        }
    }
}

/// The value by which a draft's row is found in BC: the canonical text of its `match_on` properties, of several as a
/// JSON array. `None` when one of them is blank or not in the draft.
#[must_use]
pub fn match_value(draft: &Draft, match_on: &[String]) -> Option<String> {
    let value = |name: &String| draft.literal(name).filter(|value| !is_blank(value)).cloned();
    let mut values: Vec<Value> = match_on.iter().map(value).collect::<Option<_>>()?;
    match values.len() {
        0 => None,
        1 => values.pop().map(|value| match value {
            Value::Str(text) => text,
            other => other.to_json(),
        }),
        _ => Some(Value::List(values).to_json()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::spec::{LinesMapping, MappingSpec};
    use super::*;
    use crate::model::EntityName;

    fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned())).collect()
    }

    fn customers() -> MappingSpec {
        MappingSpec {
            entity: EntityName::parse("customers").unwrap(),
            creates: true,
            fields: pairs(&[
                ("city", "city"),
                ("displayName", "name | truncate(100)"),
                ("number", "account_no"),
                ("country", "country | translate('country')"),
                ("email", "email | lower"),
                ("creditLimit", "credit_limit"),
                ("currencyCode", "currency"),
                ("paymentTermsId", "lookup('paymentTerms', terms)"),
                ("type", "'Company'"),
            ]),
            create_only: pairs(&[("salespersonCode", "'web'")]),
            where_: Some("kind in ['A', 'B']".to_owned()),
            lines: None,
            maps: BTreeMap::from([("country".to_owned(), BTreeMap::from([("Canada".to_owned(), "CA".to_owned())]))]),
            match_on: vec!["number".to_owned()],
            timezone: chrono_tz::Europe::Berlin,
            total: None,
        }
    }

    fn orders() -> MappingSpec {
        MappingSpec {
            entity: EntityName::parse("salesOrders").unwrap(),
            fields: pairs(&[
                ("externalDocumentNumber", "'web-' ~ order_no"),
                ("orderDate", "ordered_on | date"),
                ("requestedDeliveryDate", "wanted_at"),
                ("customerId", "link('customers', account_id)"),
            ]),
            create_only: Vec::new(),
            where_: None,
            lines: Some(LinesMapping {
                entity: "salesOrderLines".to_owned(),
                key: "line_no".to_owned(),
                path: "lines".to_owned(),
                fields: pairs(&[
                    ("unitPrice", "price | round(2)"),
                    ("quantity", "qty"),
                    ("itemId", "lookup('items', sku)"),
                    ("lineType", "'Item'"),
                ]),
            }),
            match_on: vec!["externalDocumentNumber".to_owned()],
            total: Some(("totalAmountExcludingTax".to_owned(), "total".to_owned())),
            ..customers()
        }
    }

    fn run(spec: &MappingSpec, record: &str) -> Mapped {
        let mapping = Mapping::compile(spec).unwrap();
        mapping.map(&Value::parse(record).unwrap(), &MapContext { local_currency: Some("EUR".to_owned()) })
    }

    fn draft(spec: &MappingSpec, record: &str) -> Draft {
        match run(spec, record) {
            Mapped::Draft(draft) => draft,
            other => panic!("{other:?}"),
        }
    }

    fn problems(spec: &MappingSpec, record: &str) -> Vec<String> {
        match run(spec, record) {
            Mapped::Problems(problems) => problems.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    const CUSTOMER: &str = r#"{"kind":"A","account_no":" c-1 ","name":"Ann","city":"Ottawa","country":"Canada",
        "email":"Ann@X.example","credit_limit":12345678901234567.89,"currency":"EUR","terms":"14 days"}"#;

    #[test]
    fn a_customer_becomes_a_draft_in_sending_order() {
        let draft = draft(&customers(), CUSTOMER);
        assert_eq!(
            draft.to_json(),
            r#"{"properties":{"number":"C-1","displayName":"Ann","type":"Company","country":"CA","city":"Ottawa","email":"ann@x.example","creditLimit":12345678901234567.89,"currencyCode":"","paymentTermsId":{"lookup":["paymentTerms","14 DAYS"]}},"create_only":{"salespersonCode":"WEB"}}"#
        );
        assert_eq!(match_value(&draft, &["number".to_owned()]).as_deref(), Some("C-1"));
        let several = ["number".to_owned(), "city".to_owned()];
        assert_eq!(match_value(&draft, &several).as_deref(), Some(r#"["C-1","Ottawa"]"#));
        assert_eq!(match_value(&draft, &["paymentTermsId".to_owned()]), None);
    }

    #[test]
    fn null_becomes_the_empty_value() {
        let record = r#"{"kind":"B","account_no":7,"name":"Ann","city":null,"country":null,"email":null,
            "credit_limit":null,"currency":null,"terms":null}"#;
        assert_eq!(
            draft(&customers(), record).to_json(),
            r#"{"properties":{"number":"7","displayName":"Ann","type":"Company","country":"","city":"","email":"","creditLimit":0,"currencyCode":"","paymentTermsId":"00000000-0000-0000-0000-000000000000"},"create_only":{"salespersonCode":"WEB"}}"#
        );
    }

    #[test]
    fn records_outside_the_condition_are_filtered() {
        assert_eq!(run(&customers(), r#"{"kind":"C"}"#), Mapped::Filtered);
        assert_eq!(run(&customers(), r#"{"kind":null}"#), Mapped::Filtered);
        assert_eq!(problems(&customers(), "{}"), ["where: column `kind` is missing"]);
        let flag = MappingSpec { where_: Some("kind".to_owned()), ..customers() };
        assert_eq!(run(&flag, r#"{"kind":0}"#), Mapped::Filtered);
        assert_eq!(run(&flag, r#"{"kind":null}"#), Mapped::Filtered);
        assert_eq!(problems(&flag, r#"{"kind":"A"}"#), ["where: it is text, but true or false is needed"]);
    }

    #[test]
    fn all_problems_of_a_record_are_collected_and_none_shows_a_value() {
        let record = r#"{"kind":"A","account_no":" ","name":null,"country":"Secretland","email":"secret",
            "credit_limit":"secret","currency":"SECRETCURRENCY","terms":"secretsecret"}"#;
        let found = problems(&customers(), record);
        assert_eq!(
            found,
            [
                "displayName: it is blank, but a value is needed",
                "country: the value is not in the table [maps.country]; add it there",
                "city: column `city` is missing",
                "email: it is not an e-mail address (several are separated by `;`)",
                "creditLimit: it is text that is not a plain number such as -1234.50",
                "currencyCode: 14 characters, at most 10 fit; a code that is cut short could be that of another row",
                "paymentTermsId: the code to look up in paymentTerms: 12 characters, at most 10 fit; a code that is cut short could be that of another row",
                "number: it is blank, but rows are matched on it",
            ]
        );
        assert!(!found.concat().to_lowercase().contains("secret"));
    }

    #[test]
    fn an_order_becomes_a_draft_with_lines_and_a_total() {
        let record = r#"{"order_no":9,"account_id":4.0,"ordered_on":"2026-06-30T23:30:00Z",
            "wanted_at":"2026-07-09T22:00:00+00:00","total":"12.30","lines":[
            {"line_no":1,"sku":"a-1","qty":2.50,"price":1.005},{"line_no":"x","sku":null,"qty":1,"price":2}]}"#;
        assert_eq!(
            draft(&orders(), record).to_json(),
            r#"{"properties":{"customerId":{"link":["customers","4"]},"orderDate":"2026-07-01","externalDocumentNumber":"WEB-9","requestedDeliveryDate":"2026-07-10"},"lines":[{"key":"1","properties":{"lineType":"Item","itemId":{"lookup":["items","A-1"]},"quantity":2.5,"unitPrice":1.01}},{"key":"x","properties":{"lineType":"Item","itemId":"00000000-0000-0000-0000-000000000000","quantity":1,"unitPrice":2}}],"total":12.3}"#
        );
    }

    #[test]
    fn problems_of_lines_name_the_line() {
        let record = r#"{"order_no":9,"account_id":null,"ordered_on":"2026-06-30","wanted_at":null,"total":null,"lines":[
            {"line_no":1,"sku":"a","qty":0.1234567,"price":"x"},{"line_no":1,"sku":"a","qty":1,"price":1},
            {"line_no":null},{"sku":"a"},7]}"#;
        assert_eq!(
            problems(&orders(), record),
            [
                "customerId: the key of the row it refers to is blank, but a row is needed",
                "lines[1].quantity: 7 decimals, at most 5 fit; round it, e.g. `… | round(5)`",
                "lines[1].unitPrice: it is not a number",
                "lines[1]: two lines of the record have this key",
                "lines: line 3 of the record: its key `line_no` is blank",
                "lines: line 4 of the record: its key `line_no` is missing",
                "lines: line 5 of the record: it is a number, but an object is needed",
                "check_total: it is blank, but a value is needed",
            ]
        );
    }

    #[test]
    fn lines_are_found_inside_the_record() {
        let mut spec = orders();
        spec.lines.as_mut().unwrap().path = "/cart/items".to_owned();
        let record = |cart: &str| {
            format!(r#"{{"order_no":9,"account_id":"4","ordered_on":null,"wanted_at":null,"total":1,"cart":{cart}}}"#)
        };
        let lines = r#"{"items":[{"line_no":"a","sku":"s","qty":1,"price":1}]}"#;
        assert_eq!(draft(&spec, &record(lines)).lines.unwrap()[0].key, "a");
        assert_eq!(draft(&spec, &record("null")).lines, Some(Vec::new()));
        assert_eq!(problems(&spec, &record("{}")), ["cart.items: the record has no such list of lines"]);
        assert_eq!(
            problems(&spec, &record(r#"{"items":"x"}"#)),
            ["cart.items: it is text, but a list of lines is needed"]
        );
        let columns = Mapping::compile(&spec).unwrap();
        assert!(columns.columns().iter().any(|column| column.name == "cart"));
    }
}
