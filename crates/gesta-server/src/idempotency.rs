//! Ids for events that come without one.

use gesta_core::{CommandKey, EventId};
use uuid::Uuid;

/// The id of an event that came without one. Under a command key it is always the same, so that the answer to a repeat names the same
/// events.
pub(crate) fn event_id(command: Option<&CommandKey>, index: usize) -> EventId {
    let id = match command {
        None => Uuid::now_v7(),
        Some(command) => {
            let name = [&command.key, &command.request[..], &(index as u64).to_le_bytes()].concat();
            Uuid::new_v5(&gesta_wire::cloudevents::NAMESPACE, &name)
        }
    };
    EventId::from_bytes(id.into_bytes())
}
