//! The write path: callers look up, prepare and decide batches. A single writer writes and syncs them in groups,
//! publishes each group once, and answers its callers.

mod committer;
mod decide;
mod flush;
mod group;
mod group_builder;
mod indexer;
mod insert;
mod lookup;
mod manifest;
mod queue;
mod segment_manager;
mod worker;
mod writer;

use gesta_core::AppendError;

pub(crate) use committer::Committer;
pub(crate) use decide::{DecisionContext, Scope, unavailable};
pub(crate) use group_builder::GroupBuilder;
pub(crate) use indexer::Indexer;
pub(crate) use insert::Accepted;
pub(crate) use lookup::{DurablePart, Lookup, command_in_runs};
pub(crate) use manifest::SharedManifest;
pub(crate) use queue::{Answer, Closing, RecordedPlace, Ticket};
pub(crate) use segment_manager::SegmentManager;
pub(crate) use worker::Drive;

/// The answer to a caller whose batch got no answer.
pub(crate) fn in_doubt() -> AppendError {
    AppendError::InDoubt { reason: "the log stopped before it answered".to_owned() }
}
