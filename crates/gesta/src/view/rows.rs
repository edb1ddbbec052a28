//! The rows of one table, as the code of a view reads and changes them.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use gesta_views::{RowChange, RowFailure, SqlValue, TableChanges};

use super::error::{NotLoaded, tried};
use super::{Row, ViewError};

/// Rows of a table that are kept in memory from page to page. Beyond it, all are dropped after a page and read again when they
/// are needed.
pub(super) const KEPT_ROWS_MAX: usize = if cfg!(test) { 100 } else { 100_000 };

/// Bytes of the values of these rows, as [`SqlValue::counted_bytes`] counts them.
pub(super) const KEPT_BYTES_MAX: usize = if cfg!(test) { 16 << 10 } else { 64 << 20 };

/// The rows of one table, by key.
///
/// A key is given as `&R::Key`, or as what it borrows as: `"42"` for a `String`. Errors are passed on with `?`.
#[derive(Debug)]
pub struct Rows<R: Row> {
    /// The rows in memory.
    slots: HashMap<R::Key, Slot<R>>,
    /// The bytes of all slots.
    bytes: usize,
    /// The keys of the rows that the page changed.
    changed: Vec<R::Key>,
    /// What the event changed, as it was before. `None`: the row was not in memory.
    before: Vec<(R::Key, Option<Slot<R>>)>,
    /// The length of `changed` before the event.
    changed_before: usize,
    /// The keys of rows that are needed and not in memory.
    missing: HashSet<R::Key>,
    /// The first access of an event tells its key only, and shows no row.
    collects: bool,
    /// The event that is applied.
    now: At,
}

/// What is known of a row.
#[derive(Debug, Clone)]
struct Slot<R> {
    /// `None`: there is none.
    row: Option<R>,
    /// The event of the page that changed it last.
    changed_by: Option<At>,
    /// The bytes of its values, when it was last read or written.
    bytes: usize,
}

impl<R> Slot<R> {
    /// A row as it is in the database.
    const fn stored(row: Option<R>, bytes: usize) -> Self {
        Self { row, changed_by: None, bytes }
    }
}

/// An event of a page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct At {
    /// Its number among the decoded events.
    pub number: usize,
    /// The index of the recorded event that it is read from.
    pub event: usize,
}

impl<R: Row> Default for Rows<R> {
    fn default() -> Self {
        Self {
            slots: HashMap::new(),
            bytes: 0,
            changed: Vec::new(),
            before: Vec::new(),
            changed_before: 0,
            missing: HashSet::new(),
            collects: false,
            now: At::default(),
        }
    }
}

impl<R: Row> Rows<R> {
    /// The row with a key, if there is one.
    ///
    /// # Errors
    /// [`ViewError`] if the row must be read first. Pass it on: the event is applied again then.
    pub fn get<K>(&mut self, key: &K) -> Result<Option<&R>, ViewError>
    where
        R::Key: Borrow<K>,
        K: ToOwned<Owned = R::Key> + Eq + Hash + ?Sized,
    {
        self.require(key)?;
        Ok(self.slots.get(key).and_then(|slot| slot.row.as_ref()))
    }

    /// The row with a key, to be changed. Its key must stay.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn get_mut<K>(&mut self, key: &K) -> Result<Option<&mut R>, ViewError>
    where
        R::Key: Borrow<K>,
        K: ToOwned<Owned = R::Key> + Eq + Hash + ?Sized,
    {
        if self.get(key)?.is_none() {
            return Ok(None);
        }
        Ok(self.change(key).as_mut())
    }

    /// The row with a key, to be changed. If there is none, `make` makes it: a row with this key.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn get_or_put<K>(&mut self, key: &K, make: impl FnOnce() -> R) -> Result<&mut R, ViewError>
    where
        R::Key: Borrow<K>,
        K: ToOwned<Owned = R::Key> + Eq + Hash + ?Sized,
    {
        self.require(key)?;
        Ok(self.change(key).get_or_insert_with(make))
    }

    /// Stores a row, in place of one with the same key.
    pub fn put(&mut self, row: R) {
        let key = row.key();
        *self.change(&key) = Some(row);
    }

    /// Deletes the row with a key, if there is one.
    pub fn delete<K>(&mut self, key: &K)
    where
        R::Key: Borrow<K>,
        K: ToOwned<Owned = R::Key> + Eq + Hash + ?Sized,
    {
        *self.change(key) = None;
    }

    /// Checks that a row is in memory.
    fn require<K>(&mut self, key: &K) -> Result<(), ViewError>
    where
        R::Key: Borrow<K>,
        K: ToOwned<Owned = R::Key> + Eq + Hash + ?Sized,
    {
        let is_known = self.slots.contains_key(key);
        if !is_known {
            self.missing.insert(key.to_owned());
        }
        match is_known && !self.collects {
            true => Ok(()),
            false => Err(NotLoaded.into()),
        }
    }

    /// The row with a key, changed by the event from now on.
    fn change<K>(&mut self, key: &K) -> &mut Option<R>
    where
        R::Key: Borrow<K>,
        K: ToOwned<Owned = R::Key> + Eq + Hash + ?Sized,
    {
        let Self { slots, changed, before, now, .. } = self;
        if !slots.contains_key(key) {
            before.push((key.to_owned(), None));
            changed.push(key.to_owned());
            slots.insert(key.to_owned(), Slot { row: None, changed_by: Some(*now), bytes: 0 });
        }
        let slot = slots.get_mut(key).expect("it was inserted");
        if slot.changed_by != Some(*now) {
            before.push((key.to_owned(), Some(slot.clone())));
            if slot.changed_by.is_none() {
                changed.push(key.to_owned());
            }
            slot.changed_by = Some(*now);
        }
        &mut slot.row
    }
}

/// The rows of a table of any type, between the code of a view and its database.
pub trait AnyRows {
    /// An event of the page begins.
    fn begin(&mut self, event: At);

    /// Takes back what the event changed.
    fn undo(&mut self);

    /// From now on the first access of an event tells its key only, or no longer.
    fn collect(&mut self, collects: bool);

    /// True if rows are needed that are not in memory.
    fn is_missing(&self) -> bool;

    /// The keys of the rows that are needed. A key without values has no row; if one is put, its event is named.
    fn missing(&self) -> Vec<Vec<SqlValue>>;

    /// Takes those of the needed rows that exist.
    fn load(&mut self, rows: Vec<Vec<SqlValue>>) -> Result<(), RowFailure>;

    /// Takes the changes of the page, which ends.
    fn changes(&mut self) -> Result<TableChanges, RowFailure>;
}

impl<R: Row> AnyRows for Rows<R> {
    fn begin(&mut self, event: At) {
        self.now = event;
        self.before.clear();
        self.changed_before = self.changed.len();
    }

    fn undo(&mut self) {
        for (key, before) in self.before.drain(..) {
            match before {
                Some(slot) => self.slots.insert(key, slot),
                None => self.slots.remove(&key),
            };
        }
        self.changed.truncate(self.changed_before);
    }

    fn collect(&mut self, collects: bool) {
        self.collects = collects;
    }

    fn is_missing(&self) -> bool {
        !self.missing.is_empty()
    }

    fn missing(&self) -> Vec<Vec<SqlValue>> {
        self.missing.iter().filter_map(|key| tried(|| key_values::<R>(key)).ok()).collect()
    }

    fn load(&mut self, rows: Vec<Vec<SqlValue>>) -> Result<(), RowFailure> {
        for values in rows {
            let bytes = bytes_of(&values);
            let row = tried(|| R::from_values(values));
            let row = row.map_err(|error| RowFailure::Row { message: message_of::<R>(&error) })?;
            let key = row.key();
            if !self.missing.remove(&key) {
                return Err(RowFailure::Row { message: message_of::<R>(&OTHER_KEY.into()) });
            }
            self.bytes += bytes;
            self.slots.insert(key, Slot::stored(Some(row), bytes));
        }
        let absent = self.missing.drain().map(|key| (key, Slot::stored(None, 0)));
        self.slots.extend(absent);
        Ok(())
    }

    fn changes(&mut self) -> Result<TableChanges, RowFailure> {
        let mut changes = TableChanges::default();
        for key in std::mem::take(&mut self.changed) {
            let slot = self.slots.get_mut(&key).expect("a row that was changed is in memory");
            let At { event, .. } = slot.changed_by.take().expect("the event that changed a row is known");
            let (values, to) = match &slot.row {
                Some(row) => (tried(|| values(&key, row)), &mut changes.put),
                None => (tried(|| key_values::<R>(&key)), &mut changes.delete),
            };
            let values =
                values.map_err(|error| RowFailure::Event { event, message: message_of::<R>(&error) })?;
            let bytes = bytes_of(&values);
            self.bytes = self.bytes - slot.bytes + bytes;
            slot.bytes = bytes;
            to.push(RowChange { values, event });
        }
        self.before.clear();
        if self.slots.len() > KEPT_ROWS_MAX || self.bytes > KEPT_BYTES_MAX {
            self.slots.clear();
            self.bytes = 0;
        }
        Ok(changes)
    }
}

/// Why a key is refused whose values stand for another key, or for none.
const OTHER_KEY: &str = "its key comes back from the database as another one: `Column::from_value` must give back what \
                         `Column::to_value` took";

/// The values of a row to be written.
fn values<R: Row>(key: &R::Key, row: &R) -> Result<Vec<SqlValue>, ViewError> {
    if row.key() != *key {
        return Err("its key was changed: delete it and put another one".into());
    }
    key_values::<R>(key)?;
    row.values()
}

/// The values of a key, from which it comes back. So different keys never have the same values.
fn key_values<R: Row>(key: &R::Key) -> Result<Vec<SqlValue>, ViewError> {
    let values = R::key_values(key)?;
    match R::key_from_values(values.clone())? == *key {
        true => Ok(values),
        false => Err(OTHER_KEY.into()),
    }
}

fn bytes_of(values: &[SqlValue]) -> usize {
    values.iter().map(SqlValue::counted_bytes).sum()
}

fn message_of<R: Row>(error: &ViewError) -> String {
    format!("a row of the table `{}`: {error}", R::table().name)
}
