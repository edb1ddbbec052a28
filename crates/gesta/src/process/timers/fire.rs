//! Fires a timer that is due, unless it was cancelled, set again or fired since.

use std::future::poll_fn;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use gesta_core::{
    AppendError, Batch, Category, Checkpoint, CommandKey, EventStore, Expected, Item, Limit, Place, Query,
    Read, ReadError, RecordedEvent, Retry, Select, StreamName, Timestamp, Version,
};

use super::schedule::{Entry, Schedule};
use crate::error::{EncodeError, LoadError};
use crate::handle::Gesta;
use crate::idempotency::digest;
use crate::meta::Meta;
use crate::process::event::{ProcessEvent, TimerFired, TimerSet, timer_set};
use crate::process::limits::{CONTENDED_PAUSE, FAILED_PAUSE, FIRE_AT_ONCE, FIRE_ATTEMPTS};
use crate::process::planted::{Bug, planted};
use crate::process::reaction::Due;

/// What became of a timer that was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fired {
    /// It fired now, this long after it was due.
    Now { late: Duration },
    /// Another host fired it.
    Before,
    /// It was cancelled, set again, or fired earlier.
    Void,
    /// The clock went back: it is not due any more.
    NotDue,
    /// The stream grew each time that the timer was about to fire.
    Contended,
}

/// Why a timer could not be fired.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FireError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl From<ReadError> for FireError {
    fn from(error: ReadError) -> Self {
        Self::Load(error.into())
    }
}

impl FireError {
    /// True if a pause may help.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Load(error) => error.retry() != Retry::Never,
            Self::Append(error) => error.retry() != Retry::Never,
            Self::Encode(_) => false,
        }
    }
}

/// The `timer-set`s of a process.
pub(crate) fn timer_sets(name: &'static str) -> Query {
    let category = Category::new(name).expect("a process's name is a valid category");
    Item { category: Some(category), types: vec![timer_set()], ..Item::default() }.into()
}

/// The timer in a `timer-set`.
///
/// # Errors
/// [`LoadError`] for an event of a newer version of the library, and for one that does not decode.
pub(crate) fn entry_of(event: &RecordedEvent) -> Result<Option<Entry>, LoadError> {
    Ok(match ProcessEvent::decode(event)? {
        Some(ProcessEvent::TimerSet(set)) => {
            Some(Entry::new(Timestamp::from_nanos(set.due), event.position()))
        }
        _ => None,
    })
}

/// Fires a timer of the process `name`, or finds out why it does not fire. Safe to repeat at every step.
async fn fire(
    gesta: &Gesta,
    name: &'static str,
    scanned: Checkpoint,
    entry: Entry,
) -> Result<Fired, FireError> {
    let store = &**gesta.event_store();
    let Some(event) = event_at(store, scanned, entry).await? else { return Ok(Fired::Void) };
    let Some(ProcessEvent::TimerSet(set)) = ProcessEvent::decode(&event)? else { return Ok(Fired::Void) };
    let stream = event.stream().parse::<StreamName>().map_err(LoadError::from)?;
    let gesta = gesta.with(Meta::new().caused_by(&event).actor(format!("process:{name}")));
    for _ in 0..FIRE_ATTEMPTS {
        let Some(last) = still_pending(store, &stream, &event, &set).await? else { return Ok(Fired::Void) };
        let late = gesta.environment().now().as_nanos().saturating_sub(set.due);
        if late < 0 && !planted(Bug::Early) {
            return Ok(Fired::NotDue);
        }
        match store.append(firing(&gesta, &stream, &event, &set, last)?).await {
            Ok(appended) if appended.repeated => return Ok(Fired::Before),
            Ok(_) => return Ok(Fired::Now { late: Duration::from_nanos(u64::try_from(late).unwrap_or(0)) }),
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Fired::Contended)
}

/// Reads the event of a timer.
async fn event_at(
    store: &dyn EventStore,
    scanned: Checkpoint,
    entry: Entry,
) -> Result<Option<RecordedEvent>, ReadError> {
    let position = entry.position();
    let at = |sequence| scanned.clone().with(position.partition, sequence);
    let read = Read::log_from(Query::All, Place::At(at(position.sequence - 1)));
    let page = store.read(read.until(at(position.sequence)).limit(Limit::events(NonZeroU32::MIN))).await?;
    Ok(page.events.into_iter().find(|event| event.position() == position))
}

/// The last version of the stream, if the timer is still pending then. Reads the stream from the `timer-set` to its end.
async fn still_pending(
    store: &dyn EventStore,
    stream: &StreamName,
    event: &RecordedEvent,
    set: &TimerSet,
) -> Result<Option<Version>, FireError> {
    let (mut last, mut last_of_timers) = (event.version(), event.version());
    loop {
        let select = Select::Stream { name: stream.clone(), from: Some(last.next()) };
        let page = store.read(select.into()).await?;
        for later in &page.events {
            last = later.version();
            let (name, ends) = match ProcessEvent::decode(later)? {
                Some(ProcessEvent::TimerSet(again)) => (again.timer, !planted(Bug::NoReplace)),
                Some(ProcessEvent::TimerCancelled(cancelled)) => (cancelled.timer, true),
                Some(ProcessEvent::TimerFired(fired)) => (fired.timer, fired.set == event.version().get()),
                _ => continue,
            };
            last_of_timers = last;
            if ends && name.as_str() == set.timer.as_str() {
                return Ok(None);
            }
        }
        if page.end {
            return Ok(Some(if planted(Bug::QueryOnly) { last_of_timers } else { last }));
        }
    }
}

/// The batch that fires a timer, for a stream whose last version is `last`.
fn firing(
    gesta: &Gesta,
    stream: &StreamName,
    event: &RecordedEvent,
    set: &TimerSet,
    last: Version,
) -> Result<Batch, FireError> {
    let version = event.version().get();
    let fired = ProcessEvent::TimerFired(TimerFired { timer: set.timer.clone(), set: version });
    let batch = Batch::new(gesta.new_events(&[fired.encode(stream)?])?).with_command(key(stream, version));
    if planted(Bug::FireBlind) {
        return Ok(batch);
    }
    Ok(batch.expect(stream.clone(), Expected::Exactly(last)))
}

/// The key under which a timer fires: its stream and the version of its `timer-set`.
fn key(stream: &StreamName, version: u64) -> CommandKey {
    let parts = [b"gesta.process.timer-fired".as_slice(), stream.as_str().as_bytes(), &version.to_le_bytes()];
    let key = digest(parts);
    CommandKey { key: Bytes::copy_from_slice(&key), request: key }
}

/// What a step of the timers did.
#[derive(Debug)]
pub(crate) enum Step {
    /// A part of the log was read again, or timers that were due are settled. More may be due.
    Worked(Round),
    /// Nothing is due before that time; `None`: no timer is known.
    Idle { next: Option<Timestamp> },
}

/// What came of the timers that were fired together.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// How many fired.
    pub(crate) fired: u64,
    /// How late they fired, added up.
    pub(crate) late: Duration,
    /// Why one of the others did not fire. It is tried again.
    pub(crate) error: Option<FireError>,
}

/// Does the next piece of work of a schedule: reads the log again, or fires the earliest timers, side by side, so that they
/// share the store's syncs. Safe to drop at any point.
pub(crate) async fn step(
    gesta: &Gesta,
    name: &'static str,
    schedule: &Mutex<Schedule>,
    ahead: Duration,
) -> Step {
    match widen(gesta, name, schedule, ahead).await {
        Ok(false) => {}
        Ok(true) => return Step::Worked(Round::default()),
        Err(error) => return Step::Worked(Round { error: Some(error), ..Round::default() }),
    }
    let now = gesta.environment().now();
    let (due, next, scanned) = {
        let schedule = lock(schedule);
        (schedule.due(now, FIRE_AT_ONCE), schedule.next_due(), schedule.scanned_to().clone())
    };
    if due.is_empty() {
        return Step::Idle { next };
    }
    let fires = due.iter().map(|entry| Box::pin(fire(gesta, name, scanned.clone(), *entry)));
    let fired = all(fires.collect()).await;
    let mut round = Round::default();
    let mut schedule = lock(schedule);
    for (entry, fired) in due.into_iter().zip(fired) {
        settle(&mut schedule, &mut round, entry, fired, now);
    }
    Step::Worked(round)
}

fn settle(
    schedule: &mut Schedule,
    round: &mut Round,
    entry: Entry,
    fired: Result<Fired, FireError>,
    now: Timestamp,
) {
    match fired {
        Ok(Fired::Now { late }) => {
            schedule.forget(entry);
            round.fired += 1;
            round.late = round.late.saturating_add(late);
        }
        Ok(Fired::Before | Fired::Void) => schedule.forget(entry),
        Ok(Fired::NotDue) => {}
        Ok(Fired::Contended) => schedule.set_aside(entry, later(now, CONTENDED_PAUSE)),
        Err(error) => {
            if !error.may_pass() {
                schedule.set_aside(entry, later(now, FAILED_PAUSE));
            }
            round.error.get_or_insert(error);
        }
    }
}

/// Runs futures side by side until all have ended.
async fn all<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut outputs = futures.iter().map(|_| None).collect::<Vec<_>>();
    poll_fn(|context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let Poll::Ready(ended) = Pin::new(future).poll(context)
            {
                *output = Some(ended);
            }
        }
        if outputs.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

fn later(now: Timestamp, pause: Duration) -> Timestamp {
    Due::After(pause).from(now)
}

/// Reads the log again where the horizon calls for it, one page. Returns true if there is more to read.
async fn widen(
    gesta: &Gesta,
    name: &'static str,
    schedule: &Mutex<Schedule>,
    ahead: Duration,
) -> Result<bool, FireError> {
    let gap = lock(schedule).gap(gesta.environment().now(), ahead);
    let Some(gap) = gap else { return Ok(false) };
    let read = Read::log_from(timer_sets(name), Place::At(gap.after)).until(gap.until);
    let page = gesta.event_store().read(read).await?;
    let timers = page.events.iter().map(entry_of).collect::<Result<Vec<_>, _>>()?;
    lock(schedule).widened(timers.into_iter().flatten(), page.scanned_to);
    Ok(true)
}

pub(crate) fn lock(schedule: &Mutex<Schedule>) -> MutexGuard<'_, Schedule> {
    // A panic while the lock was held is a broken invariant of the schedule, and its thread has reported it.
    schedule.lock().unwrap_or_else(PoisonError::into_inner)
}
