//! What operators do with parked streams: apply their events again, or skip some for good.
//!
//! The thread of the view does it between two pages, so nobody else writes meanwhile. An operator hands it an order and waits.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use event_listener::Listener;
use gesta_core::{ReadError, RecordedEvent, Retry, StreamName, Version};

use crate::hosted::Hosted;
use crate::limits::REPLAY_TIME_MAX;
use crate::parked::ParkedStream;
use crate::run_error::RunError;
use crate::status::State;
use crate::views::UnknownView;

/// What became of parked streams whose events were applied again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replayed {
    /// How many streams were taken up.
    pub streams: u64,
    /// How many events were applied.
    pub events: u64,
    /// The streams that are parked again, because an event failed.
    pub parked_again: Vec<Arc<ParkedStream>>,
}

/// A parked stream, and the first events that it holds back.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldStream {
    /// The parked stream.
    pub parked: Arc<ParkedStream>,
    /// Its first events that are not applied, up to the place of the view.
    pub events: Vec<RecordedEvent>,
}

/// Why parked streams were not released.
#[derive(Debug, thiserror::Error)]
pub enum ParkedError {
    /// No view has this name.
    #[error(transparent)]
    UnknownView(#[from] UnknownView),
    /// The stream is not parked. Nothing was changed.
    #[error("stream `{stream}` is not parked in the view `{view}`")]
    NotParked {
        /// The view.
        view: String,
        /// The stream.
        stream: String,
    },
    /// Only the version that is being replaced holds the stream back, and operators change the wanted one. Nothing was changed.
    #[error(
        "stream `{stream}` is parked only in the version of the view `{view}` that answers queries until the new one has caught up"
    )]
    InOlderVersion {
        /// The view.
        view: String,
        /// The stream.
        stream: String,
    },
    /// The events to skip lie before the first one that is held. Nothing was changed.
    #[error(
        "the view `{view}` has applied stream `{stream}` through version {through}: it holds the stream from version {first} on"
    )]
    NotHeld {
        /// The view.
        view: String,
        /// The stream.
        stream: String,
        /// The last version to skip.
        through: Version,
        /// The first version that is held.
        first: Version,
    },
    /// The view has not reached the last event to skip. Nothing was changed.
    #[error(
        "the view `{view}` has not read stream `{stream}` up to version {through} yet: skip fewer events, or try again later"
    )]
    NotReached {
        /// The view.
        view: String,
        /// The stream.
        stream: String,
        /// The last version to skip.
        through: Version,
    },
    /// The view did not take the order in time: it is paused, or its database does not answer. Nothing was changed.
    #[error("the view `{view}` is {state}, and did not begin: resume it, or remove what it waits for")]
    NotBegun {
        /// The view.
        view: String,
        /// What it is doing, in one word.
        state: &'static str,
    },
    /// The events are still being applied.
    #[error("the view `{view}` still applies the events: its status shows the streams that are left")]
    GoesOn {
        /// The view.
        view: String,
    },
    /// The view stopped, or another process runs it.
    #[error("the view `{view}` did not finish: {reason}; streams that it had not finished are still parked")]
    Failed {
        /// The view.
        view: String,
        /// Why not.
        reason: String,
    },
    /// The log could not be read.
    #[error("cannot read the log: {0}")]
    Read(#[from] ReadError),
    /// The system could not start a thread.
    #[error("cannot start a thread for the view")]
    Thread(#[from] io::Error),
}

impl ParkedError {
    /// Whether, and when, it helps to try again.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::UnknownView(_)
            | Self::NotParked { .. }
            | Self::InOlderVersion { .. }
            | Self::NotHeld { .. } => Retry::Never,
            Self::Read(error) => error.retry(),
            Self::NotReached { .. }
            | Self::NotBegun { .. }
            | Self::GoesOn { .. }
            | Self::Failed { .. }
            | Self::Thread(_) => Retry::AfterPause,
        }
    }
}

/// What an operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Task {
    /// Apply the held events of these streams; of all, if there are none.
    Replay(Vec<StreamName>),
    /// Never apply some held events of a stream, then apply the others.
    Skip(Skip),
}

/// Events to skip, up to a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skip {
    pub(crate) stream: StreamName,
    pub(crate) through: Version,
    pub(crate) by: String,
    pub(crate) reason: String,
}

/// A task for the thread of a view, and its outcome.
pub(crate) struct Order {
    pub(crate) task: Task,
    outcome: Mutex<Option<Result<Replayed, ParkedError>>>,
}

impl Order {
    fn new(task: Task) -> Arc<Self> {
        Arc::new(Self { task, outcome: Mutex::default() })
    }

    pub(crate) fn finish(&self, outcome: Result<Replayed, ParkedError>) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }

    fn take_outcome(&self) -> Option<Result<Replayed, ParkedError>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Hosted {
    /// Has the thread of the view do a task, and waits for it a while. A view that has stopped is started for it.
    pub(crate) fn release(&self, task: Task) -> Result<Replayed, ParkedError> {
        let _operating = self.operating();
        let order = Order::new(task);
        self.view.order(&order);
        self.consumer.restart()?;
        let deadline = Instant::now() + REPLAY_TIME_MAX;
        loop {
            // Listen first, look second: a change in between is not missed.
            let listener = self.view.changed.listen();
            let state = self.state();
            if let Some(outcome) = order.take_outcome() {
                return outcome;
            }
            if let Some(error) = will_not(&state) {
                self.view.withdraw(&order);
                return Err(ParkedError::Failed { view: self.view.name.clone(), reason: error.to_string() });
            }
            if listener.wait_deadline(deadline).is_none() {
                return Err(self.late(&order, &state));
            }
        }
    }

    fn late(&self, order: &Arc<Order>, state: &State) -> ParkedError {
        let view = self.view.name.clone();
        match self.view.withdraw(order) {
            true => ParkedError::NotBegun { view, state: state.name() },
            false => ParkedError::GoesOn { view },
        }
    }
}

/// Why a view in this state takes no orders.
fn will_not(state: &State) -> Option<&RunError> {
    match state {
        State::Stopped { error } => Some(error),
        State::Retrying { error } if matches!(**error, RunError::StandsBy { .. }) => Some(error),
        _ => None,
    }
}
