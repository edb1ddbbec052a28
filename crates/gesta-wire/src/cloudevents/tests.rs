//! What came in goes out again, and what goes out comes in again.

use bytes::Bytes;
use gesta_core::{ContentKind, EventId, NewEvent, Position, RecordedEvent, StoreId, Timestamp, Version};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{CloudEvent, CloudEventError, NAMESPACE, PublishedEvent, write_cloud_event};
use crate::any;

const STORE: StoreId = StoreId::from_bytes([7; 16]);
const NOW: Timestamp = Timestamp::from_nanos(5);

fn import(text: &str) -> Result<NewEvent, CloudEventError> {
    let source = Bytes::copy_from_slice(text.as_bytes());
    serde_json::from_slice::<CloudEvent<'_>>(&source).expect("JSON").to_new_event(&source, None, NOW)
}

fn recorded(event: &NewEvent) -> RecordedEvent {
    let position = Position { partition: 0, sequence: 1 };
    RecordedEvent::new(position, Version::new(17), NOW, event.to_bytes())
}

fn export(event: &NewEvent) -> String {
    let mut out = Vec::new();
    write_cloud_event(&recorded(event), STORE, &mut out);
    String::from_utf8(out).unwrap()
}

const PLAIN: &str = r#"{"specversion":"1.0","id":"7855f52a-f282-57bf-819a-127ec9b0a241","source":"urn:bpic:2012","type":"loan.a_submitted","subject":"loan-173688","time":"2011-09-30T22:38:44.880Z","datacontenttype":"application/json","data":{"amount_req": "20000", "n":1.50}}"#;

#[test]
fn an_event_becomes_what_the_table_says() {
    let event = import(PLAIN).unwrap();
    assert_eq!(event.id.to_string(), "7855f52a-f282-57bf-819a-127ec9b0a241");
    assert_eq!((event.stream.as_str(), event.event_type.as_str()), ("loan-173688", "loan.a_submitted"));
    assert_eq!((event.kind, event.schema_version), (ContentKind::Json, 1));
    assert_eq!(event.data, r#"{"amount_req": "20000", "n":1.50}"#, "byte for byte");
    assert_eq!(event.metadata, r#"{"source":"urn:bpic:2012"}"#);
    assert_eq!(event.time.as_nanos(), 1_317_422_324_880_000_000);
}

#[test]
fn an_export_gives_back_what_came_in() {
    let cases = [
        PLAIN.to_owned(),
        PLAIN.replace("7855f52a-f282-57bf-819a-127ec9b0a241", "7855F52A-f282-57bf-819a-127ec9b0a241"),
        PLAIN.replace("7855f52a-f282-57bf-819a-127ec9b0a241", "order 17/2"),
        PLAIN.replace("application/json", "application/vnd.loan+json; charset=utf-8"),
        PLAIN.replace(r#""data":{"#, r#""traceparent":"00-ab-cd-01","count":3,"flag":true,"data":{"#),
        PLAIN.replace(r#""subject""#, r#""schemaversion":3,"subject""#),
        PLAIN.replace(r#"{"amount_req": "20000", "n":1.50}"#, "null"),
        PLAIN
            .replace("application/json", "text/plain")
            .replace(r#"{"amount_req": "20000", "n":1.50}"#, r#""a\nb""#),
    ];
    for text in cases {
        let event = import(&text).unwrap();
        let exported = export(&event);
        let mut expected = serde_json::from_str::<Value>(&text).unwrap();
        expected["recordedtime"] = json!("1970-01-01T00:00:00.000000005Z");
        assert_eq!(serde_json::from_str::<Value>(&exported).unwrap(), expected);
        assert_eq!(import(&exported).unwrap(), event);
    }
}

#[test]
fn an_id_that_is_no_uuid_becomes_one_of_its_source_and_itself() {
    let event = import(&PLAIN.replace("7855f52a-f282-57bf-819a-127ec9b0a241", "17")).unwrap();
    let expected = uuid::Uuid::new_v5(&NAMESPACE, b"urn:bpic:2012\x0017");
    assert_eq!(event.id, EventId::from_bytes(expected.into_bytes()));
    assert_eq!(event.id.to_string(), KNOWN_ID, "fixed for ever");
}

const KNOWN_ID: &str = "834fb615-6780-5a23-8ac7-a876a990ac07";

#[test]
fn an_event_without_metadata_is_exported_without_a_word_about_it() {
    let plain = import(&PLAIN.replace("urn:bpic:2012", "urn:gesta:store:07")).unwrap();
    assert_eq!(plain.metadata, "");
    let exported = export(&plain);
    assert!(!exported.contains("metadata"), "{exported}");
    assert_eq!(import(&exported).unwrap(), plain);
    let older = exported.replace("\"subject\"", "\"gestametadata\":\"\",\"subject\"");
    assert_eq!(import(&older).unwrap(), plain, "as exports said it before");
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        (PLAIN.replace("\"1.0\"", "\"0.3\""), "`specversion` is not `1.0`"),
        (PLAIN.replace("\"subject\"", "\"topic\""), "no `subject`, which names its stream"),
        (PLAIN.replace("\"source\"", "\"sauce\""), "no `source`"),
        (PLAIN.replace("\"subject\"", "\"Subject\""), "`Subject` is not a name of lower-case"),
        (PLAIN.replace("\"subject\"", "\"id\":\"x\",\"subject\""), "has `id` twice"),
        (PLAIN.replace("\"subject\"", "\"ext\":{},\"subject\""), "`ext` is not a string, a number"),
        (PLAIN.replace("application/json", "text/plain"), "`data` is not a string"),
        (PLAIN.replace("2011-09", "2011-99"), "is not a time"),
        (PLAIN.replace("loan-173688", ""), "stream name is empty"),
        (PLAIN.replace("\"subject\"", "\"gestatags\":\"a\",\"subject\""), "`a` is not `key:value`"),
        (PLAIN.replace("1.50", &("[".repeat(200) + &"]".repeat(200))), "nests 201 levels deep"),
    ];
    for (text, message) in cases {
        let error = import(&text).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

proptest! {
    #[test]
    fn what_an_export_writes_an_import_reads_to_the_same_event(event in any::event()) {
        let line = export(&event);
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(import(&line).unwrap(), event);
    }
}

fn published(event: &NewEvent) -> Value {
    let json = PublishedEvent::new(&recorded(event), STORE).to_json();
    assert!(!json.contains(&b'\n'));
    serde_json::from_slice(&json).expect("JSON")
}

#[test]
fn a_published_event_is_named_by_its_store_stream_and_id() {
    let mut event = import(&PLAIN.replace("urn:bpic:2012", "urn:gesta:store:07")).unwrap();
    event.stream = "loan-17/ä".parse().unwrap();
    let published = published(&event);
    assert_eq!(published["id"], "7855f52a-f282-57bf-819a-127ec9b0a241");
    assert_eq!(published["source"], format!("urn:gesta:store:{STORE}/loan-17%2F%C3%A4"));
    assert_eq!((&published["subject"], &published["gestaversion"]), (&json!("loan-17/ä"), &json!("17")));
    assert_eq!((&published["gestaoriginsource"], &published["gestaoriginid"]), (&Value::Null, &Value::Null));
    assert_eq!(published["data"], json!({"amount_req": "20000", "n": 1.50}));
}

#[test]
fn the_origin_of_an_imported_event_stays_over_several_stores() {
    let text = PLAIN
        .replace("7855f52a-f282-57bf-819a-127ec9b0a241", "17")
        .replace("\"subject\"", "\"traceparent\":\"00-ab\",\"count\":3,\"subject\"");
    let first = published(&import(&text).unwrap());
    assert_eq!(
        (&first["gestaoriginsource"], &first["gestaoriginid"]),
        (&json!("urn:bpic:2012"), &json!("17"))
    );
    assert_eq!((&first["id"], &first["traceparent"]), (&json!(KNOWN_ID), &json!("00-ab")));
    let second = published(&import(&first.to_string()).unwrap());
    assert_eq!(second["gestaoriginsource"], "urn:bpic:2012");
    assert_eq!((&second["gestaoriginid"], &second["count"]), (&json!("17"), &json!(3)));
}

proptest! {
    #[test]
    fn binary_and_structured_mode_say_the_same(event in any::event()) {
        let structured = published(&event);
        let recorded = recorded(&event);
        let binary = PublishedEvent::new(&recorded, STORE);
        let attributes = binary.attributes();
        for (name, text) in &attributes {
            let value = &structured[name.as_str()];
            let said = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            prop_assert_eq!(&said, text, "{}", name);
        }
        prop_assert_eq!(&structured["datacontenttype"], &json!(binary.data_content_type()));
        let members = structured.as_object().unwrap().iter().filter(|(name, value)| !name.starts_with("data") && !value.is_null());
        prop_assert_eq!(members.count(), attributes.len());
    }
}
