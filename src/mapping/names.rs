//! The names in an expression: which columns it reads, and which filters, tests and functions it uses.
//!
//! The engine finds a wrong name only when a record is evaluated; here it is found beforehand. What is listed is the
//! whole vocabulary: the engine's own words that make sense for values, and ours.

use std::collections::BTreeMap;
use std::ops::Range;

use super::scan::{Kind, Token};
use super::spec::Mistake;
use crate::schema::closest;

/// All filters, in alphabetical order.
pub(super) const FILTERS: &[&str] = &[
    "abs",
    "bool",
    "capitalize",
    "d",
    "date",
    "default",
    "divided_by",
    "first",
    "float",
    "format",
    "int",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "minus",
    "plus",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "sort",
    "split",
    "string",
    "sum",
    "times",
    "title",
    "translate",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "without_letters",
];

/// All tests, for use after `is`, in alphabetical order.
pub(super) const TESTS: &[&str] = &[
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "even",
    "false",
    "float",
    "ge",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sequence",
    "startingwith",
    "string",
    "true",
    "undefined",
    "upper",
];

/// All functions.
pub(super) const FUNCTIONS: &[&str] = &["dict", "range"];

const KEYWORDS: &[&str] =
    &["and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None"];

/// A column that an expression names, with the attributes that follow (`customer.address.city`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) path: Vec<String>,
    /// Where the column itself is named.
    pub(super) range: Range<usize>,
    /// How many tokens the whole path takes.
    pub(super) tokens: usize,
    /// Whether the expression says here what holds when the column is missing: `… | default(…)`, `… is defined`.
    pub(super) guarded: bool,
}

/// The columns that `tokens` name, and everything that is wrong with the other names.
pub(super) fn resolve(
    tokens: &[Token<'_>],
    tables: &BTreeMap<String, BTreeMap<String, String>>,
) -> (Vec<Named>, Vec<Mistake>) {
    let mut columns = Vec::new();
    let mut mistakes = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let Kind::Name(name) = token.kind else { continue };
        let around = Around { tokens, index };
        let mistake = match around.role() {
            Role::Filter => unknown("filter", name, FILTERS).or_else(|| around.filter_arguments(name, tables)),
            Role::Test => unknown("test", name, TESTS),
            Role::Function => function(name),
            Role::Method => Some(Mistake::new(format!("values have no methods such as `{name}()`")).hint(
                if FILTERS.contains(&name) {
                    format!("use the filter: `… | {name}`")
                } else {
                    format!(
                        "filters do such work, e.g. {}",
                        ["trim", "lower", "replace"].map(|f| format!("`… | {f}`")).join(", ")
                    )
                },
            )),
            Role::ComparedNone => {
                Some(Mistake::new("a column is compared with none").hint("write `… is none` or `… is not none`"))
            }
            Role::Column => {
                columns.push(around.path(name));
                None
            }
            Role::Other => None,
        };
        mistakes.extend(mistake.map(|mistake| match mistake.range {
            Some(_) => mistake,
            None => mistake.at(token.range.clone()),
        }));
    }
    (columns, mistakes)
}

fn unknown(what: &str, name: &str, known: &[&'static str]) -> Option<Mistake> {
    (!known.contains(&name))
        .then(|| Mistake::new(format!("there is no {what} `{name}`")).meant(closest(name, known.iter().copied())))
}

fn function(name: &str) -> Option<Mistake> {
    match name {
        "link" | "lookup" => Some(
            Mistake::new(format!("`{name}(…)` can only be the whole value of a property"))
                .hint("what it stands for is not known before the row is sent"),
        ),
        _ if FILTERS.contains(&name) => {
            Some(Mistake::new(format!("`{name}` is a filter")).hint(format!("write `… | {name}`")))
        }
        _ => unknown("function", name, FUNCTIONS).map(|mistake| match mistake.hint {
            Some(_) => mistake,
            None => mistake.meant(closest(name, ["link", "lookup"])),
        }),
    }
}

/// What a name is used as.
enum Role {
    Filter,
    Test,
    Function,
    Method,
    ComparedNone,
    Column,
    /// A keyword, an attribute, or the name of an argument.
    Other,
}

/// A token and its neighbours.
#[derive(Clone, Copy)]
struct Around<'a, 'b> {
    tokens: &'a [Token<'b>],
    index: usize,
}

impl<'b> Around<'_, 'b> {
    fn before(self, steps: usize) -> Option<Kind<'b>> {
        self.tokens.get(self.index.checked_sub(steps)?).map(|token| token.kind)
    }

    fn after(self, steps: usize) -> Option<Kind<'b>> {
        self.tokens.get(self.index + steps).map(|token| token.kind)
    }

    fn role(self) -> Role {
        let called = self.after(1) == Some(Kind::Sign("("));
        let compared = |kind| matches!(kind, Some(Kind::Sign("==" | "!=")));
        match (self.before(2), self.before(1)) {
            (_, Some(Kind::Sign("|"))) => return Role::Filter,
            (_, Some(Kind::Name("is"))) if self.after(0) == Some(Kind::Name("not")) => return Role::Other,
            (_, Some(Kind::Name("is"))) | (Some(Kind::Name("is")), Some(Kind::Name("not"))) => return Role::Test,
            (_, Some(Kind::Sign("."))) => return if called { Role::Method } else { Role::Other },
            _ => {}
        }
        match self.after(0) {
            Some(Kind::Name("none" | "None")) if compared(self.before(1)) || compared(self.after(1)) => {
                Role::ComparedNone
            }
            Some(Kind::Name(name)) if KEYWORDS.contains(&name) => Role::Other,
            _ if self.after(1) == Some(Kind::Sign("=")) => Role::Other,
            _ if called => Role::Function,
            _ => Role::Column,
        }
    }

    /// The column `name` with its attributes. A column whose name is no identifier is `record['Account No.']`.
    fn path(self, name: &str) -> Named {
        let quoted = match (name, self.after(1), self.after(2), self.after(3)) {
            ("record", Some(Kind::Sign("[")), Some(Kind::Text(column)), Some(Kind::Sign("]"))) => Some(column),
            _ => None,
        };
        let mut path = vec![quoted.unwrap_or(name).to_owned()];
        let mut steps = if quoted.is_some() { 4 } else { 1 };
        while let (Some(Kind::Sign(".")), Some(Kind::Name(attribute))) = (self.after(steps), self.after(steps + 1)) {
            path.push(attribute.to_owned());
            steps += 2;
        }
        let defaulted = self.after(steps) == Some(Kind::Sign("|"))
            && matches!(self.after(steps + 1), Some(Kind::Name("default" | "d")));
        let test = if self.after(steps + 1) == Some(Kind::Name("not")) { steps + 2 } else { steps + 1 };
        let tested = self.after(steps) == Some(Kind::Name("is"))
            && matches!(self.after(test), Some(Kind::Name("defined" | "undefined" | "none")));
        let guarded = defaulted || tested;
        Named { path, range: self.tokens[self.index].range.clone(), tokens: steps, guarded }
    }

    /// The `n`th argument of a call, counted from 0, when the arguments up to it are all literals.
    fn literal(self, n: usize) -> Option<(&'b str, Range<usize>)> {
        let steps = 2 * n + 2;
        match (self.after(1), self.after(steps)) {
            (Some(Kind::Sign("(")), Some(Kind::Text(text))) => {
                Some((text, self.tokens[self.index + steps].range.clone()))
            }
            _ => None,
        }
    }

    /// What is wrong with the arguments of the filter `name`, as far as it can be seen from literals.
    fn filter_arguments(self, name: &str, tables: &BTreeMap<String, BTreeMap<String, String>>) -> Option<Mistake> {
        let inner = |n: usize, what: &str, known: &[&'static str]| {
            let (text, range) = self.literal(n)?;
            unknown(what, text, known).map(|mistake| mistake.at(range))
        };
        match name {
            "translate" => match self.literal(0) {
                None => Some(
                    Mistake::new("`translate` needs the name of a table in quotes").hint("`… | translate('country')`"),
                ),
                Some((table, _)) if tables.contains_key(table) => None,
                Some((table, range)) => Some(
                    Mistake::new(format!("there is no table [maps.{table}]"))
                        .at(range)
                        .meant(closest(table, tables.keys().map(String::as_str))),
                ),
            },
            "date" => {
                let (form, range) = self.literal(0)?;
                let wrong = chrono::format::StrftimeItems::new(form).any(|item| item == chrono::format::Item::Error);
                wrong.then(|| {
                    Mistake::new("this is not a form of a date")
                        .at(range)
                        .hint("%Y year, %m month, %d day, e.g. `%d.%m.%Y`")
                })
            }
            "map" => inner(0, "filter", FILTERS),
            "select" | "reject" => inner(0, "test", TESTS),
            "selectattr" | "rejectattr" => inner(1, "test", TESTS),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan::scan;
    use super::*;

    fn columns(source: &str) -> Vec<String> {
        let (columns, mistakes) = resolve(&scan(source), &BTreeMap::new());
        assert_eq!(mistakes, [], "{source}");
        columns.into_iter().map(|named| named.path.join(".")).collect()
    }

    fn mistake(source: &str) -> String {
        let tables = BTreeMap::from([("country".to_owned(), BTreeMap::new())]);
        let (_, mistakes) = resolve(&scan(source), &tables);
        let [mistake] = mistakes.as_slice() else { panic!("{source}: {mistakes:?}") };
        let range = mistake.range.clone().unwrap();
        format!("[{}] {} / {}", &source[range], mistake.message, mistake.hint.as_deref().unwrap_or("-"))
    }

    #[test]
    fn columns_are_told_from_other_names() {
        for (source, expected) in [
            ("name | truncate(100)", vec!["name"]),
            ("a if b is not none else c.d.e", vec!["a", "b", "c.d.e"]),
            ("'x' ~ order_no ~ lines[0].sku", vec!["order_no", "lines"]),
            ("items | map(attribute='qty') | sum", vec!["items"]),
            ("country in ['US', other] and not closed", vec!["country", "other", "closed"]),
            ("a is divisibleby b", vec!["a", "b"]),
            ("range(3) | join(sep)", vec!["sep"]),
            ("record['Account No.'].x ~ record[\"ü\"] ~ record", vec!["Account No..x", "ü", "record"]),
        ] {
            assert_eq!(columns(source), expected, "{source}");
        }
    }

    #[test]
    fn wrong_names_are_mistakes_with_a_hint() {
        for (source, expected) in [
            ("name | truncat(3)", "[truncat] there is no filter `truncat` / did you mean `truncate`?"),
            ("name is nonne", "[nonne] there is no test `nonne` / did you mean `none`?"),
            ("upper(name)", "[upper] `upper` is a filter / write `… | upper`"),
            ("name.upper()", "[upper] values have no methods such as `upper()` / use the filter: `… | upper`"),
            ("lokup('items', sku)", "[lokup] there is no function `lokup` / did you mean `lookup`?"),
            (
                "link('a', b) ~ 'x'",
                "[link] `link(…)` can only be the whole value of a property / what it stands for is not known before the row is sent",
            ),
            ("a == none", "[none] a column is compared with none / write `… is none` or `… is not none`"),
            ("c | translate('contry')", "['contry'] there is no table [maps.contry] / did you mean `country`?"),
            ("d | date('%Q')", "['%Q'] this is not a form of a date / %Y year, %m month, %d day, e.g. `%d.%m.%Y`"),
            ("l | map('uper')", "['uper'] there is no filter `uper` / did you mean `upper`?"),
        ] {
            assert_eq!(mistake(source), expected, "{source}");
        }
    }
}
