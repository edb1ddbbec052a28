//! States and deciders: pure functions over one entity.

use crate::command::Command;
use crate::decision::{At, NewFact};
use crate::event::Event;
use crate::key::Key;

/// What is known, folded from events. Pure: no I/O, no clock, no entropy, so that the same events always make the same
/// state.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a state",
    label = "not a state",
    note = "implement `gesta::State`: `type Event` and `fn evolve(&mut self, event: Self::Event)`"
)]
pub trait State: Default + Send + Sync + 'static {
    /// The events it is made of.
    type Event: Event;

    /// Takes in one event. It happened: there is no way to refuse it.
    fn evolve(&mut self, event: Self::Event);
}

/// A state that decides about commands: an entity with a stream of its own.
///
/// Deciding is pure, so it can be done again: when somebody else wrote in between, the newer events are folded in and
/// the command is decided anew.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a decider",
    label = "not a decider",
    note = "implement `gesta::Decider`: `type Id`, `type Command`, `type Error` and `fn decide`"
)]
pub trait Decider: State {
    /// The id of the entity. Its stream is `KIND-id`.
    type Id: Key;
    /// What it can be asked.
    type Command: Command;
    /// Why it refuses.
    type Error: std::error::Error + Send + Sync + 'static;

    /// What happens because of the command. An empty list means: accepted, and nothing to record.
    ///
    /// # Errors
    /// The domain's own refusal. Nothing is recorded then.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Error>;

    /// This entity as a part of a [`Decision`](crate::Decision)'s boundary.
    #[must_use]
    fn at(id: &Self::Id) -> At<Self> {
        At::entity(id)
    }

    /// An event of that entity, for a [`Decision`](crate::Decision) to record.
    #[must_use]
    fn emit(id: &Self::Id, event: Self::Event) -> NewFact {
        NewFact::new(id, &event)
    }
}
