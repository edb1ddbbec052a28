//! Causes and effects of events.

use gesta_server::Server;
use serde_json::json;

use crate::harness::{memory, serve};
use crate::hosted::counters;

#[test]
fn an_event_has_its_causes_and_its_effects() {
    let server = serve(Server::builder(memory()).app(counters()).build());
    let add = |id: &str, cause: &str| {
        let added = server.post_with(
            &format!("/commands/counter/{id}/add"),
            &[("X-Causation-Id", cause)],
            r#"{"n": 1}"#,
        );
        assert_eq!(added.status, 200, "{added:?}");
        let last = server.get(&format!("/streams/counter-{id}?direction=backward&limit=1")).json();
        last["events"][0]["id"].as_str().unwrap().to_owned()
    };
    let first = add("1", "call 7");
    let second = add("2", &first);
    let third = add("3", &second);

    let causes = server.get(&format!("/events/{third}/causes")).json();
    assert_eq!(causes["event"]["id"], third.as_str());
    assert_eq!((&causes["causes"][0]["id"], &causes["causes"][1]["id"]), (&json!(second), &json!(first)));
    assert_eq!(causes["origin"], json!({"kind": "outside", "causation": "call 7"}));
    let effects = server.get(&format!("/events/{first}/effects?stream=counter-1")).json();
    assert_eq!((&effects["effects"][0]["level"], &effects["effects"][1]["level"]), (&json!(1), &json!(2)));
    assert_eq!(effects["effects"][1]["event"]["id"], third.as_str());
    assert_eq!(effects["cut"], false);

    server.get("/events/ab/causes").problem(400, "invalid-request");
    let nowhere = server.get(&format!("/events/{first}/causes?stream=counter-2"));
    assert!(nowhere.problem(404, "no-event").contains("stream `counter-2` has no event with the id"));
}

#[test]
fn an_id_of_several_streams_needs_the_stream() {
    let server = serve(Server::builder(memory()).build());
    let event = r#"{"id": "00000000-0000-7000-8000-000000000001", "type": "t", "data": 1}"#;
    for stream in ["a-1", "a-2"] {
        assert_eq!(server.post(&format!("/streams/{stream}"), event).status, 201);
    }
    let address = "/events/00000000-0000-7000-8000-000000000001/effects";
    let both = server.get(address);
    assert!(both.problem(409, "ambiguous-id").ends_with("name the stream with `?stream=`"), "{both:?}");
    assert_eq!(both.json()["streams"], json!(["a-1", "a-2"]));
    assert_eq!(server.get(&format!("{address}?stream=a-2")).json()["event"]["stream"], "a-2");
}
