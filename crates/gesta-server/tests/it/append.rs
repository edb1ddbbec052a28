//! `POST /streams/{stream}`.

use serde_json::json;

use crate::harness::{event, place, start};

#[test]
fn an_event_is_appended_and_its_place_is_answered() {
    let server = start();
    let answer = server.post("/streams/account-42", &event("opened", r#"{"owner": "ann"}"#));
    assert_eq!(answer.status, 201, "{answer:?}");
    let json = answer.json();
    assert_eq!(
        (&json["versions"], &json["positions"], &json["repeated"]),
        (&json!([0]), &json!([1]), &json!(false))
    );
    assert_eq!(place(&json["checkpoint"]), format!("{}.1", "07".repeat(16)));
    assert_eq!(answer.header("etag"), "\"0\"");
    let read = server.get("/streams/account-42").json();
    assert_eq!(read["events"][0]["id"], json["ids"][0]);
    assert_eq!(read["events"][0]["data"], json!({"owner": "ann"}));
}

#[test]
fn every_member_of_an_event_comes_back() {
    let server = start();
    let body = r#"[
        {"id": "018f4e3c-8a52-7c1e-9d00-3b6f1c2a4d5e", "type": "a", "schemaVersion": 3, "data": {"n": 1.50},
         "metadata": {"why": "test"}, "tags": ["b:2", "a:1", "b:2"], "time": "2024-02-29T12:00:00+01:00"},
        {"type": "b", "dataText": "line\nline"},
        {"type": "c", "dataBase64": "AAH/"},
        {"type": "d", "data": null}
    ]"#;
    let answer = server.post("/streams/x-1", body);
    assert_eq!((answer.status, answer.header("etag")), (201, "\"3\""), "{answer:?}");
    let read = server.get("/streams/x-1");
    assert!(read.text.contains(r#""data":{"n": 1.50}"#), "byte for byte: {}", read.text);
    let events = &read.json()["events"];
    let expected = json!({
        "id": "018f4e3c-8a52-7c1e-9d00-3b6f1c2a4d5e", "stream": "x-1", "type": "a", "schemaVersion": 3,
        "data": {"n": 1.50}, "metadata": {"why": "test"}, "tags": ["a:1", "b:2"], "time": "2024-02-29T11:00:00Z",
        "version": 0, "position": 1, "recordedAt": "1970-01-01T00:00:01Z",
    });
    assert_eq!(events[0], expected);
    assert_eq!(events[1]["dataText"], "line\nline");
    assert_eq!(events[2]["dataBase64"], "AAH/");
    assert!(events[3].as_object().unwrap().contains_key("data"), "null is data");
}

#[test]
fn if_match_guards_the_version_and_a_mismatch_is_412_with_the_actual_one() {
    let server = start();
    let append = |header: (&str, &str)| server.post_with("/streams/s-1", &[header], &event("t", "1"));
    append(("if-match", "\"0\"")).problem(412, "conflict");
    append(("if-match", "*")).problem(412, "conflict");
    assert_eq!(append(("if-none-match", "*")).status, 201);
    let refused = append(("if-none-match", "*"));
    refused.problem(412, "conflict");
    assert_eq!((refused.header("etag"), &refused.json()["actual"]), ("\"0\"", &json!(0)));
    assert_eq!(append(("if-match", "\"0\"")).status, 201);
    assert_eq!(append(("if-match", "*")).status, 201);
    let refused = append(("if-match", "\"0\""));
    assert!(refused.problem(412, "conflict").contains("expected to have version 0, but has version 2"));
    assert_eq!((&refused.json()["expected"], &refused.json()["actual"]), (&json!(0), &json!(2)));
    append(("if-match", "7")).problem(400, "invalid-request");
    append(("if-none-match", "\"7\"")).problem(400, "invalid-request");
}

#[test]
fn the_parameter_expect_guards_the_version_and_a_mismatch_is_409() {
    let server = start();
    let append = |expect: &str| server.post(&format!("/streams/s-1?expect={expect}"), &event("t", "1"));
    append("exists").problem(409, "conflict");
    for (expect, status) in
        [("none", 201), ("any", 201), ("exists", 201), ("2", 201), ("2", 409), ("none", 409)]
    {
        assert_eq!(append(expect).status, status, "{expect}");
    }
    append("soon").problem(400, "invalid-request");
    let both = server.post_with("/streams/s-1?expect=3", &[("if-match", "\"3\"")], &event("t", "1"));
    assert!(both.problem(400, "invalid-request").contains("give one"));
}

#[test]
fn a_repeat_by_event_ids_is_answered_and_not_appended() {
    let server = start();
    let body = r#"{"id":"018f4e3c-8a52-7c1e-9d00-3b6f1c2a4d5e","type":"t","data":1}"#;
    let first = server.post("/streams/s-1?expect=none", body);
    let again = server.post("/streams/s-1?expect=none", body);
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.json()["versions"], first.json()["versions"]);
    assert_eq!(again.json()["repeated"], true);
    let mixed = format!("[{},{body}]", event("t", "2"));
    let taken = server.post("/streams/s-1", &mixed);
    assert!(taken.problem(409, "id-taken").contains("cut it before event 1"));
    assert_eq!(taken.json()["index"], 1);
}

#[test]
fn a_repeat_by_idempotency_key_gets_the_first_answer_and_another_request_is_refused() {
    let server = start();
    let append =
        |path: &str, key: &str, body: &str| server.post_with(path, &[("idempotency-key", key)], body);
    let first = append("/streams/s-1", "k1", &event("t", "1"));
    let again = append("/streams/s-1", "\"k1\"", &event("t", "1"));
    assert_eq!((first.status, again.status), (201, 200));
    for member in ["ids", "versions", "positions", "checkpoint"] {
        assert_eq!(first.json()[member], again.json()[member], "{member}");
    }
    append("/streams/s-1", "k1", &event("t", "2")).problem(422, "key-reused");
    append("/streams/s-2", "k1", &event("t", "1")).problem(422, "key-reused");
    append("/streams/s-1", "", &event("t", "1")).problem(400, "invalid-request");
    append("/streams/s-1", &"k".repeat(257), &event("t", "1")).problem(400, "invalid-request");
    assert_eq!(server.get("/streams/s-1").json()["lastVersion"], 0);
}

#[test]
fn cloud_events_are_taken_one_by_one_and_as_an_array() {
    let server = start();
    let one = r#"{"specversion":"1.0","id":"17","source":"urn:x","type":"t","subject":"s-1","data":{"a":1},"ext":"e"}"#;
    let kind = [("content-type", "application/cloudevents+json; charset=utf-8")];
    assert_eq!(server.post_with("/streams/s-1", &kind, one).status, 201);
    assert_eq!(
        server.post_with("/streams/s-1", &kind, one).status,
        200,
        "the id is derived, so it is a repeat"
    );
    let without_subject = one.replace(r#","subject":"s-1""#, "").replace("\"17\"", "\"18\"");
    let many = [("content-type", "application/cloudevents-batch+json")];
    assert_eq!(server.post_with("/streams/s-1", &many, &format!("[{without_subject}]")).status, 201);
    let refused = server.post_with("/streams/s-2", &kind, one);
    assert!(
        refused.problem(400, "invalid-request").contains("names stream `s-1`, but the address names `s-2`")
    );
    let wrong = server.post_with("/streams/s-1", &kind, &one.replace("specversion", "version"));
    assert!(wrong.problem(400, "invalid-event").contains("no `specversion`"));
    let read = server.get_with("/streams/s-1", &many.map(|(_, value)| ("accept", value)));
    assert_eq!(read.header("content-type"), "application/cloudevents-batch+json");
    let event = &read.json()[0];
    assert_eq!((&event["id"], &event["source"], &event["ext"]), (&json!("17"), &json!("urn:x"), &json!("e")));
}

#[test]
fn what_is_wrong_with_an_append_is_named() {
    let server = start();
    let cases = [
        ("{", "invalid-json", "the JSON ends within an object, at line 1 column 1"),
        ("", "invalid-json", "the body is empty: send an event, or an array of events, as JSON"),
        (" \n", "invalid-json", "the body is empty"),
        ("[{\"type\":\"t\",\n\"data\":}]", "invalid-json", "line 2 column 8"),
        (
            r#"{"type":"t","data":1,"datum":2}"#,
            "invalid-json",
            "`datum` is unknown: known are `id`, `stream`, `type`",
        ),
        (r#"{"data":1}"#, "invalid-json", "`type` is missing, at line 1 column 10"),
        (r#"{"type":"t","data":1,"schemaVersion":70000}"#, "invalid-json", "a whole number from 0 to 65535"),
        (r#"{"type":"t"}"#, "invalid-event", "no `data`"),
        (r#"{"type":"","data":1}"#, "invalid-event", "event type is empty"),
        (r#"{"type":"t","data":1,"dataText":"x"}"#, "invalid-event", "more than one of `data`"),
        (r#"{"type":"t","dataBase64":"?"}"#, "invalid-event", "`dataBase64` is not base64"),
        (r#"{"type":"t","data":1,"id":"17"}"#, "invalid-event", "`17` is not an event id"),
        (r#"{"type":"t","data":1,"time":"now"}"#, "invalid-event", "`now` is not a time"),
        (r#"{"type":"t","data":1,"tags":["x"]}"#, "invalid-event", "`x` is not `key:value`"),
        (r#"{"type":"t","data":1,"version":3}"#, "invalid-event", "`version` is given by the store"),
        (r#"{"type":"t","data":1,"stream":"s-2"}"#, "invalid-request", "names stream `s-2`"),
        (
            r#"{"type":"t","data":1,"time":"2300-01-01T00:00:00Z"}"#,
            "invalid-event",
            "from 1677-09-21 to 2262",
        ),
        ("[]", "invalid-batch", "it has no events"),
    ];
    for (body, kind, detail) in cases {
        let refused = server.post("/streams/s-1", body);
        let said = refused.problem(400, kind);
        assert!(said.contains(detail), "{body}: {said}");
    }
    let deep = format!(r#"{{"type":"t","data":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let said = server.post("/streams/s-1", &deep).problem(400, "invalid-event");
    assert!(said.contains("100000 levels deep"), "{said}");
    for body in [r#"{"datum":2}"#, r#"[{"datum":2}]"#] {
        let said = server.post("/streams/s-1", body).problem(400, "invalid-json");
        assert!(said.ends_with("`tags`, `time`, at line 1 column 8") || body.starts_with('['), "{said}");
        for given in ["version", "position", "recordedAt"] {
            assert!(!said.contains(&format!("`{given}`")), "what is refused is not offered: {said}");
        }
    }
    let line = server.post("/streams/s-1", "{\n  \"type\" 1}").json();
    assert_eq!((&line["line"], &line["column"]), (&json!(2), &json!(10)));
}

#[test]
fn the_limits_of_a_batch_hold_over_http() {
    let server = start();
    let many = format!("[{}]", vec![event("t", "1"); 10_001].join(","));
    let refused = server.post("/streams/s-1", &many);
    assert!(refused.problem(413, "too-large").contains("more than 10000 elements"));
    assert_eq!(refused.json()["limit"], 10_000);
    let tags = vec!["\"a:b\""; 65].join(",");
    let tagged = format!(r#"{{"type":"t","data":1,"tags":[{tags}]}}"#);
    assert_eq!(server.post("/streams/s-1", &tagged).json()["limit"], 64);
    let large = event("t", &format!("\"{}\"", "x".repeat(16 << 20)));
    server.post("/streams/s-1", &large).problem(413, "too-large");
    let fitting = event("t", &format!("\"{}\"", "x".repeat((16 << 20) - 2)));
    assert_eq!(server.post("/streams/s-1", &fitting).status, 201);
}

#[test]
fn half_a_surrogate_pair_is_refused_with_its_line_and_column() {
    let server = start();
    let cloud = r#"{"specversion":"1.0","id":"17","source":"urn:x","type":"t","subject":"s-1","data":1,"ext":"\ud83d"}"#;
    for (kind, body, line, column) in [
        ("application/json", r#"{"type":"t","data":{"a":"caf\ud83d"}}"#, 1, 29),
        ("application/json", "[{\"type\":\"t\",\n\"data\":[\"\\ude00\"]}]", 2, 10),
        ("application/json", r#"{"type":"t","data":1,"metadata":"\ud83d"}"#, 1, 34),
        ("application/cloudevents+json", cloud, 1, 92),
    ] {
        let refused = server.post_with("/streams/s-1", &[("content-type", kind)], body);
        let said = refused.problem(400, "invalid-json");
        assert!(said.contains("half a surrogate pair"), "{said}");
        assert_eq!(
            (&refused.json()["line"], &refused.json()["column"]),
            (&json!(line), &json!(column)),
            "{body}"
        );
        assert_eq!(refused.json()["event"], 0);
    }
    let whole = r#"{"type":"t","data":{"a":"caf\ud83d\ude00", "b":"\\ud83d"}}"#;
    assert_eq!(server.post("/streams/s-1", whole).status, 201);
}

#[test]
fn a_time_may_have_more_digits_than_nanoseconds() {
    let server = start();
    let body = r#"{"type":"t","data":1,"time":"2024-02-29T12:00:00.123456789012Z"}"#;
    assert_eq!(server.post("/streams/s-1", body).status, 201);
    assert_eq!(server.get("/streams/s-1").json()["events"][0]["time"], "2024-02-29T12:00:00.123456789Z");
    for wrong in ["2024-02-29T12:00:00+24:00", "2024-02-29T12:00:00,5Z"] {
        let said = server.post("/streams/s-1", &body.replace("2024-02-29T12:00:00.123456789012Z", wrong));
        said.problem(400, "invalid-event");
    }
}

#[test]
fn text_that_escapes_would_make_longer_comes_back_as_base64() {
    let server = start();
    for (character, size) in [("\\n", 100_000), ("\\u0001", 100_000)] {
        let body = format!(r#"{{"type":"t","dataText":"{}"}}"#, character.repeat(size));
        assert_eq!(server.post("/streams/s-1", &body).status, 201);
        let read = server.get("/streams/s-1?direction=backward&limit=1");
        assert_eq!(read.json()["events"][0]["kind"], "text");
        assert!(read.text.len() < size * 3 / 2, "{}", read.text.len());
        let cloud = [("accept", "application/cloudevents-batch+json")];
        let export = server.get_with("/streams/s-1?direction=backward&limit=1", &cloud);
        assert!(export.text.len() < size * 3 / 2, "{}", export.text.len());
        let kind = [("content-type", "application/cloudevents-batch+json")];
        assert_eq!(server.post_with("/batches", &kind, &export.text).json()["repeated"], true);
    }
}

#[test]
fn types_that_begin_with_a_dollar_sign_are_refused_on_every_way_in() {
    let server = start();
    let cloud =
        r#"{"specversion":"1.0","id":"17","source":"urn:x","type":"$error","subject":"s-1","data":1}"#;
    let kind = [("content-type", "application/cloudevents+json")];
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "17"),
        ("ce-source", "urn:x"),
        ("ce-type", "$error"),
        ("ce-subject", "s-1"),
    ];
    let batch = r#"{"events":[{"stream":"s-1","type":"$error","data":1}]}"#;
    for refused in [
        server.post("/streams/s-1", &event("$error", "1")),
        server.post("/batches", batch),
        server.post_with("/streams/s-1", &kind, cloud),
        server.post_with("/batches", &binary, "1"),
    ] {
        assert!(refused.problem(403, "system-type").contains("`$error`"));
        assert_eq!(refused.json()["event"], 0);
    }
}

#[test]
fn names_are_checked_and_the_systems_streams_are_refused() {
    let server = start();
    let append = |stream: &str| server.post(&format!("/streams/{stream}"), &event("t", "1"));
    assert!(append("a%0Ab").problem(400, "invalid-name").contains("control character U+000A"));
    assert!(append(&"x".repeat(513)).problem(400, "invalid-name").contains("at most 512"));
    append("a%FFb").problem(400, "invalid-request");
    assert!(append("$groups").problem(403, "system-stream").contains("`$groups`"));
    for name in ["a%2Fb", "%C3%A9t%C3%A9-1", "a%20b", "account-%7Bacme%7D42"] {
        assert_eq!(append(name).status, 201, "{name}");
        assert_eq!(server.get(&format!("/streams/{name}")).status, 200, "{name}");
    }
}

#[test]
fn other_content_types_are_refused() {
    let server = start();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/xml"] {
        let said = server.post_with("/streams/s-1", &[("content-type", kind)], &event("t", "1"));
        assert!(said.problem(415, "unsupported-type").contains(kind));
    }
    let none = server.call("POST", "/streams/s-1", &[("content-type", "")], Some("{}"));
    assert!(none.problem(415, "unsupported-type").contains("no content type"));
}

#[test]
fn an_append_that_names_its_cause_is_tagged_with_it() {
    let server = start();
    let tags = |path: &str, headers: &[(&str, &str)], body: &str| {
        let appended = server.post_with(path, headers, body);
        assert_eq!(appended.status, 201, "{appended:?}");
        let page = server.get("/streams/a-1?direction=backward&limit=1").json();
        page["events"][0]["tags"].clone()
    };
    let caused = [("x-causation-id", "e-1"), ("x-correlation-id", "c-1")];
    let plain = event("t", "1");
    assert_eq!(tags("/streams/a-1", &caused, &plain), json!(["$causation:e-1", "$correlation:c-1"]));
    assert_eq!(tags("/streams/a-1", &caused[..1], &plain), json!(["$causation:e-1"]));
    assert_eq!(tags("/streams/a-1", &caused[1..], &plain), json!(null), "a proxy may have added it");
    let own = r#"{"type":"t","data":1,"tags":["$causation:own","k:v"]}"#;
    assert_eq!(tags("/streams/a-1", &caused, own), json!(["$causation:own", "$correlation:c-1", "k:v"]));
    let batch = r#"{"events":[{"stream":"a-1","type":"t","data":1}]}"#;
    assert_eq!(tags("/batches", &caused, batch), json!(["$causation:e-1", "$correlation:c-1"]));
    let long = "x".repeat(300);
    server.post_with("/streams/a-1", &[("x-causation-id", &*long)], &plain).problem(400, "invalid-name");
}
