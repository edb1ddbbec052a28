//! Headers: one rule on every route, and keys that belong to the authenticated caller.

use std::io::{Read, Write};
use std::net::TcpStream;

use gesta::http::{Principal, Problem};
use gesta_server::Server;
use serde_json::json;

use crate::harness::{Answer, Running, event, memory, serve, start};
use crate::hosted::counters;
use crate::views::viewing;

/// A request as it is written: some clients send what `ureq` would not.
fn raw(server: &Running, head: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(server.address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{head}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, text) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    Answer { status, headers, text: text.to_owned() }
}

#[test]
fn a_header_that_is_empty_or_repeated_is_refused_on_every_route() {
    let (views, _folder) = viewing(gesta_server::Limits::default());
    let hosting = serve(Server::builder(memory()).app(counters()).build());
    let one = event("t", "1");
    let json = "Content-Type: application/json";
    let query = "/views/balances/query?sql=select%201";
    let cases: [(&Running, &str, &str, &[&str]); 7] = [
        (&hosting, "POST /streams/s-1", &one, &["Idempotency-Key", "If-Match", "If-None-Match"]),
        (
            &hosting,
            "POST /batches",
            r#"{"events":[{"stream":"s-1","type":"t","data":1}]}"#,
            &["Idempotency-Key"],
        ),
        (
            &hosting,
            "POST /commands/counter/7/add",
            r#"{"n":1}"#,
            &["Idempotency-Key", "If-Match", "If-None-Match", "X-Actor", "X-Reason", "Traceparent"],
        ),
        (&hosting, "GET /streams/s-9", "", &["If-None-Match"]),
        (&hosting, "GET /states/counter/9", "", &["If-None-Match"]),
        (&hosting, "GET /events", "", &["Last-Event-ID"]),
        (&views, &format!("GET {query}"), "", &["Wait-For"]),
    ];
    hosting.post("/streams/s-9", &one);
    hosting.post("/commands/counter/9/add", r#"{"n":1}"#);
    for (server, route, body, names) in cases {
        let accept = if route == "GET /events" { "\r\nAccept: text/event-stream" } else { "" };
        for name in names {
            for given in [format!("{name}:"), format!("{name}: \"1\"\r\n{name}: \"2\"")] {
                let answer = raw(server, &format!("{route} HTTP/1.1\r\n{json}{accept}\r\n{given}"), body);
                let said = answer.problem(400, "invalid-request");
                assert!(said.contains(&format!("header `{name}` is")), "{route} {given:?}: {said}");
            }
        }
    }
    hosting.get("/streams/s-1").problem(404, "no-stream");
    hosting.get("/streams/counter-7").problem(404, "no-stream");
}

#[test]
fn a_key_belongs_to_the_authenticated_caller_and_not_to_the_actor_that_a_header_names() {
    let anonymous = serve(Server::builder(memory()).app(counters()).build());
    let add = |server: &Running, headers: &[(&str, &str)], body: &str| {
        server.post_with(
            "/commands/counter/7/add",
            &[&[("idempotency-key", "pay-7")], headers].concat(),
            body,
        )
    };
    for (actor, repeated) in [("ann", false), ("ann", true), ("ben", true)] {
        let answer = add(&anonymous, &[("x-actor", actor)], r#"{"n":10}"#);
        assert_eq!((answer.status, &answer.json()["repeated"]), (200, &json!(repeated)), "{actor}");
    }
    assert_eq!(add(&anonymous, &[], r#"{"n":10}"#).json()["repeated"], true);
    add(&anonymous, &[("x-actor", "ben")], r#"{"n":11}"#).problem(422, "key-reused");
    assert_eq!(anonymous.get("/states/counter/7").json()["state"], json!({"sum": 10}));
    assert_eq!(anonymous.get("/histories/counter/7").json()["events"][0]["actor"], "ann");

    let known = serve(
        Server::builder(memory())
            .app(counters())
            .authenticate(|parts| match parts.headers.get("authorization").map(|value| value.to_str()) {
                Some(Ok("ann")) => Ok(Some(Principal("ann".to_owned()))),
                Some(Ok("ben")) => Ok(Some(Principal("ben".to_owned()))),
                Some(_) => Err(Problem::invalid("who is this?")),
                None => Ok(None),
            })
            .build(),
    );
    for (user, n) in [("ann", 1), ("ben", 2)] {
        for repeated in [false, true] {
            let headers = [("authorization", user), ("x-actor", "eve")];
            let answer = add(&known, &headers, &format!(r#"{{"n":{n}}}"#));
            assert_eq!(answer.json()["repeated"], repeated, "{user}");
            let append = [("authorization", user), ("idempotency-key", "k")];
            let appended = known.post_with("/streams/s-1", &append, &event("t", &n.to_string()));
            assert_eq!(appended.json()["repeated"], repeated, "{user}");
        }
    }
    assert_eq!(known.get("/states/counter/7").json()["state"], json!({"sum": 3}));
    let history = known.get("/histories/counter/7").json();
    assert_eq!(
        (&history["events"][0]["actor"], &history["events"][1]["actor"]),
        (&json!("ann"), &json!("ben"))
    );
    known.get_with("/streams", &[("authorization", "?")]).problem(400, "invalid-request");
}

#[test]
fn a_key_is_scoped_by_its_route() {
    let server = start();
    let key = [("idempotency-key", "k-1")];
    assert_eq!(server.post_with("/streams/k-1", &key, &event("t", "1")).status, 201);
    let batch = r#"{"events":[{"stream":"k-1","type":"t","data":1}]}"#;
    assert_eq!(server.post_with("/batches", &key, batch).status, 201);
    assert_eq!(server.post_with("/batches", &key, batch).status, 200);
}

#[test]
fn a_compressed_body_is_refused_as_what_it_is() {
    let server = serve(Server::builder(memory()).app(counters()).build());
    for path in ["/streams/s-1", "/batches", "/events/query", "/commands/counter/7/add"] {
        let refused = server.post_with(path, &[("content-encoding", "gzip")], &event("t", "1"));
        assert!(refused.problem(415, "unsupported-encoding").contains("`gzip`"), "{path}");
        assert_eq!(refused.header("accept-encoding"), "identity");
    }
    let plain = server.post_with("/streams/s-1", &[("content-encoding", "identity")], &event("t", "1"));
    assert_eq!(plain.status, 201);
}
