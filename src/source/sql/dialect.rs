//! What differs between the SQL dialects: names, JSON rows, casts, orders, transactions. Text only, no I/O.
//!
//! **Order.** Keyset paging needs an order in which different keys are never equal, and which an index can serve.
//! SQLite compares with `COLLATE BINARY`, which uses any index on a column that has no other collation. PostgreSQL's
//! collations are deterministic unless declared otherwise, so the column's own order is used, and `COLLATE "C"` for the
//! others. MariaDB's and MySQL's usual collations take `a`, `A` and `á` for equal, and an order by bytes could not use
//! their indexes: full reads there follow the column's own order and keep keys that are equal in it together (see
//! [`KeyColumn::collated`]); incremental reads, which are short, order by bytes.

use super::column::Column;
use crate::source::error::ShapeError;

/// A kind of SQL database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MariaDB or MySQL.
    MySql,
}

/// An expression over a column, and how a text parameter becomes comparable with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operand {
    /// The expression.
    pub(super) expr: String,
    /// The type that a parameter is cast to.
    cast: Option<String>,
}

impl Operand {
    fn new(expr: &str, cast: Option<&str>) -> Self {
        Self { expr: expr.to_owned(), cast: cast.map(str::to_owned) }
    }

    /// `placeholder` made comparable with the expression.
    pub(super) fn param(&self, placeholder: &str) -> String {
        match &self.cast {
            Some(cast) => format!("CAST({placeholder} AS {cast})"),
            None => placeholder.to_owned(),
        }
    }
}

/// A column that identifies rows: the key of a stream, or the parent of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyColumn {
    /// The column itself.
    pub(super) column: String,
    /// What is handed over.
    pub(super) value: String,
    /// The order in which full reads page, and in which keys are looked up: one that an index can serve.
    pub(super) native: Operand,
    /// An order in which only equal texts are equal.
    pub(super) exact: Operand,
    /// Whether `native` takes different keys for equal.
    pub(super) collated: bool,
}

/// What a cursor column can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CursorDomain {
    /// Anything: known only from the values.
    Untyped,
    /// Integers.
    Integer,
    /// Time stamps in UTC.
    UtcStamp,
    /// Time stamps whose zone the database does not know.
    LocalStamp,
}

/// The alias under which the wrapped query is known.
pub(super) const ALIAS: &str = "q";

impl Dialect {
    /// `name` as an identifier.
    pub(super) fn quote(self, name: &str) -> String {
        match self {
            Self::Sqlite | Self::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
            Self::MySql => format!("`{}`", name.replace('`', "``")),
        }
    }

    /// `column` of the wrapped query.
    pub(super) fn column(self, column: &Column) -> String {
        format!("{ALIAS}.{}", self.quote(&column.name))
    }

    /// The `nth` placeholder, counted from 1.
    pub(super) fn placeholder(self, nth: usize) -> String {
        match self {
            Self::Sqlite | Self::MySql => "?".to_owned(),
            Self::Postgres => format!("${nth}"),
        }
    }

    /// A JSON array of `values`, as text.
    pub(super) fn json_row(self, values: &[String]) -> String {
        match self {
            Self::Sqlite => format!("json_array({})", values.join(",")),
            // Not `json_build_array`: PostgreSQL allows a function no more than 100 arguments.
            Self::Postgres => {
                let values: Vec<String> = values.iter().map(|value| format!("to_json({value})")).collect();
                format!("array_to_json(ARRAY[{}])::text", values.join(","))
            }
            Self::MySql => format!("CONVERT(JSON_ARRAY({}) USING utf8mb4)", values.join(",")),
        }
    }

    /// What `json_row` is to show of `column`, unless its type cannot be shown exactly.
    pub(super) fn value(self, column: &Column) -> Result<String, ShapeError> {
        let unsupported = |remedy| {
            Err(ShapeError::UnsupportedColumn {
                column: column.name.clone(),
                type_name: column.type_name.clone(),
                remedy,
            })
        };
        let plain = self.column(column);
        match (self, column.type_name.as_str()) {
            (Self::Postgres, "BYTEA") => unsupported("leave it out, or use encode(…, 'base64')"),
            (Self::MySql, "BIT") => Ok(format!("({plain} + 0)")),
            // The server shows six digits of it, whatever it holds.
            (Self::MySql, "FLOAT") => unsupported("use CAST(… AS DECIMAL(p, s)) or CAST(… AS DOUBLE)"),
            (Self::MySql, "GEOMETRY") => unsupported("leave it out, or use ST_AsText(…)"),
            (Self::MySql, name) if is_mysql_binary(name) => {
                unsupported("leave it out, or use HEX(…), or for a UUID CAST(… AS CHAR)")
            }
            _ => Ok(plain),
        }
    }

    /// How rows are identified by `column`. `deterministic` says whether the column's collation takes only equal texts
    /// for equal; only PostgreSQL is asked for it.
    pub(super) fn key(self, column: &Column, deterministic: bool) -> Result<KeyColumn, ShapeError> {
        let plain = self.column(column);
        let type_name = column.type_name.as_str();
        let refuse = || Err(ShapeError::KeyType { column: column.name.clone(), type_name: column.type_name.clone() });
        let same = |value: String, order: Operand| {
            Ok(KeyColumn { column: plain.clone(), value, native: order.clone(), exact: order, collated: false })
        };
        match self {
            Self::Sqlite => same(plain.clone(), Operand::new(&format!("{plain} COLLATE BINARY"), None)),
            Self::Postgres => match type_name {
                "BOOL" | "FLOAT4" | "FLOAT8" | "BYTEA" => refuse(),
                "INT2" | "INT4" | "INT8" | "NUMERIC" | "UUID" => {
                    same(plain.clone(), Operand::new(&plain, Some(type_name)))
                }
                "TEXT" | "VARCHAR" if deterministic => same(plain.clone(), Operand::new(&plain, Some("TEXT"))),
                // The cast takes the padding off.
                "CHAR" if deterministic => same(format!("CAST({plain} AS TEXT)"), Operand::new(&plain, Some("BPCHAR"))),
                _ => {
                    let text = format!("CAST({plain} AS TEXT)");
                    same(text.clone(), Operand::new(&format!("{text} COLLATE \"C\""), Some("TEXT")))
                }
            },
            Self::MySql => match type_name {
                "FLOAT" | "DOUBLE" => refuse(),
                name if is_mysql_binary(name) => refuse(),
                "DECIMAL" => same(plain.clone(), Operand::new(&plain, Some("DECIMAL(65,0)"))),
                name if is_mysql_integer(name) => {
                    let cast = if name.ends_with("UNSIGNED") { "UNSIGNED" } else { "SIGNED" };
                    same(plain.clone(), Operand::new(&plain, Some(cast)))
                }
                "CHAR" | "VARCHAR" | "TINYTEXT" | "TEXT" | "MEDIUMTEXT" | "LONGTEXT" => Ok(KeyColumn {
                    column: plain.clone(),
                    value: plain.clone(),
                    exact: bytes_of(&plain),
                    native: Operand::new(&plain, None),
                    collated: true,
                }),
                // Enumerations, dates, UUIDs: by the bytes of their text.
                _ => same(format!("CONVERT({plain} USING utf8mb4)"), bytes_of(&plain)),
            },
        }
    }

    /// How rows are ordered and selected by the cursor `column`, and what it holds.
    pub(super) fn cursor(self, column: &Column) -> Result<(Operand, CursorDomain), ShapeError> {
        let plain = self.column(column);
        let (cast, domain) = match (self, column.type_name.as_str()) {
            (Self::Sqlite, _) => {
                return Ok((Operand::new(&format!("{plain} COLLATE BINARY"), None), CursorDomain::Untyped));
            }
            (Self::Postgres, name @ ("INT2" | "INT4" | "INT8" | "NUMERIC")) => (name, CursorDomain::Integer),
            (Self::Postgres, name @ "TIMESTAMPTZ") => (name, CursorDomain::UtcStamp),
            (Self::Postgres, name @ ("TIMESTAMP" | "DATE")) => (name, CursorDomain::LocalStamp),
            // The session's zone is UTC, so that is what TIMESTAMP columns show.
            (Self::MySql, "TIMESTAMP") => ("DATETIME(6)", CursorDomain::UtcStamp),
            (Self::MySql, "DATETIME") => ("DATETIME(6)", CursorDomain::LocalStamp),
            (Self::MySql, "DATE") => ("DATE", CursorDomain::LocalStamp),
            (Self::MySql, "DECIMAL") => ("DECIMAL(65,0)", CursorDomain::Integer),
            (Self::MySql, name) if is_mysql_integer(name) && name != "BOOLEAN" => {
                (if name.ends_with("UNSIGNED") { "UNSIGNED" } else { "SIGNED" }, CursorDomain::Integer)
            }
            _ => {
                return Err(ShapeError::CursorType {
                    column: column.name.clone(),
                    type_name: column.type_name.clone(),
                });
            }
        };
        Ok((Operand::new(&plain, Some(cast)), domain))
    }

    /// A condition that holds when `operand` is one of `count` keys. They are the only parameters of their statement:
    /// each one in MySQL, a JSON array of all of them elsewhere.
    pub(super) fn one_of(self, operand: &Operand, count: usize) -> String {
        let expr = &operand.expr;
        match self {
            // One statement for any number of keys. The comparison applies the column's affinity to them.
            Self::Sqlite => format!("{expr} IN (SELECT value FROM json_each(?))"),
            Self::Postgres => {
                let keys = "ARRAY(SELECT json_array_elements_text(CAST($1 AS JSON)))";
                format!("{expr} = ANY(CAST({keys} AS {}[]))", operand.cast.as_deref().unwrap_or("TEXT"))
            }
            Self::MySql => {
                let placeholders: Vec<String> = (0..count).map(|_| operand.param("?")).collect();
                format!("{expr} IN ({})", placeholders.join(","))
            }
        }
    }

    /// A value that is null unless one of `columns` holds a number of which `json_row` shows not every digit; then a
    /// JSON array of 0 and 1 in the order of `columns`. `None` where that cannot happen.
    ///
    /// SQLite's `json_array` shows 15 digits of a REAL, and silently rounds to them.
    pub(super) fn inexact(self, columns: &[Column]) -> Option<String> {
        if self != Self::Sqlite {
            return None;
        }
        let checks: Vec<String> = columns
            .iter()
            .map(|column| {
                // A column with text affinity holds no REAL.
                if column.type_name == "TEXT" {
                    return "0".to_owned();
                }
                let value = self.column(column);
                format!("(typeof({value})='real' AND CAST(format('%!.15g',{value}) AS REAL) IS NOT {value})")
            })
            .collect();
        let any: Vec<&str> = checks.iter().map(String::as_str).filter(|check| *check != "0").collect();
        if any.is_empty() {
            return None;
        }
        Some(format!("CASE WHEN {} THEN json_array({}) END", any.join(" OR "), checks.join(",")))
    }

    /// All values of `row` as one, where that makes them cheaper: in SQLite a row by itself costs twice as much.
    pub(super) fn gathered(self, row: &str) -> String {
        match self {
            // JSON has no line breaks of its own.
            Self::Sqlite => format!("group_concat({row}, char(10))"),
            Self::Postgres | Self::MySql => row.to_owned(),
        }
    }

    /// The rows in `text`, which the server handed over as one value.
    pub(super) fn rows(self, text: &str) -> impl Iterator<Item = &str> {
        // Elsewhere a text is one row, and may hold line breaks: a `json` column shows what somebody stored. No JSON holds
        // a NUL.
        let separator = if self == Self::Sqlite { '\n' } else { '\0' };
        text.split(separator)
    }

    /// Opens a read transaction in which all statements see one state of the database.
    pub(super) fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN DEFERRED",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Self::MySql => "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        }
    }

    /// The server's clock in UTC, as text.
    pub(super) fn now(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')",
            Self::Postgres => "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')",
            Self::MySql => "SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)",
        }
    }
}

/// The bytes of the text `expr`, whatever its character set: no case folding, no padding.
fn bytes_of(expr: &str) -> Operand {
    Operand::new(&format!("CAST(CONVERT({expr} USING utf8mb4) AS BINARY)"), Some("BINARY"))
}

fn is_mysql_integer(type_name: &str) -> bool {
    type_name == "BOOLEAN" || type_name.contains("INT")
}

fn is_mysql_binary(type_name: &str) -> bool {
    type_name.ends_with("BLOB") || matches!(type_name, "BINARY" | "VARBINARY" | "GEOMETRY")
}
