//! A table that takes no more entries.

use std::sync::Arc;

use super::memtable::MemTable;
use crate::segment::LogPoint;

/// A table that has ended, and where in the log it does.
pub(crate) struct FullTable {
    pub(crate) table: Arc<MemTable>,
    pub(crate) end: LogPoint,
}
