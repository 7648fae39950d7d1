//! What a pass is made of: a job and a target, as plain values and connected parts.

use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;

use crate::apply::{CheckTotal, Outlet};
use crate::ledger::TargetId;
use crate::mapping::Mapping;
use crate::model::{
    Adopt, Brake, EntityName, Fingerprint, Mode, OnConflict, OnDelete, OnMissing, Patience, RetryPolicy,
};
use crate::source::{SqlSource, StreamSpec};

/// Everything about a job that does not change between its passes.
pub struct JobSpec {
    /// Its name.
    pub name: String,
    /// The entity it writes.
    pub entity: EntityName,
    /// The entity of its lines.
    pub line_entity: Option<EntityName>,
    /// Where it reads.
    pub source: SqlSource,
    /// What it reads.
    pub stream: StreamSpec,
    /// From record to draft.
    pub mapping: Arc<Mapping>,
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
    /// What becomes of the row of a record that the source has lost.
    pub on_delete: OnDelete,
    /// How much a run may change before it asks.
    pub brake: Brake,
    /// Whether a changed match value may rename the row.
    pub rename: bool,
    /// The total that must come out right.
    pub check_total: Option<CheckTotal>,
    /// The zone of dates.
    pub timezone: Tz,
    /// How often what may pass is tried again within a run.
    pub retry: RetryPolicy,
    /// How long records are left alone that cannot go through for now.
    pub patience: Patience,
    /// How long a pass may take.
    pub timeout: Duration,
}

impl JobSpec {
    /// Over all that decides what becomes of a record, beside the record: mapping and policies. With another one
    /// everything is looked at again, also what was refused or is in conflict.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let policies = (self.adopt, self.mode, self.on_conflict, self.on_missing, self.rename, &self.check_total);
        Fingerprint::of([self.mapping.fingerprint().to_string().as_str(), &format!("{policies:?}")])
    }
}

/// A company, reached.
pub struct Target {
    /// Its row in the ledger.
    pub id: TargetId,
    /// The target's name in the configuration.
    pub name: String,
    /// The company's id in BC.
    pub company: String,
    /// Its local currency.
    pub local_currency: String,
    /// Where its jobs' writes go.
    pub outlet: Outlet,
    /// How long a request whose answer was lost may still take effect.
    pub settle_window: Duration,
    /// Operations in an envelope, at most.
    pub batch_size: usize,
}
