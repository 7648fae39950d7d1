//! What a link has instead of the fingerprint of a record. No record that is read is equal to one of these.

use crate::model::{Fingerprint, Removal};

/// The source has lost the record; an outbox row that removes a row of BC has it too.
pub(super) fn lost(removal: Removal) -> Fingerprint {
    Fingerprint::of(["the source has lost the record", removal.as_str()])
}

/// The row may have been written since: the ledger is an older copy of itself.
pub(super) fn doubtful() -> Fingerprint {
    Fingerprint::of(["written before the ledger was restored"])
}
