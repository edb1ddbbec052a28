//! The canonical bytes of an event: there is one form, and the parts contain all of it.
#![no_main]

use gesta_core::{EventBytes, NewEvent};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(event) = EventBytes::parse(bytes.to_vec().into()) else { return };
    let parts = NewEvent {
        id: event.id(),
        stream: event.stream().parse().expect("the stream of an event is a valid name"),
        event_type: event.event_type().parse().expect("the type of an event is a valid name"),
        schema_version: event.schema_version(),
        kind: event.kind(),
        data: event.data(),
        metadata: event.metadata(),
        tags: event.tags().map(|tag| tag.parse().expect("the tag of an event is a valid tag")).collect(),
        time: event.time(),
    };
    assert_eq!(parts.to_bytes().as_bytes(), bytes, "an event has one form");
});
