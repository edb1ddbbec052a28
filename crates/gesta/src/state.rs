//! States: pure functions from events to what is known.

use crate::event::Event;

/// A value folded from events. Pure: no I/O, no clock, no entropy. The same events always make the same state.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a state",
    label = "not a state",
    note = "implement `gesta::State`: `type Event` and `fn evolve(&mut self, event: Self::Event)`"
)]
pub trait State: Default + Send + Sync + 'static {
    /// The events it is folded from.
    type Event: Event;

    /// Applies one event. The event has happened, so it cannot be refused.
    fn evolve(&mut self, event: Self::Event);
}
