//! What all parts of a store share: where it is, the newest head that is known, remembered marks.

use std::sync::{Mutex, MutexGuard, PoisonError};

use event_listener::{Event, EventListener};
use gesta_core::{Capabilities, Checkpoint, Diverged, Position, RecordedEvent, StoreId, mark_of};
use gesta_postgres_connect::Address;

use crate::address::WaitsFor;
use crate::fault::Fault;
use crate::limits::MARKS_MAX;
use crate::marks::Marks;
use crate::options::Options;
use crate::session::State;

/// How a session is made.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) address: Address,
    pub(crate) schema: String,
    pub(crate) channel: String,
    pub(crate) waits_for: WaitsFor,
    pub(crate) takes_unsafe_servers: bool,
}

/// What all parts of a store share.
pub(crate) struct Shared {
    pub(crate) id: StoreId,
    pub(crate) capabilities: Capabilities,
    pub(crate) target: Target,
    pub(crate) options: Options,
    known: Mutex<Known>,
    marks: Mutex<Marks>,
    changed: Event,
}

/// The newest head that is known.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) head: Checkpoint,
    /// The newest timeline of the history.
    pub(crate) timeline: i64,
    /// It grows whenever the history may have changed: what was checked before counts no more.
    pub(crate) era: u64,
}

impl Shared {
    pub(crate) fn new(
        id: StoreId,
        capabilities: Capabilities,
        target: Target,
        options: Options,
        state: State,
    ) -> Self {
        let marks = Mutex::new(Marks::new(MARKS_MAX));
        let head = Checkpoint::start(id, 1);
        let known = Mutex::new(Known { head, timeline: state.timeline, era: 0 });
        let shared = Self { id, capabilities, target, options, known, marks, changed: Event::new() };
        let head = shared.head_of(&state);
        shared.lock().head = head;
        shared
    }

    pub(crate) fn known(&self) -> Known {
        self.lock().clone()
    }

    pub(crate) fn listen(&self) -> EventListener {
        self.changed.listen()
    }

    /// Takes what a snapshot showed, and returns its head.
    ///
    /// # Errors
    /// [`Fault::Lost`] if the snapshot is of a server that was deposed: a newer history is known.
    pub(crate) fn observe(&self, state: &State) -> Result<Checkpoint, Fault> {
        let head = self.head_of(state);
        let mut known = self.lock();
        if state.timeline < known.timeline {
            return Err(Fault::Lost("the server was replaced by a promoted standby".to_owned()));
        }
        if state.timeline > known.timeline {
            known.timeline = state.timeline;
            self.begin_era(&mut known, head.clone());
        } else if head.sequence(0) > known.head.sequence(0) {
            known.head = head.clone();
            drop(known);
            self.changed.notify(usize::MAX);
        }
        Ok(head)
    }

    /// Takes the first state after a connection was lost. The server may have another history now, so all that was
    /// remembered is forgotten.
    pub(crate) fn start_over(&self, state: &State) -> Result<Checkpoint, Fault> {
        let head = self.observe(state)?;
        self.begin_era(&mut self.lock(), head.clone());
        Ok(head)
    }

    fn begin_era(&self, known: &mut Known, head: Checkpoint) {
        let last = head.mark(0).map(|mark| (head.sequence(0), mark));
        known.head = head;
        known.era += 1;
        let mut marks = self.lock_marks();
        marks.forget();
        if let Some((sequence, mark)) = last {
            marks.remember(sequence, mark);
        }
        self.changed.notify(usize::MAX);
    }

    /// The head of a snapshot as a checkpoint, whose mark is remembered.
    fn head_of(&self, state: &State) -> Checkpoint {
        match &state.head {
            None => Checkpoint::start(self.id, 1),
            Some(last) => self.marked(last.position, mark_of(last.id, last.recorded_at)),
        }
    }

    /// The place after an event, whose mark is remembered.
    pub(crate) fn past(&self, event: &RecordedEvent) -> Checkpoint {
        self.marked(event.position().sequence, event.mark())
    }

    /// A place with its mark, which is remembered.
    pub(crate) fn marked(&self, sequence: u64, mark: u32) -> Checkpoint {
        self.lock_marks().remember(sequence, mark);
        Checkpoint::start(self.id, 1).with_mark(Position { partition: 0, sequence }, mark)
    }

    pub(crate) fn start(&self) -> Checkpoint {
        Checkpoint::start(self.id, 1)
    }

    pub(crate) fn mark(&self, sequence: u64) -> Option<u32> {
        self.lock_marks().get(sequence)
    }

    pub(crate) fn remember(&self, marks: impl IntoIterator<Item = (u64, u32)>) {
        let mut known = self.lock_marks();
        marks.into_iter().for_each(|(sequence, mark)| known.remember(sequence, mark));
    }

    /// The places of checkpoints whose marks must be looked up.
    pub(crate) fn unknown_places<'a>(
        &self,
        checkpoints: impl IntoIterator<Item = &'a Checkpoint>,
    ) -> Vec<i64> {
        let marks = self.lock_marks();
        let places = checkpoints.into_iter().filter(|own| own.mark(0).is_some()).map(|own| own.sequence(0));
        places.filter(|sequence| marks.get(*sequence).is_none()).map(sequence_column).collect()
    }

    /// True if a checkpoint has a mark, and it is the remembered one.
    pub(crate) fn knows(&self, checkpoint: &Checkpoint) -> bool {
        checkpoint.mark(0).is_some_and(|mark| self.mark(checkpoint.sequence(0)) == Some(mark))
    }

    /// Checks the mark of a checkpoint against those that are remembered.
    ///
    /// # Errors
    /// [`Diverged`].
    pub(crate) fn check_mark(&self, checkpoint: &Checkpoint) -> Result<(), Diverged> {
        gesta_core::check_marks(checkpoint, |at| self.mark(at.sequence))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sequence as a column. One beyond the columns is beyond every head.
pub(crate) fn sequence_column(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}
