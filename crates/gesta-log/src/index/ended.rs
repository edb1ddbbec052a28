//! A table that takes no more entries.

use std::sync::Arc;

use super::table::Table;
use crate::segment::LogPoint;

/// A table that has ended, and where in the log it does.
pub(crate) struct Ended {
    pub(crate) table: Arc<Table>,
    pub(crate) end: LogPoint,
}
