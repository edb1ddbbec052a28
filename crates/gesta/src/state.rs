//! States: pure functions from events to what is known.

use crate::event::Event;
use crate::snapshot::Snapshots;

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

    /// How its states are kept as snapshots. The default keeps none. Declare it with [`macro@crate::snapshot`].
    #[must_use]
    fn snapshots() -> Option<Snapshots<Self>> {
        None
    }

    /// Its size in memory, in bytes. The [`Cache`](crate::Cache) drops states by it.
    ///
    /// The default is the size of the type. A state that owns collections should add what they hold; a rough figure is
    /// enough. It is asked for after the commands to an entity, so it should be cheap.
    fn weight(&self) -> usize {
        size_of::<Self>()
    }
}
