//! Recognises `link('job', key)` and `lookup('set', code)` as the whole value of a property.

use std::ops::Range;

use super::scan::{Kind, Token};
use super::spec::Mistake;

/// What kind of row is referred to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The row of another job's record.
    Link,
    /// The row with a code.
    Lookup,
}

/// A reference, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub(super) form: Form,
    /// The job or entity set, and where it is named.
    pub(super) scope: (&'a str, Range<usize>),
    /// Where the expression of the key is.
    pub(super) key: Range<usize>,
}

/// The parts of a reference; `None` when `tokens` are some other expression.
pub(super) fn parts<'a>(tokens: &[Token<'a>]) -> Option<Result<Parts<'a>, Mistake>> {
    let form = match tokens.first()?.kind {
        Kind::Name("link") => Form::Link,
        Kind::Name("lookup") => Form::Lookup,
        _ => return None,
    };
    if tokens.get(1)?.kind != Kind::Sign("(") || closing(tokens)? != tokens.len() - 1 {
        return None;
    }
    Some(arguments(form, tokens))
}

/// Where the bracket that the second token opens is closed.
fn closing(tokens: &[Token<'_>]) -> Option<usize> {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(1) {
        match token.kind {
            Kind::Sign("(" | "[" | "{") => depth += 1,
            Kind::Sign(")" | "]" | "}") => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(index);
        }
    }
    None
}

fn arguments<'a>(form: Form, tokens: &[Token<'a>]) -> Result<Parts<'a>, Mistake> {
    let usage = match form {
        Form::Link => "`link('job', key)`: the name of a job in quotes, and the key of its record",
        Form::Lookup => "`lookup('entitySet', code)`: the name of an entity set in quotes, and a code",
    };
    let wrong = || Mistake::new("two arguments are needed").hint(usage);
    let [_, _, scope, comma, key @ .., _] = tokens else { return Err(wrong()) };
    let Kind::Text(name) = scope.kind else {
        return Err(Mistake::new("the first argument must be a name in quotes").at(scope.range.clone()).hint(usage));
    };
    let (Kind::Sign(","), Some(first), Some(last)) = (comma.kind, key.first(), key.last()) else { return Err(wrong()) };
    let mut depth = 0;
    for token in key {
        match token.kind {
            Kind::Sign("(" | "[" | "{") => depth += 1,
            Kind::Sign(")" | "]" | "}") => depth -= 1,
            Kind::Sign(",") if depth == 0 => return Err(wrong().at(token.range.clone())),
            _ => {}
        }
    }
    Ok(Parts { form, scope: (name, scope.range.clone()), key: first.range.start..last.range.end })
}

#[cfg(test)]
mod tests {
    use super::super::scan::scan;
    use super::*;

    #[test]
    fn references_are_taken_apart() {
        let source = "lookup('paymentTerms', terms | replace('(', ',') )";
        let parts = parts(&scan(source)).unwrap().unwrap();
        assert_eq!((parts.form, parts.scope.0), (Form::Lookup, "paymentTerms"));
        assert_eq!(&source[parts.key], "terms | replace('(', ',')");
        assert_eq!(&source[parts.scope.1], "'paymentTerms'");
    }

    #[test]
    fn other_expressions_are_not_references() {
        for source in ["link", "link | upper", "link('a', b) ~ 'x'", "(link('a', b))", "name", ""] {
            assert_eq!(parts(&scan(source)), None, "{source}");
        }
    }

    #[test]
    fn wrong_arguments_are_mistakes() {
        for source in ["link('a')", "link()", "link(a, b)", "link('a', b, c)", "link('a',)", "link('a' ~ b)"] {
            assert!(parts(&scan(source)).unwrap().is_err(), "{source}");
        }
    }
}
