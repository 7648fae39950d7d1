//! What a job may do in Business Central, and what it does where that is not obvious.

use super::entity;
use super::reader::Table;
use super::text::Located;
use crate::model::{Adopt, EntityName, Mode, OnConflict, OnDelete, OnMissing};
use crate::schema::{EntitySchema, standard, standard_sets};

/// `None` if what is written cannot be used, so that nothing is concluded from it.
pub(super) fn read_mode(table: &mut Table<'_>) -> Option<Mode> {
    let modes = [("upsert", Mode::Upsert), ("create_only", Mode::CreateOnly), ("update_only", Mode::UpdateOnly)];
    if !table.has("mode") {
        return Some(Mode::Upsert);
    }
    table.optional("mode", |value| value.choice(&modes)).map(Located::into_value)
}

pub(super) fn read_adopt(table: &mut Table<'_>, entity: Option<&Located<EntityName>>) -> Adopt {
    let is_document = facts(entity).is_some_and(|facts| facts.document);
    let default = if is_document { Adopt::Never } else { Adopt::Update };
    let choices = [("update", Adopt::Update), ("if_equal", Adopt::IfEqual), ("never", Adopt::Never)];
    table.or("adopt", |value| value.choice(&choices), default)
}

/// Whose change is lost is not for the program to choose.
pub(super) fn read_on_conflict(table: &mut Table<'_>, mode: Option<Mode>) -> Option<OnConflict> {
    let choices =
        [("source_wins", OnConflict::SourceWins), ("bc_wins", OnConflict::BcWins), ("hold", OnConflict::Hold)];
    if !table.has("on_conflict") && matches!(mode, Some(Mode::Upsert | Mode::UpdateOnly)) {
        let problem = table
            .problem("`on_conflict` is missing: who wins when someone changed our properties in Business Central?");
        table.findings().push(problem.allowed("source_wins, bc_wins, hold"));
    }
    table.optional("on_conflict", |value| value.choice(&choices)).map(Located::into_value)
}

pub(super) fn read_on_delete(
    table: &mut Table<'_>,
    mode: Option<Mode>,
    entity: Option<&Located<EntityName>>,
) -> OnDelete {
    let choices = [("keep", OnDelete::Keep), ("block", OnDelete::Block), ("delete", OnDelete::Delete)];
    let Some(on_delete) = table.optional("on_delete", |value| value.choice(&choices)) else { return OnDelete::Keep };
    let can_be_blocked = |schema: &EntitySchema| schema.block.is_some();
    if let (OnDelete::Block, Some(name)) = (on_delete.value, entity)
        && !facts(entity).is_some_and(can_be_blocked)
    {
        let sets: Vec<&str> = standard_sets().filter(|set| standard(set).is_some_and(can_be_blocked)).collect();
        let message = format!("rows of {} cannot be blocked, only those of {}", name.value, sets.join(", "));
        let problem = on_delete.error(message);
        table.findings().push(problem.allowed("keep, delete"));
    }
    if on_delete.value == OnDelete::Block && mode == Some(Mode::CreateOnly) {
        let problem = on_delete.error("a job whose `mode` is \"create_only\" cannot block rows: that changes them");
        table.findings().push(problem.allowed("keep, delete"));
    }
    on_delete.value
}

pub(super) fn read_on_missing(table: &mut Table<'_>) -> OnMissing {
    let choices = [("close", OnMissing::Close), ("recreate", OnMissing::Recreate)];
    table.or("on_missing", |value| value.choice(&choices), OnMissing::Close)
}

fn facts(entity: Option<&Located<EntityName>>) -> Option<&'static EntitySchema> {
    entity.and_then(|entity| entity::facts(&entity.value))
}
