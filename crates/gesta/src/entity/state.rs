//! States with their type erased, and how a part of a boundary borrows one for a step.

use std::any::{Any, TypeId};

use gesta_core::{NewEvent, RecordedEvent, Snapshot, Version};

use crate::boundary::fold;
use crate::error::LoadError;
use crate::snapshot::{Declared, restored};
use crate::state::State;

use super::planted::{Bug, planted};

/// An event as its bytes, recorded or about to be. A state is always folded from these, so that a kept state equals a
/// loaded one.
#[derive(Clone, Copy)]
pub struct EncodedEvent<'a> {
    pub(crate) stream: &'a str,
    pub(crate) version: Version,
    pub(crate) event_type: &'a str,
    pub(crate) schema_version: u16,
    pub(crate) data: &'a [u8],
}

impl<'a> EncodedEvent<'a> {
    pub(crate) fn recorded(event: &'a RecordedEvent) -> Self {
        Self {
            stream: event.stream(),
            version: event.version(),
            event_type: event.event_type(),
            schema_version: event.schema_version(),
            data: event.data_slice(),
        }
    }

    pub(crate) fn new(event: &'a NewEvent, version: Version) -> Self {
        Self {
            stream: event.stream.as_str(),
            version,
            event_type: event.event_type.as_str(),
            schema_version: event.schema_version,
            data: &event.data,
        }
    }
}

/// A state of any type.
pub trait AnyState: Send {
    /// Folds one event. After an error or a panic the state is gone.
    fn fold(&mut self, event: EncodedEvent<'_>) -> Result<(), LoadError>;
    /// True if the state is there: not borrowed, and not lost in a panic.
    fn is_whole(&self) -> bool;
    /// Its size in bytes, by [`State::weight`].
    fn weight(&self) -> usize;
    /// How it is kept as snapshots; `None` if it is not.
    fn declared(&self) -> Option<Declared>;
    /// Takes its value from a snapshot. Returns false if that cannot be decoded, and changes nothing.
    fn restore(&mut self, snapshot: &Snapshot) -> bool;
    /// The value behind the trait.
    fn as_any(&mut self) -> &mut dyn Any;
}

/// A state, or the place of one that is borrowed.
pub(crate) struct Held<S>(pub(crate) Option<S>);

impl<S: State> AnyState for Held<S> {
    fn fold(&mut self, event: EncodedEvent<'_>) -> Result<(), LoadError> {
        if planted(Bug::HalfFoldedState) {
            return fold(self.0.as_mut().expect("a state is folded while it is whole"), event);
        }
        let mut state = self.0.take().expect("a state is folded while it is whole");
        fold(&mut state, event)?;
        self.0 = Some(state);
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.0.is_some()
    }

    fn weight(&self) -> usize {
        self.0.as_ref().map_or(0, State::weight)
    }

    fn declared(&self) -> Option<Declared> {
        Declared::of::<S>()
    }

    fn restore(&mut self, snapshot: &Snapshot) -> bool {
        let Some(state) = restored(snapshot) else { return false };
        self.0 = Some(state);
        true
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// A part of a boundary that borrows its state from the cache for one step.
pub trait Borrower {
    /// The type of its state.
    fn kind(&self) -> TypeId;
    /// A state without events.
    fn empty(&self) -> Box<dyn AnyState>;
    /// Takes the state, which is at that version.
    fn borrow(&mut self, from: &mut dyn AnyState, version: Option<Version>);
    /// Puts the state back.
    fn give_back(&mut self, to: &mut dyn AnyState);
}
