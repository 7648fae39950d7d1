//! What has to change in BC: pure, from what is wanted and what we sent last.
//!
//! Compares with what we *sent*, not with what BC holds: BC rewrites values (case, city by post code, rounding), and a
//! property that a person changed in BC is nobody's business until the source changes it too. Only what differs is
//! sent. Lines that we never wrote do not exist here.

use crate::model::{
    Action, LineChange, LinkedLine, NewLine, NewRow, OrderChange, PropertyChange, Resolved, ResolvedLine, Snapshot,
    Value,
};

/// The distance between the sequences of two lines, as BC itself numbers them.
pub const SEQUENCE_STEP: i64 = 10_000;

/// The row for a record that BC has none of yet.
#[must_use]
pub fn create(wanted: &Resolved) -> NewRow {
    let properties = wanted.properties.iter().chain(&wanted.create_only).cloned().collect();
    let lines = wanted.lines.as_ref().map(|lines| {
        let new = |(line, sequence): (&ResolvedLine, i64)| NewLine {
            key: line.key.clone(),
            sequence,
            properties: line.properties.clone(),
        };
        lines.iter().zip((1..).map(|place| place * SEQUENCE_STEP)).map(new).collect()
    });
    NewRow { properties, lines }
}

/// The action for a record that is linked. `highest_sequence` is the highest that the document's lines have in BC,
/// also those of lines that are not ours; 0 when it has none.
#[must_use]
pub fn update(wanted: &Resolved, last: &Snapshot, highest_sequence: i64) -> Action {
    let mut header = changes(&wanted.properties, &last.sent);
    header.extend(unblocking(&wanted.properties, last));
    let Some(lines) = &wanted.lines else {
        return if header.is_empty() { Action::None } else { Action::Update(header) };
    };
    let lines = line_changes(lines, last, highest_sequence);
    if header.is_empty() && lines.is_empty() {
        Action::None
    } else {
        Action::UpdateOrder(OrderChange { header, lines })
    }
}

fn changes(wanted: &[(String, Value)], sent: &[(String, Value)]) -> Vec<PropertyChange> {
    let change = |(name, value): &(String, Value)| {
        let old = sent.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        (old.as_ref() != Some(value)).then(|| PropertyChange { name: name.clone(), old, new: value.clone() })
    };
    wanted.iter().filter_map(change).collect()
}

/// A row that we blocked gets back what it held before, unless the record itself says what it is to hold.
fn unblocking(wanted: &[(String, Value)], last: &Snapshot) -> Vec<PropertyChange> {
    let change = |(name, value): &(String, Value)| PropertyChange {
        name: name.clone(),
        old: last.sent(name).cloned(),
        new: value.clone(),
    };
    let is_wanted = |name: &str| wanted.iter().any(|(known, _)| known == name);
    last.put_back.iter().filter(|(name, _)| !is_wanted(name)).map(change).collect()
}

/// A line gets back what somebody else had entered, where nothing new is wanted.
fn restoring(wanted: &[(String, Value)], known: &LinkedLine) -> Vec<PropertyChange> {
    let change = |(name, value): &(String, Value)| {
        let theirs = known.put_back(name).filter(|_| known.sent(name) == Some(value))?;
        Some(PropertyChange { name: name.clone(), old: Some(value.clone()), new: theirs.clone() })
    };
    wanted.iter().filter_map(change).collect()
}

fn line_changes(wanted: &[ResolvedLine], last: &Snapshot, highest_sequence: i64) -> Vec<LineChange> {
    let mut next = last.lines.iter().map(|line| line.sequence).fold(highest_sequence, i64::max) + SEQUENCE_STEP;
    let mut actions = Vec::new();
    for line in wanted {
        if let Some(known) = last.lines.iter().find(|known| known.key == line.key) {
            let mut changes = changes(&line.properties, &known.sent);
            changes.extend(restoring(&line.properties, known));
            if !changes.is_empty() {
                let (key, properties) = (line.key.clone(), line.properties.clone());
                actions.push(LineChange::Change { key, sequence: known.sequence, changes, properties });
            }
        } else {
            let properties = line.properties.clone();
            actions.push(LineChange::Add(NewLine { key: line.key.clone(), sequence: next, properties }));
            next += SEQUENCE_STEP;
        }
    }
    for known in &last.lines {
        if !wanted.iter().any(|line| line.key == known.key) {
            actions.push(LineChange::Remove { key: known.key.clone(), sequence: known.sequence });
        }
    }
    actions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Values;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
    }

    fn line(key: &str, pairs: &[(&str, &str)]) -> ResolvedLine {
        ResolvedLine { key: key.to_owned(), properties: values(pairs) }
    }

    fn linked(key: &str, sequence: i64, pairs: &[(&str, &str)]) -> LinkedLine {
        LinkedLine {
            key: key.to_owned(),
            sequence,
            id: Some(format!("id-{key}")),
            sent: values(pairs),
            answered: Vec::new(),
            put_back: Vec::new(),
        }
    }

    #[test]
    fn equal_needs_nothing() {
        let wanted = Resolved { properties: values(&[("city", "Oslo")]), ..Resolved::default() };
        let last = Snapshot { sent: values(&[("city", "Oslo")]), ..Snapshot::default() };
        assert_eq!(update(&wanted, &last, 0), Action::None);
    }

    #[test]
    fn only_what_differs_is_sent_and_create_only_never() {
        let wanted = Resolved {
            properties: values(&[("city", "Bergen"), ("email", "a@b.no")]),
            create_only: values(&[("salespersonCode", "WEB")]),
            lines: None,
        };
        let last = Snapshot { sent: values(&[("city", "Oslo"), ("email", "a@b.no")]), ..Snapshot::default() };
        let Action::Update(changes) = update(&wanted, &last, 0) else { panic!("an update") };
        let [change] = changes.as_slice() else { panic!("one change: {changes:?}") };
        assert_eq!((change.name.as_str(), &change.new), ("city", &Value::from("Bergen")));
        assert_eq!(change.old, Some(Value::from("Oslo")));
    }

    #[test]
    fn a_create_sends_both_kinds_of_properties_and_numbers_the_lines() {
        let wanted = Resolved {
            properties: values(&[("customerId", "x")]),
            create_only: values(&[("salesperson", "WEB")]),
            lines: Some(vec![line("b", &[]), line("a", &[])]),
        };
        let NewRow { properties, lines } = create(&wanted);
        assert_eq!(properties.len(), 2);
        let sequences: Vec<_> = lines.unwrap().into_iter().map(|line| (line.key, line.sequence)).collect();
        assert_eq!(sequences, [("b".to_owned(), 10_000), ("a".to_owned(), 20_000)]);
    }

    #[test]
    fn lines_are_matched_by_their_key() {
        let wanted = Resolved {
            lines: Some(vec![
                line("3", &[("quantity", "9")]),
                line("2", &[("quantity", "2")]),
                line("4", &[("quantity", "4")]),
            ]),
            ..Resolved::default()
        };
        let last = Snapshot {
            lines: vec![
                linked("1", 10_000, &[("quantity", "1")]),
                linked("2", 20_000, &[("quantity", "2")]),
                linked("3", 30_000, &[("quantity", "3")]),
            ],
            ..Snapshot::default()
        };
        // Someone added a line 50000 in BC: ours goes behind it, and theirs is left alone.
        let Action::UpdateOrder(change) = update(&wanted, &last, 50_000) else { panic!("an order update") };
        assert!(change.header.is_empty());
        let [
            LineChange::Change { key, sequence: 30_000, .. },
            LineChange::Add(added),
            LineChange::Remove { sequence: 10_000, .. },
        ] = change.lines.as_slice()
        else {
            panic!("{:?}", change.lines)
        };
        assert_eq!((key.as_str(), added.key.as_str(), added.sequence), ("3", "4", 60_000));
    }

    #[test]
    fn a_line_gets_back_what_somebody_entered_unless_something_new_is_wanted() {
        let known = LinkedLine {
            put_back: values(&[("unitPrice", "99"), ("description", "theirs"), ("gone", "x")]),
            ..linked("1", 10_000, &[("unitPrice", "2"), ("description", "ours")])
        };
        let last = Snapshot { lines: vec![known], ..Snapshot::default() };
        let lines = vec![line("1", &[("unitPrice", "2"), ("description", "new")])];
        let wanted = Resolved { lines: Some(lines), ..Resolved::default() };
        let Action::UpdateOrder(change) = update(&wanted, &last, 0) else { panic!("an order update") };
        let [LineChange::Change { changes, .. }] = change.lines.as_slice() else { panic!("{:?}", change.lines) };
        let told: Vec<_> = changes.iter().map(|change| (change.name.as_str(), change.new.as_str().unwrap())).collect();
        assert_eq!(told, [("description", "new"), ("unitPrice", "99")]);
    }

    #[test]
    fn a_reordered_document_needs_nothing() {
        let wanted = Resolved { lines: Some(vec![line("2", &[]), line("1", &[])]), ..Resolved::default() };
        let last = Snapshot { lines: vec![linked("1", 10_000, &[]), linked("2", 20_000, &[])], ..Snapshot::default() };
        assert_eq!(update(&wanted, &last, 0), Action::None);
    }
}
