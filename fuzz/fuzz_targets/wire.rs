//! Events, CloudEvents and queries in JSON: an accepted value is written and read again without a change.
#![no_main]

use bytes::Bytes;
use gesta_core::{
    Batch, EventBytes, EventId, EventStore, MemoryStore, NewEvent, Position, Query, RecordedEvent, StoreId,
    Timestamp, Version, check_batch,
};
use gesta_server::cloudevents::{CloudEvent, write_cloud_event};
use gesta_server::wire::{EventJson, QueryJson, write_event, write_new_event};

const NOW: Timestamp = Timestamp::from_nanos(1);
const STORE: StoreId = StoreId::from_bytes([7; 16]);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else { return };
    let body = Bytes::copy_from_slice(body);
    match kind % 3 {
        0 => {
            if let Some(event) = event_of(&body).filter(fits) {
                event_again(&event.to_bytes());
            }
        }
        1 => {
            if let Some(event) = cloud_event_of(&body).filter(fits) {
                cloud_event_again(&event.to_bytes());
                event_again(&event.to_bytes());
            }
        }
        _ => query(&body),
    }
});

fn event_of(body: &Bytes) -> Option<NewEvent> {
    let json = serde_json::from_slice::<EventJson<'_>>(body).ok()?;
    let stream = json.stream().unwrap_or("account-1").parse().ok()?;
    json.to_new_event(body, stream, || EventId::from_u128(1), NOW).ok()
}

fn cloud_event_of(body: &Bytes) -> Option<NewEvent> {
    let json = serde_json::from_slice::<CloudEvent<'_>>(body).ok()?;
    json.to_new_event(body, None, NOW).ok()
}

/// True if the event is within a store's limits. Larger events are refused before they are encoded.
fn fits(event: &NewEvent) -> bool {
    let store = MemoryStore::new(STORE, 1, || NOW);
    check_batch(&Batch::new([event.clone()]), STORE, store.capabilities()).is_ok()
}

fn event_again(event: &EventBytes) {
    let mut written = Vec::new();
    write_new_event(event, &mut written);
    let again = event_of(&written.into()).expect("written JSON is accepted");
    assert_eq!(again.to_bytes().as_bytes(), event.as_bytes(), "an event comes back from JSON");

    let mut written = Vec::new();
    let recorded = recorded(event);
    write_event(&recorded, &mut written);
    let written = Bytes::from(written);
    let json = serde_json::from_slice::<EventJson<'_>>(&written).expect("the encoder writes JSON");
    assert_eq!(json.to_recorded(&written).ok(), Some(recorded), "a recorded event comes back from JSON");
}

fn cloud_event_again(event: &EventBytes) {
    let mut written = Vec::new();
    write_cloud_event(&recorded(event), STORE, &mut written);
    let again = cloud_event_of(&written.into()).expect("written JSON is accepted");
    assert_eq!(again.to_bytes().as_bytes(), event.as_bytes(), "an event comes back from a CloudEvent");
}

fn recorded(event: &EventBytes) -> RecordedEvent {
    RecordedEvent::new(Position { partition: 0, sequence: 1 }, Version::FIRST, NOW, event.clone())
}

fn query(body: &Bytes) {
    let Ok(json) = serde_json::from_slice::<QueryJson<'_>>(body) else { return };
    let Ok(query) = json.to_query() else { return };
    let written = QueryJson::of(&query).to_string();
    let again = serde_json::from_str::<QueryJson<'_>>(&written).expect("written JSON is accepted");
    let again: Query = again.to_query().ok().expect("names stay names");
    assert_eq!(again, query, "a query comes back from JSON");
}
