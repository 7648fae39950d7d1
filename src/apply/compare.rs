//! Comparing what we want with what BC holds: on adoption, and when a row changed under our hands.

use super::job::ApplyJob;
use crate::bc::Row;
use crate::ledger::FieldChange;
use crate::model::{LinkedLine, OnConflict, PropertyChange, ResolvedLine, Snapshot, Value, Values};
use crate::schema::EntitySchema;

/// The properties of `wanted` that `row` does not hold.
pub(super) fn differing(job: &ApplyJob, wanted: &[(String, Value)], row: &Row) -> Vec<PropertyChange> {
    let change = |(name, value): &(String, Value)| {
        let held = row.get(name);
        (!job.same(name, value, held)).then(|| PropertyChange {
            name: name.clone(),
            old: held.cloned(),
            new: value.clone(),
        })
    };
    wanted.iter().filter_map(change).collect()
}

/// What is sent to make `changes`: with those properties of `wanted` that BC overwrites in their wake. As far as it is
/// known these are sent as BC holds them: what someone changed there is not undone by the way. Ours is sent where BC
/// answers something that cannot be written.
pub(super) fn with_overwritten(
    schema: &EntitySchema,
    changes: &[PropertyChange],
    wanted: &[(String, Value)],
    held: Option<&Row>,
) -> Values {
    let sent = |(name, value): &(String, Value)| {
        let value = match changes.iter().find(|change| change.name == *name) {
            Some(change) => &change.new,
            None if changes.iter().any(|change| schema.overwritten(&change.name, name)) => {
                held.filter(|_| !schema.reads_otherwise(name)).and_then(|row| row.get(name)).unwrap_or(value)
            }
            None => return None,
        };
        Some((name.clone(), value.clone()))
    };
    // What is put back is nothing that the record wants.
    let put_back = changes.iter().filter(|change| !wanted.iter().any(|(name, _)| change.name == *name));
    let put_back = put_back.map(|change| (change.name.clone(), change.new.clone()));
    wanted.iter().filter_map(sent).chain(put_back).collect()
}

/// Whether `row` can be the line that was made with the properties `sent`: it is of the same item or account, or it
/// has all of them when they name none.
pub(super) fn is_line(job: &ApplyJob, sent: &[(String, Value)], row: &Row) -> bool {
    let names_it = |name: &str| matches!(name, "itemId" | "accountId" | "lineObjectNumber");
    let has = |(name, value): &(String, Value)| job.same_in_line(name, value, row.get(name));
    if sent.iter().any(|(name, _)| names_it(name)) {
        sent.iter().filter(|(name, _)| names_it(name)).all(has)
    } else {
        sent.iter().all(has)
    }
}

/// The line of ours among `lines`: by its id, or by its sequence while BC has not told its id.
pub(super) fn find_line<'r>(job: &ApplyJob, known: &LinkedLine, lines: &'r [Row]) -> Option<&'r Row> {
    match &known.id {
        Some(id) => lines.iter().find(|row| row.id == *id),
        None => lines.iter().find(|row| sequence(row) == known.sequence && is_line(job, &known.sent, row)),
    }
}

/// Whether the lines of a document are exactly `wanted`, one by one in order.
pub(super) fn same_lines(job: &ApplyJob, wanted: &[ResolvedLine], row: &Row) -> bool {
    let lines = sorted_lines(job, row);
    lines.len() == wanted.len() && wanted.iter().zip(&lines).all(|(line, held)| is_as_wanted(job, line, held))
}

/// Whether the line `held` is as `wanted`, as far as BC tells.
pub(super) fn is_as_wanted(job: &ApplyJob, wanted: &ResolvedLine, held: &Row) -> bool {
    wanted.properties.iter().all(|(name, value)| job.may_be_same_in_line(name, value, held.get(name)))
}

/// The lines of a document as BC answered it.
pub(super) fn document_lines(job: &ApplyJob, row: &Row) -> Vec<Row> {
    job.schema.lines.as_ref().map(|lines| row.nested(lines.navigation)).unwrap_or_default()
}

/// The same in the order of their sequences.
pub(super) fn sorted_lines(job: &ApplyJob, row: &Row) -> Vec<Row> {
    let mut lines = document_lines(job, row);
    lines.sort_by_key(sequence);
    lines
}

/// A line's sequence; 0 when BC gave none.
pub(super) fn sequence(line: &Row) -> i64 {
    match line.get("sequence") {
        Some(Value::Int(sequence)) => *sequence,
        _ => 0,
    }
}

/// What `row` holds of the properties that decide about its lines.
pub(super) fn seen_with(job: &ApplyJob, row: &Row) -> Values {
    job.schema.decides_about_lines().filter_map(|name| Some((name.to_owned(), row.get(name)?.clone()))).collect()
}

/// The properties of `sent` as `row` holds them.
pub(super) fn answered(sent: &[(String, Value)], row: &Row) -> Values {
    sent.iter().filter_map(|(name, _)| Some((name.clone(), row.get(name)?.clone()))).collect()
}

/// Whether `held` is somebody else's: none of the values that are `ours`. What BC does not show cannot be told to be.
pub(super) fn is_theirs(
    held: Option<&Value>,
    ours: [Option<&Value>; 2],
    same: impl Fn(&Value, Option<&Value>) -> bool,
) -> bool {
    held.is_some() && !ours.into_iter().flatten().any(|value| same(value, held))
}

/// What someone changed in `row` since our last write: from what is there now to nothing, for a row that is to go.
pub(super) fn touched(job: &ApplyJob, last: &Snapshot, row: &Row) -> Vec<FieldChange> {
    let is_ours = |(name, sent): &&(String, Value)| {
        let held = row.get(name);
        job.same(name, sent, held) || last.answered(name).is_some_and(|answered| job.same(name, answered, held))
    };
    let field =
        |(name, _): &(String, Value)| FieldChange { property: name.clone(), old: row.get(name).cloned(), new: None };
    let mut touched: Vec<_> = last.sent.iter().filter(|sent| !is_ours(sent)).map(field).collect();
    let lines = document_lines(job, row);
    let is_as_written = |line: &LinkedLine| {
        find_line(job, line, &lines).is_some_and(|row| {
            line.sent.iter().all(|(name, sent)| {
                let is = |value: &Value| job.same_in_line(name, value, row.get(name));
                is(sent) || line.answered(name).is_some_and(is)
            })
        })
    };
    if lines.len() != last.lines.len() || !last.lines.iter().all(is_as_written) {
        touched.push(FieldChange { property: "lines".to_owned(), old: None, new: None });
    }
    touched
}

/// `change` with what BC holds as the old value: unless that is only another way to write what we sent.
pub(super) fn from_held(job: &ApplyJob, change: PropertyChange, held: Option<&Value>) -> PropertyChange {
    match held {
        Some(held) if !change.old.as_ref().is_some_and(|old| job.same(&change.name, old, Some(held))) => {
            PropertyChange { old: Some(held.clone()), ..change }
        }
        _ => change,
    }
}

/// What a comparison with a row that changed under our hands comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ThreeWay {
    /// What is to be sent.
    pub(super) send: Vec<PropertyChange>,
    /// Properties that BC keeps against us, with the value it keeps.
    pub(super) kept: Vec<FieldChange>,
    /// Properties that someone changed and nobody has decided about, from what BC holds to what we want.
    pub(super) held: Vec<FieldChange>,
}

/// Compares three ways: what we want (`changes`), what we sent and BC answered last (`last`), and what `row` holds now.
/// `policy` says who wins.
pub(super) fn three_way(
    job: &ApplyJob,
    policy: OnConflict,
    changes: Vec<PropertyChange>,
    last: &Snapshot,
    row: &Row,
) -> ThreeWay {
    let mut result = ThreeWay::default();
    for change in changes {
        let held = row.get(&change.name);
        let is = |value: Option<&Value>| value.is_some_and(|value| job.same(&change.name, value, held));
        if is(Some(&change.new)) {
            continue;
        }
        // What BC does not show, nobody can be seen to have changed.
        let untouched = held.is_none()
            || is(last.answered(&change.name))
            || is(last.sent(&change.name))
            || last.sent(&change.name).is_none();
        if untouched {
            result.send.push(from_held(job, change, held));
            continue;
        }
        match policy {
            OnConflict::SourceWins => result.send.push(PropertyChange { old: held.cloned(), ..change }),
            OnConflict::BcWins => {
                result.kept.push(FieldChange { property: change.name, old: Some(change.new), new: held.cloned() });
            }
            OnConflict::Hold => {
                result.held.push(FieldChange { property: change.name, old: held.cloned(), new: Some(change.new) });
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::standard;

    #[test]
    fn what_is_overwritten_is_sent_as_it_is_held_unless_it_reads_otherwise() {
        let values = |pairs: &[(&str, &str)]| -> Values {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
        };
        let wanted = values(&[("itemId", "new"), ("description", "ours"), ("taxCode", "VAT25")]);
        let row = Row::parse(r#"{"id": "1", "itemId": "old", "description": "theirs", "taxCode": "S25"}"#).unwrap();
        let change = PropertyChange { name: "itemId".to_owned(), old: None, new: Value::from("new") };
        let schema = standard("salesOrderLines").unwrap();
        let sent = with_overwritten(schema, &[change], &wanted, Some(&row));
        assert_eq!(sent, values(&[("itemId", "new"), ("description", "theirs"), ("taxCode", "VAT25")]));
    }
}
