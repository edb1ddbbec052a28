//! The routes that read.

use serde_json::{Value, json};

use crate::harness::{Running, event, memory, place, start, start_with};
use gesta_server::Limits;

/// Streams `a-0`, `b-0`, `a-1`, `b-1`, … of three events each, of types `t0` to `t2`, tagged with their stream.
fn filled() -> Running {
    let server = start();
    for number in 0..4 {
        for category in ["a", "b"] {
            let events = (0..3).map(|own| {
                format!(r#"{{"type":"t{own}","data":{own},"tags":["n:{number}","c:{category}"]}}"#)
            });
            let body = format!("[{}]", events.collect::<Vec<_>>().join(","));
            assert_eq!(server.post(&format!("/streams/{category}-{number}"), &body).status, 201);
        }
    }
    server
}

fn positions(page: &Value) -> Vec<u64> {
    page["events"].as_array().unwrap().iter().map(|event| event["position"].as_u64().unwrap()).collect()
}

#[test]
fn a_stream_is_read_in_both_directions_page_by_page() {
    let server = filled();
    for (direction, expected) in [("forward", [0, 1, 2]), ("backward", [2, 1, 0])] {
        let mut next = Some(format!("/streams/b-1?limit=2&direction={direction}"));
        let mut versions = Vec::new();
        let mut pages = 0;
        while let Some(path) = next {
            let answer = server.get(&path);
            assert_eq!((answer.status, answer.header("etag")), (200, "\"2\""), "{answer:?}");
            let page = answer.json();
            let read =
                page["events"].as_array().unwrap().iter().map(|event| event["version"].as_u64().unwrap());
            versions.extend(read);
            next = page["next"].as_str().map(str::to_owned);
            assert_eq!(page["end"], next.is_none());
            let link = next.as_ref().map_or(String::new(), |next| format!("<{next}>; rel=\"next\""));
            assert_eq!(answer.header("link"), link);
            pages += 1;
        }
        assert_eq!((versions.as_slice(), pages), (&expected[..], 2));
    }
    let from = server.get("/streams/b-1?from=1").json();
    assert_eq!((from["events"].as_array().unwrap().len(), &from["lastVersion"]), (2, &json!(2)));
    let until = format!("/streams/b-1?until={}.5", "07".repeat(16));
    assert_eq!(server.get(&until).json()["events"], json!([]));
}

#[test]
fn a_stream_that_did_not_change_is_not_sent_again() {
    let server = filled();
    let fresh = server.get_with("/streams/a-1", &[("if-none-match", "\"2\"")]);
    assert_eq!((fresh.status, fresh.text.as_str(), fresh.header("etag")), (304, "", "\"2\""));
    assert_eq!(server.get_with("/streams/a-1", &[("if-none-match", "\"1\"")]).status, 200);
}

#[test]
fn a_stream_without_events_is_404() {
    let server = start();
    server.post("/streams/a-1", &event("t", "1"));
    let missing = server.get("/streams/none-1");
    assert!(missing.problem(404, "no-stream").contains("`none-1` has no event"));
    let (head, problem) = (server.get("/checkpoint").json(), missing.json());
    assert_eq!((&problem["scannedTo"], &problem["head"]), (&head["checkpoint"], &head["checkpoint"]));
    server.get("/streams/$x").problem(403, "system-stream");
}

#[test]
fn streams_are_listed_by_category_page_by_page() {
    let server = filled();
    let mut names = Vec::new();
    let mut next = Some("/streams?category=a&limit=3".to_owned());
    while let Some(address) = next {
        let page = server.get(&address).json();
        for stream in page["streams"].as_array().unwrap() {
            assert_eq!((&stream["category"], &stream["version"]), (&json!("a"), &json!(2)));
            names.push(stream["stream"].as_str().unwrap().to_owned());
        }
        next = page["next"].as_str().map(str::to_owned);
    }
    names.sort();
    assert_eq!(names, ["a-0", "a-1", "a-2", "a-3"]);
    assert_eq!(server.get("/streams").json()["streams"].as_array().unwrap().len(), 8);
    server.get("/streams?after=what").problem(400, "invalid-read");
    server.get("/streams?category=a-b").problem(400, "invalid-request");
}

#[test]
fn the_log_is_read_by_stream_category_type_tag_and_id() {
    let server = filled();
    let id = server.get("/streams/a-2").json()["events"][1]["id"].as_str().unwrap().to_owned();
    let cases = [
        ("stream=a-0", vec![1, 2, 3]),
        ("category=b&type=t0", vec![4, 10, 16, 22]),
        ("stream=a-0&type=t0&type=t2", vec![1, 3]),
        ("tag=n:1&tag=c:b", vec![10, 11, 12]),
        ("tag=n:1&tag=n:2", vec![]),
        (&format!("id={id}"), vec![14]),
        ("type=t1&direction=backward&limit=2", vec![23, 20]),
        (&format!("until={}.2", "07".repeat(16)), vec![1, 2]),
        (&format!("from={}.22", "07".repeat(16)), vec![23, 24]),
        ("from=end", vec![]),
        ("from=end&direction=backward&limit=1", vec![24]),
    ];
    for (query, expected) in cases {
        let answer = server.get(&format!("/events?{query}"));
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        assert_eq!(positions(&answer.json()), expected, "{query}");
    }
}

#[test]
fn pages_of_the_log_lead_from_one_to_the_next() {
    let server = filled();
    for (direction, sorted) in [("forward", true), ("backward", false)] {
        let mut next = Some(format!("/events?type=t0&type=t2&limit=3&direction={direction}"));
        let mut read = Vec::new();
        while let Some(path) = next {
            let page = server.get(&path).json();
            read.extend(positions(&page));
            next = page["next"].as_str().map(str::to_owned);
        }
        assert_eq!(read.len(), 16);
        assert_eq!(read.is_sorted(), sorted);
    }
}

#[test]
fn a_query_of_several_items_is_posted() {
    let server = filled();
    let query = |body: &str| server.post("/events/query", body);
    let answer =
        query(r#"{"query": [{"stream": "a-0", "types": ["t0"]}, {"tags": ["n:3", "c:b"]}], "limit": 10}"#);
    assert_eq!(positions(&answer.json()), [1, 22, 23, 24]);
    let page = query(r#"{"query": "all", "direction": "backward", "limit": 2}"#).json();
    assert_eq!(positions(&page), [24, 23]);
    let rest =
        format!(r#"{{"query": "all", "from": {}, "direction": "backward", "limit": 1}}"#, page["scannedTo"]);
    assert_eq!(positions(&query(&rest).json()), [22]);
    assert!(query(r#"{"query": []}"#).problem(400, "invalid-read").contains("no items"));
    assert!(query(r#"{"query": "some"}"#).problem(400, "invalid-json").contains("`some` is not a query"));
    assert!(query(r#"{"query": [{"stream": "$x"}]}"#).problem(403, "system-stream").contains("$x"));
    query(r#"{"query": "all", "limit": 0}"#).problem(400, "invalid-request");
    server
        .post_with("/events/query", &[("content-type", "text/plain")], "{}")
        .problem(415, "unsupported-type");
}

#[test]
fn a_place_in_the_log_is_found_by_name_and_time() {
    let server = filled();
    let at = |at: &str| server.get(&format!("/checkpoint?at={at}"));
    let store = "07".repeat(16);
    let head = server.get("/checkpoint").json()["checkpoint"].clone();
    assert_eq!(place(&head), format!("{store}.24"));
    let start = json!(format!("{store}.0"));
    for (name, expected) in [
        ("head", &head),
        ("start", &start),
        ("1970-01-01T00:00:00Z", &start),
        ("2024-01-01T00:00:00Z", &head),
    ] {
        assert_eq!(&at(name).json()["checkpoint"], expected, "{name}");
    }
    at("soon").problem(400, "invalid-request");
    at("1600-01-01T00:00:00Z").problem(400, "invalid-request");
}

#[test]
fn a_time_that_has_passed_is_closed_and_a_later_one_is_not() {
    let server = filled();
    let close = |body: &str| server.post("/checkpoint", body);
    let start = json!(format!("{}.0", "07".repeat(16)));
    assert_eq!(close(r#"{"closed": "1970-01-01T00:00:00Z"}"#).json()["checkpoint"], start);
    let refused = close(r#"{"closed": "2200-01-01T00:00:00Z"}"#);
    assert!(refused.problem(409, "not-yet").contains("the store's clock shows"));
    assert!(refused.json()["now"].is_string());
    for wrong in
        ["{}", r#"{"closed": "soon"}"#, r#"{"closed": 7}"#, r#"{"closed": "1970-01-01T00:00:00Z", "at": 1}"#]
    {
        assert_eq!(close(wrong).status, 400, "{wrong}");
    }
}

#[test]
fn wrong_parameters_are_named() {
    let server = filled();
    let cases = [
        ("/events?typ=t0", "invalid-request", "`typ` is unknown: known are `stream`"),
        ("/events?limit=0", "invalid-request", "limit 0 is not between 1 and 10000"),
        ("/events?limit=10001", "invalid-request", "limit 10001"),
        ("/events?limit=x", "invalid-request", "`limit`: `x`: it is not a whole number"),
        ("/events?limit=1&limit=2", "invalid-request", "more than once"),
        ("/events?direction=up", "invalid-request", "`up` is neither"),
        ("/events?from=7", "invalid-request", "`7` is not a checkpoint"),
        ("/events?tag=x", "invalid-request", "`x` is not `key:value`"),
        ("/events?event_name=message", "invalid-request", "for subscriptions"),
        ("/readyz?strict=maybe", "invalid-request", "`maybe` is not `true` or `false`"),
        ("/readyz?stric", "invalid-request", "known are `strict`"),
        ("/events?type=%FF", "invalid-request", "not UTF-8"),
        ("/streams/a-1?from=-1", "invalid-request", "`from`: `-1`: it is not a whole number"),
        ("/streams/%FF", "invalid-request", "a name in the address is not UTF-8"),
        ("/livez/x", "no-route", "`/livez/x`"),
    ];
    for (path, kind, detail) in cases {
        let answer = server.get(path);
        let said = answer.problem(if kind == "no-route" { 404 } else { 400 }, kind);
        assert!(said.contains(detail), "{path}: {said}");
    }
    server.get(&format!("/events?from={}.99", "07".repeat(16))).problem(409, "checkpoint-ahead");
    server.get(&format!("/events?from={}.1", "08".repeat(16))).problem(400, "foreign-checkpoint");
}

#[test]
fn the_index_and_the_health_routes_answer() {
    let server = start();
    let index = server.get("/").json();
    assert_eq!(index["name"], "gesta");
    let routes = index["routes"].as_array().unwrap();
    assert!(routes.iter().any(|route| route["route"] == "POST /batches"));
    for route in routes.iter().map(|route| route["route"].as_str().unwrap()) {
        let (method, path) = route.split_once(' ').unwrap();
        let path = path.replace(['{', '}'], "");
        let answer = server.call(method, &path, &[], (method == "POST").then_some("{}"));
        assert!(!answer.text.contains(":no-route") && answer.status != 405, "{route}: {answer:?}");
    }
    assert_eq!(server.get("/livez").json()["status"], "live");
    assert_eq!(server.get("/readyz").json()["status"], "ready");
    let wrong = server.call("DELETE", "/streams/a-1", &[], None);
    wrong.problem(405, "wrong-method");
    assert!(wrong.header("allow").contains("POST"), "{wrong:?}");
}

#[test]
fn data_of_kind_json_that_is_not_json_does_not_break_the_answer() {
    let store = memory();
    for data in ["{", "", " {} ", "{\"a\":\n1}"] {
        let event = gesta_core::NewEvent::json(
            gesta_core::EventId::from_u128(data.len() as u128),
            "s-1".parse().unwrap(),
            "t".parse().unwrap(),
            gesta_core::Timestamp::from_nanos(0),
            data,
        );
        store.append_now(gesta_core::Batch::new([event.with_metadata("no json")])).unwrap();
    }
    let server = start_with(store, Limits::default());
    let page = server.get("/streams/s-1").json();
    let first = &page["events"][0];
    assert_eq!((&first["dataBase64"], &first["kind"]), (&json!("ew=="), &json!("json")));
    assert_eq!(first["metadataBase64"], "bm8ganNvbg==");
    assert_eq!(page["events"][3]["data"], json!({"a": 1}));
    let cloud = server.get_with("/events", &[("accept", "application/cloudevents-batch+json")]).json();
    assert_eq!(cloud[0]["data_base64"], "ew==");
}

#[test]
fn a_page_ends_at_the_limit_of_bytes_or_of_examined_entries() {
    let server = filled();
    for limit in ["limit_bytes=1", "limit_examined=1"] {
        for path in ["/events", "/streams/a-1"] {
            let page = server.get(&format!("{path}?{limit}")).json();
            let events = page["events"].as_array().unwrap().len();
            assert!(page["end"] == false && (1..=3).contains(&events), "{path}?{limit}: {page}");
        }
    }
    for (member, is_whole) in [("limitBytes", false), ("limitExamined", false), ("limit", true)] {
        let body = format!(r#"{{"query":"all","{member}":{}}}"#, if is_whole { 10_000 } else { 1 });
        let page = server.post("/events/query", &body).json();
        assert_eq!(page["end"], is_whole, "{member}: {page}");
    }
    let all = server
        .get("/events?limit=10000&limit_bytes=18446744073709551615&limit_examined=18446744073709551615");
    assert_eq!((all.status, &all.json()["end"]), (200, &json!(true)));
    for wrong in ["limit_bytes=0", "limit_examined=x"] {
        server.get(&format!("/events?{wrong}")).problem(400, "invalid-request");
    }
    server.post("/events/query", r#"{"query":"all","limitBytes":0}"#).problem(400, "invalid-json");
}

#[test]
fn the_log_is_read_by_lanes() {
    let server = filled();
    let whole = positions(&server.get("/events").json());
    let of = |lanes: &str| {
        let by_address = positions(&server.get(&format!("/events?lanes={lanes}")).json());
        let body = format!(r#"{{"query":"all","lanes":"{lanes}"}}"#);
        assert_eq!(positions(&server.post("/events/query", &body).json()), by_address, "{lanes}");
        by_address
    };
    assert_eq!(of("0-1023"), whole);
    let lane = gesta_core::Lane::of("a-1").get();
    let alone = of(&lane.to_string());
    assert_eq!(alone.len(), 3, "the events of one stream");
    let others = of(&format!("0-{},{}-1023", lane - 1, lane + 1));
    assert_eq!(others.len() + alone.len(), whole.len());
    assert!(server.get("/events?lanes=9-3").problem(400, "invalid-request").contains("`9-3`"));
    server.post("/events/query", r#"{"query":"all","lanes":"x"}"#).problem(400, "invalid-request");
    server.get("/events?lanes=none").problem(400, "invalid-read");
}
