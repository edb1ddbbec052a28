//! `POST /batches`.

use std::sync::Arc;

use futures_util::FutureExt;
use gesta_core::{CommandKey, EventStore};
use gesta_server::Limits;
use serde_json::json;

use crate::harness::{event, memory, start, start_with};

#[test]
fn a_batch_over_several_streams_is_appended_whole_or_not_at_all() {
    let server = start();
    let batch = r#"{
        "events": [{"stream": "a-1", "type": "t", "data": 1}, {"stream": "b-1", "type": "t", "data": 2}],
        "expect": [{"stream": "a-1", "version": "none"}, {"stream": "c-1", "version": "none"}]
    }"#;
    let answer = server.post("/batches", batch);
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!((&answer.json()["versions"], &answer.json()["positions"]), (&json!([0, 0]), &json!([1, 2])));
    let refused = server.post("/batches", batch);
    refused.problem(409, "conflict");
    assert_eq!((&refused.json()["stream"], &refused.json()["actual"]), (&json!("a-1"), &json!(0)));
    let exact = batch.replace("\"none\"}, {", "0}, {");
    assert_eq!(server.post("/batches", &exact).status, 201);
    assert_eq!(server.get("/streams/b-1").json()["lastVersion"], 1);
}

#[test]
fn an_event_is_expected_by_its_version_and_its_id() {
    let server = start();
    let appended = server.post("/streams/a-1", &event("t", "1")).json();
    let id = appended["ids"][0].as_str().unwrap().to_owned();
    let batch = |version: u64, id: &str| {
        json!({
            "events": [{"stream": "b-1", "type": "t", "data": 1}],
            "expect": [{"stream": "a-1", "version": {"version": version, "id": id}}],
        })
        .to_string()
    };
    assert_eq!(server.post("/batches", &batch(0, &id)).status, 201);
    let other = "018f4e3c-8a52-7c1e-9d00-3b6f1c2a4d5e";
    let refused = server.post("/batches", &batch(0, other));
    assert!(refused.problem(409, "conflict").contains("another event"), "{refused:?}");
    let problem = refused.json();
    assert_eq!((&problem["expected"], &problem["actual"]), (&json!({"version": 0, "id": other}), &json!(0)));
    assert_eq!(problem["retry"], "never");
    assert_eq!(server.post("/batches", &batch(1, other)).json()["retry"], "after-pause");
    server.post("/batches", &batch(0, "7")).problem(400, "invalid-request");
}

#[test]
fn a_condition_fails_when_something_matched_since_the_read() {
    let server = start();
    let tagged = r#"{"type":"seat.taken","data":1,"tags":["show:7"]}"#;
    server.post("/streams/seat-1", tagged);
    let seen = server.get("/events?tag=show:7").json()["scannedTo"].as_str().unwrap().to_owned();
    let batch = |after: &str| {
        let query = r#"[{"types": ["seat.taken"], "tags": ["show:7"]}]"#;
        format!(
            r#"{{"events": [{{"stream": "seat-2", "type": "seat.taken", "data": 2, "tags": ["show:7"]}}],
                "conditions": [{{"failIfAny": {query}, "after": {after}}}]}}"#
        )
    };
    let refused = server.post("/batches", &batch("null"));
    refused.problem(409, "condition-failed");
    assert_eq!((&refused.json()["index"], &refused.json()["position"]), (&json!(0), &json!(1)));
    assert_eq!(server.post("/batches", &batch(&format!("\"{seen}\""))).status, 201);
    server.post("/batches", &batch(&format!("\"{seen}\""))).problem(409, "condition-failed");
    let foreign = format!("\"{}.1\"", "00".repeat(16));
    server.post("/batches", &batch(&foreign)).problem(400, "foreign-checkpoint");
    let ahead = format!("\"{}.99\"", "07".repeat(16));
    server.post("/batches", &batch(&ahead)).problem(409, "checkpoint-ahead");
}

#[test]
fn cloud_events_go_to_the_streams_that_their_subjects_name() {
    let server = start();
    let one = |id: u32, stream: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"urn:x","type":"t","subject":"{stream}","data":1}}"#
        )
    };
    let kind = [("content-type", "application/cloudevents-batch+json")];
    let body = format!("[{},{}]", one(1, "a-1"), one(2, "b-1"));
    assert_eq!(server.post_with("/batches", &kind, &body).status, 201);
    assert_eq!(server.post_with("/batches", &kind, &body).status, 200);
    let nameless = body.replace("subject", "topic");
    let refused = server.post_with("/batches", &kind, &nameless);
    assert!(refused.problem(400, "invalid-event").contains("no `subject`"));
    let system = server.post_with("/batches", &kind, &format!("[{}]", one(3, "$x")));
    system.problem(403, "system-stream");
}

#[test]
fn what_is_wrong_with_a_batch_is_named() {
    let server = start();
    let events = r#""events":[{"stream":"a-1","type":"t","data":1}]"#;
    let cases = [
        (r#"{"events":[{"type":"t","data":1}]}"#.to_owned(), "invalid-request", "names no `stream`"),
        (
            format!("{{{events},\"expect\":[{{\"stream\":\"a-1\",\"version\":\"x\"}}]}}"),
            "invalid-request",
            "`a-1`",
        ),
        (format!("{{{events},\"conditions\":[{{\"failIfAny\":[]}}]}}"), "invalid-batch", "no items"),
        (
            format!("{{{events},\"conditions\":[{{\"failIfAny\":[{{}}]}}]}}"),
            "invalid-batch",
            "without a field",
        ),
        (
            format!("{{{events},\"conditions\":[{{\"failIfAny\":\"x\"}}]}}"),
            "invalid-json",
            "`x` is not a query",
        ),
        (
            format!("{{{events},\"expect\":[{{\"stream\":\"a-1\",\"version\":-1}}]}}"),
            "invalid-json",
            "`version` is neither a version nor `any`",
        ),
        (String::new(), "invalid-json", "the body is empty: send an object with `events`"),
        (format!("{{{events},\"wish\":1}}"), "invalid-json", "`wish` is unknown: known are `events`"),
        (event("t", "1"), "invalid-json", "`type` is unknown: known are `events`"),
    ];
    for (body, kind, detail) in cases {
        let said = server.post("/batches", &body).problem(400, kind);
        assert!(said.contains(detail), "{body}: {said}");
    }
}

#[test]
fn a_batch_carries_the_command_key_of_the_store_as_it_is() {
    let store = memory();
    let server = start_with(Arc::clone(&store) as _, Limits::default());
    let key = CommandKey { key: "k-1".into(), request: [0xab; 32] };
    let batch = |data: u32, request: &str| {
        json!({
            "events": [{"stream": "a-1", "type": "t", "data": data}],
            "command": {"key": "ay0x", "request": request},
        })
        .to_string()
    };
    let first = server.post("/batches", &batch(1, &"ab".repeat(32)));
    assert_eq!(first.status, 201, "{first:?}");
    let repeat = store.repeat_of(key, "a-1".parse().unwrap()).now_or_never().unwrap().unwrap();
    let repeat = repeat.expect("the key is recorded");
    assert_eq!(repeat.places[0].position.sequence, 1);
    let again = server.post("/batches", &batch(1, &"AB".repeat(32)));
    assert_eq!((again.status, &again.json()["ids"]), (200, &first.json()["ids"]), "{again:?}");
    server.post("/batches", &batch(1, &"00".repeat(32))).problem(422, "key-reused");
    server.post("/batches", &batch(1, "00")).problem(400, "invalid-request");
    let both = server.post_with("/batches", &[("idempotency-key", "k-2")], &batch(2, &"ab".repeat(32)));
    assert!(both.problem(400, "invalid-request").contains("give one"), "{both:?}");
}

#[test]
fn a_route_that_heeds_no_entity_tag_refuses_one() {
    let server = start();
    let batch = r#"{"events":[{"stream":"a-1","type":"t","data":1}]}"#;
    for header in [("if-match", "\"7\""), ("if-match", "*"), ("if-none-match", "*")] {
        for (path, body) in [("/batches", batch), ("/batches/repeat", "{}"), ("/views/reload", "")] {
            let refused = server.post_with(path, &[header], body).problem(400, "invalid-request");
            assert!(refused.contains("takes no `If-Match`"), "{path} {header:?}: {refused}");
        }
    }
    server.get("/streams/a-1").problem(404, "no-stream");
}

#[test]
fn a_header_that_becomes_a_tag_is_named_if_it_is_too_long() {
    let server = start();
    let long = "x".repeat(300);
    let headers = [("x-causation-id", "e-1"), ("x-correlation-id", long.as_str())];
    let refused = server.post_with("/streams/a-1", &headers, &event("t", "1")).problem(400, "invalid-name");
    assert!(refused.contains("header `X-Correlation-Id`: it is 300 bytes long: give at most"), "{refused}");
}

#[test]
fn an_address_has_known_parameters_and_whole_escapes() {
    let server = start();
    for path in ["/?x", "/livez?x"] {
        assert!(server.get(path).problem(400, "invalid-request").contains("`x` is unknown"), "{path}");
    }
    for path in ["/streams/%zz", "/streams/a%2", "/events?tag=%g1"] {
        let refused = server.get(path).problem(400, "invalid-request");
        assert!(refused.contains("is no escape: write `%25`"), "{path}: {refused}");
    }
}
