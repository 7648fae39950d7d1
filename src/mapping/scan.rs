//! The tokens of an expression, with their places.
//!
//! The expression engine compiles unknown names without complaint and does not say where a column is named, so names
//! are looked at here. Only texts that the engine's own parser has accepted are scanned.

use std::ops::Range;

/// A piece of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) range: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// An identifier or a keyword.
    Name(&'a str),
    /// A quoted text, without its quotes, escapes unread.
    Text(&'a str),
    /// A number.
    Number(&'a str),
    /// An operator or a bracket.
    Sign(&'a str),
}

/// The tokens of `source`; stops at what it does not understand.
pub(super) fn scan(source: &str) -> Vec<Token<'_>> {
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let mut at = 0;
    while let Some(letter) = source[at..].chars().next() {
        let rest = &source[at..];
        let (kind, length) = match letter {
            _ if letter.is_whitespace() => {
                at += letter.len_utf8();
                continue;
            }
            '\'' | '"' => match text_length(rest) {
                Some(length) => (Kind::Text(&rest[1..length - 1]), length),
                None => break,
            },
            '0'..='9' => {
                let index = tokens.last().is_some_and(|token| token.kind == Kind::Sign("."));
                let length = number_length(rest, index);
                (Kind::Number(&rest[..length]), length)
            }
            _ if letter == '_' || letter.is_ascii_alphabetic() => {
                let length =
                    rest.find(|letter: char| letter != '_' && !letter.is_ascii_alphanumeric()).unwrap_or(rest.len());
                (Kind::Name(&rest[..length]), length)
            }
            _ => {
                let double = ["==", "!=", "<=", ">=", "//", "**"].iter().any(|sign| rest.starts_with(sign));
                let length = if double { 2 } else { letter.len_utf8() };
                (Kind::Sign(&rest[..length]), length)
            }
        };
        tokens.push(Token { kind, range: at..at + length });
        at += length;
    }
    tokens
}

fn text_length(rest: &str) -> Option<usize> {
    let quote = rest.as_bytes()[0];
    let mut escaped = false;
    for (index, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return Some(index + 1),
            _ => {}
        }
    }
    None
}

/// How long a number is; one that is an index (`list.0`) has no fraction.
fn number_length(rest: &str, index: bool) -> usize {
    let bytes = rest.as_bytes();
    let word =
        |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    let mut length = word(0);
    if !index && bytes.get(length) == Some(&b'.') && bytes.get(length + 1).is_some_and(u8::is_ascii_digit) {
        length += 1;
        length += word(length);
    }
    let exponent = length > 0 && bytes[length - 1].eq_ignore_ascii_case(&b'e');
    if exponent && matches!(bytes.get(length), Some(b'+' | b'-')) {
        length += 1;
        length += word(length);
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_falls_into_names_texts_numbers_and_signs() {
        let kinds: Vec<Kind<'_>> =
            scan(r#"a.b|f('x\'y', n=1.5e-3) != "ü" ~ c.0.d"#).into_iter().map(|token| token.kind).collect();
        let expected = [
            Kind::Name("a"),
            Kind::Sign("."),
            Kind::Name("b"),
            Kind::Sign("|"),
            Kind::Name("f"),
            Kind::Sign("("),
            Kind::Text(r"x\'y"),
            Kind::Sign(","),
            Kind::Name("n"),
            Kind::Sign("="),
            Kind::Number("1.5e-3"),
            Kind::Sign(")"),
            Kind::Sign("!="),
            Kind::Text("ü"),
            Kind::Sign("~"),
            Kind::Name("c"),
            Kind::Sign("."),
            Kind::Number("0"),
            Kind::Sign("."),
            Kind::Name("d"),
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn places_are_byte_ranges() {
        let source = "'ü' ~ name";
        let tokens = scan(source);
        assert_eq!(&source[tokens[2].range.clone()], "name");
    }
}
