//! Commands, states and histories of a hosted application, within the server's bounds.

use std::sync::Arc;

use gesta::{App, Command, Decider, Environment, Event, Gesta, Key, State};
use gesta_core::{AppendError, EventId, Timestamp};
use gesta_log::{LogStore, Options};
use gesta_server::{Limits, Server};
use gesta_wire::Problem;
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
    let open = "counter".parse().unwrap();
    let server = serve(Server::builder(memory()).app(counters()).open_category(open).build());
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
    let refused = server.post("/commands/counter/7/add", &padded(4 << 20));
    refused.problem(413, "too-large");
    assert_eq!(refused.header("x-correlation-id").len(), 36, "{refused:?}");
}

#[test]
fn a_server_that_hosts_nothing_says_so() {
    let server = start();
    for path in ["/commands", "/states/counter/7", "/histories/counter/7"] {
        assert!(server.get(path).problem(404, "not-hosted").contains("hosts no deciders"));
    }
    server.post("/commands/counter/7/add", "{}").problem(404, "not-hosted");
}

#[test]
fn a_hosted_category_takes_no_raw_append() {
    let server = hosting(Limits::default());
    let batch = |streams: &[&str]| {
        let event = |stream: &&str| json!({"stream": stream, "type": "counter.added", "data": {"n": 1}});
        json!({"events": streams.iter().map(event).collect::<Vec<_>>()}).to_string()
    };
    let cloud =
        r#"{"specversion":"1.0","id":"1","source":"urn:x","type":"t","subject":"counter-7","data":1}"#;
    let cloud_type = [("content-type", "application/cloudevents+json")];
    for refused in [
        server.post("/streams/counter-7", r#"{"type":"counter.added","data":{"n":1}}"#),
        server.post("/streams/counter", r#"{"type":"counter.added","data":{"n":1}}"#),
        server.post("/batches", &batch(&["other-1", "counter-7"])),
        server.post_with("/batches", &cloud_type, cloud),
    ] {
        let said = refused.problem(409, "hosted-category");
        assert!(said.contains("send a command to `/commands/counter`"), "{said}");
        assert!(said.contains("--open-category counter"), "{said}");
        let problem = refused.json();
        assert_eq!((&problem["commands"], &problem["retry"]), (&json!("/commands/counter"), &json!("never")));
    }
    server.get("/streams/other-1").problem(404, "no-stream");
    let error = Problem::from_json(server.post("/batches", &batch(&["counter-7"])).text.as_bytes());
    let error = error.unwrap().to_append_error();
    assert!(matches!(&error, AppendError::Denied { code, .. } if code == "hosted-category"), "{error:?}");
    assert_eq!(server.post("/batches", &batch(&["counters-7", "other-1"])).status, 201);
}

#[test]
fn a_raw_append_may_expect_a_stream_of_a_hosted_category() {
    let server = hosting(Limits::default());
    server.post("/commands/counter/7/add", r#"{"n": 3}"#);
    let batch = |version: u64| {
        json!({
            "events": [{"stream": "other-1", "type": "t", "data": 1}],
            "expect": [{"stream": "counter-7", "version": version}],
            "conditions": [{"failIfAny": [{"stream": "counter-8"}]}],
        })
        .to_string()
    };
    assert_eq!(server.post("/batches", &batch(0)).status, 201);
    server.post("/batches", &batch(1)).problem(409, "conflict");
}

#[test]
fn a_category_that_a_host_names_is_closed_too() {
    let closed = ["process".parse().unwrap()];
    let server = serve(Server::builder(memory()).closed(closed).build());
    let event = r#"{"type":"t","data":1}"#;
    server.post("/streams/process-1", event).problem(409, "hosted-category");
    assert_eq!(server.post("/streams/counter-1", event).status, 201);
}

struct SecondDay;

impl Environment for SecondDay {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(86_400_000_000_000)
    }

    fn event_id(&self) -> EventId {
        EventId::from_u128(7)
    }
}

#[test]
fn commands_are_sent_with_the_handle_of_the_host() {
    let store = memory();
    let gesta = Gesta::with_environment(Arc::clone(&store) as _, Arc::new(SecondDay));
    let server = serve(Server::builder(store).app(counters()).gesta(gesta).build());
    server.post("/commands/counter/7/add", r#"{"n": 3}"#);
    let event = &server.get("/streams/counter-7").json()["events"][0];
    assert_eq!(event["time"], "1970-01-02T00:00:00Z", "{event}");
}

#[test]
fn many_clients_of_one_entity_do_not_conflict() {
    const CLIENTS: u64 = 64;
    const COMMANDS: u64 = 8;
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(LogStore::open(folder.path(), &Options::default()).unwrap());
    let server = serve(Server::builder(Arc::clone(&log) as _).app(counters()).build());
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                for _ in 0..COMMANDS {
                    let added = server.post("/commands/counter/7/add", r#"{"n": 1}"#);
                    assert_eq!(added.status, 200, "{added:?}");
                }
            });
        }
    });
    assert_eq!(server.get("/states/counter/7").json()["state"], json!({"sum": CLIENTS * COMMANDS}));
    let figures = server.get("/metrics").text;
    for figure in [
        r#"gesta_commands_decided_again_total{cause="conflict"} 0"#,
        r#"gesta_commands_decided_again_total{cause="predecessor"} 0"#,
        "gesta_states_loads_total 1",
        "gesta_commands_in_flight 0",
    ] {
        assert!(figures.lines().any(|line| line == figure), "no `{figure}`: {figures}");
    }
    drop(server);
    log.close();
}
