//! The text of the configuration file, and values that remember where in it they stand.
//!
//! Every name and expression of the [`Config`](super::Config) is a [`Located`] value, so that a check made much later, by
//! another module, can still point at the place in the file. Offsets are bytes; lines and columns are for people.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The file that was read.
pub struct SourceText {
    path: PathBuf,
    text: String,
}

/// A place in a file as people count: both from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl SourceText {
    /// The `text` that was read from `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// Where it was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All of it. It may hold what someone wrote in the wrong place: show it only through a [`Report`](super::Report).
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of the byte `offset`; that of the end when it lies beyond.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }

    /// Where `part`, a byte range inside the string `located`, stands in the file.
    ///
    /// Exact when the string is written without escapes, in any of TOML's four kinds of quotes. Otherwise the offsets of
    /// value and file differ, and the answer is the whole value.
    #[must_use]
    pub fn span_within(&self, located: &Located<String>, part: Range<usize>) -> Range<usize> {
        let whole = located.span.clone();
        let exact = self.text.get(whole.clone()).and_then(|raw| {
            let quotes = ["'''", "\"\"\"", "'", "\""].into_iter().find(|quotes| raw.starts_with(quotes))?;
            let inner = raw.strip_prefix(quotes)?.strip_suffix(quotes)?;
            // Equal text means no escape, and no line ending that TOML changed; only the newline after `"""` may be gone.
            let trimmed = inner.strip_prefix("\r\n").or_else(|| inner.strip_prefix('\n')).unwrap_or(inner);
            let written = [inner, trimmed].into_iter().find(|written| *written == located.value)?;
            let start = whole.start + quotes.len() + (inner.len() - written.len());
            (part.end <= written.len()).then(|| start + part.start..start + part.end)
        });
        exact.unwrap_or(whole)
    }
}

impl fmt::Debug for SourceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the text: a secret may have been written into it.
        f.debug_struct("SourceText").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A value with the place it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// The bytes of the file that it was written as, quotes included.
    pub span: Range<usize>,
    /// Its key from the root, such as `jobs.customers.fields.number`.
    pub path: String,
}

impl<T> Located<T> {
    /// The value alone.
    #[must_use]
    pub fn into_value(self) -> T {
        self.value
    }

    /// The place alone.
    #[must_use]
    pub fn place(&self) -> Located<()> {
        Located { value: (), span: self.span.clone(), path: self.path.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let text = SourceText::new("c.toml", "a = 'ü'\nbé = 2\n");
        for (needle, line, column) in [("a =", 1, 1), ("'\n", 1, 7), ("bé", 2, 1), ("2", 2, 6)] {
            let offset = text.text().find(needle).unwrap();
            assert_eq!(text.position(offset), Position { line, column }, "{needle:?}");
        }
        assert_eq!(text.position(9_999), Position { line: 3, column: 1 });
    }

    #[test]
    fn a_part_of_a_string_is_found_in_the_file_unless_escapes_shift_it() {
        for (raw, value, exact) in [
            ("'name | lwer'", "name | lwer", true),
            ("\"name | lwer\"", "name | lwer", true),
            ("'''\nname | lwer'''", "name | lwer", true),
            ("\"\"\"name | lwer\"\"\"", "name | lwer", true),
            ("\"\\u006eame | lwer\"", "name | lwer", false),
        ] {
            let text = SourceText::new("c.toml", format!("x = {raw}\n"));
            let located = Located { value: value.to_owned(), span: 4..4 + raw.len(), path: "x".to_owned() };
            let at = value.find("lwer").unwrap();
            let span = text.span_within(&located, at..at + 4);
            if exact {
                assert_eq!(&text.text()[span], "lwer", "{raw}");
            } else {
                assert_eq!(span, located.span, "{raw}");
            }
        }
    }
}
