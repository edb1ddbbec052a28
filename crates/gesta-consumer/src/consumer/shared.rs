//! What a consumer's thread reports and its handle asks, under one lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use event_listener::Event;
use gesta_core::{Checkpoint, EventStore, Timestamp};

use super::error::HandlerError;
use super::lag::{LagMeter, events_between};
use super::notice::Notice;
use super::rate::Rate;
use super::state::{ConsumerState, Failure, Paused, Why};
use super::stop::{Interrupter, Stop};
use crate::clock::Clock;

/// A consumer, as its thread and its handle see it.
pub(super) struct Shared<E> {
    pub(super) name: Arc<str>,
    pub(super) kind: &'static str,
    pub(super) store: Arc<dyn EventStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) retries_max: Option<u32>,
    pub(super) report: fn(&str, &Notice<'_, E>),
    /// Notified whenever `run` changes in a way that a caller may wait for.
    pub(super) changed: Arc<Event>,
    pub(super) lag: LagMeter,
    run: Mutex<Run<E>>,
    /// Not part of `run`: the call may take locks of the handler's owner.
    interrupter: Mutex<Option<Interrupter>>,
}

/// The current run, or the last one.
pub(super) struct Run<E> {
    pub(super) state: ConsumerState<E>,
    pub(super) paused: Option<Paused>,
    /// How far the handler got; `None` until it is open.
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) rate: Rate,
    pub(super) stop: Stop,
    pub(super) thread: Option<JoinHandle<()>>,
}

/// The parts of [`Shared`] that a caller chooses.
pub(super) struct Fixed<E> {
    pub(super) name: Arc<str>,
    pub(super) kind: &'static str,
    pub(super) store: Arc<dyn EventStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) retries_max: Option<u32>,
    pub(super) report: fn(&str, &Notice<'_, E>),
    pub(super) changed: Arc<Event>,
    pub(super) paused: Option<Paused>,
}

impl<E> Shared<E> {
    pub(super) fn new(fixed: Fixed<E>) -> Self {
        let Fixed { name, kind, store, clock, retries_max, report, changed, paused } = fixed;
        let run = Run {
            state: ConsumerState::Stopped { why: Why::ShutDown },
            paused,
            checkpoint: None,
            rate: Rate::new(clock.elapsed()),
            stop: Stop::new(),
            thread: None,
        };
        let (run, lag) = (Mutex::new(run), LagMeter::default());
        let interrupter = Mutex::default();
        Self { name, kind, store, clock, retries_max, report, changed, lag, run, interrupter }
    }

    pub(super) fn run(&self) -> MutexGuard<'_, Run<E>> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Run<E>) -> T) -> T {
        let changed = change(&mut self.run());
        self.changed.notify(usize::MAX);
        changed
    }

    /// Calls the interrupter of the session that is open, if any.
    pub(super) fn interrupt(&self) {
        let interrupter = self.interrupter.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(interrupt) = &*interrupter {
            interrupt();
        }
    }

    /// A stop calls `interrupter` until the guard is dropped.
    pub(super) fn interruptible(&self, interrupter: Option<Interrupter>) -> Interruptible<'_, E> {
        *self.interrupter.lock().unwrap_or_else(PoisonError::into_inner) = interrupter;
        Interruptible(self)
    }
}

/// A session that a stop can interrupt.
pub(super) struct Interruptible<'s, E>(&'s Shared<E>);

impl<E> Drop for Interruptible<'_, E> {
    fn drop(&mut self) {
        let ended = self.0.interrupter.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(ended);
    }
}

impl<E: HandlerError> Shared<E> {
    pub(super) fn report(&self, notice: &Notice<'_, E>) {
        (self.report)(&self.name, notice);
    }

    /// The handler is open at a place.
    pub(super) fn opened(&self, at: &Checkpoint, is_at_head: bool) {
        self.change(|run| {
            run.checkpoint = Some(at.clone());
            if is_at_head {
                run.state = ConsumerState::Live;
            }
        });
    }

    /// The handler has thrown away what it had.
    pub(super) fn begin_anew(&self) {
        self.change(|run| {
            run.checkpoint = None;
            run.state = ConsumerState::CatchingUp;
        });
    }

    /// A page was committed.
    pub(super) fn advanced(&self, from: &Checkpoint, to: &Checkpoint, is_at_head: bool) {
        let passed = events_between(from, to);
        let elapsed = self.clock.elapsed();
        self.change(|run| {
            run.rate.count(elapsed, passed);
            run.checkpoint = Some(to.clone());
            run.state = if is_at_head { ConsumerState::Live } else { ConsumerState::CatchingUp };
        });
    }

    /// The handler is tried again after a pause. The failure shows until a page is committed, and is logged once.
    pub(super) fn retrying(&self, failure: Failure<E>, attempt: u32, pause: Duration) {
        let next = self.after(pause);
        let is_new = self.change(|run| {
            let is_new = match &run.state {
                ConsumerState::Retrying { error, .. } => error.to_string() != failure.to_string(),
                _ => true,
            };
            run.state = ConsumerState::Retrying { error: failure.clone(), attempt, next };
            is_new
        });
        if is_new {
            self.report(&Notice::HandlerFails(&failure));
        }
    }

    /// Shows a failure of the store while `wait` waits before the next try.
    pub(super) fn while_retrying(
        &self,
        failure: Failure<E>,
        attempt: u32,
        pause: Duration,
        wait: impl FnOnce(),
    ) {
        self.report(&Notice::ReadFails(&failure));
        let next = self.after(pause);
        self.while_in(ConsumerState::Retrying { error: failure, attempt, next }, wait);
    }

    /// Shows the pause while `wait` waits for its end.
    pub(super) fn while_paused(&self, wait: impl FnOnce()) {
        let Some(paused) = self.run().paused.clone() else { return };
        self.report(&Notice::Paused(&paused));
        self.while_in(ConsumerState::Paused(paused), wait);
        self.report(&Notice::Resumed);
    }

    fn while_in(&self, mut state: ConsumerState<E>, wait: impl FnOnce()) {
        self.change(|run| std::mem::swap(&mut run.state, &mut state));
        wait();
        self.change(|run| run.state = state);
    }

    pub(super) fn ended(&self, why: Why<E>) {
        if !matches!(why, Why::ShutDown) {
            self.report(&Notice::Stopped(&why));
        }
        self.change(|run| run.state = ConsumerState::Stopped { why });
    }

    /// The wall time after a pause.
    fn after(&self, pause: Duration) -> Timestamp {
        let nanos = i64::try_from(pause.as_nanos()).unwrap_or(i64::MAX);
        Timestamp::from_nanos(self.clock.now().as_nanos().saturating_add(nanos))
    }
}
