//! What follows from a trigger: events, effects and timers, or a deferral.

use std::time::Duration;

use gesta_core::Timestamp;

use super::Process;
use crate::state::State;

/// What a process does about a trigger. All of it is recorded in one batch.
#[must_use]
pub struct Reaction<P: Process> {
    pub(super) is_deferred: bool,
    pub(super) events: Vec<<P as State>::Event>,
    pub(super) effects: Vec<P::Effect>,
    pub(super) timers: Vec<TimerChange<P::Timer>>,
}

/// A timer that is set or cancelled.
pub(super) enum TimerChange<T> {
    Set(T, Due),
    Cancel(T),
}

/// When a timer is to fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    After(Duration),
    At(Timestamp),
}

impl Due {
    /// The time, for a timer that is set now.
    pub(super) fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::After(pause) => {
                let pause = i64::try_from(pause.as_nanos()).unwrap_or(i64::MAX);
                Timestamp::from_nanos(now.as_nanos().saturating_add(pause))
            }
        }
    }
}

impl<P: Process> Reaction<P> {
    /// Takes the trigger, and nothing follows. An input is gone for good then. Also the start of a reaction that only sets
    /// or cancels timers.
    pub const fn none() -> Self {
        Self { is_deferred: false, events: Vec::new(), effects: Vec::new(), timers: Vec::new() }
    }

    /// Leaves the input for later: nothing is recorded, the input comes again, and its stream waits until then.
    ///
    /// Only an input or a timer can be deferred. An outcome cannot: its effect was done.
    pub fn defer() -> Self {
        let mut reaction = Self::none();
        reaction.is_deferred = true;
        reaction
    }

    /// Records an event of the process.
    pub fn record(event: <P as State>::Event) -> Self {
        Self::none().and_record(event)
    }

    /// Performs an effect.
    pub fn perform(effect: P::Effect) -> Self {
        Self::none().effect(effect)
    }

    /// Records one more event of the process.
    pub fn and_record(mut self, event: <P as State>::Event) -> Self {
        self.events.push(event);
        self
    }

    /// Performs one more effect, after the others of this reaction.
    pub fn effect(mut self, effect: P::Effect) -> Self {
        self.effects.push(effect);
        self
    }

    /// Sets a timer that fires after a pause, counted from the time of the append. Replaces a pending timer of the same name.
    pub fn timer(self, timer: P::Timer, pause: Duration) -> Self {
        self.set(timer, Due::After(pause))
    }

    /// Sets a timer that fires at a time, or at once if the time has passed. Replaces a pending timer of the same name.
    pub fn timer_at(self, timer: P::Timer, time: Timestamp) -> Self {
        self.set(timer, Due::At(time))
    }

    /// Cancels a timer. It does nothing if the timer is not pending.
    pub fn cancel(mut self, timer: P::Timer) -> Self {
        self.timers.push(TimerChange::Cancel(timer));
        self
    }

    fn set(mut self, timer: P::Timer, due: Due) -> Self {
        self.timers.push(TimerChange::Set(timer, due));
        self
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.events.is_empty() && self.effects.is_empty() && self.timers.is_empty()
    }
}

impl<P: Process> std::fmt::Debug for Reaction<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reaction")
            .field("is_deferred", &self.is_deferred)
            .field("events", &self.events.len())
            .field("effects", &self.effects.len())
            .field("timers", &self.timers.len())
            .finish()
    }
}
