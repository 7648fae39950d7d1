//! Why a record is where it is, in words for people.

use super::same_error;
use crate::bc::BcError;
use crate::ledger::Reason;
use crate::model::{Reference, Take, Value};

/// Why nothing was sent although BC does not hold what the source has.
pub(super) const KEPT: &str = "Business Central keeps what someone changed there: `on_conflict` is \"bc_wins\"";

/// Why a row is known to be ours although nothing has answered that it is.
pub(super) const FOUND: &str = "found by reading back a request whose answer was lost";

/// Before the reason why a record is where it is, while its row holds a part of what is wanted.
pub(super) const PART_APPLIED: &str = "part-applied: ";

/// What a person decided about a conflict.
pub(super) fn decided(take: Take) -> Reason {
    Reason::new(take.told())
}

/// Why nothing was sent by a job that makes no rows.
pub(super) const NO_ROW: &str =
    "waits for its row in Business Central: `mode` is \"update_only\", and there is none that matches";

/// Why nothing was sent by a job that makes rows and leaves them alone.
pub(super) const NEVER_CHANGED: &str = "the job never changes rows: `mode` is \"create_only\"";

/// What a record waits for, in words: one line for each missing record or code.
pub(super) fn waits_for(missing: &[Reference]) -> String {
    let words = |reference: &Reference| match reference {
        Reference::Link { job, key } => format!("record {key} of job {job}, which is not in Business Central yet"),
        Reference::Lookup { set, code } => format!("`{code}`, which Business Central does not have among its {set}"),
    };
    let list: Vec<_> = missing.iter().map(words).collect();
    format!("waits for {}", list.join(" and for "))
}

/// BC's words as the ledger keeps them; `own` are the record's values. The two refusals that nearly every new set-up
/// meets get their fix.
pub(super) fn reason_of<'v>(refusal: &BcError, own: impl Iterator<Item = &'v Value>) -> Reason {
    let hint = if refusal.message.contains("Posting Group must have a value") {
        ". Rows made through the API get posting groups only from a template: in Business Central open `API Setup` and \
         choose a template for the table, and fill in the rows that exist already"
    } else if refusal.message.contains("activate Manual Nos.") {
        ". Switch on `Manual Nos.` for that number series, or leave `number` out of the mapping"
    } else {
        ""
    };
    Reason {
        text: format!("{refusal}{hint}"),
        code: Some(refusal.code.clone()).filter(|code| !code.is_empty()),
        correlation_id: refusal.correlation_id.clone(),
        error: Some(same_error::of(refusal, own)),
    }
}
