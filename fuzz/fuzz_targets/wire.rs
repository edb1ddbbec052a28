//! The JSON of the wire: an accepted value is written and read again without a change.
#![no_main]

use std::num::NonZeroU32;

use bytes::Bytes;
use gesta_core::{
    AppendError, Batch, EventBytes, EventId, EventStore, Limit, MemoryStore, NewEvent, Place, Position,
    Query, Read, ReadError, RecordedEvent, Select, StoreId, Timestamp, Version, check_batch,
};
use gesta_wire::cloudevents::{CloudEvent, write_cloud_event};
use gesta_wire::{
    BatchJson, EventJson, LogReadJson, Problem, QueryJson, appended_json, batch_json, log_read_json,
    read_appended, read_checkpoint, read_page, read_repeat, read_store, read_streams, repeat_json,
    store_json, write_event, write_new_event, write_page,
};

const NOW: Timestamp = Timestamp::from_nanos(1);
const STORE: StoreId = StoreId::from_bytes([7; 16]);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else { return };
    let body = Bytes::copy_from_slice(body);
    match kind % 7 {
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
        2 => query(&body),
        3 => batch(&body),
        4 => log_read(&body),
        5 => answers(&body),
        _ => problem(&body),
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

fn batch(body: &Bytes) {
    let Some(batch) = batch_of(body) else { return };
    if !batch.events.iter().cloned().all(|event| fits(&event)) {
        return;
    }
    let again = batch_of(&batch_json(&batch).into()).expect("written JSON is accepted");
    let bytes = |batch: &Batch| batch.events.iter().map(NewEvent::to_bytes).collect::<Vec<_>>();
    assert_eq!(bytes(&again), bytes(&batch), "events come back from JSON");
    let rest = |batch: Batch| Batch { events: Vec::new(), ..batch };
    assert_eq!(rest(again), rest(batch), "a batch comes back from JSON");
}

fn batch_of(body: &Bytes) -> Option<Batch> {
    let json = serde_json::from_slice::<BatchJson<'_>>(body).ok()?;
    let events = json.events().iter().map(|event| {
        let stream = event.stream().unwrap_or("account-1").parse().ok()?;
        event.to_new_event(body, stream, || EventId::from_u128(1), NOW).ok()
    });
    Some(Batch {
        events: events.collect::<Option<_>>()?,
        expect: json.expectations().ok()?,
        conditions: json.conditions().ok()?,
        command: json.command().ok()?,
    })
}

fn log_read(body: &Bytes) {
    let Some(read) = log_read_of(body) else { return };
    let written = log_read_json(&read, NonZeroU32::MAX).expect("it reads the log").to_string();
    assert_eq!(log_read_of(&written.into()), Some(read), "a read of the log comes back from JSON");
}

fn log_read_of(body: &Bytes) -> Option<Read> {
    let json = serde_json::from_slice::<LogReadJson<'_>>(body).ok()?;
    let from = json.from().ok()?.unwrap_or(Place::Start);
    let select = Select::Log { query: json.query().ok()?, from, lanes: json.lanes().ok()? };
    let default = Limit::default();
    let limit = Limit {
        events: json.limit.and_then(NonZeroU32::new).unwrap_or(default.events),
        bytes: json.limit_bytes.unwrap_or(default.bytes),
        examined: json.limit_examined.unwrap_or(default.examined),
    };
    Some(Read { select, direction: json.direction().ok()?, until: json.until().ok()?, limit })
}

/// A client must take any bytes from a server that is not what it seems.
fn answers(body: &Bytes) {
    let _ = read_checkpoint(body);
    let _ = read_streams(body);
    if let Ok(appended) = read_appended(body) {
        assert_eq!(read_appended(&appended_json(&appended, &[])).ok(), Some(appended));
    }
    if let Ok(answer) = read_repeat(body) {
        assert_eq!(read_repeat(&repeat_json(answer.as_ref())).ok(), Some(answer));
    }
    if let Ok(store) = read_store(body) {
        assert_eq!(read_store(store_json(&store).to_string().as_bytes()).ok(), Some(store));
    }
    if let Ok(page) = read_page(body) {
        let mut written = Vec::new();
        let stream = page.last_version.map(|_| "a-1".parse().expect("a name"));
        write_page(&page, stream.as_ref(), None, &mut written);
        assert_eq!(read_page(&written.into()).ok(), Some(page));
    }
}

fn problem(body: &Bytes) {
    let Ok(problem) = Problem::from_json(body) else { return };
    let again = Problem::from_json(problem.to_json().to_string().as_bytes());
    assert_eq!(again.ok().as_ref(), Some(&problem), "a problem comes back from JSON");
    let (append, read): (AppendError, ReadError) = (problem.to_append_error(), problem.to_read_error());
    assert_eq!(Problem::from(append.clone()).to_append_error(), append, "its error comes back as itself");
    assert_eq!(Problem::from(read.clone()).to_read_error(), read, "its error comes back as itself");
}
