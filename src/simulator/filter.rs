//! `$filter`: parsing and evaluation, with the gaps that schema version 2.0 has.
//!
//! `in (...)` and lambdas are read and then ignored, so that the whole table comes back; `or` is refused between
//! different properties. Equality on indexed properties finds its rows without a scan.

use uuid::Uuid;

use super::errors::{ApiError, Result};
use super::fields::EntitySet;
use super::record::Row;
use super::table::{Slot, Table};
use super::value::Value;

/// A parsed condition.
#[derive(Debug, PartialEq)]
pub(super) enum Filter {
    /// Everything: what an ignored condition means.
    All,
    /// A property against a value.
    Compare { position: usize, operator: Operator, value: Value, fold: bool },
    /// A property against a pattern.
    Like { position: usize, pattern: Pattern, text: String },
    /// The opposite.
    Not(Box<Filter>),
    /// Both.
    And(Box<Filter>, Box<Filter>),
    /// Either; both sides look at the same property.
    Or(Box<Filter>, Box<Filter>),
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// Where the text of a pattern must stand; case does not matter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pattern {
    StartsWith,
    EndsWith,
    Contains,
}

impl Filter {
    /// Reads the text of a `$filter` on `set`.
    pub(super) fn parse(set: &EntitySet, text: &str) -> Result<Self> {
        let mut parser = Parser { set, tokens: tokenise(text)?, at: 0 };
        let filter = parser.disjunction()?;
        if parser.at < parser.tokens.len() { Err(parser.syntax()) } else { Ok(filter) }
    }

    /// Whether `row` fulfils the condition.
    pub(super) fn accepts(&self, set: &EntitySet, row: &Row) -> bool {
        match self {
            Filter::All => true,
            Filter::Compare { position, operator, value, fold } => {
                let order = match (row.value(set, *position), value, fold) {
                    (Value::Text(text), Value::Text(wanted), true) => text.to_lowercase().cmp(&wanted.to_lowercase()),
                    (actual, wanted, _) => actual.compare(wanted),
                };
                match operator {
                    Operator::Equal => order.is_eq(),
                    Operator::NotEqual => order.is_ne(),
                    Operator::Greater => order.is_gt(),
                    Operator::GreaterOrEqual => order.is_ge(),
                    Operator::Less => order.is_lt(),
                    Operator::LessOrEqual => order.is_le(),
                }
            }
            Filter::Like { position, pattern, text } => {
                let actual = row.value(set, *position).plain(set.fields[*position].kind).to_lowercase();
                match pattern {
                    Pattern::StartsWith => actual.starts_with(text),
                    Pattern::EndsWith => actual.ends_with(text),
                    Pattern::Contains => actual.contains(text),
                }
            }
            Filter::Not(inner) => !inner.accepts(set, row),
            Filter::And(a, b) => a.accepts(set, row) && b.accepts(set, row),
            Filter::Or(a, b) => a.accepts(set, row) || b.accepts(set, row),
        }
    }

    /// The only slots that can fulfil the condition, when an index tells; otherwise the table must be scanned.
    pub(super) fn candidates(&self, table: &Table) -> Option<Vec<Slot>> {
        match self {
            Filter::Compare { position: 0, operator: Operator::Equal, value: Value::Guid(id), .. } => {
                Some(table.slot_of(*id).into_iter().collect())
            }
            Filter::Compare { position, operator: Operator::Equal, value, fold: false } => {
                table.equal(*position, &value.plain(table.set.fields[*position].kind))
            }
            Filter::And(a, b) => a.candidates(table).or_else(|| b.candidates(table)),
            Filter::Or(a, b) => {
                let mut slots = a.candidates(table)?;
                slots.extend(b.candidates(table)?);
                Some(slots)
            }
            _ => None,
        }
    }

    /// The id that the condition demands of `property`, if it demands one.
    pub(super) fn demanded_id(&self, set: &EntitySet, property: &str) -> Option<Uuid> {
        match self {
            Filter::Compare { position, operator: Operator::Equal, value: Value::Guid(id), .. } => {
                (set.fields[*position].name == property).then_some(*id)
            }
            Filter::And(a, b) => a.demanded_id(set, property).or_else(|| b.demanded_id(set, property)),
            _ => None,
        }
    }

    /// Position of the only property that the condition looks at; `None` when it looks at several or none.
    fn only_property(&self) -> Option<usize> {
        match self {
            Filter::All => None,
            Filter::Compare { position, .. } | Filter::Like { position, .. } => Some(*position),
            Filter::Not(inner) => inner.only_property(),
            Filter::And(a, b) | Filter::Or(a, b) => a.only_property().filter(|a| Some(*a) == b.only_property()),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A name, a keyword, or an unquoted literal.
    Word(String),
    Quoted(String),
    Open,
    Close,
    Comma,
}

fn tokenise(text: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            '(' => {
                tokens.push(Token::Open);
                1
            }
            ')' => {
                tokens.push(Token::Close);
                1
            }
            ',' => {
                tokens.push(Token::Comma);
                1
            }
            '\'' => {
                let (content, length) = quoted(rest)?;
                tokens.push(Token::Quoted(content));
                length
            }
            _ => {
                let end = rest.find([' ', '(', ')', ',', '\'']).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..end].to_owned()));
                end
            }
        };
        rest = rest[taken..].trim_start();
    }
    Ok(tokens)
}

/// The content of the string literal that `text` begins with, and its length with the quotes.
fn quoted(text: &str) -> Result<(String, usize)> {
    let mut content = String::new();
    let mut at = 1;
    while let Some(end) = text[at..].find('\'') {
        content.push_str(&text[at..at + end]);
        at += end + 1;
        if !text[at..].starts_with('\'') {
            return Ok((content, at));
        }
        content.push('\'');
        at += 1;
    }
    Err(ApiError::bad_request(format!("There is an unterminated string literal in '{text}'.")))
}

struct Parser<'a> {
    set: &'a EntitySet,
    tokens: Vec<Token>,
    at: usize,
}

impl Parser<'_> {
    fn syntax(&self) -> ApiError {
        ApiError::bad_request(format!("Syntax error at position {} in the filter.", self.at))
    }

    fn take(&mut self) -> Result<Token> {
        let token = self.tokens.get(self.at).cloned().ok_or_else(|| self.syntax())?;
        self.at += 1;
        Ok(token)
    }

    fn take_if(&mut self, wanted: &Token) -> bool {
        let found = self.tokens.get(self.at) == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: &Token) -> Result<()> {
        if self.take_if(wanted) { Ok(()) } else { Err(self.syntax()) }
    }

    fn keyword(&mut self, word: &str) -> bool {
        self.take_if(&Token::Word(word.to_owned()))
    }

    fn disjunction(&mut self) -> Result<Filter> {
        let mut left = self.conjunction()?;
        while self.keyword("or") {
            let right = self.conjunction()?;
            if left.only_property().is_none() || left.only_property() != right.only_property() {
                return Err(ApiError::bad_request(
                    "The 'OR' operator is not supported on distinct fields on an OData filter.",
                ));
            }
            left = Filter::Or(Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Filter> {
        let mut left = self.condition()?;
        while self.keyword("and") {
            left = Filter::And(Box::new(left), Box::new(self.condition()?));
        }
        Ok(left)
    }

    fn condition(&mut self) -> Result<Filter> {
        if self.keyword("not") {
            return Ok(Filter::Not(Box::new(self.condition()?)));
        }
        if self.take_if(&Token::Open) {
            let inner = self.disjunction()?;
            self.expect(&Token::Close)?;
            return Ok(inner);
        }
        let Token::Word(word) = self.take()? else { return Err(self.syntax()) };
        if word.ends_with("/any") || word.ends_with("/all") {
            self.expect(&Token::Open)?;
            self.skip_to_close()?;
            return Ok(Filter::All);
        }
        match word.as_str() {
            "startswith" => self.pattern(Pattern::StartsWith),
            "endswith" => self.pattern(Pattern::EndsWith),
            "contains" => self.pattern(Pattern::Contains),
            "tolower" | "toupper" => {
                self.expect(&Token::Open)?;
                let position = self.property()?;
                self.expect(&Token::Close)?;
                self.comparison(position, true)
            }
            _ => {
                let position = self.named(&word)?;
                self.comparison(position, false)
            }
        }
    }

    fn pattern(&mut self, pattern: Pattern) -> Result<Filter> {
        self.expect(&Token::Open)?;
        let position = self.property()?;
        self.expect(&Token::Comma)?;
        let Token::Quoted(text) = self.take()? else { return Err(self.syntax()) };
        self.expect(&Token::Close)?;
        Ok(Filter::Like { position, pattern, text: text.to_lowercase() })
    }

    fn comparison(&mut self, position: usize, fold: bool) -> Result<Filter> {
        let Token::Word(word) = self.take()? else { return Err(self.syntax()) };
        let operator = match word.as_str() {
            "eq" => Operator::Equal,
            "ne" => Operator::NotEqual,
            "gt" => Operator::Greater,
            "ge" => Operator::GreaterOrEqual,
            "lt" => Operator::Less,
            "le" => Operator::LessOrEqual,
            // Known to the grammar, without effect before schema version 2.1.
            "in" => {
                self.expect(&Token::Open)?;
                self.skip_to_close()?;
                return Ok(Filter::All);
            }
            _ => return Err(self.syntax()),
        };
        let field = &self.set.fields[position];
        let value = match self.take()? {
            Token::Quoted(text) => Value::from_literal(field, &text, true)?,
            Token::Word(text) => Value::from_literal(field, &text, false)?,
            _ => return Err(self.syntax()),
        };
        Ok(Filter::Compare { position, operator, value, fold })
    }

    fn property(&mut self) -> Result<usize> {
        let Token::Word(word) = self.take()? else { return Err(self.syntax()) };
        self.named(&word)
    }

    fn named(&self, word: &str) -> Result<usize> {
        self.set.visible(word).ok_or_else(|| ApiError::no_such_property(word, self.set.type_name))
    }

    /// Skips to behind the bracket that closes the one just taken.
    fn skip_to_close(&mut self) -> Result<()> {
        let mut depth = 1;
        while depth > 0 {
            match self.take()? {
                Token::Open => depth += 1,
                Token::Close => depth -= 1,
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::fields;
    use crate::simulator::record::Record;

    fn customers() -> &'static EntitySet {
        &fields::sets()[fields::set_position("customers").unwrap()]
    }

    fn table() -> Table {
        let mut table = Table::new(customers());
        for (number, name) in [("A1", "Adatum"), ("A2", "O'Brien"), ("B1", "Contoso")] {
            let mut record = Record::new(customers());
            record.set_text("number", number);
            record.set_text("displayName", name);
            if number == "B1" {
                record.set_option("blocked", "All");
            }
            table.insert(record.pack());
        }
        table
    }

    fn found(text: &str) -> Vec<String> {
        let table = table();
        let filter = Filter::parse(customers(), text).unwrap();
        let slots = filter.candidates(&table).unwrap_or_else(|| table.walk(None).collect());
        let rows = slots.into_iter().filter_map(|slot| table.row(slot));
        let kept = rows.filter(|row| filter.accepts(customers(), row));
        kept.map(|row| Record::unpack(customers(), row).text("number").to_owned()).collect()
    }

    #[test]
    fn conditions_find_their_rows() {
        for (text, numbers) in [
            ("number eq 'a1 '", &["A1"][..]),
            ("number eq 'A1' or number eq 'B1' or number eq 'ZZ'", &["A1", "B1"]),
            ("displayName eq 'O''Brien'", &["A2"]),
            ("displayName eq 'adatum'", &[]),
            ("tolower(displayName) eq 'adatum'", &["A1"]),
            ("startswith(number,'A') and blocked eq '_x0020_'", &["A1", "A2"]),
            ("blocked eq 'All'", &["B1"]),
            ("not (number eq 'A1')", &["A2", "B1"]),
            ("number gt 'A1' and (number lt 'B1')", &["A2"]),
            ("contains(displayName,'TOS')", &["B1"]),
            ("endswith(displayName,'um')", &["A1"]),
        ] {
            assert_eq!(found(text), numbers, "{text}");
        }
    }

    #[test]
    fn in_and_lambdas_are_silently_ignored() {
        assert_eq!(found("number in ('A1','A2')"), ["A1", "A2", "B1"]);
        assert_eq!(found("defaultDimensions/any(d:d/dimensionCode eq 'X')"), ["A1", "A2", "B1"]);
        assert_eq!(found("number in ('A1','A2') and displayName eq 'Contoso'"), ["B1"]);
    }

    #[test]
    fn what_bc_refuses_is_refused() {
        for (text, code) in [
            ("number eq 'A1' or displayName eq 'x'", "BadRequest"),
            ("(number eq 'A1' and displayName eq 'x') or number eq 'B1'", "BadRequest"),
            ("nummer eq 'A1'", "BadRequest"),
            ("number eq A1", "BadRequest"),
            ("id eq 'a3e1'", "BadRequest"),
            ("number eq", "BadRequest"),
            ("number eq 'A1", "BadRequest"),
            ("number eq '123456789012345678901'", "Application_FilterErrorException"),
            ("blocked eq 'Nobody'", "Unknown"),
        ] {
            assert_eq!(Filter::parse(customers(), text).unwrap_err().code, code, "{text}");
        }
    }

    #[test]
    fn keys_are_found_without_a_scan() {
        let table = table();
        let indexed =
            |text: &str| Filter::parse(customers(), text).unwrap().candidates(&table).map(|slots| slots.len());
        assert_eq!(indexed("number eq 'A1' or number eq 'B1'"), Some(2));
        assert_eq!(indexed("displayName eq 'x' and number eq 'A1'"), Some(1));
        assert_eq!(indexed(&format!("id eq {}", Uuid::nil())), Some(0));
        assert_eq!(indexed("displayName eq 'x'"), None);
    }
}
