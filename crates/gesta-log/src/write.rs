//! The way of a batch into the log: prepared and decided by its callers, written and synced in a group by the single writer,
//! published once, answered.

mod committer;
mod decide;
mod gatherer;
mod group;
mod indexer;
mod keeper;
mod lookup;
mod queue;
mod write;
mod writer;

use gesta_core::AppendError;

pub(crate) use committer::Role;
pub(crate) use decide::{Known, Refused, Repeat, Scope, repeat_of, repeat_of_command, unavailable};
pub(crate) use gatherer::Gatherer;
pub(crate) use indexer::{Indexer, IndexerThread};
pub(crate) use keeper::{Keeper, KeeperThread, SharedManifest};
pub(crate) use lookup::{Prior, command_in_runs};
pub(crate) use queue::{Answer, Ticket};

/// Why a log takes no writes whose writer is gone.
const PANICKED: &str = "the writer panicked: open the log again";

/// What a caller is told whose answer never came.
pub(crate) fn in_doubt() -> AppendError {
    AppendError::InDoubt { reason: "the log stopped before it answered".to_owned() }
}
