//! `backup`: a copy of the ledger that can take its place.

use std::path::Path;

use super::OpsError;
use crate::ledger::Ledger;

/// Writes a copy of the ledger to `to`, where nothing must be yet. The ledger may be in use; a damaged one is not copied,
/// so that no copy replaces a good one.
pub async fn backup(ledger: &Ledger, to: &Path) -> Result<(), OpsError> {
    ledger.sound().await?;
    Ok(ledger.copy_to(to).await?)
}
