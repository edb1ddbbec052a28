//! The way of a batch into the log: prepared and decided by its callers, written and synced in a group by the single writer,
//! published once, answered.

mod committer;
mod decide;
mod flush;
mod group;
mod group_builder;
mod indexer;
mod lookup;
mod queue;
mod segment_manager;
mod writer;

use gesta_core::AppendError;

pub(crate) use committer::Committer;
pub(crate) use decide::{DecisionContext, Refused, Repeat, Scope, repeat_of, repeat_of_command, unavailable};
pub(crate) use group_builder::GroupBuilder;
pub(crate) use indexer::{Indexer, IndexerThread};
pub(crate) use lookup::{Lookup, command_in_runs};
pub(crate) use queue::{Answer, Ticket};
pub(crate) use segment_manager::{SegmentManager, SegmentManagerThread, SharedManifest};

/// Why a log takes no writes whose writer is gone.
const PANICKED: &str = "the writer panicked: open the log again";

/// What a caller is told whose answer never came.
pub(crate) fn in_doubt() -> AppendError {
    AppendError::InDoubt { reason: "the log stopped before it answered".to_owned() }
}
