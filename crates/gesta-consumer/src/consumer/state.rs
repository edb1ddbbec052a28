//! What a consumer is doing, and why it does not.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gesta_core::{Checkpoint, ReadError, Retry, Timestamp};

use super::error::HandlerError;

/// What a consumer is doing.
#[derive(Debug)]
pub enum ConsumerState<E> {
    /// It handles events that were recorded before.
    CatchingUp,
    /// It has handled everything and waits for new events.
    Live,
    /// Something failed that may pass. It tries again after a pause.
    Retrying {
        /// What failed.
        error: Failure<E>,
        /// How often it has failed since the last success, from 1.
        attempt: u32,
        /// When it tries again.
        next: Timestamp,
    },
    /// An operator paused it. It stands between two pages.
    Paused(Paused),
    /// It has stopped. Only a restart starts it again.
    Stopped {
        /// Why.
        why: Why<E>,
    },
}

/// A pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    /// Who asked for it.
    pub by: Arc<str>,
    /// When.
    pub since: Timestamp,
}

/// Why a page or its handling failed.
#[derive(Debug)]
pub enum Failure<E> {
    /// The log could not be read.
    Read(Arc<ReadError>),
    /// The handler failed.
    Handler(Arc<E>),
}

/// Why a consumer has stopped.
#[derive(Debug)]
pub enum Why<E> {
    /// It was shut down, or never started.
    ShutDown,
    /// It cannot go on.
    Failed(Failure<E>),
    /// Its thread panicked: a bug in the handler or in the store.
    Panicked {
        /// The message of the panic.
        message: Arc<str>,
    },
}

/// A consumer at one moment.
#[derive(Debug, Clone)]
pub struct ConsumerStatus<E> {
    /// Its name.
    pub name: Arc<str>,
    /// Its kind, such as `view`.
    pub kind: &'static str,
    /// What it is doing.
    pub state: ConsumerState<E>,
    /// The pause that was asked for. It takes effect after the page under way.
    pub paused: Option<Paused>,
    /// How far it got; `None` until its handler is open.
    pub checkpoint: Option<Checkpoint>,
    /// The end of the log, asked for this answer. `None` if the store did not answer.
    pub head: Option<Checkpoint>,
    /// How many events of the log, of any type, lie between `checkpoint` and `head`.
    pub lag_events: Option<u64>,
    /// The age of the oldest event after `checkpoint`, of any type. Zero at the head. The lag of a consumer that stands
    /// still grows.
    pub lag: Option<Duration>,
    /// Events of the log, of any type, that it passed each second, over the last 10 s.
    pub events_per_second: f64,
}

impl<E> ConsumerState<E> {
    /// The state in one word: `catching-up`, `live`, `retrying`, `paused` or `stopped`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CatchingUp => "catching-up",
            Self::Live => "live",
            Self::Retrying { .. } => "retrying",
            Self::Paused(_) => "paused",
            Self::Stopped { .. } => "stopped",
        }
    }

    /// Returns true if only a restart helps.
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped { .. })
    }
}

impl<E: HandlerError> Failure<E> {
    pub(super) fn handler(error: E) -> Self {
        Self::Handler(Arc::new(error))
    }

    /// Returns the advice on trying again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Read(error) => error.retry(),
            Self::Handler(error) => error.retry(),
        }
    }
}

impl<E> From<ReadError> for Failure<E> {
    fn from(error: ReadError) -> Self {
        Self::Read(Arc::new(error))
    }
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "cannot read the log: {error}"),
            Self::Handler(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Display> fmt::Display for Why<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShutDown => f.write_str("the consumer was shut down"),
            Self::Failed(failure) => failure.fmt(f),
            Self::Panicked { message } => write!(f, "the consumer failed unexpectedly: {message}"),
        }
    }
}

// Derived, these would ask for `E: Clone`.
impl<E> Clone for Failure<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Read(error) => Self::Read(Arc::clone(error)),
            Self::Handler(error) => Self::Handler(Arc::clone(error)),
        }
    }
}

impl<E> Clone for Why<E> {
    fn clone(&self) -> Self {
        match self {
            Self::ShutDown => Self::ShutDown,
            Self::Failed(failure) => Self::Failed(failure.clone()),
            Self::Panicked { message } => Self::Panicked { message: Arc::clone(message) },
        }
    }
}

impl<E> Clone for ConsumerState<E> {
    fn clone(&self) -> Self {
        match self {
            Self::CatchingUp => Self::CatchingUp,
            Self::Live => Self::Live,
            Self::Retrying { error, attempt, next } => {
                Self::Retrying { error: error.clone(), attempt: *attempt, next: *next }
            }
            Self::Paused(paused) => Self::Paused(paused.clone()),
            Self::Stopped { why } => Self::Stopped { why: why.clone() },
        }
    }
}
