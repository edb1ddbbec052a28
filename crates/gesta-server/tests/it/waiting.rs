//! `GET /checkpoint?past=`: a long poll for the next event.

use std::thread;

use gesta_core::Checkpoint;
use gesta_server::Limits;
use serde_json::json;

use crate::harness::{Running, event, memory, start, start_with};

/// A server with room for one subscription: while a request waits, another one is refused.
fn narrow() -> Running {
    start_with(memory(), Limits { subscriptions_max: 1, ..Limits::default() })
}

fn head(server: &Running) -> String {
    server.get("/checkpoint").json()["checkpoint"].as_str().unwrap().to_owned()
}

/// The request, begun on another thread, that waits past a place. Returns once it waits: then the server has no room for another.
fn wait_past(server: &Running, place: &str, seconds: u32) -> thread::JoinHandle<String> {
    let url = format!("http://{}/checkpoint?past={place}&wait={seconds}", server.address);
    let waiting = thread::spawn(move || {
        loop {
            match ureq::get(&url).call() {
                Ok(mut answer) => return answer.body_mut().read_to_string().unwrap(),
                // The probe below holds the room.
                Err(ureq::Error::StatusCode(503)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
    let probe = format!("/checkpoint?past={place}&wait=0");
    while server.get(&probe).status != 503 {
        assert!(!waiting.is_finished(), "the request waits");
    }
    waiting
}

#[test]
fn a_wait_ends_with_the_next_event() {
    let server = narrow();
    server.post("/streams/a-1", &event("t", "1"));
    let place = head(&server);
    let waiting = wait_past(&server, &place, 60);
    server.get(&format!("/checkpoint?past={place}")).problem(503, "overloaded");
    server.post("/streams/a-1", &event("t", "2"));
    let answer = waiting.join().unwrap();
    let answer = serde_json::from_str::<serde_json::Value>(&answer).unwrap();
    assert_eq!(answer, json!({"checkpoint": head(&server)}));
    assert_ne!(answer["checkpoint"], place);
}

#[test]
fn a_wait_past_a_place_that_has_something_after_it_ends_at_once() {
    let server = start();
    let start = server.get("/checkpoint?at=start").json()["checkpoint"].as_str().unwrap().to_owned();
    server.post("/streams/a-1", &event("t", "1"));
    let answer = server.get(&format!("/checkpoint?past={start}&wait=60"));
    assert_eq!((answer.status, answer.json()), (200, json!({"checkpoint": head(&server)})));
}

#[test]
fn a_wait_in_which_nothing_happens_ends_with_the_head() {
    let server = start();
    server.post("/streams/a-1", &event("t", "1"));
    let place = head(&server);
    for wait in [0, 1] {
        let answer = server.get(&format!("/checkpoint?past={place}&wait={wait}"));
        assert_eq!((answer.status, answer.json()), (200, json!({"checkpoint": place})));
    }
}

#[test]
fn a_wait_ends_when_the_server_stops() {
    let server = narrow();
    let place = head(&server);
    let waiting = wait_past(&server, &place, 60);
    drop(server);
    assert!(waiting.join().unwrap().contains(&place));
}

#[test]
fn a_place_that_is_not_of_this_log_is_refused_at_once() {
    let server = start();
    server.post("/streams/a-1", &event("t", "1"));
    let at = head(&server).parse::<Checkpoint>().unwrap();
    let foreign = format!("{}.1", "08".repeat(16));
    for wait in [0, 60] {
        let past = |place: &str| server.get(&format!("/checkpoint?past={place}&wait={wait}"));
        past(&foreign).problem(400, "foreign-checkpoint");
        let ahead = past(&at.clone().with(0, 9).to_string());
        ahead.problem(409, "checkpoint-ahead");
        assert_eq!(ahead.json()["head"], at.to_string());
        let lost = at.clone().with_mark(gesta_core::Position { partition: 0, sequence: 1 }, 1);
        past(&lost.to_string()).problem(409, "diverged");
    }
}

#[test]
fn a_wait_that_makes_no_sense_is_refused() {
    let server = start();
    let place = head(&server);
    for (query, said) in [
        ("wait=3".to_owned(), "without `past`"),
        (format!("past={place}&at=head"), "both `at` and `past`"),
        (format!("past={place}&wait=61"), "give 0 to 60"),
        (format!("past={place}&wait=-1"), "not a whole number"),
        ("past=x".to_owned(), "not a checkpoint"),
    ] {
        let detail = server.get(&format!("/checkpoint?{query}")).problem(400, "invalid-request");
        assert!(detail.contains(said), "{query}: {detail}");
    }
}
