//! Shared by the tests: a store, a target whose effects and place are one, and a store that fails on demand.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use event_listener::Listener;
use gesta_consumer::*;
use gesta_core::*;

/// How long a test waits for an event that must come. Only a failing test waits as long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn clock() -> TestClock {
    TestClock::new(Timestamp::from_nanos(0))
}

/// A store whose events are recorded at the time of the clock.
pub(crate) fn store_of(clock: &TestClock, partitions: u16) -> Arc<MemoryStore> {
    let clock = clock.clone();
    Arc::new(MemoryStore::new(StoreId::from_bytes([7; 16]), partitions, move || clock.now()))
}

pub(crate) fn event(stream: &str, data: &str) -> NewEvent {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = EventId::from_u128(NEXT.fetch_add(1, Ordering::SeqCst).into());
    let (stream, kind) = (stream.parse().unwrap(), "counted".parse().unwrap());
    NewEvent::json(id, stream, kind, Timestamp::from_nanos(0), data.to_owned())
}

/// Appends one batch, with an event for each of the data.
pub(crate) fn append(store: &MemoryStore, data: &[&str]) -> Checkpoint {
    let events = data.iter().map(|data| event("counter-1", data)).collect::<Vec<_>>();
    store.append_now(Batch::new(events)).unwrap().checkpoint
}

/// Appends `{"n": …}` for each number, in batches of one.
pub(crate) fn append_numbers(store: &MemoryStore, numbers: impl IntoIterator<Item = u64>) -> Checkpoint {
    let batches = numbers.into_iter().map(|number| append(store, &[&number.to_string()]));
    batches.last().unwrap()
}

/// What a handler does next instead of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Fails with this advice.
    Fails(Retry),
    Panics,
    /// Blocks until it is interrupted or let go.
    Blocks,
}

/// A place and the effects up to it, which change together.
#[derive(Default)]
pub(crate) struct Target {
    pub(crate) inner: Mutex<Inner>,
    pub(crate) changed: Condvar,
}

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) at: Option<Checkpoint>,
    pub(crate) effects: Vec<String>,
    pub(crate) troubles: VecDeque<Trouble>,
    /// Troubles of `open`.
    pub(crate) open_troubles: VecDeque<Trouble>,
    pub(crate) opened: u32,
    pub(crate) pages: u32,
    pub(crate) is_blocking: bool,
    pub(crate) is_let_go: bool,
    pub(crate) heads: u32,
}

impl Target {
    pub(crate) fn effects(&self) -> Vec<String> {
        self.inner.lock().unwrap().effects.clone()
    }

    pub(crate) fn trouble(&self, troubles: impl IntoIterator<Item = Trouble>) {
        self.inner.lock().unwrap().troubles.extend(troubles);
    }

    /// Waits until a handler blocks.
    pub(crate) fn wait_until_blocking(&self) {
        self.wait(|inner| inner.is_blocking);
    }

    pub(crate) fn let_go(&self) {
        self.inner.lock().unwrap().is_let_go = true;
        self.changed.notify_all();
    }

    fn wait(&self, until: impl Fn(&Inner) -> bool) {
        let inner = self.inner.lock().unwrap();
        let (_inner, waited) =
            self.changed.wait_timeout_while(inner, PATIENCE, |inner| !until(inner)).unwrap();
        assert!(!waited.timed_out());
    }
}

/// The handler of these tests. Data `poison` cannot be handled.
pub(crate) struct Noting {
    pub(crate) target: Arc<Target>,
    pub(crate) page_events: u32,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum NotingError {
    #[error("the event at {0} is poison")]
    Poison(Position),
    #[error("the target is in trouble")]
    Trouble(Retry),
}

impl HandlerError for NotingError {
    fn retry(&self) -> Retry {
        match self {
            Self::Poison(_) => Retry::Never,
            Self::Trouble(retry) => *retry,
        }
    }

    fn event(&self) -> Option<Position> {
        match self {
            Self::Poison(position) => Some(*position),
            Self::Trouble(_) => None,
        }
    }
}

impl Handler for Noting {
    type Error = NotingError;

    fn open(&mut self, opening: &Opening<'_, NotingError>) -> Result<Start, NotingError> {
        let mut inner = self.target.inner.lock().unwrap();
        inner.opened += 1;
        match inner.open_troubles.pop_front() {
            Some(Trouble::Fails(retry)) => return Err(NotingError::Trouble(retry)),
            Some(trouble) => panic!("a test has {trouble:?} at open"),
            None => {}
        }
        let at = inner.at.get_or_insert_with(|| opening.start().clone()).clone();
        let limit = Limit::events(self.page_events.try_into().unwrap());
        Ok(Start { limit, ..Start::new(at, Query::All) })
    }

    fn handle(
        &mut self,
        page: &Page,
        at: &Checkpoint,
        reach: Reach,
        stop: &Stop,
    ) -> Result<Handled, NotingError> {
        let mut inner = self.target.inner.lock().unwrap();
        inner.pages += 1;
        match inner.troubles.pop_front() {
            None => {}
            Some(Trouble::Fails(retry)) => return Err(NotingError::Trouble(retry)),
            Some(Trouble::Panics) => panic!("the handler fell over"),
            Some(Trouble::Blocks) => {
                inner.is_blocking = true;
                self.target.changed.notify_all();
                inner = self
                    .target
                    .changed
                    .wait_while(inner, |inner| !inner.is_let_go && !stop.is_raised())
                    .unwrap();
                inner.is_blocking = false;
                inner.is_let_go = false;
            }
        }
        if stop.is_raised() {
            return Ok(Handled::Interrupted);
        }
        let mut effects = Vec::new();
        for event in &page.events {
            match String::from_utf8(event.data().to_vec()).unwrap() {
                poison if poison == "poison" => return Err(NotingError::Poison(event.position())),
                data => effects.push(data),
            }
        }
        assert_eq!(inner.at.as_ref(), Some(at), "a page begins where the last one ended");
        inner.effects.extend(effects);
        inner.at = Some(page.scanned_to.clone());
        inner.heads += u32::from(reach == Reach::Head);
        Ok(Handled::Committed)
    }

    fn interrupter(&self) -> Option<Interrupter> {
        let target = Arc::clone(&self.target);
        Some(Box::new(move || {
            // Under the lock, so that a handler that is about to block sees the signal or this.
            let _inner = target.inner.lock().unwrap_or_else(PoisonError::into_inner);
            target.changed.notify_all();
        }))
    }
}

pub(crate) type TestConsumer = Consumer<NotingError>;

pub(crate) fn settings(clock: &TestClock) -> ConsumerSettings {
    let mut settings = ConsumerSettings::new("noting", "test");
    settings.clock = Arc::new(clock.clone());
    settings
}

pub(crate) fn start(
    store: &Arc<impl EventStore + 'static>,
    settings: ConsumerSettings,
    target: &Arc<Target>,
) -> TestConsumer {
    start_with_pages(store, settings, target, 10)
}

pub(crate) fn start_with_pages(
    store: &Arc<impl EventStore + 'static>,
    settings: ConsumerSettings,
    target: &Arc<Target>,
    page_events: u32,
) -> TestConsumer {
    let (store, target) = (Arc::clone(store), Arc::clone(target));
    Consumer::start(store, settings, move || Noting { target: Arc::clone(&target), page_events }).unwrap()
}

/// Waits until the consumer's state is as wanted.
pub(crate) fn wait_for<T>(
    consumer: &TestConsumer,
    wanted: impl Fn(ConsumerState<NotingError>) -> Option<T>,
) -> T {
    loop {
        let listener = consumer.changed().listen();
        if let Some(found) = wanted(consumer.state()) {
            return found;
        }
        let woken = listener.wait_timeout(PATIENCE);
        assert!(woken.is_some(), "the state stays {:?}", consumer.state());
    }
}

/// Waits until the consumer has handled everything up to a place.
pub(crate) fn wait_past(consumer: &TestConsumer, to: &Checkpoint) {
    wait_for(consumer, |state| {
        assert!(!state.is_stopped(), "{state:?}");
        consumer.checkpoint().filter(|at| at.at_least(to))
    });
}

pub(crate) fn wait_until_stopped(consumer: &TestConsumer) -> Why<NotingError> {
    wait_for(consumer, |state| match state {
        ConsumerState::Stopped { why } => Some(why),
        _ => None,
    })
}

/// Waits until the consumer tries again, and returns its failure, its attempt and the time of the next one.
pub(crate) fn wait_until_retrying(consumer: &TestConsumer) -> (String, u32, Timestamp) {
    wait_for(consumer, |state| match state {
        ConsumerState::Retrying { error, attempt, next } => Some((error.to_string(), attempt, next)),
        _ => None,
    })
}

pub(crate) fn status(consumer: &TestConsumer) -> ConsumerStatus<NotingError> {
    pollster::block_on(consumer.status())
}

pub(crate) fn numbers(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers.into_iter().map(|number| number.to_string()).collect()
}

/// A store whose reads fail as listed, one after the other; `None` does not fail.
pub(crate) struct Faulty {
    pub(crate) inner: Arc<MemoryStore>,
    pub(crate) faults: Mutex<VecDeque<Option<ReadError>>>,
    /// Reads that were made.
    pub(crate) reads: AtomicU64,
    /// Called once, by the next read before it answers.
    pub(crate) in_read: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Faulty {
    pub(crate) fn new(
        inner: &Arc<MemoryStore>,
        faults: impl IntoIterator<Item = Option<ReadError>>,
    ) -> Arc<Self> {
        let faults = Mutex::new(faults.into_iter().collect());
        Arc::new(Self {
            inner: Arc::clone(inner),
            faults,
            reads: AtomicU64::new(0),
            in_read: Mutex::default(),
        })
    }
}

impl StoreLayer for Faulty {
    fn inner(&self) -> &dyn EventStore {
        &*self.inner
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if let Some(call) = self.in_read.lock().unwrap().take() {
            call();
        }
        match self.faults.lock().unwrap().pop_front() {
            Some(Some(error)) => Box::pin(async { Err(error) }),
            _ => self.inner.read(read),
        }
    }
}
