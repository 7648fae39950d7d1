//! The statements that are sent: the user's query with paging and JSON rows around it.
//!
//! The user's text stays as it is, between parentheses and followed by a line break, so that a comment at its end cannot
//! swallow what follows. Values are always parameters.

use std::sync::Arc;

use super::column::Column;
use super::dialect::{ALIAS, Dialect, KeyColumn, Operand};
use super::placeholders::{Piece, Query, Slot};
use super::rows::Layout;
use crate::source::error::ShapeError;

/// How many rows without a key are handed over: enough to see what is wrong with them.
const WITHOUT_KEY_LIMIT: usize = 500;

/// A statement, and which values its parameters ask for, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// The text.
    pub(super) sql: Arc<str>,
    /// One for each placeholder.
    pub(super) slots: Vec<Slot>,
}

/// A query and what is to be shown of its columns.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    dialect: Dialect,
    query: Query,
    values: Vec<String>,
    inexact: Option<String>,
}

impl Selection {
    /// All `columns` of `query`.
    pub(super) fn new(dialect: Dialect, query: Query, columns: &[Column]) -> Result<Self, ShapeError> {
        let values = columns.iter().map(|column| dialect.value(column)).collect::<Result<_, _>>()?;
        Ok(Self { dialect, query, values, inexact: dialect.inexact(columns) })
    }

    /// Whether rows tell which of their numbers are not exact.
    pub(super) fn has_inexact(&self) -> bool {
        self.inexact.is_some()
    }

    /// One row as JSON: `lead`, then what is not exact, then the columns.
    fn row(&self, lead: &[&str]) -> String {
        let lead = lead.iter().copied().chain(self.inexact.as_deref()).map(str::to_owned);
        self.dialect.json_row(&lead.chain(self.values.iter().cloned()).collect::<Vec<_>>())
    }

    /// The query as a table.
    fn table(&self) -> String {
        format!("({}\n) {ALIAS}", self.query.text())
    }

    /// A text with a 1 for each column that holds a BLOB in some row, and a 0 for each other. SQLite only.
    pub(super) fn blobs(&self) -> String {
        let flags: Vec<String> =
            self.values.iter().map(|value| format!("coalesce(max(typeof({value})='blob'), 0)")).collect();
        format!("SELECT {} FROM ({}\n) {ALIAS}", flags.join("||"), self.query.sample())
    }

    /// The rows whose `column` is one of `count` keys, with `lead` before their columns, in no order.
    pub(super) fn of_keys(&self, column: &KeyColumn, lead: &[&str], count: usize) -> String {
        let condition = self.dialect.one_of(&column.native, count);
        format!("SELECT {} FROM {} WHERE {condition}", self.dialect.gathered(&self.row(lead)), self.table())
    }
}

/// The statements that read one stream.
#[derive(Debug, Clone)]
pub(super) struct Paging {
    pub(super) selection: Selection,
    pub(super) key: KeyColumn,
    pub(super) cursor: Option<Operand>,
    /// How many rows a statement asks for.
    pub(super) limit: usize,
}

/// In which order a statement reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// By key, in the order that an index can serve.
    Key,
    /// By cursor, then by the bytes of the key.
    Cursor,
}

impl Paging {
    /// What the rows of a full read begin with.
    pub(super) fn full_layout(&self) -> Layout {
        Layout { rank: self.key.collated, ..self.layout() }
    }

    /// What the rows of all other reads begin with.
    pub(super) fn layout(&self) -> Layout {
        Layout { cursor: self.cursor.is_some(), rank: false, inexact: self.selection.has_inexact() }
    }

    /// The first page of a full read.
    pub(super) fn full_first(&self) -> Statement {
        self.page(Order::Key, |sql| sql.push(&format!("{} IS NOT NULL", self.key.column)))
    }

    /// A later page of a full read: the rows above a key.
    pub(super) fn full_next(&self) -> Statement {
        self.page(Order::Key, |sql| sql.compare(&self.key.native, ">", Slot::Key))
    }

    /// The first page of an incremental read: the rows at and above a cursor, the smallest first.
    pub(super) fn since_first(&self, cursor: &Operand) -> Statement {
        self.page(Order::Cursor, |sql| {
            sql.compare(cursor, ">=", Slot::Cursor);
            sql.push(&format!(" AND {} IS NOT NULL", self.key.column));
        })
    }

    /// A later page of an incremental read: the rows above a cursor, and those at it above a key.
    pub(super) fn since_next(&self, cursor: &Operand) -> Statement {
        self.page(Order::Cursor, |sql| {
            // Said twice, so that an index on the cursor alone serves too.
            sql.compare(cursor, ">=", Slot::Cursor);
            sql.push(" AND (");
            sql.compare(cursor, ">", Slot::Cursor);
            sql.push(" OR ");
            sql.compare(&self.key.exact, ">", Slot::Key);
            sql.push(&format!(") AND {} IS NOT NULL", self.key.column));
        })
    }

    /// The first rows without a key, which no other statement finds; with `since`, only those at and above that cursor.
    pub(super) fn without_key(&self, since: Option<&Operand>) -> Statement {
        let mut sql = Sql::new(self.selection.dialect);
        let row = self.selection.row(&self.lead());
        sql.push(&format!("SELECT {row} FROM {} WHERE {} IS NULL", self.selection.table(), self.key.column));
        if let Some(cursor) = since {
            sql.push(" AND ");
            sql.compare(cursor, ">=", Slot::Cursor);
        }
        sql.push(&format!(" LIMIT {WITHOUT_KEY_LIMIT}"));
        sql.finish()
    }

    /// The query with its own paging: only rows as JSON are added.
    pub(super) fn custom(&self) -> Statement {
        let mut sql = Sql::new(self.selection.dialect);
        sql.push(&format!("SELECT {} FROM (", self.selection.row(&self.lead())));
        for piece in self.selection.query.pieces() {
            match piece {
                Piece::Text(text) => sql.push(text),
                Piece::Slot(Slot::Key) => sql.param(Slot::Key, &self.key.exact),
                Piece::Slot(Slot::Cursor) => match &self.cursor {
                    Some(cursor) => sql.param(Slot::Cursor, cursor),
                    None => sql.push("NULL"),
                },
                Piece::Limit => sql.push(&self.limit.to_string()),
            }
        }
        sql.push(&format!("\n) {ALIAS}"));
        sql.finish()
    }

    /// Which of `count` keys more than one row has.
    pub(super) fn repeated(&self, count: usize) -> String {
        let Selection { dialect, .. } = self.selection;
        let KeyColumn { value, native, exact, .. } = &self.key;
        format!(
            "SELECT {} FROM {} WHERE {} GROUP BY {value}, {} HAVING COUNT(*) > 1",
            dialect.json_row(std::slice::from_ref(value)),
            self.selection.table(),
            dialect.one_of(native, count),
            exact.expr
        )
    }

    fn lead(&self) -> Vec<&str> {
        let cursor = self.cursor.as_ref().map(|cursor| cursor.expr.as_str());
        std::iter::once(self.key.value.as_str()).chain(cursor).collect()
    }

    fn page(&self, order: Order, condition: impl FnOnce(&mut Sql)) -> Statement {
        let Selection { dialect, .. } = self.selection;
        let native = &self.key.native.expr;
        let rank = (order == Order::Key && self.key.collated).then(|| format!("DENSE_RANK() OVER (ORDER BY {native})"));
        let row = self.selection.row(&self.lead().into_iter().chain(rank.as_deref()).collect::<Vec<_>>());
        let table = self.selection.table();
        let order_by = match (order, &self.cursor) {
            (Order::Cursor, Some(cursor)) => format!("{}, {}", cursor.expr, self.key.exact.expr),
            _ => native.clone(),
        };
        let (open, close) = match dialect {
            Dialect::Sqlite => {
                (format!("SELECT {} FROM (SELECT {row} AS r FROM {table}", dialect.gathered("r")), ")".to_owned())
            }
            // The page is cut before it is ranked: otherwise the whole table would be.
            _ if rank.is_some() => {
                (format!("SELECT {row} FROM (SELECT * FROM {table}"), format!(") {ALIAS} ORDER BY {native}"))
            }
            _ => (format!("SELECT {row} FROM {table}"), String::new()),
        };
        let mut sql = Sql::new(dialect);
        sql.push(&open);
        sql.push(" WHERE ");
        condition(&mut sql);
        sql.push(&format!(" ORDER BY {order_by} LIMIT {}{close}", self.limit));
        sql.finish()
    }
}

/// A statement under construction. Parameters are numbered in the order in which they are written.
struct Sql {
    dialect: Dialect,
    text: String,
    slots: Vec<Slot>,
}

impl Sql {
    fn new(dialect: Dialect) -> Self {
        Self { dialect, text: String::new(), slots: Vec::new() }
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn param(&mut self, slot: Slot, operand: &Operand) {
        self.slots.push(slot);
        self.text.push_str(&operand.param(&self.dialect.placeholder(self.slots.len())));
    }

    fn compare(&mut self, operand: &Operand, operator: &str, slot: Slot) {
        self.push(&format!("{} {operator} ", operand.expr));
        self.param(slot, operand);
    }

    fn finish(self) -> Statement {
        Statement { sql: self.text.into(), slots: self.slots }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteConnection;
    use sqlx::{AssertSqlSafe, Connection, Executor};

    use super::*;

    fn column(name: &str, type_name: &str) -> Column {
        Column { name: name.to_owned(), type_name: type_name.to_owned() }
    }

    fn paging(dialect: Dialect, query: &str, columns: &[Column]) -> Paging {
        Paging {
            selection: Selection::new(dialect, Query::parse(query, dialect), columns).unwrap(),
            key: dialect.key(&columns[0], true).unwrap(),
            cursor: Some(dialect.cursor(&columns[1]).unwrap().0),
            limit: 101,
        }
    }

    #[test]
    fn statements_of_each_dialect() {
        let columns = [column("id", "BIGINT"), column("at", "DATETIME")];
        let mysql = paging(Dialect::MySql, "SELECT id, at FROM t -- all", &columns);
        let row = "CONVERT(JSON_ARRAY(q.`id`,q.`at`,q.`id`,q.`at`) USING utf8mb4)";
        assert_eq!(
            &*mysql.full_next().sql,
            format!(
                "SELECT {row} FROM (SELECT id, at FROM t\n) q WHERE q.`id` > CAST(? AS SIGNED) ORDER BY q.`id` LIMIT 101"
            )
        );

        let columns = [column("id", "INT8"), column("at", "TIMESTAMPTZ")];
        let postgres = paging(Dialect::Postgres, "SELECT id, at FROM t;", &columns);
        let statement = postgres.since_next(postgres.cursor.as_ref().unwrap());
        assert_eq!(statement.slots, [Slot::Cursor, Slot::Cursor, Slot::Key]);
        assert!(statement.sql.contains(
            "WHERE q.\"at\" >= CAST($1 AS TIMESTAMPTZ) AND (q.\"at\" > CAST($2 AS TIMESTAMPTZ) \
             OR q.\"id\" > CAST($3 AS INT8)) AND q.\"id\" IS NOT NULL ORDER BY q.\"at\", q.\"id\" LIMIT 101"
        ));

        let columns = [column("id", "VARCHAR"), column("at", "DATETIME")];
        let collated = paging(Dialect::MySql, "SELECT id, at FROM t", &columns);
        assert!(collated.full_layout().rank && !collated.layout().rank);
        let sql = collated.full_first().sql;
        assert!(sql.contains("DENSE_RANK() OVER (ORDER BY q.`id`)"), "{sql}");
        assert!(sql.ends_with("ORDER BY q.`id` LIMIT 101) q ORDER BY q.`id`"), "{sql}");
    }

    #[test]
    fn names_are_quoted() {
        let columns = [column("a\"b`c", "INT8"), column("at", "DATE")];
        assert!(paging(Dialect::Postgres, "SELECT 1", &columns).full_first().sql.contains("q.\"a\"\"b`c\""));
        let columns = [column("a\"b`c", "INT"), column("at", "DATE")];
        assert!(paging(Dialect::MySql, "SELECT 1", &columns).full_first().sql.contains("q.`a\"b``c`"));
    }

    #[test]
    fn a_custom_query_gets_parameters_in_place_of_its_placeholders() {
        let columns = [column("id", "INT8"), column("at", "DATE")];
        let query = "SELECT id, at FROM t WHERE (at, id) > (:cursor, :key) ORDER BY at, id LIMIT :limit";
        let statement = paging(Dialect::Postgres, query, &columns).custom();
        assert_eq!(statement.slots, [Slot::Cursor, Slot::Key]);
        assert!(
            statement.sql.ends_with(
                "FROM (SELECT id, at FROM t WHERE (at, id) > (CAST($1 AS DATE), CAST($2 AS INT8)) \
                 ORDER BY at, id LIMIT 101\n) q"
            ),
            "{}",
            statement.sql
        );
    }

    #[tokio::test]
    async fn sqlite_serves_every_statement_from_an_index() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let tables = "CREATE TABLE n (id INTEGER PRIMARY KEY, at TEXT, x REAL); CREATE INDEX na ON n (at); \
                      CREATE TABLE s (id TEXT PRIMARY KEY, at TEXT, x REAL); CREATE INDEX sa ON s (at, id)";
        connection.execute(sqlx::raw_sql(tables)).await.unwrap();
        for table in ["n", "s"] {
            let columns = [column("id", "INTEGER"), column("at", "TEXT"), column("x", "REAL")];
            let paging = paging(Dialect::Sqlite, &format!("SELECT * FROM {table} WHERE x > 1"), &columns);
            let cursor = paging.cursor.as_ref().unwrap();
            for sql in [
                paging.full_next().sql.to_string(),
                paging.since_first(cursor).sql.to_string(),
                paging.since_next(cursor).sql.to_string(),
                paging.repeated(3),
                paging.selection.of_keys(&paging.key, &[], 3),
            ] {
                let plan: Vec<(i64, i64, i64, String)> =
                    sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
                        .fetch_all(&mut connection)
                        .await
                        .unwrap();
                let steps: Vec<String> = plan.into_iter().map(|(_, _, _, step)| step).collect();
                assert!(
                    steps.iter().any(|step| step.starts_with(&format!("SEARCH {table} USING"))),
                    "{sql}: {steps:?}"
                );
                assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE FOR ORDER BY")), "{sql}: {steps:?}");
            }
        }
    }
}
