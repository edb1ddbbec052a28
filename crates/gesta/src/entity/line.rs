//! The line of one entity: its states, the batches in flight, and the newest batch that is not folded in yet.
//!
//! A line stands behind a plain lock, its *turn*. A turn is held for one synchronous step and never across an await: a
//! lock whose owner lives and is not polled would stop the entity for ever.
//!
//! *Invariants*
//! - Every state is the fold of its stream up to the version in its base. A state that rests on a batch which is not
//!   written is dropped before it is used.
//! - A batch is folded in only when the next command needs it, from its bytes. So with one writer at a time every state
//!   is durable, and a conflict costs a read of the tail.
//! - `flight` is in the order of decisions.

use std::any::TypeId;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use gesta_core::{Checkpoint, EventId, Position, StreamName, Version};

use crate::error::LoadError;

use super::gate::Gate;
use super::limits::BYTES_IN_FLIGHT_MAX;
use super::load::Load;
use super::lock;
use super::outcome::{Outcome, Standing};
use super::planted::{Bug, planted};
use super::state::{AnyState, EncodedEvent};
use super::window::Window;

/// The line of one entity behind its turn.
pub(crate) struct LineCell {
    pub(super) stream: StreamName,
    pub(super) line: Mutex<Line>,
    /// True if the window is not open, so that written batches are counted.
    is_careful: AtomicBool,
}

/// What is known about one entity.
#[derive(Default)]
pub(crate) struct Line {
    /// One state for each type that folds the stream.
    pub(super) states: Vec<Entry>,
    /// The newest batch that writes to the stream, until all states have folded the one before.
    pending: Option<Pending>,
    /// The batches that are not settled, oldest first. Settled ones may linger behind an unsettled one.
    flight: VecDeque<Flying>,
    pub(super) flow: Flow,
    pub(super) gate: Option<Gate>,
    window: Window,
    /// A version that the store has reported beyond the states.
    reported: Option<Version>,
    /// The place of the next batch that writes to the stream, shared with those who verify an answer.
    next: Arc<Next>,
}

/// The next batch of a line after a decision, once there is one. Its events are no news to the decision.
pub(super) type Next = OnceLock<Arc<Outcome>>;

/// A state of one type.
pub(super) struct Entry {
    pub(super) kind: TypeId,
    /// `None`: not loaded.
    pub(super) state: Option<Box<dyn AnyState>>,
    pub(super) base: Base,
    pub(super) load: Option<Load>,
}

/// How far a state is folded.
#[derive(Clone, Default)]
pub(super) struct Base {
    pub(super) version: Option<Version>,
    /// The id of the last event.
    pub(super) id: Option<EventId>,
    /// The position of the last event; `None` without events, or while the event is not durable.
    pub(super) position: Option<Position>,
    /// A place that covers the events.
    pub(super) read_to: Option<Checkpoint>,
    /// The batch of the last event, if it was not durable yet.
    pub(super) rests_on: Option<Arc<Outcome>>,
    /// When the newest load of the state began.
    pub(super) loaded_at: u64,
    /// The gate at which the state was read, if nothing was folded in since.
    pub(super) read_at_gate: Option<u64>,
}

/// The newest batch of the stream.
struct Pending {
    outcome: Arc<Outcome>,
    written: Written,
}

/// What a batch writes to a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    /// The id of the event before, if it is known. A version does not name an event that is not durable, and two states
    /// of a stream may rest on different ones.
    pub(super) after: Option<EventId>,
    pub(super) first: Version,
    pub(super) last: Version,
}

impl Written {
    /// True if a state is at the event before.
    fn follows(&self, base: &Base) -> bool {
        let is_next = base.version.map_or(Version::FIRST, Version::next) == self.first;
        is_next && (base.version.is_none() || base.id.is_some() && base.id == self.after)
    }
}

/// A batch in flight.
struct Flying {
    outcome: Arc<Outcome>,
    /// The version of its last event in this stream; `None` if it does not write to the stream.
    last: Option<Version>,
}

/// How batches of the line are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Flow {
    /// At once.
    #[default]
    Running,
    /// Not at all: a batch came too early. The sendings under way are awaited.
    Halted,
    /// In a pass over the line, oldest first.
    Passing,
}

/// What a state needs before a command can be decided on it.
pub(super) enum Readiness {
    Ready,
    /// A load that is under way.
    Loading(Load),
    /// A load, or a read of the tail.
    MustLoad,
    /// The batch that the state rests on must be settled first.
    MustSettle(Arc<Outcome>),
    /// Batches in flight that a load does not show: read at the gate.
    MustShut,
    Failed(LoadError),
}

impl LineCell {
    pub(super) fn new(stream: StreamName) -> Self {
        Self { stream, line: Mutex::default(), is_careful: AtomicBool::new(false) }
    }

    /// Notes a conflict with another writer, at that version of the stream.
    pub(super) fn conflicted(&self, actual: Option<Version>) {
        let mut line = lock(&self.line);
        line.window.conflicted();
        line.reported = line.reported.max(actual);
        self.is_careful.store(true, Ordering::Relaxed);
    }

    /// Notes that the store has a version of the stream.
    pub(super) fn reported(&self, version: Version) {
        let mut line = lock(&self.line);
        line.reported = line.reported.max(Some(version));
    }

    /// Notes that a batch was written.
    pub(super) fn written(&self) {
        if self.is_careful.load(Ordering::Relaxed) {
            let mut line = lock(&self.line);
            line.window.written();
            self.is_careful.store(line.window.is_careful(), Ordering::Relaxed);
        }
    }
}

impl Line {
    /// Forgets what is settled. Called first in every turn.
    pub(super) fn refresh(&mut self, stream: &StreamName) {
        while self.flight.front().is_some_and(|flying| flying.outcome.is_settled()) {
            self.flight.pop_front();
        }
        self.pending.take_if(|pending| pending.outcome.has_failed());
        for entry in &mut self.states {
            if let Some(load) = entry.load.take_if(|load| load.is_over()) {
                entry.install(&load);
            }
            entry.refresh(stream);
        }
    }

    /// A load that is under way.
    pub(super) fn loading(&self) -> Option<Load> {
        self.states.iter().find_map(|entry| entry.load.clone())
    }

    /// The unsettled batches, oldest first.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = &Arc<Outcome>> {
        self.flight.iter().map(|flying| &flying.outcome).filter(|outcome| !outcome.is_settled())
    }

    /// The batch to wait for before another one may be in flight.
    pub(super) fn blocking(&self) -> Option<Arc<Outcome>> {
        let oldest = self.unsettled().next()?;
        let bytes = self.flight.iter().map(|flying| flying.outcome.bytes()).sum::<usize>();
        let is_full = self.flight.len() >= self.window.batches() || bytes >= BYTES_IN_FLIGHT_MAX;
        (is_full && !planted(Bug::NoWindow)).then(|| Arc::clone(oldest))
    }

    /// The entry of a type, made if the line does not know the type.
    pub(super) fn entry(&mut self, kind: TypeId) -> &mut Entry {
        let known = self.states.iter().position(|entry| entry.kind == kind);
        let at = known.unwrap_or_else(|| {
            self.states.push(Entry { kind, state: None, base: Base::default(), load: None });
            self.states.len() - 1
        });
        &mut self.states[at]
    }

    /// Brings a state up to the newest batch, or tells what it needs first.
    pub(super) fn ready(&mut self, kind: TypeId, stream: &StreamName) -> Readiness {
        let Some(at) = self.states.iter().position(|entry| entry.kind == kind) else {
            return Readiness::MustLoad;
        };
        if let Some(load) = &self.states[at].load {
            return Readiness::Loading(load.clone());
        }
        if !self.states[at].is_whole() {
            return Readiness::MustLoad;
        }
        if let Some(pending) = &self.pending
            && let Err(error) = self.states[at].fold_pending(pending, stream)
        {
            return Readiness::Failed(error);
        }
        // A batch is settled without the turn: the one that was folded in may have failed since the turn began.
        if !self.states[at].is_whole() {
            return Readiness::MustLoad;
        }
        self.settled_before(at)
    }

    /// What must happen before a whole state can be used: nothing if no newer version is known.
    fn settled_before(&self, at: usize) -> Readiness {
        let base = &self.states[at].base;
        let flying = self.flight.iter().filter(|flying| !flying.outcome.is_settled());
        let flying = flying.filter_map(|flying| flying.last).max();
        let others =
            self.states.iter().filter(|entry| entry.is_whole()).filter_map(|entry| entry.base.version);
        let pending = self.pending.as_ref().map(|pending| pending.written.last);
        let newest = others.max().max(pending).max(flying).max(self.reported);
        match &base.rests_on {
            // Another state has another event at this version: the batch of one of them will not be written.
            Some(outcome) if self.is_disputed(base) => Readiness::MustSettle(Arc::clone(outcome)),
            _ if base.version >= newest => Readiness::Ready,
            Some(outcome) => Readiness::MustSettle(Arc::clone(outcome)),
            None if flying > base.version => Readiness::MustShut,
            None => Readiness::MustLoad,
        }
    }

    fn is_disputed(&self, base: &Base) -> bool {
        let others = self.states.iter().filter(|entry| entry.is_whole()).map(|entry| &entry.base);
        others.into_iter().any(|other| other.version == base.version && other.id != base.id)
    }

    /// What a read at the gate shows is the truth: forgets other states and reports that lie beyond it.
    pub(super) fn trust(&mut self, version: Option<Version>) {
        self.reported = None;
        self.pending.take_if(|pending| Some(pending.written.last) > version);
        for entry in &mut self.states {
            if entry.base.version > version {
                entry.state = None;
            }
        }
    }

    /// Adds a batch that was decided under this turn, with what it writes to the stream.
    pub(super) fn push(&mut self, outcome: &Arc<Outcome>, written: Option<Written>, stream: &StreamName) {
        let last = written.map(|written| written.last);
        self.flight.push_back(Flying { outcome: Arc::clone(outcome), last });
        let Some(written) = written else { return };
        if let Some(before) = self.pending.take() {
            for entry in &mut self.states {
                entry.pass_over(&before, stream);
            }
        }
        self.pending = Some(Pending { outcome: Arc::clone(outcome), written });
        let next = std::mem::take(&mut self.next);
        assert!(next.set(Arc::clone(outcome)).is_ok(), "a line has one next batch");
    }

    /// Where the next batch that writes to the stream will be.
    pub(super) fn next(&self) -> Arc<Next> {
        Arc::clone(&self.next)
    }

    /// Halts the line: a batch came too early.
    pub(super) fn halt(&mut self) {
        self.flow = Flow::Halted;
        self.note_flow();
    }

    /// Changes the flow to what the batches in flight need.
    pub(super) fn note_flow(&mut self) {
        let mut has_waiting = false;
        let mut has_sending = false;
        for outcome in self.unsettled() {
            match outcome.standing() {
                Standing::Waiting => has_waiting = true,
                Standing::Sending => has_sending = true,
                Standing::InDoubt | Standing::Settled => {}
            }
        }
        self.flow = match self.flow {
            _ if !has_waiting || planted(Bug::NoPass) => Flow::Running,
            Flow::Running | Flow::Halted if has_sending => Flow::Halted,
            Flow::Running | Flow::Halted | Flow::Passing => Flow::Passing,
        };
    }

    /// True if no batch is in flight, so that the line can be dropped.
    pub(super) fn is_settled(&self) -> bool {
        self.unsettled().next().is_none()
    }

    /// True if the line holds nothing worth keeping.
    pub(super) fn is_empty(&self) -> bool {
        self.states.iter().all(|entry| !entry.is_whole() && entry.load.is_none())
            && !self.window.is_careful()
            && self.is_settled()
    }

    /// Its size in bytes, with the states.
    pub(super) fn weight(&self) -> usize {
        let states = self.states.iter().filter_map(|entry| entry.state.as_ref());
        let pending = self.pending.as_ref().map_or(0, |pending| pending.outcome.bytes());
        states.map(|state| state.weight()).sum::<usize>() + pending
    }
}

impl Entry {
    /// True if the state is there.
    pub(super) fn is_whole(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.is_whole())
    }

    /// Drops a state that a panic took, or that rests on a batch which is not written. Notes the place of a written one.
    fn refresh(&mut self, stream: &StreamName) {
        if self.state.is_some() && !self.is_whole() {
            self.state = None;
        }
        let Some(outcome) = &self.base.rests_on else { return };
        if let Some(appended) = outcome.written() {
            self.base.position = outcome.last_place(stream).map(|place| place.position);
            self.base.read_to = Some(appended.checkpoint.clone());
            self.base.rests_on = None;
        } else if outcome.has_failed() {
            if !planted(Bug::FailedStateKept) {
                self.state = None;
            }
            self.base.rests_on = None;
        }
    }

    /// Takes the result of a load that is over.
    fn install(&mut self, load: &Load) {
        if let Some((state, base)) = load.take() {
            self.state = Some(state);
            self.base = base;
        }
    }

    /// Folds the newest batch, if it is the next one for this state.
    fn fold_pending(&mut self, pending: &Pending, stream: &StreamName) -> Result<(), LoadError> {
        if !pending.written.follows(&self.base) {
            return Ok(());
        }
        let state = self.state.as_mut().expect("a whole state is folded");
        let mut version = pending.written.first;
        for event in pending.outcome.batch().events.iter().filter(|event| event.stream == *stream) {
            state.fold(EncodedEvent::new(event, version))?;
            version = version.next();
        }
        self.rest_on(pending, stream);
        Ok(())
    }

    fn rest_on(&mut self, pending: &Pending, stream: &StreamName) {
        let events = &pending.outcome.batch().events;
        self.base.version = Some(pending.written.last);
        self.base.id = events.iter().rfind(|event| event.stream == *stream).map(|event| event.id);
        self.base.position = None;
        self.base.read_at_gate = None;
        self.base.rests_on = Some(Arc::clone(&pending.outcome));
        self.refresh(stream);
    }

    /// Folds a batch that another one is about to follow. A state that cannot be folded is loaded by the next command.
    fn pass_over(&mut self, before: &Pending, stream: &StreamName) {
        if !self.is_whole() {
            return;
        }
        if planted(Bug::OtherStatesSkip) {
            return self.rest_on(before, stream);
        }
        let folded = catch_unwind(AssertUnwindSafe(|| self.fold_pending(before, stream)));
        if !matches!(folded, Ok(Ok(()))) {
            self.state = None;
        }
    }
}
