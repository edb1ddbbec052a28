//! Entity tags, and what caches and compressing proxies make of answers.

use gesta_server::Server;

use crate::harness::{event, memory, serve};
use crate::hosted::counters;

const CLOUD: (&str, &str) = ("accept", "application/cloudevents-batch+json");

#[test]
fn an_unchanged_stream_is_not_sent_again_whatever_the_spelling_of_its_tag() {
    let server = serve(Server::builder(memory()).app(counters()).build());
    server.post("/commands/counter/7/add", r#"{"n":1}"#);
    for path in ["/streams/counter-7", "/states/counter/7", "/histories/counter/7"] {
        assert_eq!(server.get(path).header("etag"), "\"0\"", "{path}");
        for (tags, status) in [
            ("\"0\"", 304),
            ("W/\"0\"", 304),
            ("\"9\", W/\"0\"", 304),
            ("*", 304),
            ("\"1\"", 200),
            ("0", 400),
        ] {
            let answer = server.get_with(path, &[("if-none-match", tags)]);
            assert_eq!(answer.status, status, "{path} {tags}");
            assert!(status != 304 || answer.header("etag") == "\"0\"", "{answer:?}");
        }
    }
}

#[test]
fn a_weak_tag_guards_an_append_as_a_strong_one_does() {
    let server = serve(Server::builder(memory()).app(counters()).build());
    server.post("/commands/counter/7/add", r#"{"n":1}"#);
    let append = |tag: &str| server.post_with("/streams/s-1", &[("if-match", tag)], &event("t", "1")).status;
    server.post("/streams/s-1", &event("t", "1"));
    assert_eq!((append("W/\"0\""), append("W/\"0\""), append("\"1-cloudevents\"")), (201, 412, 201));
    assert_eq!(append("\"2\", \"3\""), 400);
    let add =
        |tag: &str| server.post_with("/commands/counter/7/add", &[("if-match", tag)], r#"{"n":1}"#).status;
    assert_eq!((add("W/\"0\""), add("W/\"0\"")), (200, 412));
}

#[test]
fn each_form_of_a_stream_has_its_own_tag_and_says_what_it_depends_on() {
    let server = serve(Server::builder(memory()).build());
    server.post("/streams/s-1", &event("t", "1"));
    let (json, cloud) = (server.get("/streams/s-1"), server.get_with("/streams/s-1", &[CLOUD]));
    assert_eq!((json.header("etag"), cloud.header("etag")), ("\"0\"", "\"0-cloudevents\""));
    for answer in [&json, &cloud] {
        assert_eq!((answer.header("vary"), answer.header("cache-control")), ("accept", "no-cache"));
    }
    let of_cloud = ("if-none-match", "\"0-cloudevents\"");
    assert_eq!(server.get_with("/streams/s-1", &[of_cloud]).status, 200);
    assert_eq!(server.get_with("/streams/s-1", &[of_cloud, CLOUD]).status, 304);
    assert_eq!(server.get("/events").header("vary"), "accept");
}

#[test]
fn an_answer_without_a_tag_is_not_kept_by_caches() {
    let server = serve(Server::builder(memory()).build());
    for path in
        ["/events", "/streams", "/streams/none-1", "/checkpoint", "/readyz", "/views", "/nowhere", "/"]
    {
        assert_eq!(server.get(path).header("cache-control"), "no-store", "{path}");
    }
}

#[test]
fn the_preferred_form_is_given() {
    let server = serve(Server::builder(memory()).build());
    server.post("/streams/s-1", &event("t", "1"));
    for (accept, form) in [
        ("application/cloudevents-batch+json;q=0, application/json", "application/json"),
        ("application/cloudevents-batch+json;q=0.5, application/json;q=0.1", CLOUD.1),
        ("application/cloudevents-batch+json;q=0.1, application/json;q=0.5", "application/json"),
        ("text/event-stream;q=0, */*", "application/json"),
    ] {
        for path in ["/streams/s-1", "/events"] {
            let answer = server.get_with(path, &[("accept", accept)]);
            assert_eq!(answer.header("content-type"), form, "{path} {accept}");
        }
    }
}
