//! Consumers: named, supervised readers of the log. Each has a thread, a handler, a state, and operators who pause it.

mod any;
mod error;
mod handler;
mod lag;
mod log;
mod notice;
mod rate;
mod run;
mod shared;
mod state;
mod stop;

use std::any::Any;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use event_listener::Event;
use gesta_core::{Checkpoint, EventStore};

use crate::clock::{Clock, SystemClock};
use log::Log;
use shared::{Fixed, Shared};

pub use any::{AnyConsumer, ConsumerReport};
pub use error::HandlerError;
pub use handler::{Handled, Handler, Opener, Opening, Reach, Recovery, Session, Start};
pub(crate) use lag::LagMeter;
pub use lag::events_between;
pub use notice::Notice;
pub use state::{ConsumerState, ConsumerStatus, Failure, Paused, Why};
pub use stop::{Interrupter, Stop};

/// How a consumer runs.
#[derive(Clone)]
pub struct ConsumerSettings {
    /// Its name, unique in the process.
    pub name: String,
    /// Its kind, such as `view`. With the name, it names the thread.
    pub kind: &'static str,
    /// The clock of its pauses and of its lag.
    pub clock: Arc<dyn Clock>,
    /// How often an error of the handler is tried again before the consumer stops. `None`: as often as it takes. Reads are
    /// always tried again as often as it takes.
    pub retries_max: Option<u32>,
    /// It starts paused. For a pause that was kept over a restart of the process.
    pub paused: Option<Paused>,
    /// Notified whenever the consumer changes: [`Consumer::changed`].
    pub changed: Arc<Event>,
}

impl ConsumerSettings {
    /// The system's clock, retries without end, not paused.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: &'static str) -> Self {
        let (clock, changed) = (Arc::new(SystemClock), Arc::new(Event::new()));
        Self { name: name.into(), kind, clock, retries_max: None, paused: None, changed }
    }
}

/// A named reader of the log on a thread of its own. It goes on from the last place that its handler committed.
///
/// It never skips an event. Errors that may pass are tried again after pauses from 10 ms to 5 s; all others stop it, and so
/// does a panic. Its [`ConsumerState`] has the reason. After a page whose error names an event, its batches are handled one
/// by one, so that the place stands right before the batch that fails.
///
/// Dropping it stops it and waits for its thread.
///
/// # Example
/// A handler that counts. A real one keeps count and place in one transaction of its database, and starts from there.
/// ```
/// # use std::sync::Arc;
/// # use std::sync::atomic::{AtomicUsize, Ordering};
/// # use event_listener::Listener;
/// # use gesta_consumer::*;
/// # use gesta_core::*;
/// struct Counter(Arc<AtomicUsize>);
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("cannot count")]
/// struct CannotCount;
///
/// impl HandlerError for CannotCount {
///     fn retry(&self) -> Retry {
///         Retry::Never
///     }
/// }
///
/// impl Handler for Counter {
///     type Error = CannotCount;
///
///     fn open(&mut self, opening: &Opening<'_, CannotCount>) -> Result<Start, CannotCount> {
///         self.0.store(0, Ordering::SeqCst);
///         Ok(Start::new(opening.start().clone(), Query::All))
///     }
///
///     fn handle(&mut self, page: &Page, _: &Checkpoint, _: Reach, _: &Stop) -> Result<Handled, CannotCount> {
///         self.0.fetch_add(page.events.len(), Ordering::SeqCst);
///         Ok(Handled::Committed)
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Arc::new(MemoryStore::new(StoreId::from_bytes([7; 16]), 1, || Timestamp::from_nanos(1)));
/// # let event = NewEvent::json(EventId::from_u128(1), "a-1".parse()?, "a.b".parse()?, Timestamp::from_nanos(1), "{}");
/// let appended = store.append_now(Batch::new([event]))?;
/// let count = Arc::new(AtomicUsize::new(0));
/// let counted = Arc::clone(&count);
/// let make = move || Counter(Arc::clone(&counted));
/// let consumer = Consumer::start(store, ConsumerSettings::new("counter", "example"), make)?;
/// loop {
///     let listener = consumer.changed().listen();
///     if consumer.checkpoint().is_some_and(|at| at.at_least(&appended.checkpoint)) {
///         break;
///     }
///     listener.wait();
/// }
/// assert_eq!(count.load(Ordering::SeqCst), 1);
/// # Ok(())
/// # }
/// ```
pub struct Consumer<E: HandlerError> {
    shared: Arc<Shared<E>>,
    body: Arc<Body<E>>,
}

/// One run, with a handler of its own.
type Body<E> = dyn Fn(&Log<'_, E>) -> Why<E> + Send + Sync;

impl<E: HandlerError> Consumer<E> {
    /// Starts a consumer. `make` makes a new handler for each run, on its thread.
    ///
    /// # Errors
    /// The system could not start a thread.
    pub fn start<O: Opener<Error = E>>(
        store: Arc<dyn EventStore>,
        settings: ConsumerSettings,
        make: impl Fn() -> O + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let ConsumerSettings { name, kind, clock, retries_max, paused, changed } = settings;
        let (name, report) = (name.into(), O::report);
        let shared = Shared::new(Fixed { name, kind, store, clock, retries_max, report, changed, paused });
        let body = Arc::new(move |log: &Log<'_, E>| run::run(log, &mut make()));
        let consumer = Self { shared: Arc::new(shared), body };
        consumer.restart()?;
        Ok(consumer)
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Returns the kind, such as `view`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.shared.kind
    }

    /// Stands still after the page under way, until [`Self::resume`]. Restarts do not undo it. The first of several pauses
    /// counts.
    pub fn pause(&self, by: &str) {
        let since = self.shared.clock.now();
        self.shared.change(|run| {
            run.paused.get_or_insert_with(|| Paused { by: by.into(), since });
            run.stop.set_paused(true);
        });
    }

    /// Ends a pause. Without one, it does nothing.
    pub fn resume(&self) {
        self.set_paused(None);
    }

    /// Replaces the pause, or ends it.
    pub fn set_paused(&self, paused: Option<Paused>) {
        self.shared.change(|run| {
            run.stop.set_paused(paused.is_some());
            run.paused = paused;
        });
    }

    /// Starts a new run, unless one is going on. It goes on from the last place that the handler committed.
    ///
    /// # Errors
    /// The system could not start a thread.
    pub fn restart(&self) -> io::Result<()> {
        let mut run = self.shared.run();
        if !run.state.is_stopped() {
            return Ok(());
        }
        // It has reported its end, and does not take this lock again.
        if let Some(ended) = run.thread.take() {
            ended.join().expect("a consumer's thread catches its panics");
        }
        let stop = Stop::new();
        stop.set_paused(run.paused.is_some());
        let (shared, body, its_stop) = (Arc::clone(&self.shared), Arc::clone(&self.body), stop.clone());
        // A thread's name holds no zero byte.
        let name = format!("{}-{}", self.shared.kind, self.shared.name).replace('\0', "");
        // The thread takes this lock before it reports anything, so it finds the run set up.
        run.thread = Some(thread::Builder::new().name(name).spawn(move || {
            let log = Log::new(&shared, &its_stop, RandomState::new().hash_one(&*shared.name));
            let why = catch_unwind(AssertUnwindSafe(|| body(&log)));
            shared.ended(why.unwrap_or_else(|panic| Why::Panicked { message: panic_message(&*panic) }));
        })?);
        run.state = ConsumerState::CatchingUp;
        run.stop = stop;
        drop(run);
        self.shared.changed.notify(usize::MAX);
        Ok(())
    }

    /// Asks the run to stop. The page under way is committed whole or not at all.
    pub fn request_stop(&self) {
        self.shared.run().stop.stop();
        self.shared.interrupt();
    }

    /// Waits for the thread of a run that was asked to stop.
    pub fn join(&self) {
        let thread = self.shared.run().thread.take();
        if let Some(thread) = thread {
            thread.join().expect("a consumer's thread catches its panics");
        }
    }

    /// Returns what it is doing. Does not ask the store.
    #[must_use]
    pub fn state(&self) -> ConsumerState<E> {
        self.shared.run().state.clone()
    }

    /// Returns the last place that its handler committed; `None` until it is open.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.shared.run().checkpoint.clone()
    }

    /// Returns the events of the log, of any type, that it passed each second, over the last 10 s.
    #[must_use]
    pub fn events_per_second(&self) -> f64 {
        self.shared.run().rate.per_second(self.shared.clock.elapsed())
    }

    /// Returns its status, measured against the head of the log at this moment. If the store does not answer, `head` and
    /// the lag are `None`.
    pub async fn status(&self) -> ConsumerStatus<E> {
        let shared = &*self.shared;
        // The consumer first, the head second: the lag may be a little too large, never too small.
        let (state, paused, checkpoint, events_per_second) = {
            let mut run = shared.run();
            let rate = run.rate.per_second(shared.clock.elapsed());
            (run.state.clone(), run.paused.clone(), run.checkpoint.clone(), rate)
        };
        let head = shared.store.head_now().await.ok();
        let places = checkpoint.as_ref().zip(head.as_ref()).filter(|(at, head)| at.is_comparable(head));
        let lag_events = places.map(|(at, head)| events_between(at, head));
        let lag = match places {
            Some((at, head)) => shared.lag.lag(&*shared.store, &*shared.clock, at, head).await.ok(),
            None => None,
        };
        let (name, kind) = (Arc::clone(&shared.name), shared.kind);
        ConsumerStatus { name, kind, state, paused, checkpoint, head, lag_events, lag, events_per_second }
    }

    /// Notified after every change of the state or the place. Listen first, look second.
    #[must_use]
    pub fn changed(&self) -> &Event {
        &self.shared.changed
    }
}

impl<E: HandlerError> Drop for Consumer<E> {
    fn drop(&mut self) {
        self.request_stop();
        self.join();
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> Arc<str> {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").into()
}
