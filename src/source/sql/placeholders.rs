//! The configured query as text: its placeholders `:cursor`, `:key`, `:limit`, and where it really ends.
//!
//! Knows just enough of each dialect's lexical rules to tell code from literals, quoted names and comments. What it does
//! not understand it leaves to the database, which reports it in the user's own text.

use super::dialect::Dialect;

/// A value that a statement asks for when it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// A cursor value.
    Cursor,
    /// A key.
    Key,
}

/// What a query consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Text that is passed on.
    Text(&'a str),
    /// `:cursor` or `:key`.
    Slot(Slot),
    /// `:limit`.
    Limit,
}

/// A configured query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    text: String,
    /// Where the placeholders stand, in their order.
    placeholders: Vec<(std::ops::Range<usize>, Piece<'static>)>,
}

impl Query {
    /// Reads `text`, and cuts off what follows its last code: comments and semicolons.
    pub(crate) fn parse(text: &str, dialect: Dialect) -> Self {
        let mut placeholders = Vec::new();
        let mut end = 0;
        let mut at = 0;
        while at < text.len() {
            let (kind, length) = lexeme(&text[at..], text[..at].chars().next_back(), dialect);
            match kind {
                Lexeme::Blank => {}
                Lexeme::Code => end = at + length,
                Lexeme::Placeholder(piece) => {
                    end = at + length;
                    placeholders.push((at..end, piece));
                }
            }
            at += length;
        }
        Self { text: text[..end].to_owned(), placeholders }
    }

    /// The query without its end of comments and semicolons.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the query pages by itself.
    pub(crate) fn is_custom(&self) -> bool {
        !self.placeholders.is_empty()
    }

    /// Whether the query has this placeholder.
    pub(crate) fn has(&self, piece: Piece<'_>) -> bool {
        self.placeholders.iter().any(|(_, there)| *there == piece)
    }

    /// The pieces of the query in their order.
    pub(crate) fn pieces(&self) -> Vec<Piece<'_>> {
        let mut pieces = Vec::with_capacity(self.placeholders.len() * 2 + 1);
        let mut at = 0;
        for (range, piece) in &self.placeholders {
            pieces.push(Piece::Text(&self.text[at..range.start]));
            pieces.push(*piece);
            at = range.end;
        }
        pieces.push(Piece::Text(&self.text[at..]));
        pieces
    }

    /// The query with values in place of its placeholders, so that the database can describe it.
    pub(crate) fn sample(&self) -> String {
        self.pieces()
            .into_iter()
            .map(|piece| match piece {
                Piece::Text(text) => text,
                Piece::Slot(_) => "NULL",
                Piece::Limit => "1",
            })
            .collect()
    }
}

enum Lexeme {
    /// White space, a comment or a semicolon.
    Blank,
    Code,
    Placeholder(Piece<'static>),
}

/// The first lexeme of `rest`, which is not empty, and its length in bytes.
fn lexeme(rest: &str, before: Option<char>, dialect: Dialect) -> (Lexeme, usize) {
    let first = rest.chars().next().unwrap_or(' ');
    if first.is_whitespace() || first == ';' {
        return (Lexeme::Blank, first.len_utf8());
    }
    if line_comment(rest, dialect) {
        return (Lexeme::Blank, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        // MySQL's `/*! … */` and `/*+ … */` are code.
        let code = dialect == Dialect::MySql && (rest.starts_with("/*!") || rest.starts_with("/*+"));
        return (if code { Lexeme::Code } else { Lexeme::Blank }, block_comment(rest, dialect));
    }
    let length = match first {
        '\'' => quoted(rest, '\'', backslash_escapes(before, dialect)),
        '"' => quoted(rest, '"', dialect == Dialect::MySql),
        '`' if dialect != Dialect::Postgres => quoted(rest, '`', false),
        '[' if dialect == Dialect::Sqlite => rest.find(']').map_or(rest.len(), |end| end + 1),
        '$' if dialect == Dialect::Postgres => dollar_quoted(rest, before).unwrap_or(1),
        ':' if rest.starts_with("::") => 2,
        ':' => return placeholder(rest),
        _ => first.len_utf8(),
    };
    (Lexeme::Code, length)
}

/// Whether `rest` starts with a comment to the end of its line. In MySQL `5--3` is a difference.
fn line_comment(rest: &str, dialect: Dialect) -> bool {
    match (rest.strip_prefix("--"), dialect) {
        (Some(after), Dialect::MySql) => after.is_empty() || after.starts_with(|letter: char| letter.is_whitespace()),
        (Some(_), _) => true,
        (None, _) => dialect == Dialect::MySql && rest.starts_with('#'),
    }
}

fn placeholder(rest: &str) -> (Lexeme, usize) {
    let name = &rest[1..];
    let end = name.find(|letter| !is_word(letter)).unwrap_or(name.len());
    let piece = match &name[..end] {
        "cursor" => Piece::Slot(Slot::Cursor),
        "key" => Piece::Slot(Slot::Key),
        "limit" => Piece::Limit,
        _ => return (Lexeme::Code, 1),
    };
    (Lexeme::Placeholder(piece), 1 + end)
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Whether a backslash escapes in the string that follows `before`: MySQL's strings and PostgreSQL's `E'…'`.
fn backslash_escapes(before: Option<char>, dialect: Dialect) -> bool {
    match dialect {
        Dialect::MySql => true,
        Dialect::Postgres => matches!(before, Some('e' | 'E')),
        Dialect::Sqlite => false,
    }
}

/// The length of the text in quotes at the start of `rest`; a doubled quote does not end it.
fn quoted(rest: &str, quote: char, backslash: bool) -> usize {
    let mut letters = rest.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if backslash && letter == '\\' {
            letters.next();
        } else if letter == quote {
            if letters.peek().is_some_and(|(_, next)| *next == quote) {
                letters.next();
            } else {
                return at + quote.len_utf8();
            }
        }
    }
    rest.len()
}

/// The length of PostgreSQL's `$tag$ … $tag$` at the start of `rest`.
fn dollar_quoted(rest: &str, before: Option<char>) -> Option<usize> {
    if before.is_some_and(is_word) {
        return None;
    }
    let tag_end = rest[1..].find('$')? + 2;
    let tag = &rest[..tag_end];
    let name = &tag[1..tag_end - 1];
    if !name.chars().all(is_word) || name.starts_with(|letter: char| letter.is_ascii_digit()) {
        return None;
    }
    Some(rest[tag_end..].find(tag).map_or(rest.len(), |end| tag_end + end + tag_end))
}

/// The length of the comment at the start of `rest`; PostgreSQL's nest.
fn block_comment(rest: &str, dialect: Dialect) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") && (depth == 0 || dialect == Dialect::Postgres) {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Dialect; 3] = [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql];

    #[test]
    fn the_end_of_the_query_is_its_last_code() {
        for (text, expected) in [
            ("SELECT 1", "SELECT 1"),
            ("  SELECT 1 ; \n", "  SELECT 1"),
            ("SELECT 1; -- that is all", "SELECT 1"),
            ("SELECT 1 -- no; end\n", "SELECT 1"),
            ("SELECT 1 /* ; */ ;;", "SELECT 1"),
            ("SELECT 1 -- a\n, 2", "SELECT 1 -- a\n, 2"),
            ("SELECT ';' ", "SELECT ';'"),
            ("SELECT '--'", "SELECT '--'"),
            ("", ""),
        ] {
            for dialect in ALL {
                assert_eq!(Query::parse(text, dialect).text(), expected, "{dialect:?}: {text}");
            }
        }
        assert_eq!(Query::parse("SELECT 1 # done", Dialect::MySql).text(), "SELECT 1");
        assert_eq!(Query::parse("SELECT 1 /* a /* b */ c */", Dialect::Postgres).text(), "SELECT 1");
    }

    #[test]
    fn placeholders_are_found_in_code_only() {
        for text in [
            "SELECT ':key'",
            "SELECT \":key\"",
            "SELECT 1 -- :key\n",
            "SELECT /* :cursor */ 1",
            "SELECT 'it''s :limit'",
            "SELECT x::key",
            "SELECT :keys",
            "SELECT :other",
        ] {
            for dialect in ALL {
                assert!(!Query::parse(text, dialect).is_custom(), "{dialect:?}: {text}");
            }
        }
        for (dialect, text) in [
            (Dialect::MySql, r"SELECT 'it\'s :key'"),
            (Dialect::MySql, "SELECT `:key`"),
            (Dialect::Sqlite, "SELECT [:key]"),
            (Dialect::Postgres, r"SELECT E'\' :key'"),
            (Dialect::Postgres, "SELECT $$ :key $$, $a$ :limit $a$"),
        ] {
            assert!(!Query::parse(text, dialect).is_custom(), "{dialect:?}: {text}");
        }
        // In these dialects a backslash is a letter like any other.
        for dialect in [Dialect::Sqlite, Dialect::Postgres] {
            assert!(Query::parse(r"SELECT '\', :key", dialect).is_custom());
        }
    }

    #[test]
    fn pieces_keep_their_order() {
        let text = "SELECT a FROM t WHERE a>:key AND c>=:cursor LIMIT :limit;";
        let query = Query::parse(text, Dialect::Postgres);
        assert_eq!(
            query.pieces(),
            [
                Piece::Text("SELECT a FROM t WHERE a>"),
                Piece::Slot(Slot::Key),
                Piece::Text(" AND c>="),
                Piece::Slot(Slot::Cursor),
                Piece::Text(" LIMIT "),
                Piece::Limit,
                Piece::Text(""),
            ]
        );
        assert_eq!(query.sample(), "SELECT a FROM t WHERE a>NULL AND c>=NULL LIMIT 1");
        assert!(query.has(Piece::Limit));
    }

    proptest! {
        #[test]
        fn pieces_are_the_query_again(text in "([a$':;\"`\\[\\]é\\\\ \n#-]|/[*]|[*]/|:key|:limit|[$][$])*") {
            for dialect in ALL {
                let query = Query::parse(&text, dialect);
                let again: String = query
                    .pieces()
                    .into_iter()
                    .map(|piece| match piece {
                        Piece::Text(text) => text,
                        Piece::Slot(Slot::Key) => ":key",
                        Piece::Slot(Slot::Cursor) => ":cursor",
                        Piece::Limit => ":limit",
                    })
                    .collect();
                prop_assert_eq!(&again, query.text());
                prop_assert!(text.starts_with(&again));
            }
        }
    }
}
