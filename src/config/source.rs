//! Where records come from.

use std::path::PathBuf;

use super::name;
use super::reader::Value;
use super::secret::{self, SecretRef};
use super::text::Located;

/// A system that records are read from.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name in the configuration.
    pub name: Located<String>,
    /// What it is, and how it is reached.
    pub kind: SourceKind,
}

/// What a source is, and how it is reached.
#[derive(Debug, Clone)]
pub enum SourceKind {
    /// A `PostgreSQL` database, at an address with user and password.
    Postgres(Located<SecretRef>),
    /// A `MySQL` or `MariaDB` database, at an address with user and password.
    Mysql(Located<SecretRef>),
    /// A `SQLite` file.
    Sqlite(Located<PathBuf>),
}

#[derive(Clone, Copy)]
enum Type {
    Postgres,
    Mysql,
    Sqlite,
    /// Part of the grammar, not of this version.
    Later(&'static str),
}

const TYPES: [(&str, Type); 6] = [
    ("postgres", Type::Postgres),
    ("mysql", Type::Mysql),
    ("sqlite", Type::Sqlite),
    ("rest", Type::Later("rest")),
    ("csv", Type::Later("csv")),
    ("jsonl", Type::Later("jsonl")),
];

/// A source, if it can be used.
pub(super) fn read(value: &Value<'_>) -> Option<Source> {
    let name = name::read(value);
    let mut table = value.table()?;
    let kind = match table.required("type", |value| value.choice(&TYPES)) {
        Some(Located { value: Type::Postgres, .. }) => table.required("url", secret::read).map(SourceKind::Postgres),
        Some(Located { value: Type::Mysql, .. }) => table.required("url", secret::read).map(SourceKind::Mysql),
        Some(Located { value: Type::Sqlite, .. }) => table.required("path", Value::path).map(SourceKind::Sqlite),
        Some(later @ Located { value: Type::Later(name), .. }) => {
            let problem = later.error(format!("sources of type {name} are not supported by this version"));
            table.findings().push(problem.allowed("postgres, mysql, sqlite"));
            table.abandon();
            return None;
        }
        None => {
            // Without a type there is no telling which keys belong here.
            table.abandon();
            return None;
        }
    };
    table.finish();
    Some(Source { name: name?, kind: kind? })
}
