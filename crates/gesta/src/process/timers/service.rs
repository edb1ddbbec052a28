//! Runs the timers of a process: a consumer that finds them, and a thread that fires them.
//!
//! The thread fires only while the consumer runs. A pause of the consumer pauses the timers; a stop stops them.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use event_listener::Event;
use gesta_consumer::{
    Clock, Consumer, ConsumerSettings, ConsumerState, Handled, Handler, HandlerError, Opening, Paused, Reach,
    Start, Stop, SystemClock,
};
use gesta_core::{Checkpoint, KeyValueError, KeyValueStore, Page, Position, ReadError, Retry};

use super::fire::{FireError, Round, Step, entry_of, step, timer_sets};
use super::place::{Keeper, KeptPlace, load};
use super::schedule::Schedule;
use crate::error::LoadError;
use crate::handle::Gesta;
use crate::process::limits::{
    FIRE_PAUSE_MAX, FIRE_PAUSE_MIN, HORIZON_AHEAD, LOOK_AGAIN, PLACE_PAUSE, TIMERS_KEPT_MAX,
};

/// How the timers of a process run. Create it with [`TimerSettings::default`].
#[derive(Clone)]
#[non_exhaustive]
pub struct TimerSettings {
    /// The clock of the pauses. When a timer is due is read from the clock of the [`Gesta`].
    pub clock: Arc<dyn Clock>,
    /// Where the place is kept. `None`: after a restart the log is read from its start, by index.
    pub values: Option<Arc<dyn KeyValueStore>>,
    /// They start paused. For a pause that was kept over a restart of the program.
    pub paused: Option<Paused>,
    /// Timers that are kept in memory, at least 1. The log is read again for those beyond.
    pub kept_max: usize,
}

impl Default for TimerSettings {
    /// The system's clock, no key-value store, not paused, 1,000,000 timers in memory.
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), values: None, paused: None, kept_max: TIMERS_KEPT_MAX }
    }
}

/// The timers of a process, for operators.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimerStats {
    /// Timers in memory that may be pending.
    pub pending: usize,
    /// Timers that fired here.
    pub fired: u64,
    /// How late they fired, added up.
    pub late: Duration,
}

/// The timers of a process. Dropping them stops them.
///
/// Several hosts may run them at once: each timer fires once.
pub struct Timers {
    shared: Arc<Shared>,
    consumer: Arc<Consumer<TimersError>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Why the consumer of timers stopped, or tries again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TimersError {
    /// A `timer-set` does not decode. Most likely a newer program wrote it.
    #[error("a timer cannot be read")]
    Timer {
        /// The position of the event.
        position: Position,
        /// What is wrong with it.
        source: LoadError,
    },
    /// The place could not be read from the key-value store.
    #[error("the place of the timers cannot be read")]
    Place(#[from] KeyValueError),
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl HandlerError for TimersError {
    fn retry(&self) -> Retry {
        match self {
            Self::Timer { .. } => Retry::Never,
            Self::Place(error) => error.retry(),
            Self::Read(error) => error.retry(),
        }
    }

    fn event(&self) -> Option<Position> {
        match self {
            Self::Timer { position, .. } => Some(*position),
            _ => None,
        }
    }
}

/// What both threads use.
struct Shared {
    name: &'static str,
    gesta: Gesta,
    clock: Arc<dyn Clock>,
    values: Option<Arc<dyn KeyValueStore>>,
    kept_max: usize,
    /// `None` until the consumer is open.
    schedule: Mutex<Option<Arc<Mutex<Schedule>>>>,
    /// Notified when timers were found.
    wake: Event,
    must_stop: AtomicBool,
    stopped: Event,
    stats: Mutex<TimerStats>,
}

impl Shared {
    fn schedule(&self) -> Option<Arc<Mutex<Schedule>>> {
        lock(&self.schedule).clone()
    }

    /// Runs a future on this thread. `None` as soon as a stop is requested: then the future is dropped where it is.
    fn or_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        // Listen first, look second: a stop in between is not missed.
        let stopped = self.stopped.listen();
        if self.must_stop.load(Ordering::SeqCst) {
            return None;
        }
        let (mut stopped, mut work) = (pin!(stopped), pin!(work));
        pollster::block_on(poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => stopped.as_mut().poll(context).map(|()| None),
        }))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that holds one of these locks can panic, except for a broken invariant that its thread has reported.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Timers {
    pub(in crate::process) fn start(
        name: &'static str,
        gesta: Gesta,
        settings: TimerSettings,
    ) -> io::Result<Self> {
        let (shared, consumer) = start_scan(name, gesta, settings)?;
        let firing = Firing::new(shared.clone(), consumer.clone());
        let thread = Builder::new().name(format!("fire-{name}")).spawn(move || firing.run())?;
        Ok(Self { shared, consumer, thread: Mutex::new(Some(thread)) })
    }

    /// The name of the process.
    #[must_use]
    pub fn process(&self) -> &'static str {
        self.shared.name
    }

    /// The consumer that finds the timers, with its state, lag and pause. Its kind is `timers`, its name `timers-NAME`.
    #[must_use]
    pub const fn consumer(&self) -> &Arc<Consumer<TimersError>> {
        &self.consumer
    }

    /// The numbers for operators.
    #[must_use]
    pub fn stats(&self) -> TimerStats {
        let pending = self.shared.schedule().map_or(0, |schedule| lock(&schedule).pending());
        TimerStats { pending, ..*lock(&self.shared.stats) }
    }

    /// Asks both threads to stop. A timer that is just firing fires whole or not at all.
    pub fn request_stop(&self) {
        self.shared.must_stop.store(true, Ordering::SeqCst);
        self.shared.stopped.notify(usize::MAX);
        self.consumer.request_stop();
    }

    /// Waits for both threads, after [`Self::request_stop`].
    pub fn join(&self) {
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!(process = self.shared.name, "the thread that fires timers panicked");
        }
        self.consumer.join();
    }
}

impl Drop for Timers {
    fn drop(&mut self) {
        self.request_stop();
        self.join();
    }
}

/// Starts the consumer that finds the timers of a process.
fn start_scan(
    name: &'static str,
    gesta: Gesta,
    settings: TimerSettings,
) -> io::Result<(Arc<Shared>, Arc<Consumer<TimersError>>)> {
    let TimerSettings { clock, values, paused, kept_max } = settings;
    let store = gesta.event_store().clone();
    let shared = Arc::new(Shared {
        name,
        gesta,
        clock: clock.clone(),
        values,
        kept_max,
        schedule: Mutex::default(),
        wake: Event::new(),
        must_stop: AtomicBool::new(false),
        stopped: Event::new(),
        stats: Mutex::default(),
    });
    let settings =
        ConsumerSettings { clock, paused, ..ConsumerSettings::new(format!("timers-{name}"), "timers") };
    let scans = shared.clone();
    let consumer = Arc::new(Consumer::start(store, settings, move || Scan { shared: scans.clone() })?);
    Ok((shared, consumer))
}

/// Finds timers that are set.
struct Scan {
    shared: Arc<Shared>,
}

impl Scan {
    /// The place that was kept, if it belongs to the history that the log has now; otherwise the start.
    fn place(&self, opening: &Opening<'_, TimersError>) -> Result<Checkpoint, TimersError> {
        let start = || Ok(opening.start().clone());
        let Some(values) = &self.shared.values else { return start() };
        let Some(loaded) = opening.stop().or(load(&**values, self.shared.name)) else { return start() };
        let Some(KeptPlace { place, scanned }) = loaded? else { return start() };
        match opening.check(&scanned) {
            Ok(_) if place.is_comparable(&scanned) => Ok(place),
            Ok(_) => start(),
            Err(error) if error.retry() != Retry::Never => Err(error.into()),
            Err(error) => {
                tracing::warn!(process = self.shared.name, %error, "the timers are read from the start of the log");
                start()
            }
        }
    }
}

impl Handler for Scan {
    type Error = TimersError;

    fn open(&mut self, opening: &Opening<'_, TimersError>) -> Result<Start, TimersError> {
        let at = self.place(opening)?;
        let schedule = Schedule::new(at.clone(), self.shared.kept_max);
        *lock(&self.shared.schedule) = Some(Arc::new(Mutex::new(schedule)));
        Ok(Start::new(at, timer_sets(self.shared.name)))
    }

    fn handle(&mut self, page: &Page, _: &Checkpoint, _: Reach, _: &Stop) -> Result<Handled, TimersError> {
        let timers = page.events.iter().map(|event| {
            let position = event.position();
            entry_of(event).map_err(|source| TimersError::Timer { position, source })
        });
        let timers = timers.collect::<Result<Vec<_>, _>>()?;
        let schedule = self.shared.schedule().expect("it is made when the consumer opens");
        let mut schedule = lock(&schedule);
        timers.into_iter().flatten().for_each(|entry| schedule.note(entry));
        schedule.scanned(page.scanned_to.clone());
        drop(schedule);
        if !page.events.is_empty() {
            self.shared.wake.notify(usize::MAX);
        }
        Ok(Handled::Committed)
    }
}

/// Fires timers.
struct Firing {
    shared: Arc<Shared>,
    consumer: Arc<Consumer<TimersError>>,
    keeper: Option<Keeper>,
    /// The place that was kept last, and when the next one may be.
    kept: Option<KeptPlace>,
    next_put: Duration,
    /// The pause after the next failure, and the last error, which is not logged again.
    pause: Duration,
    error: Option<String>,
}

/// What the thread that fires did.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// Nothing: the consumer is not open yet, paused, or stopped.
    Held,
    /// Its work, with the pause before the next piece if there is nothing to do now.
    Worked { pause: Option<Duration> },
}

impl Firing {
    fn new(shared: Arc<Shared>, consumer: Arc<Consumer<TimersError>>) -> Self {
        let keeper = shared.values.clone().map(|values| Keeper::new(values, shared.name));
        let next_put = shared.clock.elapsed().saturating_add(PLACE_PAUSE);
        Self { shared, consumer, keeper, kept: None, next_put, pause: FIRE_PAUSE_MIN, error: None }
    }

    fn run(mut self) {
        let shared = self.shared.clone();
        while !shared.must_stop.load(Ordering::SeqCst) {
            // Listen first, look second: nothing is missed in between.
            let (woken, changed) = (shared.wake.listen(), self.consumer.changed().listen());
            let Turn::Worked { pause } = self.turn(&shared) else {
                shared.or_stopped(changed);
                continue;
            };
            if shared.clock.elapsed() >= self.next_put {
                shared.or_stopped(self.put_place(&shared));
            }
            if let Some(pause) = pause {
                let until = shared.clock.elapsed().saturating_add(pause);
                shared.or_stopped(either(woken, shared.clock.wait(until)));
            }
        }
        pollster::block_on(self.put_place(&shared));
    }

    /// Does one piece of work, unless the timers are held back.
    fn turn(&mut self, shared: &Shared) -> Turn {
        let is_held =
            matches!(self.consumer.state(), ConsumerState::Paused(_) | ConsumerState::Stopped { .. });
        match shared.schedule().filter(|_| !is_held) {
            Some(schedule) => Turn::Worked { pause: self.work(shared, &schedule) },
            None => Turn::Held,
        }
    }

    /// Does one piece of work. Returns the pause before the next one, if there is nothing to do now.
    fn work(&mut self, shared: &Shared, schedule: &Mutex<Schedule>) -> Option<Duration> {
        match shared.or_stopped(step(&shared.gesta, shared.name, schedule, HORIZON_AHEAD))? {
            Step::Worked(Round { fired, late, error }) => {
                let mut stats = lock(&shared.stats);
                stats.fired += fired;
                stats.late = stats.late.saturating_add(late);
                drop(stats);
                match error {
                    Some(error) => Some(self.failed(&error)),
                    None => {
                        (self.pause, self.error) = (FIRE_PAUSE_MIN, None);
                        None
                    }
                }
            }
            Step::Idle { next } => {
                let now = shared.gesta.environment().now().as_nanos();
                let rest = next.map(|next| next.as_nanos().saturating_sub(now));
                let rest = rest.map(|rest| Duration::from_nanos(u64::try_from(rest).unwrap_or(0)));
                Some(rest.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN).min(PLACE_PAUSE))
            }
        }
    }

    fn failed(&mut self, error: &FireError) -> Duration {
        let text = error.to_string();
        if self.error.as_ref() != Some(&text) {
            tracing::warn!(
                process = self.shared.name,
                error = text,
                "a timer cannot fire: it is tried again"
            );
            self.error = Some(text);
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(FIRE_PAUSE_MAX);
        pause
    }

    /// Keeps the place, if it has moved.
    async fn put_place(&mut self, shared: &Shared) {
        self.next_put = shared.clock.elapsed().saturating_add(PLACE_PAUSE);
        let (Some(keeper), Some(schedule)) = (&mut self.keeper, shared.schedule()) else { return };
        let kept = {
            let schedule = lock(&schedule);
            KeptPlace { place: schedule.place(), scanned: schedule.scanned_to().clone() }
        };
        if self.kept.as_ref() == Some(&kept) {
            return;
        }
        match keeper.put(&kept).await {
            Ok(()) => self.kept = Some(kept),
            Err(error) => {
                tracing::warn!(process = shared.name, %error, "the place of the timers was not kept");
            }
        }
    }
}

/// Waits for the first of two.
async fn either(one: impl Future, other: impl Future) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|context| {
        let is_ready = one.as_mut().poll(context).is_ready() || other.as_mut().poll(context).is_ready();
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use gesta_consumer::TestClock;
    use gesta_core::{Batch, EventId, EventStore, MemoryStore, NewEvent, Read, StoreId};
    use pollster::block_on;

    use super::*;
    use crate::ClockEnvironment;

    /// Waits until the consumer is as wanted.
    fn wait(consumer: &Consumer<TimersError>, is_so: impl Fn(&ConsumerState<TimersError>) -> bool) {
        loop {
            let changed = consumer.changed().listen();
            if is_so(&consumer.state()) {
                return;
            }
            block_on(changed);
        }
    }

    #[test]
    fn a_timer_that_is_due_does_not_fire_during_a_pause() {
        let clock = TestClock::default();
        let wall = clock.clone();
        let store = Arc::new(MemoryStore::new(StoreId::from_bytes([7; 16]), 1, move || wall.now()));
        let environment = ClockEnvironment::new(Arc::new(clock.clone()));
        let gesta = Gesta::with_environment(store.clone(), Arc::new(environment));
        let data = format!(r#"{{"timer":null,"due":{}}}"#, clock.now().as_nanos());
        let (stream, kind) = ("alarm-1".parse().unwrap(), "gesta.process.timer-set".parse().unwrap());
        let set = NewEvent::json(EventId::from_u128(1), stream, kind, clock.now(), data);
        block_on(store.append(Batch::new([set]))).unwrap();
        let (shared, consumer) =
            start_scan("alarm", gesta, TimerSettings { clock: Arc::new(clock), ..TimerSettings::default() })
                .unwrap();
        let mut firing = Firing::new(shared.clone(), consumer.clone());
        wait(&consumer, |state| matches!(state, ConsumerState::Live));
        assert_eq!(lock(&shared.schedule().unwrap()).pending(), 1);
        let events = || block_on(store.read(Read::stream("alarm-1".parse().unwrap()))).unwrap().events.len();

        consumer.pause("ann");
        wait(&consumer, |state| matches!(state, ConsumerState::Paused(_)));
        assert_eq!((firing.turn(&shared), events()), (Turn::Held, 1));
        consumer.resume();
        wait(&consumer, |state| !matches!(state, ConsumerState::Paused(_)));
        assert_eq!((firing.turn(&shared), events()), (Turn::Worked { pause: None }, 2));
        consumer.request_stop();
        consumer.join();
    }
}
