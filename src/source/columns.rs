//! What a query's text alone says of its columns, so that a configuration can be checked without the database.

use sqlparser::ast::{Expr, Ident, SelectItem, SetExpr, Statement};
use sqlparser::dialect::{Dialect as Grammar, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::Parser;

use super::sql::{Dialect, Query};

/// The names of the columns that `query` gives, in their order, when its text tells them all: `None` with `*`, with an
/// expression that has no name, and when the text cannot be parsed.
#[must_use]
pub fn declared_columns(query: &str, dialect: Dialect) -> Option<Vec<String>> {
    let grammar: &dyn Grammar = match dialect {
        Dialect::Sqlite => &SQLiteDialect {},
        Dialect::Postgres => &PostgreSqlDialect {},
        Dialect::MySql => &MySqlDialect {},
    };
    let statements = Parser::parse_sql(grammar, &Query::parse(query, dialect).sample()).ok()?;
    let [Statement::Query(query)] = statements.as_slice() else { return None };
    let items = select_items(&query.body).filter(|items| !items.is_empty())?;
    items.iter().map(|item| name(item, dialect)).collect()
}

/// The items of the first SELECT, which give a union its names.
fn select_items(body: &SetExpr) -> Option<&[SelectItem]> {
    match body {
        SetExpr::Select(select) => Some(&select.projection),
        SetExpr::Query(query) => select_items(&query.body),
        SetExpr::SetOperation { left, .. } => select_items(left),
        _ => None,
    }
}

fn name(item: &SelectItem, dialect: Dialect) -> Option<String> {
    let identifier = match item {
        SelectItem::UnnamedExpr(Expr::Identifier(identifier)) => identifier,
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) => path.last()?,
        SelectItem::ExprWithAlias { alias, .. } => alias,
        _ => return None,
    };
    Some(folded(identifier, dialect))
}

/// The name as the database gives it: PostgreSQL turns a name without quotes into lower case.
fn folded(identifier: &Ident, dialect: Dialect) -> String {
    if dialect == Dialect::Postgres && identifier.quote_style.is_none() {
        identifier.value.to_lowercase()
    } else {
        identifier.value.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_by_the_text() {
        for (query, expected) in [
            ("SELECT a, t.b, c + 1 AS d FROM t", Some(vec!["a", "b", "d"])),
            ("SELECT a FROM t -- x\n;", Some(vec!["a"])),
            ("WITH x AS (SELECT 1 AS z) SELECT z AS y FROM x", Some(vec!["y"])),
            ("SELECT a FROM t UNION ALL SELECT b FROM u", Some(vec!["a"])),
            ("(SELECT a FROM t) ORDER BY a", Some(vec!["a"])),
            ("SELECT a FROM t WHERE a > :key ORDER BY a LIMIT :limit", Some(vec!["a"])),
            ("SELECT * FROM t", None),
            ("SELECT a, t.* FROM t", None),
            ("SELECT count(a) FROM t", None),
            ("SELECT FROM WHERE", None),
            ("DELETE FROM t", None),
            ("SELECT a FROM t; SELECT b FROM t", None),
        ] {
            for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql] {
                let names = declared_columns(query, dialect);
                assert_eq!(
                    names.as_deref(),
                    expected.as_ref().map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>()).as_deref(),
                    "{dialect:?}: {query}"
                );
            }
        }
    }

    #[test]
    fn postgres_folds_names_without_quotes() {
        let query = r#"SELECT AccountNo, "AccountNo" AS "No" FROM t"#;
        assert_eq!(declared_columns(query, Dialect::Postgres).unwrap(), ["accountno", "No"]);
        assert_eq!(declared_columns(query, Dialect::Sqlite).unwrap(), ["AccountNo", "No"]);
    }
}
