//! How much of a mass change a run may make before it asks: `[jobs.NAME.brake]`.

use rust_decimal::Decimal;

use super::reader::{Table, Value};
use crate::model::{Brake, BrakeLimit};

/// `[jobs.NAME.brake]`, or its defaults.
pub(super) fn read(job: &mut Table<'_>) -> Brake {
    let defaults = Brake::default();
    let Some(mut table) = job.table("brake") else { return defaults };
    let brake = Brake {
        creates: table.or("creates", |value| read_limit(value, defaults.creates), defaults.creates),
        updates: table.or("updates", |value| read_limit(value, defaults.updates), defaults.updates),
        deletes: table.or("deletes", |value| read_limit(value, defaults.deletes), defaults.deletes),
        closes: table.or("closes", |value| read_limit(value, defaults.closes), defaults.closes),
    };
    table.finish();
    brake
}

/// A limit; a default `max` stays in force beside a `percent`, which alone says nothing about a small ledger.
fn read_limit(value: &Value<'_>, default: BrakeLimit) -> Option<BrakeLimit> {
    if !value.is_table() {
        return value.reject(value.mismatch_problem("a table").hint("write { max = 25 }"));
    }
    let mut table = value.table()?;
    if !table.has("max") && !table.has("percent") {
        table.findings().push(table.problem("a limit needs `max` or `percent`"));
    }
    let max = table.optional("max", |value| value.integer(0..=u64::MAX));
    let percent = table.optional("percent", read_percent);
    table.finish();
    Some(BrakeLimit { max: max.map(|max| max.value).or(default.max), percent: percent.map(|percent| percent.value) })
}

fn read_percent(value: &Value<'_>) -> Option<Decimal> {
    let percent = value.decimal()?;
    if percent > Decimal::ONE_HUNDRED {
        return value.reject(value.problem(format!("{percent} percent is more than all")).allowed("0 to 100"));
    }
    Some(percent)
}
