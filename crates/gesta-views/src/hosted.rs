//! A view and the consumer that builds it.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use event_listener::Listener;
use gesta_consumer::{Consumer, ConsumerSettings, Paused};
use gesta_core::EventStore;

use crate::query::{QueryError, QueryLimits, Rows, SqlValue};
use crate::run_error::RunError;
use crate::runner::Builder;
use crate::status::State;
use crate::target::{Reads, Target};
use crate::view::View;

/// A view that runs.
pub(crate) struct Hosted {
    pub(crate) view: Arc<View>,
    pub(crate) consumer: Consumer<RunError>,
}

impl Hosted {
    /// Starts a view on a thread of its own. Each run opens a new target.
    pub(crate) fn start<T: Target>(
        view: View,
        store: Arc<dyn EventStore>,
        paused: Option<Paused>,
        target: impl Fn() -> T + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let view = Arc::new(view);
        let mut settings = ConsumerSettings::new(view.definition.name(), "view");
        settings.paused = paused;
        settings.changed = Arc::clone(&view.changed);
        let its_view = Arc::clone(&view);
        let builder = move || Builder::new(Arc::clone(&its_view), target());
        Ok(Self { view, consumer: Consumer::start(store, settings, builder)? })
    }

    pub(crate) fn state(&self) -> State {
        State::of(self.consumer.state())
    }

    /// Answers a query from the version that is served, waiting for one within the time limit.
    pub(crate) fn query(
        &self,
        sql: &str,
        parameters: &[(String, SqlValue)],
        limits: &QueryLimits,
    ) -> Result<Rows, QueryError> {
        let deadline = Instant::now() + limits.time;
        let reads = self.served_within(deadline)?;
        let answer = reads.query(sql, parameters, limits, deadline);
        if let Err(QueryError::Damaged { message }) = &answer {
            self.view.found_damaged(&reads, message);
        }
        answer
    }

    fn served_within(&self, deadline: Instant) -> Result<Arc<dyn Reads>, QueryError> {
        let name = || self.view.definition.name().to_owned();
        loop {
            // Listen first, look second: a change in between is not missed. And the state before the rows: a run shows its
            // rows before it stops.
            let listener = self.view.changed.listen();
            let state = self.state();
            match (self.view.readers(), state) {
                (Some(reads), _) => return Ok(reads),
                (None, State::Stopped { error }) => {
                    return Err(QueryError::Stopped { name: name(), error });
                }
                _ => {}
            }
            if listener.wait_deadline(deadline).is_none() {
                return Err(QueryError::NotReady { name: name() });
            }
        }
    }
}
