//! What the ledger remembers of a BC row that a record is linked to: what we sent, and what BC answered.

use super::{Value, ValueError, Values};

/// A line of a linked document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedLine {
    /// The source's key of the line.
    pub key: String,
    /// Our own `sequence` in BC, allocated once for the key and never renumbered.
    pub sequence: i64,
    /// The line's id in BC, once known.
    pub id: Option<String>,
    /// The properties we sent last, references resolved.
    pub sent: Values,
    /// The same properties as BC answered them.
    pub answered: Values,
    /// What somebody else had entered, until it is there again after a change of the header that may have cost it.
    pub put_back: Values,
}

impl LinkedLine {
    /// What we sent for the property `name` last.
    #[must_use]
    pub fn sent(&self, name: &str) -> Option<&Value> {
        value_of(&self.sent, name)
    }

    /// What BC answered for the property `name` after our last write.
    #[must_use]
    pub fn answered(&self, name: &str) -> Option<&Value> {
        value_of(&self.answered, name)
    }

    /// What somebody else had entered for the property `name`.
    #[must_use]
    pub fn put_back(&self, name: &str) -> Option<&Value> {
        value_of(&self.put_back, name)
    }
}

/// The state of a BC row as we last wrote and saw it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The properties we sent last, references resolved.
    pub sent: Values,
    /// The same properties as BC answered them after that write; BC rewrites some values.
    pub answered: Values,
    /// The lines that we wrote; never lines that a person added.
    pub lines: Vec<LinkedLine>,
    /// What the header held when the lines were last seen, of the properties whose change makes BC change the lines.
    pub seen_with: Values,
    /// Whether nobody can tell which lines are ours, and how we left them: a change of ours may have been done before
    /// somebody had BC make all of them anew.
    pub lines_unclear: bool,
    /// What the row held before it was blocked because the source lost its record: put back when the source has it again.
    pub put_back: Values,
}

impl Snapshot {
    /// The snapshot as the ledger stores it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let map = |members: &[(String, Value)]| Value::Map(members.to_vec());
        let mut members = vec![("sent".to_owned(), map(&self.sent)), ("answered".to_owned(), map(&self.answered))];
        if !self.lines.is_empty() {
            let line = |line: &LinkedLine| {
                Value::Map(vec![
                    ("key".to_owned(), Value::Str(line.key.clone())),
                    ("sequence".to_owned(), Value::Int(line.sequence)),
                    ("id".to_owned(), line.id.clone().map_or(Value::Null, Value::Str)),
                    ("sent".to_owned(), map(&line.sent)),
                    ("answered".to_owned(), map(&line.answered)),
                    ("put_back".to_owned(), map(&line.put_back)),
                ])
            };
            members.push(("lines".to_owned(), Value::List(self.lines.iter().map(line).collect())));
        }
        if !self.seen_with.is_empty() {
            members.push(("seen_with".to_owned(), map(&self.seen_with)));
        }
        if self.lines_unclear {
            members.push(("lines_unclear".to_owned(), Value::Bool(true)));
        }
        if !self.put_back.is_empty() {
            members.push(("put_back".to_owned(), map(&self.put_back)));
        }
        Value::Map(members).to_json()
    }

    /// Reads what [`Snapshot::to_json`] wrote.
    pub fn parse(json: &str) -> Result<Self, ValueError> {
        let value = Value::parse(json)?;
        let map = |value: Option<&Value>| match value {
            Some(Value::Map(members)) => members.clone(),
            _ => Vec::new(),
        };
        let lines = match value.get("lines") {
            Some(Value::List(lines)) => lines
                .iter()
                .map(|line| LinkedLine {
                    key: line.get("key").and_then(Value::as_str).unwrap_or_default().to_owned(),
                    sequence: match line.get("sequence") {
                        Some(Value::Int(sequence)) => *sequence,
                        _ => 0,
                    },
                    id: line.get("id").and_then(Value::as_str).map(ToOwned::to_owned),
                    sent: map(line.get("sent")),
                    answered: map(line.get("answered")),
                    put_back: map(line.get("put_back")),
                })
                .collect(),
            _ => Vec::new(),
        };
        Ok(Self {
            sent: map(value.get("sent")),
            answered: map(value.get("answered")),
            lines,
            seen_with: map(value.get("seen_with")),
            lines_unclear: value.get("lines_unclear") == Some(&Value::Bool(true)),
            put_back: map(value.get("put_back")),
        })
    }

    /// Whether the row is blocked by us.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        !self.put_back.is_empty()
    }

    /// All values that we sent last.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.sent.iter().chain(self.lines.iter().flat_map(|line| &line.sent)).map(|(_, value)| value)
    }

    /// What we sent for the property `name` last.
    #[must_use]
    pub fn sent(&self, name: &str) -> Option<&Value> {
        value_of(&self.sent, name)
    }

    /// What BC answered for the property `name` after our last write.
    #[must_use]
    pub fn answered(&self, name: &str) -> Option<&Value> {
        value_of(&self.answered, name)
    }
}

fn value_of<'v>(values: &'v Values, name: &str) -> Option<&'v Value> {
    values.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_reads_back_from_the_ledger() {
        let snapshot = Snapshot {
            sent: vec![("city".to_owned(), Value::from("Oslo"))],
            answered: vec![("city".to_owned(), Value::from("OSLO"))],
            lines: vec![LinkedLine {
                key: "1".to_owned(),
                sequence: 10_000,
                id: None,
                sent: vec![("quantity".to_owned(), Value::number("1.5"))],
                answered: vec![("quantity".to_owned(), Value::number("1.50"))],
                put_back: vec![("unitPrice".to_owned(), Value::number("99"))],
            }],
            seen_with: vec![("customerId".to_owned(), Value::from("x"))],
            lines_unclear: true,
            put_back: vec![("blocked".to_owned(), Value::from("Ship"))],
        };
        let read = Snapshot::parse(&snapshot.to_json()).unwrap();
        assert_eq!(read, snapshot);
        assert_eq!(read.sent("city"), Some(&Value::from("Oslo")));
        assert_eq!(read.answered("city"), Some(&Value::from("OSLO")));
    }
}
