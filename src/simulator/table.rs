//! The rows of one set in one company, with the indexes that make look-ups by key cheap.
//!
//! Rows never move: a row keeps its slot until it is deleted, and slots are not used twice, so a bookmark in a slot or in
//! a key survives writes between two pages. It checks no rule but the uniqueness of ids.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use uuid::Uuid;

use super::fields::EntitySet;
use super::record::{Record, Row};

/// Where a row lies in its table.
pub(super) type Slot = u32;

/// Where a page ended: still a place in the order when that row is gone.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bookmark {
    /// Natural key of the last row, blank when the set has none.
    pub(super) key: String,
    /// Slot of the last row.
    pub(super) slot: Slot,
}

/// One set of one company.
#[derive(Debug)]
pub(super) struct Table {
    /// What the rows are.
    pub(super) set: &'static EntitySet,
    slots: Vec<Option<Row>>,
    by_id: HashMap<Uuid, Slot>,
    indexes: Vec<Index>,
}

#[derive(Debug)]
struct Index {
    position: usize,
    entries: BTreeSet<(Box<str>, Slot)>,
}

impl Table {
    /// An empty table.
    pub(super) fn new(set: &'static EntitySet) -> Self {
        let keys = set.fields.iter().enumerate().filter(|(_, field)| field.indexed);
        let indexes = keys.map(|(position, _)| Index { position, entries: BTreeSet::new() }).collect();
        Self { set, slots: Vec::new(), by_id: HashMap::new(), indexes }
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The row in `slot`.
    pub(super) fn row(&self, slot: Slot) -> Option<&Row> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// The row with that id, unpacked.
    pub(super) fn find(&self, id: Uuid) -> Option<Record> {
        self.row(self.slot_of(id)?).map(|row| Record::unpack(self.set, row))
    }

    /// The slot of the row with that id.
    pub(super) fn slot_of(&self, id: Uuid) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    /// The row with that natural key, unpacked.
    pub(super) fn find_by_key(&self, key: &str) -> Option<Record> {
        let slot = *self.equal(self.set.key?, key)?.first()?;
        self.row(slot).map(|row| Record::unpack(self.set, row))
    }

    /// The slots of the rows whose value at `position` is `text`, when that property has an index.
    pub(super) fn equal(&self, position: usize, text: &str) -> Option<Vec<Slot>> {
        let index = self.indexes.iter().find(|index| index.position == position)?;
        let from = (Box::from(text), 0);
        Some(index.entries.range(from..).take_while(|(key, _)| &**key == text).map(|(_, slot)| *slot).collect())
    }

    /// The place of `slot` in the page order.
    pub(super) fn bookmark(&self, slot: Slot) -> Bookmark {
        let key = self.set.key.and_then(|key| self.row(slot).map(|row| self.key_of(key, row)));
        Bookmark { key: key.unwrap_or_default().into(), slot }
    }

    /// All slots in page order, by natural key if the set has one, beginning behind `after`.
    pub(super) fn walk(&self, after: Option<&Bookmark>) -> Box<dyn Iterator<Item = Slot> + '_> {
        let key_index = self.indexes.iter().find(|index| Some(index.position) == self.set.key);
        let Some(index) = key_index else {
            let from = after.map_or(0, |bookmark| bookmark.slot as usize + 1);
            let slots = self.slots.iter().enumerate().skip(from);
            return Box::new(slots.filter_map(|(at, row)| row.as_ref().and_then(|_| Slot::try_from(at).ok())));
        };
        let range = match after {
            Some(Bookmark { key, slot }) => {
                index.entries.range((Bound::Excluded((Box::from(key.as_str()), *slot)), Bound::Unbounded))
            }
            None => index.entries.range(..),
        };
        Box::new(range.map(|(_, slot)| *slot))
    }

    /// All rows in page order, unpacked.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.walk(None).filter_map(|slot| self.row(slot)).map(|row| Record::unpack(self.set, row))
    }

    /// Adds a row and gives its slot.
    pub(super) fn insert(&mut self, row: Row) -> Slot {
        let slot = Slot::try_from(self.slots.len()).expect("fewer than four billion rows");
        self.by_id.insert(row.id, slot);
        self.index(&row, slot);
        self.slots.push(Some(row));
        slot
    }

    /// Puts `row` into `slot`, whatever is there, and gives what was there.
    pub(super) fn replace(&mut self, slot: Slot, row: Option<Row>) -> Option<Row> {
        let old = self.slots[slot as usize].take();
        if let Some(old) = &old {
            self.by_id.remove(&old.id);
            for position in 0..self.indexes.len() {
                let entry = (self.key_of(self.indexes[position].position, old), slot);
                self.indexes[position].entries.remove(&entry);
            }
        }
        if let Some(row) = row {
            self.by_id.insert(row.id, slot);
            self.index(&row, slot);
            self.slots[slot as usize] = Some(row);
        }
        old
    }

    fn index(&mut self, row: &Row, slot: Slot) {
        for position in 0..self.indexes.len() {
            let entry = (self.key_of(self.indexes[position].position, row), slot);
            self.indexes[position].entries.insert(entry);
        }
    }

    fn key_of(&self, position: usize, row: &Row) -> Box<str> {
        row.value(self.set, position).plain(self.set.fields[position].kind).into_boxed_str()
    }
}
