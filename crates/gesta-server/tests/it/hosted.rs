//! Commands, states and histories of a hosted application, within the server's bounds.

use std::sync::Arc;

use gesta::{App, Command, Decider, Event, Key, State};
use gesta_server::{Limits, Server};
use serde_json::json;

use crate::harness::{Running, memory, serve, start};

#[derive(Debug, Clone, Key)]
#[key("counter")]
struct CounterId(u64);

#[derive(Debug, PartialEq, Event)]
#[event(prefix = "counter")]
enum CounterEvent {
    Added { n: u64 },
}

#[derive(Debug, Clone, Command)]
enum CounterCommand {
    Add { n: u64 },
    Explode,
}

#[derive(Debug, thiserror::Error)]
#[error("{0} is too much")]
struct TooMuch(u64);

#[derive(Debug, Default, serde::Serialize)]
struct Counter {
    sum: u64,
}

impl State for Counter {
    type Event = CounterEvent;

    fn evolve(&mut self, CounterEvent::Added { n }: CounterEvent) {
        self.sum += n;
    }
}

impl Decider for Counter {
    type Id = CounterId;
    type Command = CounterCommand;
    type Error = TooMuch;

    fn decide(&self, command: CounterCommand) -> Result<Vec<CounterEvent>, TooMuch> {
        match command {
            CounterCommand::Add { n } if n > 100 => Err(TooMuch(n)),
            CounterCommand::Add { n } => Ok(vec![CounterEvent::Added { n }]),
            CounterCommand::Explode => panic!("as it was told to"),
        }
    }
}

/// An application of counters.
pub(crate) fn counters() -> Arc<App> {
    Arc::new(App::new("counters").decider::<Counter>())
}

fn hosting(limits: Limits) -> Running {
    serve(Server::builder(memory()).app(counters()).limits(limits).build())
}

#[test]
fn commands_states_and_histories_are_served_beside_the_store() {
    let server = hosting(Limits::default());
    let added = server.post("/commands/counter/7/add", r#"{"n": 3}"#);
    assert_eq!(added.status, 200, "{added:?}");
    server.post("/commands/counter/7/add", r#"{"n": 4}"#);
    assert_eq!(server.get("/states/counter/7").json()["state"], json!({"sum": 7}));
    assert_eq!(server.get("/states/counter/7?version=0").json()["state"], json!({"sum": 3}));
    assert_eq!(server.get("/histories/counter/7").json()["events"].as_array().unwrap().len(), 2);
    assert_eq!(server.get("/streams/counter-7").json()["lastVersion"], 1);
    assert_eq!(server.get("/commands").json()["deciders"][0]["category"], "counter");
    assert!(
        server
            .post("/commands/counter/7/add", r#"{"n": 101}"#)
            .problem(422, "refused")
            .contains("101 is too much")
    );
    server.post("/commands/counter/7/multiply", "{}").problem(404, "not-hosted");
    server.get("/commands/counter/7/add").problem(405, "wrong-method");
}

#[test]
fn an_entity_with_a_foreign_event_is_unreadable_and_the_error_names_the_event() {
    let server = hosting(Limits::default());
    for (stream, event, member) in [
        ("counter-7", r#"{"type":"counter.reset","data":{}}"#, "counter.reset"),
        ("counter-8", r#"{"type":"counter.added","data":{"n":"x"}}"#, "counter.added"),
    ] {
        assert_eq!(server.post(&format!("/streams/{stream}"), event).status, 201);
        let state = server.get(&format!("/states/{}", stream.replace('-', "/")));
        let said = state.problem(500, "unreadable-history");
        assert!(!said.contains("u64"), "{said}");
        assert_eq!(
            (&state.json()["stream"], &state.json()["eventType"]),
            (&json!(stream), &json!(member)),
            "{said}"
        );
    }
}

#[test]
fn a_malformed_id_is_refused_in_plain_words() {
    let server = hosting(Limits::default());
    let said = server.get("/states/counter/seven").problem(400, "invalid-id");
    assert_eq!(said, "`seven` is not a valid id for `counter`: it is not a whole number");
}

#[test]
fn a_handler_that_panics_answers_500_and_the_server_goes_on() {
    let server = hosting(Limits::default());
    for _ in 0..3 {
        server.post("/commands/counter/7/explode", "{}").problem(500, "internal");
    }
    assert_eq!(server.post("/commands/counter/7/add", r#"{"n": 1}"#).status, 200);
}

#[test]
fn bodies_of_commands_have_the_servers_bounds() {
    let server = hosting(Limits { body_bytes_max: 4 << 20, ..Limits::default() });
    let padded = |bytes: usize| format!(r#"{{"n": 1{}}}"#, " ".repeat(bytes));
    assert_eq!(server.post("/commands/counter/7/add", &padded(3 << 20)).status, 200);
    server.post("/commands/counter/7/add", &padded(4 << 20)).problem(413, "too-large");
}

#[test]
fn a_server_that_hosts_nothing_says_so() {
    let server = start();
    for path in ["/commands", "/states/counter/7", "/histories/counter/7"] {
        assert!(server.get(path).problem(404, "not-hosted").contains("hosts no deciders"));
    }
    server.post("/commands/counter/7/add", "{}").problem(404, "not-hosted");
}
