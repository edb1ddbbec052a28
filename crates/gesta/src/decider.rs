//! Deciders: entities that accept or refuse commands.

use crate::boundary::At;
use crate::command::Command;
use crate::fact::NewFact;
use crate::key::Key;
use crate::refusal::RefusalInfo;
use crate::state::State;

/// A state that decides about commands: an entity with its own stream.
///
/// `decide` is pure, so it can run again. After a conflicting append, the newer events are folded in and the command is
/// decided again.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a decider",
    label = "not a decider",
    note = "for an entity, implement `gesta::Decider`: `type Id`, `type Command`, `type Error` and `fn decide`",
    note = "in `#[decision]`, give a state that has no stream of its own a tag: `#[tag(email)] taken: &At<Taken>`",
    note = "for any other boundary, write `impl gesta::Decision` by hand"
)]
pub trait Decider: State {
    /// The id of the entity. Its stream is `KIND-id`.
    type Id: Key;
    /// The commands it takes.
    type Command: Command;
    /// Why it refuses a command.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The refusals, as the description of the API lists them: `Refused::REFUSALS` for an enum with `#[derive(Refusal)]`. Empty by default,
    /// which describes none.
    const REFUSALS: &'static [RefusalInfo] = &[];

    /// The events that follow from the command. An empty list accepts the command and records nothing.
    ///
    /// # Errors
    /// The domain's refusal. Nothing is recorded then.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Error>;

    /// This entity as a part of a [`Decision`](crate::Decision)'s boundary.
    #[must_use]
    fn at(id: &Self::Id) -> At<Self> {
        At::entity(id)
    }
}

impl<S: Decider> At<S> {
    /// The id of this entity; `None` for a state over a query, and for a stream of another category.
    #[must_use]
    pub fn id(&self) -> Option<S::Id> {
        let value = self.stream_name()?.as_str().strip_prefix(S::Id::KIND)?.strip_prefix('-')?;
        S::Id::parse(value).ok()
    }

    /// Sends a command to this entity and returns its events. So each entity keeps its own rules within a decision.
    ///
    /// # Errors
    /// The entity's refusal.
    pub fn ask(&self, command: S::Command) -> Result<Vec<NewFact>, S::Error> {
        let events = self.state().decide(command)?;
        Ok(events.into_iter().map(|event| self.emit(event)).collect())
    }
}
