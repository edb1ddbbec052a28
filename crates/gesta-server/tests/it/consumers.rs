//! Consumers over HTTP: their states, pauses that are kept, and figures.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gesta::http::Principal;
use gesta_consumer::{
    Consumer, ConsumerSettings, ConsumerState, Consumers, Handled, Handler, HandlerError, Opening, Reach,
    Start, Stop, SystemClock, kept_pause,
};
use gesta_core::{Checkpoint, KeyValueStore, MemoryKeyValueStore, MemoryStore, Page, Retry};
use gesta_server::Server;
use gesta_views::{Definition, Options, Views};
use pollster::block_on;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Running, event, memory, serve, start};

const BALANCES: &str = "-- dialect: sqlite
create table balances (account text primary key, amount integer not null);
-- on account.deposited
-- require: amount
insert into balances values ($entity, :amount)
on conflict do update set amount = amount + excluded.amount;";

/// A server with the view `balances`, as a process with this folder and these values starts it.
fn viewing(store: &Arc<MemoryStore>, values: &Arc<MemoryKeyValueStore>, folder: &Path) -> Running {
    let definition = Definition::parse("balances", BALANCES).unwrap();
    let kept = block_on(kept_pause(&**values, "balances")).unwrap();
    let paused = kept.map(|paused| ("balances".to_owned(), paused)).into_iter().collect();
    let options = Options { paused, ..Options::default() };
    let views =
        Arc::new(Views::open_with(store.clone(), folder.to_owned(), vec![definition], &options).unwrap());
    let consumers = Consumers::new(Arc::clone(values) as _, Arc::new(SystemClock));
    views.consumers().into_iter().for_each(|view| consumers.add(view).unwrap());
    let users = |parts: &axum::http::request::Parts| {
        Ok(parts.headers.get("user").map(|user| Principal(user.to_str().unwrap().to_owned())))
    };
    let server = Server::builder(store.clone()).views(views).consumers(Arc::new(consumers));
    serve(server.authenticate(users).build())
}

fn deposit(server: &Running, amount: i32) {
    let data = format!(r#"{{"amount": {amount}}}"#);
    assert_eq!(server.post("/streams/account-42", &event("account.deposited", &data)).status, 201);
}

/// Asks until the consumer is in this state. Its thread needs a moment.
fn until(server: &Running, state: &str, lag_events: impl Into<serde_json::Value>) -> serde_json::Value {
    let lag_events = lag_events.into();
    let patience = Instant::now() + Duration::from_secs(120);
    loop {
        let status = server.get("/consumers/balances").json();
        if status["state"] == state && status["lagEvents"] == lag_events {
            return status;
        }
        assert!(Instant::now() < patience, "{status} is not `{state}`");
        std::thread::yield_now();
    }
}

#[test]
fn a_consumer_is_paused_over_a_restart_of_the_process() {
    let (store, values, folder) = (memory(), Arc::default(), TempDir::new().unwrap());
    let server = viewing(&store, &values, folder.path());
    deposit(&server, 1);
    let live = until(&server, "live", 0);
    assert_eq!((&live["name"], &live["kind"]), (&json!("balances"), &json!("view")));
    assert_eq!(
        (&live["error"], &live["paused"], &live["lagSeconds"]),
        (&json!(null), &json!(null), &json!(0.0))
    );
    assert_eq!(live["checkpoint"], live["head"]);
    let paused = server.post_with("/consumers/balances/pause", &[("user", "ann"), ("x-actor", "bob")], "");
    assert_eq!(paused.json()["paused"]["by"], "ann");
    deposit(&server, 2);
    let paused = until(&server, "paused", 1);
    assert!(paused["lagSeconds"].as_f64().unwrap() > 0.0, "{paused}");
    assert_eq!(server.get("/views/balances").json()["state"], "paused");
    assert_eq!(server.get("/consumers").json()["consumers"][0]["name"], "balances");
    drop(server);
    let server = viewing(&store, &values, folder.path());
    // It opens nothing before the pause is over, so it has no place yet.
    let again = until(&server, "paused", json!(null));
    assert_eq!(again["paused"], paused["paused"], "{again}");
    assert_eq!(server.post("/consumers/balances/restart", "").json()["state"], "paused");
    assert_eq!(server.post("/consumers/balances/resume", "").json()["paused"], json!(null));
    until(&server, "live", 0);
    drop(server);
    until(&viewing(&store, &values, folder.path()), "live", 0);
}

#[test]
fn a_consumer_that_has_stopped_says_why_and_is_restarted() {
    let (store, values, folder) = (memory(), Arc::default(), TempDir::new().unwrap());
    let server = viewing(&store, &values, folder.path());
    server.post("/streams/account-42", &event("account.deposited", "{}"));
    let stopped = until(&server, "stopped", 1);
    assert!(stopped["error"].as_str().unwrap().contains("`amount`"), "{stopped}");
    let metrics = server.get("/metrics");
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let stopped = "gesta_consumer_state{consumer=\"balances\",kind=\"view\",state=\"stopped\"} 1\n";
    assert!(metrics.text.contains(stopped), "{}", metrics.text);
    assert!(metrics.text.contains("gesta_consumer_lag_events{consumer=\"balances\",kind=\"view\"} 1\n"));
    let state = server.post("/consumers/balances/restart", "").json();
    assert!(["catching-up", "stopped"].contains(&state["state"].as_str().unwrap()), "{state}");
}

#[test]
fn who_pauses_is_the_user_or_the_actor_or_nobody() {
    let (store, values, folder) = (memory(), Arc::<MemoryKeyValueStore>::default(), TempDir::new().unwrap());
    let server = viewing(&store, &values, folder.path());
    for (headers, by) in [(&[("x-actor", "bob")][..], "bob"), (&[], "anonymous")] {
        let paused = server.post_with("/consumers/balances/pause", headers, "").json();
        assert_eq!(paused["paused"]["by"], by);
        server.post("/consumers/balances/resume", "");
    }
    let key = "consumers/balances/paused".parse().unwrap();
    assert!(block_on(values.get(key)).unwrap().is_some());
}

#[test]
fn a_server_without_consumers_has_an_empty_list() {
    let server = start();
    assert_eq!(server.get("/consumers").json(), json!({"consumers": []}));
    assert_eq!(server.get("/metrics").text, "");
    for action in ["pause", "resume", "restart"] {
        let refused = server.post(&format!("/consumers/none/{action}"), "");
        assert!(refused.problem(404, "no-consumer").contains("`GET /consumers`"));
    }
    server.get("/consumers/none").problem(404, "no-consumer");
    server.get("/consumers?x=1").problem(400, "invalid-request");
    server.get("/metrics?x=1").problem(400, "invalid-request");
}

#[test]
fn views_that_a_host_adds_are_consumers() {
    let (server, _folder) = crate::views::viewing(gesta_server::Limits::default());
    until(&server, "live", 0);
    server.post("/consumers/balances/pause", "");
    until(&server, "paused", 0);
    server.post("/consumers/balances/resume", "");
    until(&server, "live", 0);
}

/// A reader that cannot go on.
struct Broken;

#[derive(Debug, thiserror::Error)]
#[error("a timer cannot be read")]
struct CannotRead;

impl HandlerError for CannotRead {
    fn retry(&self) -> Retry {
        Retry::Never
    }
}

impl Handler for Broken {
    type Error = CannotRead;

    fn open(&mut self, _: &Opening<'_, CannotRead>) -> Result<Start, CannotRead> {
        Err(CannotRead)
    }

    fn handle(&mut self, _: &Page, _: &Checkpoint, _: Reach, _: &Stop) -> Result<Handled, CannotRead> {
        Err(CannotRead)
    }
}

#[test]
fn stopped_timers_are_unready_when_asked_strictly() {
    let store = memory();
    let settings = ConsumerSettings::new("timers-reminder", "timers");
    let timers = Arc::new(Consumer::start(store.clone(), settings, || Broken).unwrap());
    while !matches!(timers.state(), ConsumerState::Stopped { .. }) {
        std::thread::yield_now();
    }
    let consumers = Consumers::new(Arc::new(MemoryKeyValueStore::default()), Arc::new(SystemClock));
    consumers.add(timers).unwrap();
    let server = serve(Server::builder(store).consumers(Arc::new(consumers)).build());
    assert_eq!(server.get("/readyz").status, 200);
    let strict = server.get("/readyz?strict");
    let said = strict.problem(503, "not-ready");
    assert!(said.contains("timers `timers-reminder`: a timer cannot be read"), "{said}");
    assert_eq!(strict.json()["consumers"], json!(["timers-reminder"]));
    assert_eq!((&strict.json()["views"], &strict.json()["groups"]), (&json!([]), &json!([])));
}
