//! Any consumer, as operators see it: without the type of its errors.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use gesta_core::{BoxFuture, Checkpoint, Timestamp};

use super::Consumer;
use super::error::HandlerError;
use super::state::{ConsumerState, ConsumerStatus, Paused};

/// A consumer of any handler.
pub trait AnyConsumer: Send + Sync {
    /// Returns the name.
    fn name(&self) -> &str;

    /// Returns the kind, such as `view`.
    fn kind(&self) -> &'static str;

    /// Returns its status, as [`Consumer::status`] does.
    fn report(&self) -> BoxFuture<'_, ConsumerReport>;

    /// Replaces the pause, as [`Consumer::set_paused`] does.
    fn set_paused(&self, paused: Option<Paused>);

    /// Starts a new run, as [`Consumer::restart`] does. Blocks its thread.
    ///
    /// # Errors
    /// The system could not start a thread.
    fn restart(&self) -> io::Result<()>;
}

/// A [`ConsumerStatus`] in words.
#[derive(Debug, Clone)]
pub struct ConsumerReport {
    /// Its name.
    pub name: Arc<str>,
    /// Its kind, such as `view`.
    pub kind: &'static str,
    /// Its state in one word: [`ConsumerState::name`].
    pub state: &'static str,
    /// Why it tries again or has stopped.
    pub error: Option<String>,
    /// How often it has failed since the last success, while it tries again.
    pub attempt: Option<u32>,
    /// When it tries again.
    pub next_try: Option<Timestamp>,
    /// The pause that was asked for. It takes effect after the page under way.
    pub paused: Option<Paused>,
    /// How far it got; `None` until its handler is open.
    pub checkpoint: Option<Checkpoint>,
    /// The end of the log; `None` if the store did not answer.
    pub head: Option<Checkpoint>,
    /// The events of the log, of any type, between `checkpoint` and `head`.
    pub lag_events: Option<u64>,
    /// The age of the oldest of them; zero at the head.
    pub lag: Option<Duration>,
    /// Events of the log, of any type, that it passed each second, over the last 10 s.
    pub events_per_second: f64,
    /// The streams that it holds back because it cannot handle one of their events.
    pub parked_streams: usize,
}

impl<E: fmt::Display> From<ConsumerStatus<E>> for ConsumerReport {
    fn from(status: ConsumerStatus<E>) -> Self {
        let state = status.state.name();
        let (error, attempt, next_try) = match &status.state {
            ConsumerState::Retrying { error, attempt, next } => {
                (Some(error.to_string()), Some(*attempt), Some(*next))
            }
            ConsumerState::Stopped { why } => (Some(why.to_string()), None, None),
            _ => (None, None, None),
        };
        let ConsumerStatus { name, kind, paused, checkpoint, head, .. } = status;
        let ConsumerStatus { lag_events, lag, events_per_second, .. } = status;
        Self {
            name,
            kind,
            state,
            error,
            attempt,
            next_try,
            paused,
            checkpoint,
            head,
            lag_events,
            lag,
            events_per_second,
            parked_streams: 0,
        }
    }
}

impl<E: HandlerError> AnyConsumer for Consumer<E> {
    fn name(&self) -> &str {
        Self::name(self)
    }

    fn kind(&self) -> &'static str {
        Self::kind(self)
    }

    fn report(&self) -> BoxFuture<'_, ConsumerReport> {
        Box::pin(async { self.status().await.into() })
    }

    fn set_paused(&self, paused: Option<Paused>) {
        Self::set_paused(self, paused);
    }

    fn restart(&self) -> io::Result<()> {
        Self::restart(self)
    }
}
