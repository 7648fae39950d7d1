//! What a job may do in Business Central, and what it does where that is not obvious.

use super::entity::EntityName;
use super::reader::Table;
use super::text::Located;

/// What happens with a row that matches but was not made by this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopt {
    /// It is linked and brought up to date.
    Update,
    /// It is linked if it already is as wanted.
    IfEqual,
    /// It is not linked: the record is quarantined with what was found.
    Never,
}

/// Which writes a job may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It makes rows and changes them.
    Upsert,
    /// It makes rows and never changes them.
    CreateOnly,
    /// It changes rows and never makes them.
    UpdateOnly,
}

/// Who wins when someone changed our properties in Business Central.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// The source: the change is overwritten, and recorded.
    SourceWins,
    /// Business Central: the change stays.
    BcWins,
    /// Nobody, until a person decides.
    Hold,
}

/// What becomes of the row of a record that was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDelete {
    /// It stays.
    Keep,
    /// It is blocked.
    Block,
    /// It is deleted.
    Delete,
}

/// What becomes of a record whose row Business Central no longer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMissing {
    /// It is closed.
    Close,
    /// Its row is made again.
    Recreate,
}

/// `None` if what is written cannot be used, so that nothing is concluded from it.
pub(super) fn read_mode(table: &mut Table<'_>) -> Option<Mode> {
    let modes = [("upsert", Mode::Upsert), ("create_only", Mode::CreateOnly), ("update_only", Mode::UpdateOnly)];
    if !table.has("mode") {
        return Some(Mode::Upsert);
    }
    table.optional("mode", |value| value.choice(&modes)).map(Located::into_value)
}

pub(super) fn read_adopt(table: &mut Table<'_>, entity: Option<&Located<EntityName>>) -> Adopt {
    let default = if entity.is_some_and(|entity| entity.value.is_document()) { Adopt::Never } else { Adopt::Update };
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

pub(super) fn read_on_delete(table: &mut Table<'_>, entity: Option<&Located<EntityName>>) -> OnDelete {
    let choices = [("keep", OnDelete::Keep), ("block", OnDelete::Block), ("delete", OnDelete::Delete)];
    let Some(on_delete) = table.optional("on_delete", |value| value.choice(&choices)) else { return OnDelete::Keep };
    let blockable = |entity: &EntityName| entity.is_standard("customers") || entity.is_standard("items");
    if let (OnDelete::Block, Some(entity)) = (on_delete.value, entity)
        && !blockable(&entity.value)
    {
        let problem = on_delete.error(format!("rows of {} cannot be blocked, only customers and items", entity.value));
        table.findings().push(problem.allowed("keep, delete"));
    }
    on_delete.value
}

pub(super) fn read_on_missing(table: &mut Table<'_>) -> OnMissing {
    let choices = [("close", OnMissing::Close), ("recreate", OnMissing::Recreate)];
    table.or("on_missing", |value| value.choice(&choices), OnMissing::Close)
}
