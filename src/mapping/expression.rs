//! One expression: compiled, checked as far as possible without data, and evaluated.
//!
//! A column alone (or a path such as `customer.name`) is read without the engine and keeps every digit; an expression
//! without columns is computed once. Messages name columns and kinds of values, never values.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::ErrorKind;

use super::convert::from_engine;
use super::filters::{ENGINE, FilterProblem, SETTINGS, Settings};
use super::names::{Named, resolve};
use super::row::{Found, Row};
use super::scan::{Kind, Token, scan};
use super::spec::Mistake;
use crate::model::Value;

/// How a value is obtained.
#[derive(Debug)]
pub(super) enum Expression {
    /// The same for every record.
    Constant(Value),
    /// A column, or something inside it.
    Column(Vec<String>),
    /// Computed by the engine.
    Computed(Computed),
}

/// An expression for the engine.
#[derive(Debug)]
pub(super) struct Computed {
    source: String,
    program: minijinja::Expression<'static, 'static>,
    reads: Vec<Read>,
}

/// A column, or something inside it, that an expression reads.
#[derive(Debug)]
struct Read {
    path: Vec<String>,
    /// Whether it may be missing, because the expression says what holds then.
    optional: bool,
}

/// A compiled expression and the columns that it names.
pub(super) type Compiled = (Expression, Vec<Named>);

/// Compiles `source`.
pub(super) fn compile(source: &str, settings: &Arc<Settings>) -> Result<Compiled, Vec<Mistake>> {
    let program = ENGINE.compile_expression_owned(source.to_owned()).map_err(|error| vec![syntax(source, &error)])?;
    let tokens = scan(source);
    let (columns, mistakes) = resolve(&tokens, &settings.tables);
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    if let [column] = columns.as_slice()
        && column.tokens == tokens.len()
    {
        return Ok((Expression::Column(column.path.clone()), columns));
    }
    if let Some(number) = literal_number(&tokens) {
        return Ok((Expression::Constant(number), columns));
    }
    check_calls(source, &program, settings).map_err(|mistake| vec![mistake])?;
    if columns.is_empty() {
        let result = program.eval(sample(settings, &minijinja::Value::UNDEFINED));
        let constant = result
            .map_err(|error| failure(source, &error, ""))
            .and_then(|value| from_engine(&value).map_err(ToOwned::to_owned));
        return match constant {
            Ok(value) => Ok((Expression::Constant(value), columns)),
            Err(message) => Err(vec![Mistake::new(message)]),
        };
    }
    let guarded = |path: &[String]| columns.iter().any(|column| column.guarded && column.path == path);
    let read = |column: &Named| Read { path: column.path.clone(), optional: guarded(&column.path) };
    let reads = columns.iter().map(read).collect();
    Ok((Expression::Computed(Computed { source: source.to_owned(), program, reads }), columns))
}

/// The number that `tokens` are, read from its digits: the engine would make a float of it.
fn literal_number(tokens: &[Token<'_>]) -> Option<Value> {
    let number = match tokens {
        [Token { kind: Kind::Number(digits), .. }] => Value::number(digits),
        [Token { kind: Kind::Sign("-"), .. }, Token { kind: Kind::Number(digits), .. }] => {
            Value::number(&format!("-{digits}"))
        }
        _ => return None,
    };
    number.decimal().is_some().then_some(number)
}

fn syntax(source: &str, error: &minijinja::Error) -> Mistake {
    let message = match error.detail() {
        _ if source.trim().is_empty() => "the expression is empty".to_owned(),
        Some(detail) => format!("the expression is not complete or not understood: {detail}"),
        None => format!("the expression is not understood: {}", error.kind()),
    };
    pointed(Mistake::new(message), source, error)
}

/// Gives `mistake` the range of the engine's error, when there is one that can be shown.
fn pointed(mistake: Mistake, source: &str, error: &minijinja::Error) -> Mistake {
    match error.range().filter(|range| source.get(range.clone()).is_some_and(|part| !part.is_empty())) {
        Some(range) => mistake.at(range),
        None => mistake,
    }
}

/// Evaluates with made-up columns, to find calls with a wrong number of arguments. All other failures are due to the
/// made-up values.
fn check_calls(
    source: &str,
    program: &minijinja::Expression<'static, 'static>,
    settings: &Arc<Settings>,
) -> Result<(), Mistake> {
    let samples = [
        minijinja::Value::from("1"),
        minijinja::Value::from(1),
        minijinja::Value::from(vec!["1"]),
        minijinja::Value::UNDEFINED,
    ];
    for value in &samples {
        let Err(error) = program.eval(sample(settings, value)) else { continue };
        let message = match error.kind() {
            ErrorKind::MissingArgument => "an argument is missing",
            ErrorKind::TooManyArguments => "there are too many arguments",
            ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction => "there is no such name",
            _ => continue,
        };
        return Err(pointed(Mistake::new(message), source, &error));
    }
    Ok(())
}

/// A scope in which every column is `value`.
fn sample(settings: &Arc<Settings>, value: &minijinja::Value) -> minijinja::Value {
    #[derive(Debug)]
    struct Sample(Arc<Settings>, minijinja::Value);
    impl minijinja::value::Object for Sample {
        fn get_value(self: &Arc<Self>, key: &minijinja::Value) -> Option<minijinja::Value> {
            match key.as_str()? {
                SETTINGS => Some(minijinja::Value::from_dyn_object(Arc::clone(&self.0))),
                "range" | "dict" => None,
                _ => Some(self.1.clone()),
            }
        }
    }
    minijinja::Value::from_object(Sample(Arc::clone(settings), value.clone()))
}

impl Expression {
    /// The value for `row`, or why there is none.
    pub(super) fn evaluate(&self, row: &Row<'_>) -> Result<Value, String> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Column(path) => match row.find(path) {
                Found::Value(value) => Ok(value.clone()),
                Found::Null => Ok(Value::Null),
                Found::Missing => Err(missing(path)),
            },
            Self::Computed(computed) => computed.evaluate(row),
        }
    }

    /// The columns that the engine needs for it.
    pub(super) fn computed_columns(&self) -> impl Iterator<Item = &String> {
        let reads = match self {
            Self::Computed(computed) => computed.reads.as_slice(),
            _ => &[],
        };
        reads.iter().filter_map(|read| read.path.first())
    }
}

fn missing(path: &[String]) -> String {
    format!("column `{}` is missing", path.join("."))
}

impl Computed {
    fn evaluate(&self, row: &Row<'_>) -> Result<Value, String> {
        let scope = row.scope();
        for Read { path, optional } in &self.reads {
            // Without this, `status == 'open'` would be plainly false when the source has no `status` any more.
            if !optional && matches!(row.find(path), Found::Missing) {
                return Err(missing(path));
            }
            if let Some(column) = path.first().filter(|column| scope.is_too_precise(column)) {
                return Err(format!("`{column}` has more than 15 significant digits: use the column alone"));
            }
        }
        match self.program.eval(minijinja::Value::from_dyn_object(Arc::clone(scope))) {
            Ok(value) => from_engine(&value).map_err(ToOwned::to_owned),
            Err(error) => Err(failure(&self.source, &error, &self.about(row))),
        }
    }

    /// What the columns are, for a message: " (`a` is text, `b` is null)".
    fn about(&self, row: &Row<'_>) -> String {
        let kind = |read: &Read| match row.find(&read.path) {
            Found::Value(value) => value.kind(),
            Found::Null | Found::Missing => "null",
        };
        let kinds: BTreeMap<String, &str> = self.reads.iter().map(|read| (read.path.join("."), kind(read))).collect();
        let shown = kinds.iter().map(|(name, kind)| format!("`{name}` is {kind}")).collect::<Vec<_>>().join(", ");
        if kinds.values().any(|kind| *kind == "null") {
            format!(" ({shown}); say what holds for null, e.g. `… | default('')`")
        } else {
            format!(" ({shown})")
        }
    }
}

/// Why an evaluation failed. The engine's own texts are not passed on: they can contain values.
fn failure(source: &str, error: &minijinja::Error, about: &str) -> String {
    if let Some(problem) = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<FilterProblem>()) {
        return problem.to_string();
    }
    if error.kind() == ErrorKind::OutOfFuel {
        return "it takes too many steps to compute".to_owned();
    }
    format!("`{source}` cannot be computed with these values{about}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::convert::NullIs;
    use super::*;

    fn run(source: &str, record: &str) -> Result<String, String> {
        let settings = Arc::new(Settings::default());
        let (expression, _) = compile(source, &settings).map_err(|mistakes| format!("{mistakes:?}"))?;
        let fields = Value::parse(record).unwrap();
        let computed: Arc<[String]> = expression.computed_columns().cloned().collect();
        let row = Row::new(&fields, &computed, &settings, NullIs::Undefined);
        expression.evaluate(&row).map(|value| value.to_json())
    }

    fn mistake(source: &str) -> String {
        let mistakes = compile(source, &Arc::new(Settings::default())).map(|_| ()).unwrap_err();
        let [mistake] = mistakes.as_slice() else { panic!("{mistakes:?}") };
        format!("[{}] {}", mistake.range.clone().map_or("-", |range| &source[range]), mistake.message)
    }

    #[test]
    fn columns_alone_and_literals_keep_every_digit() {
        let record = r#"{"n":12345678901234567.89,"c":{"name":"x","n":null},"o":null}"#;
        for (source, expected) in [
            ("n", "12345678901234567.89"),
            (" n ", "12345678901234567.89"),
            ("c.name", r#""x""#),
            ("c . n", "null"),
            ("o.deep.inside", "null"),
            ("'WEB'", r#""WEB""#),
            (r"'a\'b'", r#""a'b""#),
            ("0.10000000000000000001", "0.10000000000000000001"),
            ("-1.5", "-1.5"),
            ("-0.10000000000000000001", "-0.10000000000000000001"),
            ("none", "null"),
            ("true", "true"),
            ("1 + 1", "2"),
        ] {
            assert_eq!(run(source, record).as_deref(), Ok(expected), "{source}");
        }
        let constant =
            |source: &str| matches!(compile(source, &Arc::new(Settings::default())), Ok((Expression::Constant(_), _)));
        assert!(constant("'WEB'") && constant("1.5") && constant("'a' ~ 1") && !constant("a"));
    }

    #[test]
    fn expressions_are_evaluated_over_the_record() {
        let record = r#"{"no":7,"price":19.99,"qty":3,"name":" Ann ","none":null,"list":[{"q":1},{"q":2.5}],
            "First name":"Ann","Account No.":12345678901234567.89}"#;
        for (source, expected) in [
            ("'WEB-' ~ no", r#""WEB-7""#),
            ("price * 100", "1999"),
            ("price | times(qty)", "59.97"),
            ("name | trim | upper", r#""ANN""#),
            ("'big' if price > 10 else 'small'", r#""big""#),
            ("name if no > 7", "null"),
            ("none_such | default('x')", r#""x""#),
            ("none_such if none_such is defined else 'x'", r#""x""#),
            ("'x' if none_such is not none else 'y'", r#""y""#),
            ("list | map(attribute='q') | sum", "3.5"),
            ("list[0].q", "1"),
            ("record['Account No.']", "12345678901234567.89"),
            ("record['First name'] | upper", r#""ANN""#),
            ("name[1:3]", r#""An""#),
        ] {
            assert_eq!(run(source, record).as_deref(), Ok(expected), "{source}");
        }
    }

    #[test]
    fn null_is_never_written_into_a_text() {
        let record = r#"{"a":null,"b":"x"}"#;
        for (source, expected) in [
            ("a | lower", "null"),
            ("a or 'y'", r#""y""#),
            ("[a, b, 1, 2.50] | join('-')", r#""x-1-2.5""#),
            ("a | default(b)", r#""x""#),
            ("'y' if a is none else 'z'", r#""y""#),
            ("b if a is defined else 'undefined'", r#""undefined""#),
        ] {
            assert_eq!(run(source, record).as_deref(), Ok(expected), "{source}");
        }
        assert_eq!(
            run("'A-' ~ a ~ b", record),
            Err("`'A-' ~ a ~ b` cannot be computed with these values (`a` is null, `b` is text); \
                 say what holds for null, e.g. `… | default('')`"
                .to_owned())
        );
        assert!(run("a | title", record).is_err());
        assert!(run("a | string", record).is_err());
    }

    #[test]
    fn what_cannot_be_computed_is_said_without_the_value() {
        let record = r#"{"a":"secret","n":12345678901234567.89}"#;
        for (source, expected) in [
            ("b", "column `b` is missing"),
            ("'x' ~ b", "column `b` is missing"),
            ("b == 'x'", "column `b` is missing"),
            ("b or 'x'", "column `b` is missing"),
            ("a if a else b", "column `b` is missing"),
            ("a.b | upper", "column `a.b` is missing"),
            ("a * 2.5", "`a * 2.5` cannot be computed with these values (`a` is text)"),
            ("a | int", "`a | int` cannot be computed with these values (`a` is text)"),
            ("n * 2", "`n` has more than 15 significant digits: use the column alone"),
            ("[a]", "it is a list or an object, but a single value is needed"),
        ] {
            assert_eq!(run(source, record), Err(expected.to_owned()), "{source}");
        }
    }

    #[test]
    fn mistakes_are_found_without_data() {
        for (source, expected) in [
            ("", "[-] the expression is empty"),
            ("name | truncate", "[truncate] an argument is missing"),
            ("name | trim('a', 'b')", "[trim('a', 'b')] there are too many arguments"),
            ("name | nope", "[nope] there is no filter `nope`"),
        ] {
            assert_eq!(mistake(source), expected, "{source}");
        }
        for source in ["name |", "'open", "a b", "{% if %}", "name }}"] {
            let settings = Arc::new(Settings::default());
            assert!(compile(source, &settings).is_err(), "{source}");
        }
        assert!(mistake("'x' | plus(1)").contains("it is not a number"));
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_compiled_or_refused(
            words in prop::collection::vec(
                prop_oneof![
                    "\\PC{0,3}".boxed(),
                    "[a-z]{1,3}".boxed(),
                    prop::sample::select(vec![
                        "|", "(", ")", "[", "]", ".", ",", "'", "\"", "==", "~", "-", "is", "not", "none", "if", "else",
                        "in", "1.5", "'ü'", "truncate", "translate", "date", "map", "link", "lookup", "record", "{", "}",
                    ]).prop_map(ToOwned::to_owned).boxed(),
                ],
                0..8,
            ),
            glue in prop::sample::select(vec!["", " "]),
        ) {
            let source = words.join(glue);
            let settings = Arc::new(Settings::default());
            match compile(&source, &settings) {
                Ok((expression, columns)) => {
                    let computed: Arc<[String]> = expression.computed_columns().cloned().collect();
                    let row = Row::new(&Value::Null, &computed, &settings, NullIs::Undefined);
                    let _ = expression.evaluate(&row);
                    for column in columns {
                        prop_assert!(source.get(column.range).is_some());
                    }
                }
                Err(mistakes) => {
                    for range in mistakes.into_iter().filter_map(|mistake| mistake.range) {
                        prop_assert!(source.get(range).is_some());
                    }
                }
            }
        }
    }
}
