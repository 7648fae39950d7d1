//! What applying needs to know of a job.

use std::borrow::Cow;
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use rust_decimal::Decimal;

use crate::ledger::{JobId, TargetId};
use crate::model::{Adopt, Brake, EntityName, Mode, OnConflict, OnMissing, Patience, Value};
use crate::schema::{self, EntitySchema, Locale, Rule};

/// A job as applying sees it.
#[derive(Debug, Clone)]
pub struct ApplyJob {
    /// Its name.
    pub name: String,
    /// Its row in the ledger.
    pub id: JobId,
    /// Its target's row in the ledger.
    pub target: TargetId,
    /// The company's id in BC.
    pub company: String,
    /// The company's local currency.
    pub local_currency: String,
    /// The entity it writes.
    pub entity: EntityName,
    /// What BC's entity allows.
    pub schema: Cow<'static, EntitySchema>,
    /// What BC's entity of its lines allows.
    pub line_schema: Option<Cow<'static, EntitySchema>>,
    /// The properties by which a row is found again in BC.
    pub match_on: Vec<String>,
    /// What happens with a matching row that we did not make.
    pub adopt: Adopt,
    /// Which writes it may make.
    pub mode: Mode,
    /// Who wins when someone changed our properties in BC.
    pub on_conflict: OnConflict,
    /// What becomes of a record whose row BC no longer has.
    pub on_missing: OnMissing,
    /// How long records are left alone that cannot go through for now.
    pub patience: Patience,
    /// How much a run may change.
    pub brake: Brake,
    /// How long a request whose answer was lost may still take effect.
    pub settle_window: Duration,
    /// When the ledger was found to be an older copy of itself, if it ever was.
    pub restored_at: Option<DateTime<Utc>>,
    /// Operations in an envelope, at most.
    pub batch_size: usize,
    /// The total that must come out right.
    pub check_total: Option<CheckTotal>,
    /// The zone of dates.
    pub timezone: Tz,
}

/// The total that BC must arrive at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckTotal {
    /// BC's property.
    pub property: String,
    /// By how much it may differ from the source.
    pub tolerance: Decimal,
}

impl CheckTotal {
    /// What is wrong with the total that BC holds, and what to do; `None` when it is as wanted.
    pub(super) fn find_wrong(&self, wanted: Decimal, held: Option<Decimal>) -> Option<String> {
        let Self { property, tolerance } = self;
        let Some(held) = held else {
            return Some(format!(
                "{property} is {wanted} in the source, and Business Central does not show it. The document stays as \
                 written; name another property in `check_total`"
            ));
        };
        let difference = (wanted - held).abs();
        (difference > *tolerance).then(|| {
            format!(
                "{property} is {held} in Business Central and {wanted} in the source: off by {difference} (tolerance \
                 {tolerance}). The document stays as written; put the source right"
            )
        })
    }
}

impl ApplyJob {
    /// Whether BC itself refuses a second row with the same match value.
    pub(super) fn key_is_enforced(&self) -> bool {
        matches!(self.match_on.as_slice(), [only] if self.schema.key_property == Some(only.as_str()))
    }

    /// The property that holds a row's number or code.
    pub(super) fn number_property(&self) -> &str {
        self.schema.key_property.unwrap_or("number")
    }

    /// Whether BC holds what we want in the property `name` of a row.
    pub(super) fn same(&self, name: &str, ours: &Value, bc: Option<&Value>) -> bool {
        same(&self.schema, name, ours, bc, self.locale())
    }

    /// Whether BC holds what we want in the property `name` of a line.
    pub(super) fn same_in_line(&self, name: &str, ours: &Value, bc: Option<&Value>) -> bool {
        let schema = self.line_schema.as_deref().unwrap_or(&self.schema);
        same(schema, name, ours, bc, self.locale())
    }

    /// Whether BC holds what we want in the property `name` of a line, or does not tell.
    pub(super) fn may_be_same_in_line(&self, name: &str, ours: &Value, bc: Option<&Value>) -> bool {
        !self.tells_in_line(name) || self.same_in_line(name, ours, bc)
    }

    /// Whether what BC answers for the property `name` of a line is what was written there.
    pub(super) fn tells_in_line(&self, name: &str) -> bool {
        let property = self.line_schema.as_deref().and_then(|schema| schema.property(name));
        property.is_none_or(|property| property.rule != Some(Rule::ReadsOtherwise))
    }

    fn locale(&self) -> Locale<'_> {
        Locale { local_currency: Some(&self.local_currency), timezone: self.timezone }
    }
}

fn same(schema: &EntitySchema, name: &str, ours: &Value, bc: Option<&Value>, locale: Locale<'_>) -> bool {
    let Some(bc) = bc else { return false };
    match schema.property(name) {
        Some(property) => schema::same(&property, ours, bc, &locale),
        None => ours == bc,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_that_is_not_shown_is_as_wrong_as_one_that_is_off() {
        let check = CheckTotal { property: "totalAmount".to_owned(), tolerance: Decimal::new(1, 2) };
        let cents = |cents| Decimal::new(cents, 2);
        for (held, begin) in [
            (Some(cents(1_350)), None),
            (Some(cents(1_351)), None),
            (Some(cents(1_352)), Some("totalAmount is 13.52 in Business Central and 13.50 in the source: off by 0.02")),
            (None, Some("totalAmount is 13.50 in the source, and Business Central does not show it")),
        ] {
            let wrong = check.find_wrong(cents(1_350), held);
            assert_eq!(wrong.is_some(), begin.is_some(), "{held:?}");
            assert!(wrong.unwrap_or_default().starts_with(begin.unwrap_or_default()), "{held:?}");
        }
    }
}
