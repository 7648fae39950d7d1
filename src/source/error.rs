//! Why a source could not be read, by what has to be done about it.
//!
//! The texts name the stream and carry the database's own words. They never contain the connection URL.

use std::fmt;

/// A place in the text of a query, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in that line.
    pub column: usize,
}

impl Position {
    /// The place of the `nth` character of `text`, counted from 1.
    pub(super) fn of(text: &str, nth: usize) -> Self {
        let before = text.chars().take(nth.saturating_sub(1));
        let (mut line, mut column) = (1, 1);
        for character in before {
            if character == '\n' {
                (line, column) = (line + 1, 1);
            } else {
                column += 1;
            }
        }
        Self { line, column }
    }
}

/// Why a read failed. Each variant asks for another reaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The source does not answer: try again later.
    #[error("{stream}: the source cannot be reached: {message}")]
    Unreachable {
        /// The stream that was to be read.
        stream: String,
        /// What the operating system, the driver or the database says.
        message: String,
    },
    /// The source refuses the login or the query: a person has to put it right.
    #[error("{stream}: the source refuses {what}: {message}{}", at(*.position))]
    Refused {
        /// The stream that was to be read.
        stream: String,
        /// What it refuses: "the connection", "the query", "the query of the lines".
        what: &'static str,
        /// The database's own words, and its hint when there is one.
        message: String,
        /// Where in the configured query.
        position: Option<Position>,
    },
    /// The query gives something that cannot be synchronised: a person has to change the query or the configuration.
    #[error("{stream}: {problem}")]
    Shape {
        /// The stream that was read.
        stream: String,
        /// What is wrong, and what would be right.
        problem: ShapeError,
    },
    /// The read began and was cut off: try again later. What was handed over before stays valid.
    #[error("{stream}: the read was cut off: {message}")]
    Interrupted {
        /// The stream that was read.
        stream: String,
        /// What the operating system, the driver or the database says.
        message: String,
    },
}

fn at(position: Option<Position>) -> Located {
    Located(position)
}

struct Located(Option<Position>);

impl fmt::Display for Located {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Position { line, column }) => write!(formatter, " (query line {line}, column {column})"),
            None => Ok(()),
        }
    }
}

/// What is wrong with the shape of a query's result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A column that the configuration names is not in the result.
    #[error("the query has no column `{column}`, which `{setting}` names; its columns are {}", list(.columns))]
    MissingColumn {
        /// The setting: `key`, `cursor`, `lines.parent`, `lines.key`.
        setting: &'static str,
        /// The name that was looked for.
        column: String,
        /// The names that there are.
        columns: Vec<String>,
    },
    /// Two columns have one name.
    #[error("the query gives more than one column named {}; give each its own name with AS", list(.0))]
    DuplicateColumns(Vec<String>),
    /// A column whose type cannot be handed over exactly.
    #[error("column `{column}` has the type {type_name}, which cannot be read; {remedy}")]
    UnsupportedColumn {
        /// The column.
        column: String,
        /// The database's name of its type.
        type_name: String,
        /// What to write in the query instead.
        remedy: &'static str,
    },
    /// The column cannot be a key.
    #[error(
        "column `{column}` has the type {type_name}, which cannot be a key; a key is an integer or text, so cast it to one"
    )]
    KeyType {
        /// The column.
        column: String,
        /// The database's name of its type.
        type_name: String,
    },
    /// The column cannot be a cursor.
    #[error(
        "column `{column}` has the type {type_name}, which cannot be a cursor; a cursor is a time stamp or an integer that grows with every change"
    )]
    CursorType {
        /// The column.
        column: String,
        /// The database's name of its type.
        type_name: String,
    },
    /// The overlap does not fit the cursor.
    #[error("the cursor `{column}` holds {holds}, so `overlap` must be {expected}")]
    Overlap {
        /// The cursor column.
        column: String,
        /// What it holds: "time stamps", "integers".
        holds: &'static str,
        /// What the overlap must be.
        expected: &'static str,
    },
    /// The cursor that the read is to begin with does not fit the column.
    #[error(
        "the stored cursor `{stored}` is neither a time stamp nor an integer that fits column `{column}`; read everything once to replace it"
    )]
    StoredCursor {
        /// The cursor column.
        column: String,
        /// The stored text.
        stored: String,
    },
    /// The query asks for values that nobody has.
    #[error(
        "the query has {0} parameter(s) besides `:cursor`, `:key` and `:limit`, and nothing to put there; write values into it"
    )]
    Parameters(usize),
    /// The query of the lines has placeholders.
    #[error(
        "the query of the lines has a placeholder; lines are always read for the parents of one page, and need none"
    )]
    PlaceholderInLines,
    /// Paging cannot go on.
    #[error("the query cannot be paged: {0}")]
    Paging(String),
    /// A row is not what the wrapped query asks for.
    #[error("the database handed over a row that cannot be read: {0}")]
    Row(String),
}

fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_lines_and_characters() {
        let query = "SELECT é,\n  nonsense";
        assert_eq!(Position::of(query, 8), Position { line: 1, column: 8 });
        assert_eq!(Position::of(query, 13), Position { line: 2, column: 3 });
        let refused = SourceError::Refused {
            stream: "orders".to_owned(),
            what: "the query",
            message: "column \"nonsense\" does not exist".to_owned(),
            position: Some(Position::of(query, 13)),
        };
        assert_eq!(
            refused.to_string(),
            "orders: the source refuses the query: column \"nonsense\" does not exist (query line 2, column 3)"
        );
    }
}
