//! What a view says about itself.

use std::sync::Arc;

use gesta_core::Checkpoint;

use crate::run_error::RunError;

/// What a view is doing.
#[derive(Debug, Clone)]
pub enum State {
    /// It reads events that were recorded before.
    CatchingUp,
    /// It has applied everything and waits for what comes.
    Live,
    /// Something failed that may pass by itself; it is tried again after a pause.
    Retrying {
        /// What failed.
        error: Arc<RunError>,
    },
    /// It has stopped, and nothing but [`Views::restart`](crate::Views::restart) sets it going, with the same
    /// definition. What it shows is right as of its checkpoint.
    Stopped {
        /// Why.
        error: Arc<RunError>,
    },
}

/// A view at one moment.
#[derive(Debug, Clone)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// The version that its definition gives itself.
    pub version: u32,
    /// The hash of its definition, in hexadecimal.
    pub hash: String,
    /// What it is doing.
    pub state: State,
    /// How far it has applied the log; `None` until its database is open.
    pub checkpoint: Option<Checkpoint>,
    /// The place in the log that queries show. It lies apart from `checkpoint` while an older version serves and this one
    /// is built beside it.
    pub serving: Option<Checkpoint>,
    /// Whether queries are answered by an older version of the view, because this one has not caught up yet.
    pub serves_predecessor: bool,
    /// The end of the log, asked of the store for this answer: a view that stands still shows a lag that grows. `None` if
    /// the store did not answer.
    pub head: Option<Checkpoint>,
    /// How many events of the log, of whatever type, lie between `checkpoint` and `head`.
    pub lag_events: Option<u64>,
}

/// How many events lie between two places of one log.
pub(crate) fn lag(checkpoint: &Checkpoint, head: &Checkpoint) -> u64 {
    let sequences = head.sequences().zip(checkpoint.sequences());
    sequences.map(|(head, reached)| head.saturating_sub(reached)).sum()
}
