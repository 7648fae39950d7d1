//! Walks the parsed TOML by hand, so that every problem is found at once and each is told with its place.
//!
//! A [`Table`] remembers the keys that were asked for: what is left over at [`Table::finish`] is unknown, and what was asked
//! for is what is allowed. Nothing here stops at a problem: a value that cannot be used is reported and then absent.
//! The value of an unknown key is never shown, because it may be a secret under a misspelt name.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::str::FromStr;

use rust_decimal::Decimal;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Report};
use super::text::Located;

/// The report that all tables and values of one file write to.
#[derive(Debug)]
pub(super) struct Findings(RefCell<Report>);

impl Findings {
    pub(super) fn new(report: Report) -> Self {
        Self(RefCell::new(report))
    }

    pub(super) fn push(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    /// Never shows the bytes of `span`.
    pub(super) fn hide(&self, span: Range<usize>) {
        self.0.borrow_mut().hide(span);
    }

    pub(super) fn into_report(self) -> Report {
        self.0.into_inner()
    }
}

/// A table that is being read.
#[must_use = "unknown keys are found by `finish`"]
pub(super) struct Table<'d> {
    entries: &'d DeTable<'d>,
    /// Its header, or all of it when it is written inline.
    span: Range<usize>,
    path: String,
    findings: &'d Findings,
    known: Vec<&'static str>,
}

/// A value that is being read.
pub(super) struct Value<'d> {
    written: &'d DeValue<'d>,
    span: Range<usize>,
    key: &'d str,
    key_span: Range<usize>,
    path: String,
    findings: &'d Findings,
}

impl<'d> Table<'d> {
    /// The document itself.
    pub(super) fn root(entries: &'d DeTable<'d>, findings: &'d Findings) -> Self {
        Self { entries, span: 0..0, path: String::new(), findings, known: Vec::new() }
    }

    pub(super) fn findings(&self) -> &'d Findings {
        self.findings
    }

    /// Whether `key` is there, usable or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The value of `key` as it is written.
    pub(super) fn value(&mut self, key: &'static str) -> Option<Value<'d>> {
        self.known.push(key);
        let (name, value) = self.entries.get_key_value(key)?;
        Some(self.entry(name, value))
    }

    /// What `read` makes of `key`, if the key is there and can be used.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Value<'d>) -> Option<T>,
    ) -> Option<Located<T>> {
        let value = self.value(key)?;
        read(&value).map(|read| value.locate(read))
    }

    /// Like [`Table::optional`]; a key that is not there is a problem.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Value<'d>) -> Option<T>,
    ) -> Option<Located<T>> {
        if !self.has(key) {
            self.findings.push(self.problem(format!("`{key}` is missing")));
        }
        self.optional(key, read)
    }

    /// What `read` makes of `key`; `default` without it.
    pub(super) fn or<T>(&mut self, key: &'static str, read: impl FnOnce(&Value<'d>) -> Option<T>, default: T) -> T {
        self.optional(key, read).map_or(default, Located::into_value)
    }

    /// The table under `key`, if it is there and is one.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Self> {
        self.value(key)?.table()
    }

    /// All entries of a table whose keys are free, in the order of the file.
    pub(super) fn entries(&self) -> Vec<Value<'d>> {
        let mut entries: Vec<_> = self.entries.iter().map(|(name, value)| self.entry(name, value)).collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        entries
    }

    /// An error about this table.
    pub(super) fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::error(self.span.clone(), self.path.clone(), message)
    }

    /// An error about `key`, standing at the key if it is there.
    pub(super) fn problem_of(&self, key: &str, message: impl Into<String>) -> Problem {
        match self.entries.get_key_value(key) {
            Some((name, value)) => self.entry(name, value).key().error(message),
            None => self.problem(message),
        }
    }

    /// Reports every key that was not asked for.
    pub(super) fn finish(self) {
        for entry in self.unknown() {
            entry.hide();
            let message = match self.path.as_str() {
                "" => format!("unknown key `{}`", entry.key),
                path => format!("unknown key `{}` in `{path}`", entry.key),
            };
            let problem = Problem::error(entry.key_span.clone(), entry.path.clone(), message)
                .allowed(self.known.join(", "))
                .suggest(entry.key, self.known.iter().copied());
            self.findings.push(problem);
        }
    }

    /// Says nothing about the keys that were not asked for, but never shows their values either.
    pub(super) fn abandon(self) {
        self.unknown().iter().for_each(Value::hide);
    }

    fn unknown(&self) -> Vec<Value<'d>> {
        self.entries().into_iter().filter(|entry| !self.known.contains(&entry.key)).collect()
    }

    fn entry(
        &self,
        name: &'d toml::Spanned<toml::de::DeString<'d>>,
        value: &'d toml::Spanned<DeValue<'d>>,
    ) -> Value<'d> {
        let key = name.get_ref().as_ref();
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Value {
            written: value.get_ref(),
            span: value.span(),
            key,
            key_span: name.span(),
            path,
            findings: self.findings,
        }
    }
}

impl<'d> Value<'d> {
    pub(super) fn key(&self) -> Located<String> {
        Located { value: self.key.to_owned(), span: self.key_span.clone(), path: self.path.clone() }
    }

    pub(super) fn locate<T>(&self, value: T) -> Located<T> {
        Located { value, span: self.span.clone(), path: self.path.clone() }
    }

    /// An error about this value.
    pub(super) fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::error(self.span.clone(), self.path.clone(), message)
    }

    /// Reports `problem` and reads nothing.
    pub(super) fn reject<T>(&self, problem: Problem) -> Option<T> {
        self.findings.push(problem);
        None
    }

    pub(super) fn warn(&self, problem: Problem) {
        self.findings.push(problem.as_warning());
    }

    /// Never shows this value, whatever else is wrong in its line.
    pub(super) fn hide(&self) {
        match self.written {
            // The span of such a table is its header: the values stand below it, each by itself.
            DeValue::Table(entries) => {
                let table = Table {
                    entries,
                    span: self.span.clone(),
                    path: String::new(),
                    findings: self.findings,
                    known: Vec::new(),
                };
                table.entries().iter().for_each(Value::hide);
            }
            DeValue::Boolean(_) | DeValue::Datetime(_) => {}
            _ => self.findings.hide(self.span.clone()),
        }
    }

    /// A string that may be blank.
    pub(super) fn any_text(&self) -> Option<String> {
        match self.written {
            DeValue::String(text) => Some(text.to_string()),
            _ => self.mismatch("a string"),
        }
    }

    /// A string that says something.
    pub(super) fn text(&self) -> Option<String> {
        let text = self.any_text()?;
        if text.trim().is_empty() {
            return self.reject(self.problem("this must not be blank"));
        }
        Some(text)
    }

    pub(super) fn path(&self) -> Option<PathBuf> {
        self.text().map(PathBuf::from)
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self.written {
            DeValue::Boolean(boolean) => Some(*boolean),
            _ => self.mismatch("true or false"),
        }
    }

    /// A whole number within `range`.
    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let DeValue::Integer(integer) = self.written else { return self.mismatch("a whole number") };
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX);
        let within = u64::try_from(number).ok().filter(|number| range.contains(number));
        if within.is_none() {
            let allowed = match (range.start(), range.end()) {
                (start, &u64::MAX) => format!("{start} or more"),
                (start, end) => format!("{start} to {end}"),
            };
            return self.reject(self.problem(format!("{integer} is out of range")).allowed(allowed));
        }
        within
    }

    /// Whether a whole number is written here.
    pub(super) fn is_integer(&self) -> bool {
        matches!(self.written, DeValue::Integer(_))
    }

    /// Whether a string is written here.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.written, DeValue::String(_))
    }

    /// Whether a table is written here.
    pub(super) fn is_table(&self) -> bool {
        matches!(self.written, DeValue::Table(_))
    }

    /// An exact number of zero or more, written as a number or as a string.
    pub(super) fn decimal(&self) -> Option<Decimal> {
        let text = match self.written {
            DeValue::Integer(integer) => integer.to_string(),
            DeValue::Float(float) => float.to_string(),
            DeValue::String(text) => text.to_string(),
            _ => return self.mismatch("a number"),
        };
        match Decimal::from_str(&text) {
            Ok(decimal) if !decimal.is_sign_negative() => Some(decimal),
            _ => {
                self.reject(self.problem("this is not a number of zero or more").allowed("such as 5, 2.5 or \"0.05\""))
            }
        }
    }

    /// A date without a time.
    pub(super) fn date(&self) -> Option<chrono::NaiveDate> {
        let DeValue::Datetime(written) = self.written else {
            return self.reject(self.mismatch_problem("a date").hint("write it without quotes: 2027-02-01"));
        };
        match (written.date, written.time, written.offset) {
            (Some(date), None, None) => {
                let date = chrono::NaiveDate::from_ymd_opt(i32::from(date.year), date.month.into(), date.day.into());
                date.or_else(|| self.reject(self.problem("there is no such day")))
            }
            _ => self.reject(self.problem("expected a date without a time").hint("write only the date: 2027-02-01")),
        }
    }

    pub(super) fn table(&self) -> Option<Table<'d>> {
        match self.written {
            DeValue::Table(entries) => Some(Table {
                entries,
                span: self.span.clone(),
                path: self.path.clone(),
                findings: self.findings,
                known: Vec::new(),
            }),
            _ => self.mismatch("a table"),
        }
    }

    /// A list, each element of which `read` can use; `None` if it cannot use one.
    pub(super) fn list<T>(&self, read: impl Fn(&Self) -> Option<T>) -> Option<Vec<Located<T>>> {
        let DeValue::Array(array) = self.written else { return self.mismatch("a list") };
        let elements: Vec<Option<Located<T>>> = array
            .iter()
            .map(|element| {
                let element = Value {
                    written: element.get_ref(),
                    span: element.span(),
                    key: self.key,
                    key_span: self.key_span.clone(),
                    path: self.path.clone(),
                    findings: self.findings,
                };
                read(&element).map(|value| element.locate(value))
            })
            .collect();
        elements.into_iter().collect()
    }

    /// One of the words of `choices`.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let words = || choices.iter().map(|(word, _)| *word);
        let allowed = words().collect::<Vec<_>>().join(", ");
        let DeValue::String(given) = self.written else {
            return self.reject(self.mismatch_problem("a string").allowed(allowed));
        };
        match choices.iter().find(|(word, _)| word == given) {
            Some((_, choice)) => Some(*choice),
            None => self.reject(
                self.problem(format!("`{given}` is not possible here")).allowed(allowed).suggest(given, words()),
            ),
        }
    }

    /// Reports that something else than `expected` is written here.
    pub(super) fn mismatch<T>(&self, expected: &str) -> Option<T> {
        self.reject(self.mismatch_problem(expected))
    }

    /// That something else than `expected` is written here.
    pub(super) fn mismatch_problem(&self, expected: &str) -> Problem {
        let found = match self.written {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.problem(format!("expected {expected}, found {found}"))
    }
}
