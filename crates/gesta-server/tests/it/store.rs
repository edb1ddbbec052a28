//! `GET /store`, the header `Gesta-Store`, and `POST /batches/repeat`.

use std::sync::Arc;

use gesta_core::{AtomicScope, Batch, CommandKey, EventId, MemoryStore, NewEvent, StoreId, Timestamp};
use gesta_server::Limits;
use gesta_wire::{read_repeat, read_store, repeat_request_json};
use serde_json::json;

use crate::harness::{event, memory, start, start_with};

#[test]
fn a_client_learns_what_it_must_know_of_the_store() {
    let of = |partitions| {
        let clock = || Timestamp::from_nanos(1);
        let store = Arc::new(MemoryStore::new(StoreId::from_bytes([7; 16]), partitions, clock));
        let limits = Limits { checkpoint_wait_max: std::time::Duration::from_secs(20), ..Limits::default() };
        start_with(store, limits).get("/store")
    };
    let one = of(1);
    assert_eq!((one.status, one.header("cache-control")), (200, "no-store"), "{one:?}");
    let known = read_store(one.text.as_bytes()).unwrap();
    assert_eq!(known.store.to_string(), "07".repeat(16));
    assert_eq!(known.capabilities, gesta_core::EventStore::capabilities(&*memory()).clone());
    assert_eq!((known.page_events_max, known.wait_seconds_max), (10_000, 20));
    let three = read_store(of(3).text.as_bytes()).unwrap().capabilities;
    assert_eq!((three.partitions, three.atomic_scope), (3, AtomicScope::Partition));
    assert_eq!(of(64).status, 200);
    let refused = of(65);
    assert!(refused.problem(501, "unsupported").contains("more than 64 partitions"), "{refused:?}");
}

#[test]
fn every_answer_names_the_store() {
    let server = start();
    let id = "07".repeat(16);
    for path in ["/", "/livez", "/store", "/events", "/streams/none-1", "/nothing", "/events?limit=x"] {
        let answer = server.get(path);
        assert_eq!(answer.header("gesta-store"), id, "{path}: {answer:?}");
    }
    let hosted = server.post("/commands/a/b/c", "{}");
    assert_eq!((hosted.status, hosted.header("gesta-store")), (404, &*id));
}

#[test]
fn a_request_for_another_store_is_refused_and_nothing_is_done() {
    let server = start();
    let own = "07".repeat(16);
    let other = "08".repeat(16);
    let append = |store: &str| server.post_with("/streams/a-1", &[("gesta-store", store)], &event("t", "1"));
    let refused = append(&other);
    let said = refused.problem(421, "foreign-store");
    assert!(said.contains(&own) && said.contains(&other), "{said}");
    assert_eq!((&refused.json()["store"], refused.header("gesta-store")), (&json!(own), &*own));
    server.get("/streams/a-1").problem(404, "no-stream");
    assert_eq!(append(&own).status, 201);
    for wrong in ["", "x", &own[1..], &own.replace('7', "G")] {
        let said = append(wrong).problem(400, "invalid-request");
        assert!(said.to_lowercase().contains("`gesta-store`"), "{said}");
    }
}

#[test]
fn the_first_answer_to_a_command_is_found_by_its_key() {
    let store = memory();
    let server = start_with(Arc::clone(&store) as _, Limits::default());
    let command = CommandKey { key: vec![0, 255].into(), request: [3; 32] };
    let near = "a-1".parse().unwrap();
    let ask = |command: &CommandKey| {
        server.post("/batches/repeat", &repeat_request_json(command, &near).to_string())
    };
    let unknown = ask(&command);
    assert_eq!((unknown.status, unknown.json()), (200, json!({"answer": null})));

    let time = Timestamp::from_nanos(1);
    let mut batch =
        Batch::new([NewEvent::json(EventId::from_u128(1), near.clone(), "t".parse().unwrap(), time, "{}")]);
    batch.command = Some(command.clone());
    let first = store.append_now(batch).unwrap();
    let known = read_repeat(ask(&command).text.as_bytes()).unwrap().unwrap();
    assert_eq!((known.places, known.checkpoint, known.repeated), (first.places, first.checkpoint, true));

    ask(&CommandKey { request: [4; 32], ..command.clone() }).problem(422, "key-reused");
    ask(&CommandKey { key: vec![0; 257].into(), ..command }).problem(413, "too-large");
    let cases = [
        (r#"{"near":"a-1"}"#, "invalid-json"),
        (r#"{"near":"","command":{"key":"AA==","request":""}}"#, "invalid-request"),
        (r#"{"near":"a-1","command":{"key":"x","request":"00"}}"#, "invalid-request"),
    ];
    for (body, kind) in cases {
        server.post("/batches/repeat", body).problem(400, kind);
    }
    let text = server.post_with("/batches/repeat", &[("content-type", "text/plain")], "{}");
    text.problem(415, "unsupported-type");
}
