//! A message: one event on its way to a broker.

use gesta_core::{EventId, RecordedEvent, StoreId};
use gesta_wire::cloudevents::PublishedEvent;
use uuid::Uuid;

use crate::subject::Template;

/// The namespace of message ids: `6f0f5f0e-2c8a-5b9d-8a53-1d9b7f4c2e61`. It never changes.
pub const MESSAGE_NAMESPACE: Uuid = Uuid::from_u128(0x6f0f_5f0e_2c8a_5b9d_8a53_1d9b_7f4c_2e61);

/// Returns the id of the message with an event, by which brokers drop repeats.
///
/// It is the UUIDv5 in [`MESSAGE_NAMESPACE`] of the 16 bytes of the store's id, the stream, a zero byte, and the 16 bytes of the event's
/// id: an event id is unique only within its stream.
#[must_use]
pub fn message_id(store: StoreId, stream: &str, event: EventId) -> Uuid {
    let name = [store.as_bytes().as_slice(), stream.as_bytes(), &[0], event.as_bytes().as_slice()].concat();
    Uuid::new_v5(&MESSAGE_NAMESPACE, &name)
}

/// An event on its way.
pub(crate) struct Message<'e> {
    /// The id by which a broker drops repeats.
    pub(crate) id: Uuid,
    /// The subject, routing key or path, filled in.
    pub(crate) subject: String,
    pub(crate) event: PublishedEvent<'e>,
}

impl<'e> Message<'e> {
    pub(crate) fn new(event: &'e RecordedEvent, store: StoreId, subject: &Template) -> Self {
        Self {
            id: message_id(store, event.stream(), event.id()),
            subject: subject.fill(event.stream(), event.event_type()),
            event: PublishedEvent::new(event, store),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_is_fixed_for_ever_and_differs_by_store_stream_and_event() {
        let (store, event) = (StoreId::from_bytes([7; 16]), EventId::from_u128(1));
        let id = message_id(store, "order-1", event);
        assert_eq!(id.to_string(), "e0edf009-a59c-5043-90b6-5b09f0b2b521");
        let others = [
            message_id(StoreId::from_bytes([8; 16]), "order-1", event),
            message_id(store, "order-2", event),
            message_id(store, "order-1", EventId::from_u128(2)),
        ];
        assert!(others.iter().all(|other| *other != id));
    }
}
