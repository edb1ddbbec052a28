//! CloudEvents in binary mode: attributes in headers, data in the body.

use serde_json::{Value, json};

use crate::harness::{Answer, Running, start};

const EVENT: [(&str, &str); 7] = [
    ("content-type", "application/json"),
    ("ce-specversion", "1.0"),
    ("ce-id", "17"),
    ("ce-source", "urn:x"),
    ("ce-type", "order.placed"),
    ("ce-subject", "order-1"),
    ("ce-ext", "caf%C3%A9%20au%20lait"),
];

fn send(server: &Running, path: &str, changes: &[(&str, &str)], body: &str) -> Answer {
    let kept = EVENT.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    let headers = kept.chain(changes).filter(|(_, value)| !value.is_empty()).copied().collect::<Vec<_>>();
    server.call("POST", path, &headers, Some(body))
}

fn exported(server: &Running, stream: &str) -> Value {
    let accept = [("accept", "application/cloudevents-batch+json")];
    server.get_with(&format!("/streams/{stream}"), &accept).json()
}

#[test]
fn an_event_whose_attributes_are_headers_is_appended_as_in_structured_mode() {
    let server = start();
    let body = r#"{"type": "not the type", "n": 1.50}"#;
    for (path, status) in [("/streams/order-1", 201), ("/batches", 200)] {
        let answer = send(&server, path, &[], body);
        assert_eq!(answer.status, status, "the id makes the second one a repeat: {answer:?}");
    }
    let structured = format!(
        r#"{{"specversion":"1.0","id":"17","source":"urn:x","type":"order.placed","subject":"order-1",
            "datacontenttype":"application/json","ext":"café au lait","data":{body}}}"#
    );
    let kind = [("content-type", "application/cloudevents+json")];
    assert_eq!(server.post_with("/streams/order-1", &kind, &structured).status, 200);
    let event = &exported(&server, "order-1")[0];
    for (name, value) in [
        ("id", json!("17")),
        ("type", json!("order.placed")),
        ("ext", json!("café au lait")),
        ("data", json!({"type": "not the type", "n": 1.5})),
    ] {
        assert_eq!(event[name], value, "{event}");
    }
    assert!(server.get("/streams/order-1").text.contains(body), "byte for byte");
}

#[test]
fn data_of_any_media_type_is_kept() {
    let server = start();
    for (at, (kind, body, member)) in [
        ("text/plain; charset=utf-8", "a\nb", json!({"data": "a\nb"})),
        ("application/octet-stream", "\u{1}\u{2}", json!({"data_base64": "AQI="})),
        ("application/vnd.order+json", " [1, 2] ", json!({"data": [1, 2]})),
        ("", "", json!({"data": null})),
    ]
    .into_iter()
    .enumerate()
    {
        let (stream, id) = (format!("data-{at}"), at.to_string());
        let changes = [("content-type", kind), ("ce-subject", stream.as_str()), ("ce-id", id.as_str())];
        let answer = send(&server, "/batches", &changes, body);
        assert_eq!(answer.status, 201, "{kind}: {answer:?}");
        let event = &exported(&server, &stream)[0];
        for (name, value) in member.as_object().unwrap() {
            assert_eq!(event[name], *value, "{event}");
        }
    }
}

#[test]
fn what_is_wrong_in_binary_mode_is_named() {
    let server = start();
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str, &'a str);
    let cases: [Case<'_>; 8] = [
        (&[("ce-specversion", "")], "1", "invalid-event", "no `specversion`"),
        (&[("ce-type", "")], "1", "invalid-event", "no `type`"),
        (&[("ce-time", "yesterday")], "1", "invalid-event", "`yesterday` is not a time"),
        (&[("ce-ext", "%FF")], "1", "invalid-request", "header `ce-ext` is not percent-encoded UTF-8"),
        (&[("ce-Ext_1", "x")], "1", "invalid-event", "`ext_1` is not a name of lower-case letters"),
        (&[("ce-datacontenttype", "text/plain")], "1", "invalid-request", "both `ce-datacontenttype`"),
        (&[], "{\"a\":\n}", "invalid-json", "at line 2 column 1"),
        (&[], "[\"caf\\ud83d\"]", "invalid-json", "at line 1 column 6"),
    ];
    for (changes, body, kind, detail) in cases {
        let said = send(&server, "/streams/order-1", changes, body).problem(400, kind);
        assert!(said.contains(detail), "{changes:?} {body}: {said}");
    }
    server.get("/streams/order-1").problem(404, "no-stream");
}

#[test]
fn an_idempotency_key_stands_for_the_attributes_too() {
    let server = start();
    let send = |changes: &[(&str, &str)]| {
        send(&server, "/batches", &[&[("idempotency-key", "k")], changes].concat(), "1")
    };
    assert_eq!((send(&[]).status, send(&[]).status), (201, 200));
    send(&[("ce-type", "order.paid")]).problem(422, "key-reused");
}
