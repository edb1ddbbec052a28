//! What is written is read without a change.

use std::num::NonZeroU32;

use bytes::Bytes;
use gesta_core::{
    Appended, AtomicScope, Batch, Capabilities, CommandKey, Condition, Direction, Item, LANES, Lane, Limit,
    Limits, ListToken, NewEvent, Page, Place, Placed, Query, Read, RecordedEvent, Select, StoreId,
    StreamInfo, StreamPage, Timestamp,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::any::{checkpoint, event, expected, id, position, stream, version};
use crate::{
    BatchJson, EventJson, LogReadJson, StoreInfo, appended_json, batch_json, checkpoint_json, log_read_json,
    read_appended, read_checkpoint, read_page, read_repeat, read_store, read_streams, repeat_json,
    store_json, streams_json, write_event_line, write_page,
};

pub(crate) fn query() -> impl Strategy<Value = Query> {
    let tag = "[a-z]{1,3}:[a-z]{1,3}".prop_map(|tag| tag.parse().unwrap());
    let kind = "[a-z.]{1,5}".prop_map(|name| name.parse().unwrap());
    let category = stream().prop_map(|name| name.category());
    let item = (option::of(stream()), option::of(category), vec(kind, 0..3), vec(id(), 0..3), vec(tag, 0..3))
        .prop_map(|(stream, category, types, ids, tags)| Item { stream, category, types, ids, tags });
    prop_oneof![Just(Query::All), vec(item, 0..3).prop_map(Query::Any)]
}

fn batch() -> impl Strategy<Value = Batch> {
    let condition =
        (query(), option::of(checkpoint())).prop_map(|(fail_if_any, after)| Condition { fail_if_any, after });
    let command = (vec(any::<u8>(), 1..20), any::<[u8; 32]>())
        .prop_map(|(key, request)| CommandKey { key: key.into(), request });
    (vec(event(), 0..4), vec((stream(), expected()), 0..4), vec(condition, 0..3), option::of(command))
        .prop_map(|(events, expect, conditions, command)| Batch { events, expect, conditions, command })
}

pub(crate) fn recorded() -> impl Strategy<Value = RecordedEvent> {
    (position(), version(), any::<i64>(), event()).prop_map(|(at, version, recorded_at, event)| {
        RecordedEvent::new(at, version, Timestamp::from_nanos(recorded_at), event.to_bytes())
    })
}

/// The event with data and metadata that stand on several lines.
fn with_line_breaks(event: &RecordedEvent) -> RecordedEvent {
    let (stream, event_type) = (event.stream().parse().unwrap(), event.event_type().parse().unwrap());
    let new = NewEvent::json(event.id(), stream, event_type, event.time(), "{\n  \"a\": 1\r\n}");
    let new = new.with_metadata("{\n}");
    RecordedEvent::new(event.position(), event.version(), event.recorded_at(), new.to_bytes())
}

fn log_read() -> impl Strategy<Value = Read> {
    let place = prop_oneof![Just(Place::Start), Just(Place::End), checkpoint().prop_map(Place::At)];
    let lanes = vec(0..LANES, 0..5).prop_map(|lanes| lanes.into_iter().filter_map(Lane::new).collect());
    let limits = (1_u32.., 1_u64.., 1_u64..);
    (query(), place, option::of(lanes), any::<bool>(), option::of(checkpoint()), limits).prop_map(
        |(query, from, lanes, is_forward, until, (events, bytes, examined))| Read {
            select: Select::Log { query, from, lanes },
            direction: if is_forward { Direction::Forward } else { Direction::Backward },
            until,
            limit: Limit {
                events: events.try_into().unwrap(),
                bytes: bytes.try_into().unwrap(),
                examined: examined.try_into().unwrap(),
            },
        },
    )
}

/// Limits, each with a value of its own.
fn any_limits(values: [usize; 9]) -> Limits {
    let mut limits = Limits::default();
    [
        limits.batch_events_max,
        limits.batch_bytes_max,
        limits.batch_expectations_max,
        limits.batch_conditions_max,
        limits.data_bytes_max,
        limits.metadata_bytes_max,
        limits.tags_max,
        limits.query_items_max,
        limits.query_terms_max,
    ] = values;
    limits
}

proptest! {
    #[test]
    fn an_event_on_one_line_is_read_back_byte_for_byte(event in recorded(), breaks in any::<bool>()) {
        let event = if breaks { with_line_breaks(&event) } else { event };
        let mut line = Vec::new();
        write_event_line(&event, &mut line);
        prop_assert!(!line.iter().any(|byte| matches!(byte, b'\n' | b'\r')));
        let line = Bytes::from(line);
        let read = serde_json::from_slice::<EventJson<'_>>(&line).unwrap().to_recorded(&line).unwrap();
        prop_assert_eq!(read, event);
    }

    #[test]
    fn a_batch_comes_back_as_itself(batch in batch()) {
        let text = Bytes::from(batch_json(&batch));
        let json = serde_json::from_slice::<BatchJson<'_>>(&text).unwrap();
        let now = Timestamp::from_nanos(0);
        let events = json.events().iter().map(|event| {
            let stream = event.stream().unwrap().parse().unwrap();
            event.to_new_event(&text, stream, || panic!("every event has its id"), now)
        });
        let read = Batch {
            events: events.collect::<Result<_, _>>().unwrap(),
            expect: json.expectations().unwrap(),
            conditions: json.conditions().unwrap(),
            command: json.command().unwrap(),
        };
        prop_assert_eq!(read, batch);
    }

    #[test]
    fn the_answer_to_an_append_comes_back_as_itself(
        places in vec((version(), position()), 0..5), checkpoint in checkpoint(), repeated: bool,
    ) {
        let places = places.into_iter().map(|(version, position)| Placed { version, position });
        let appended = Appended { places: places.collect(), checkpoint, repeated };
        prop_assert_eq!(read_appended(&appended_json(&appended, &[])).unwrap(), appended);
    }

    #[test]
    fn a_page_comes_back_as_itself(
        events in vec(recorded(), 0..4), scanned_to in checkpoint(), head in checkpoint(),
        of in option::of((stream(), option::of(version()))), end: bool, next in option::of("[/?=a-z\"]{0,9}"),
    ) {
        let last_version = of.as_ref().and_then(|(_, version)| *version);
        let page = Page { events, scanned_to, head, last_version, end };
        let mut text = Vec::new();
        write_page(&page, of.as_ref().map(|(stream, _)| stream), next.as_deref(), &mut text);
        prop_assert_eq!(read_page(&text.into()).unwrap(), page);
    }

    #[test]
    fn the_answer_to_a_question_for_a_repeat_comes_back_as_itself(
        places in vec((version(), position()), 0..5), checkpoint in checkpoint(), known: bool,
    ) {
        let places = places.into_iter().map(|(version, position)| Placed { version, position });
        let appended = known.then(|| Appended { places: places.collect(), checkpoint, repeated: true });
        prop_assert_eq!(read_repeat(&repeat_json(appended.as_ref())).unwrap(), appended);
    }

    #[test]
    fn a_read_of_the_log_comes_back_as_itself(read in log_read()) {
        let body = log_read_json(&read, NonZeroU32::MAX).unwrap().to_string();
        let json = serde_json::from_str::<LogReadJson<'_>>(&body).unwrap();
        let select = Select::Log {
            query: json.query().unwrap(),
            from: json.from().unwrap().unwrap(),
            lanes: json.lanes().unwrap(),
        };
        let limit = Limit {
            events: json.limit.and_then(NonZeroU32::new).unwrap(),
            bytes: json.limit_bytes.unwrap(),
            examined: json.limit_examined.unwrap(),
        };
        let again = Read { select, direction: json.direction().unwrap(), until: json.until().unwrap(), limit };
        prop_assert_eq!(again, read);
    }

    #[test]
    fn a_store_comes_back_as_itself(
        store: [u8; 16], partitions in 1_u16..=1024, dense: bool, whole: bool, limits: [u16; 9], pages in 1_u32..,
    ) {
        let scope = if whole { AtomicScope::Store } else { AtomicScope::Partition };
        let mut capabilities = Capabilities::new(partitions, scope, any_limits(limits.map(usize::from)));
        capabilities.dense_positions = dense;
        let info = StoreInfo {
            store: StoreId::from_bytes(store),
            capabilities,
            page_events_max: pages,
            wait_seconds_max: 60,
            features: vec!["groups".to_owned()],
        };
        prop_assert_eq!(read_store(store_json(&info).to_string().as_bytes()).unwrap(), info);
    }

    #[test]
    fn a_checkpoint_comes_back_as_itself(checkpoint in checkpoint()) {
        let text = checkpoint_json(&checkpoint).to_string();
        prop_assert_eq!(read_checkpoint(text.as_bytes()).unwrap(), checkpoint);
    }

    #[test]
    fn a_page_of_streams_comes_back_as_itself(streams in vec((stream(), version()), 0..4)) {
        let streams = streams.into_iter().map(|(name, version)| StreamInfo::new(name, version));
        let page = StreamPage { streams: streams.collect(), next: Some(ListToken("a/b é".into())) };
        let text = streams_json(&page.streams, Some("/streams?limit=1&after=a%2Fb%20%C3%A9&x=1")).to_string();
        prop_assert_eq!(read_streams(text.as_bytes()).unwrap(), page);
    }
}

#[test]
fn an_answer_of_another_form_names_the_member() {
    let names = |error: String, member: &str| assert!(error.contains(member), "{error}");
    names(read_checkpoint(b"{}").unwrap_err().to_string(), "`checkpoint`");
    names(read_appended(br#"{"versions":[0],"positions":[]}"#).unwrap_err().to_string(), "`positions`");
    names(read_streams(br#"{"streams":[{}]}"#).unwrap_err().to_string(), "`streams`");
    names(read_streams(br#"{"streams":[],"next":"/streams"}"#).unwrap_err().to_string(), "`next`");
    names(read_page(&Bytes::from_static(b"<html>")).unwrap_err().to_string(), "not the JSON");
}

#[test]
fn a_malformed_command_key_is_refused() {
    let request = "0".repeat(64);
    let cases = [
        ("\u{e9}", &*request, "`key` of the command is not base64"),
        ("YQ==", "00", "64 hexadecimal digits"),
        ("YQ==", &"é".repeat(32), "64 hexadecimal digits"),
        ("YQ==", &"+".repeat(64), "64 hexadecimal digits"),
    ];
    for (key, request, said) in cases {
        let text = format!(r#"{{"events":[],"command":{{"key":"{key}","request":"{request}"}}}}"#);
        let json = serde_json::from_str::<BatchJson<'_>>(&text).unwrap();
        let error = json.command().unwrap_err().to_string();
        assert!(error.contains(said), "{key} {request}: {error}");
    }
}
