//! The state and status of a view.

use std::sync::Arc;
use std::time::Duration;

use gesta_consumer::{ConsumerState, Paused};
use gesta_core::{Checkpoint, Timestamp};

use crate::catalog::DefinitionWarning;
use crate::parked::ParkedStream;
use crate::run_error::RunError;

/// What a view is doing.
#[derive(Debug, Clone)]
pub enum State {
    /// It applies events that were recorded before.
    CatchingUp,
    /// It has applied everything and waits for new events.
    Live,
    /// Something failed that may pass, such as a full disk. The view tries again after a pause that grows to 5 s.
    Retrying {
        /// What failed.
        error: Arc<RunError>,
    },
    /// An operator paused it. It stands between two pages, and its rows are right as of its checkpoint.
    Paused {
        /// Who asked for it.
        by: Arc<str>,
        /// When.
        since: Timestamp,
    },
    /// It has stopped. Only [`Views::restart`](crate::Views::restart) starts it again, with the same definition. Its rows
    /// are right as of its checkpoint.
    Stopped {
        /// Why.
        error: Arc<RunError>,
    },
}

impl State {
    pub(crate) fn of(state: ConsumerState<RunError>) -> Self {
        match state {
            ConsumerState::CatchingUp => Self::CatchingUp,
            ConsumerState::Live => Self::Live,
            ConsumerState::Retrying { error, .. } => Self::Retrying { error: RunError::of_failure(&error) },
            ConsumerState::Paused(Paused { by, since }) => Self::Paused { by, since },
            ConsumerState::Stopped { why } => Self::Stopped { error: RunError::of(&why) },
        }
    }

    /// The state in one word: `catching-up`, `live`, `retrying`, `paused` or `stopped`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CatchingUp => "catching-up",
            Self::Live => "live",
            Self::Retrying { .. } => "retrying",
            Self::Paused { .. } => "paused",
            Self::Stopped { .. } => "stopped",
        }
    }

    /// The error of a view that is retrying or has stopped.
    #[must_use]
    pub const fn error(&self) -> Option<&Arc<RunError>> {
        match self {
            Self::CatchingUp | Self::Live | Self::Paused { .. } => None,
            Self::Retrying { error } | Self::Stopped { error } => Some(error),
        }
    }
}

/// How far a version of a view that is being built has got.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Events of the log, of any type, that it has passed.
    pub events_done: u64,
    /// Events of the log, of any type, up to its head.
    pub events_total: u64,
    /// Events that it passed each second, over the last 10 s.
    pub events_per_second: f64,
    /// The time to the head at this rate; `None` if it stands still.
    pub remaining: Option<Duration>,
}

impl Progress {
    pub(crate) fn new(events_done: u64, lag_events: u64, events_per_second: f64) -> Self {
        let seconds = lag_events as f64 / events_per_second;
        // Not a number if there is nothing left, infinite if it stands still.
        let remaining = match lag_events {
            0 => Some(Duration::ZERO),
            _ => Duration::try_from_secs_f64(seconds).ok(),
        };
        Self { events_done, events_total: events_done + lag_events, events_per_second, remaining }
    }
}

/// The version of a view that served before, as it is kept.
#[derive(Debug, Clone)]
pub struct OldVersion {
    /// The first 8 digits of the hash of its definition.
    pub version: String,
    /// What it is doing; `None` if it stands still, because its definition is not kept.
    pub state: Option<State>,
    /// The place that its rows show.
    pub checkpoint: Option<Checkpoint>,
}

/// A view at one moment.
#[derive(Debug, Clone)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// The version that its definition declares.
    pub version: u32,
    /// The hash of its definition, in hexadecimal.
    pub hash: String,
    /// What it is doing.
    pub state: State,
    /// How far it has applied the log; `None` until its database is open.
    pub checkpoint: Option<Checkpoint>,
    /// The place in the log that queries show. It differs from `checkpoint` while an older version serves and this one is
    /// built beside it.
    pub serving: Option<Checkpoint>,
    /// Whether an older version of the view answers queries, because this one has not caught up yet.
    pub serves_predecessor: bool,
    /// The progress of a version that is being built; `None` once it has served.
    pub progress: Option<Progress>,
    /// The version before, which is kept for [`Views::roll_back`](crate::Views::roll_back); `None` without one.
    pub old: Option<OldVersion>,
    /// The hash of the definition that was rolled back, in hexadecimal: the host gives it, and an older one is in its place.
    pub rolled_back: Option<String>,
    /// Why the database was last thrown away and rebuilt from the log since the views were opened: damage, or a log that
    /// is no longer the one it was built from. `None` if it was not.
    pub rebuilt: Option<String>,
    /// The streams whose events cannot be applied, by name: those that the version which answers queries holds back, and those of a
    /// version that is built beside it. A view with some is *degraded*: the rows lack their last events, or will after the switch.
    pub parked: Vec<Arc<ParkedStream>>,
    /// The names in its definition that the host does not know, and so may be misspelt.
    pub warnings: Vec<DefinitionWarning>,
    /// Why the last definition that the host loaded for it was not taken: it runs on with the one before.
    pub refused: Option<String>,
    /// The end of the log, asked of the store for this answer: the lag of a view that stands still grows. `None` if the
    /// store did not answer.
    pub head: Option<Checkpoint>,
    /// How many events of the log, of any type, lie between `checkpoint` and `head`.
    pub lag_events: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remaining_time_is_that_of_the_rate() {
        let progress = Progress::new(25, 75, 10.0);
        assert_eq!((progress.events_done, progress.events_total), (25, 100));
        assert_eq!(progress.remaining, Some(Duration::from_millis(7_500)));
        assert_eq!(Progress::new(25, 75, 0.0).remaining, None);
        assert_eq!(Progress::new(100, 0, 0.0).remaining, Some(Duration::ZERO));
    }
}
