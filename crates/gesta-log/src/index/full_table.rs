//! A table that takes no more entries.

use std::sync::Arc;

use super::memtable::{MemTable, State};
use crate::segment::LogPoint;

/// A full table, and where in the log it ends.
pub(crate) struct FullTable {
    table: Arc<MemTable>,
    pub(crate) end: LogPoint,
}

impl FullTable {
    pub(crate) fn new(table: Arc<MemTable>, end: LogPoint) -> Self {
        let full = Self { table, end };
        assert!(full.contents().last() == end.chain.position, "a table ends where the log did");
        full
    }

    /// Its content, which never changes. No lock is held.
    pub(crate) fn contents(&self) -> &State {
        self.table.full().expect("another table follows it")
    }
}
