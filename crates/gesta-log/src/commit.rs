//! The way of a batch into the log: prepared and decided by its callers, written and synced in a group by the single writer,
//! published once, answered.

mod decide;
mod gatherer;
mod group;
mod prior;
mod queue;
mod role;
mod tail;
mod write;
mod writer;

use gesta_core::AppendError;

pub(crate) use decide::{Known, Refused, Repeat, Scope, repeat_of, repeat_of_command, unavailable};
pub(crate) use gatherer::Gatherer;
pub(crate) use prior::{Prior, command_in_runs};
pub(crate) use queue::{Answer, Ticket};
pub(crate) use role::Role;
pub(crate) use tail::{ActiveSegment, Tail};

/// Why a log takes no writes whose writer is gone.
const PANICKED: &str = "the writer panicked: open the log again";

/// What a caller is told whose answer never came.
pub(crate) fn in_doubt() -> AppendError {
    AppendError::InDoubt { reason: "the log stopped before it answered".to_owned() }
}
