//! An application over HTTP, without a socket: given events, a request, its answer and what it recorded.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use gesta_core::{MemoryStore, Read, RecordedEvent};
use serde_json::Value;
use tower_service::Service;

use super::{TestEnvironment, append, block_on, memory, text_of, whole_log};
use crate::app::App;
use crate::fact::{Fact, NewFact};
use crate::handle::Gesta;
use crate::http::router_on;

/// Starts a test of the HTTP routes of an application: commands, decisions, states, histories.
///
/// # Example
/// ```
/// # use gesta::*;
/// # #[derive(Debug, Clone, Key)] #[key("door")] struct DoorId(String);
/// # #[derive(Debug, Event)] #[event(prefix = "door")] enum DoorEvent { Opened, Closed }
/// # #[derive(Debug, Clone, Command)] enum DoorCommand { Open, Close }
/// # #[derive(Debug)] struct AlreadyOpen;
/// # impl std::fmt::Display for AlreadyOpen { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("already open") } }
/// # impl std::error::Error for AlreadyOpen {}
/// # #[derive(Debug, Default, serde::Serialize, serde::Deserialize)] struct Door { open: bool }
/// # impl State for Door { type Event = DoorEvent; fn evolve(&mut self, event: DoorEvent) { self.open = matches!(event, DoorEvent::Opened) } }
/// # impl Decider for Door {
/// #     type Id = DoorId; type Command = DoorCommand; type Error = AlreadyOpen;
/// #     fn decide(&self, command: DoorCommand) -> Result<Vec<DoorEvent>, AlreadyOpen> {
/// #         match command {
/// #             DoorCommand::Open if self.open => Err(AlreadyOpen),
/// #             DoorCommand::Open => Ok(vec![DoorEvent::Opened]),
/// #             DoorCommand::Close => Ok(vec![DoorEvent::Closed]),
/// #         }
/// #     }
/// # }
/// use gesta::testing::{http, json};
///
/// let front = || DoorId("front".into());
/// http(App::new("house").decider::<Door>())
///     .given([NewFact::new(&front(), DoorEvent::Closed)])
///     .post("/commands/door/front/open", json!({}))
///     .then_status(200)
///     .then_events([NewFact::new(&front(), DoorEvent::Opened)])
///     .and()
///     .post("/commands/door/front/open", json!({}))
///     .then_status(422)
///     .then_events([]);
/// ```
#[must_use]
pub fn http(app: App) -> HttpTest {
    let store = Arc::new(memory());
    let gesta = Gesta::with_environment(Arc::clone(&store) as _, Arc::new(TestEnvironment::default()));
    HttpTest { router: router_on(Arc::new(app), gesta), store }
}

/// An application over HTTP.
pub struct HttpTest {
    router: Router,
    store: Arc<MemoryStore>,
}

impl HttpTest {
    /// Adds events to the log.
    ///
    /// # Panics
    /// If an event cannot be stored.
    #[must_use]
    #[track_caller]
    pub fn given(self, facts: impl IntoIterator<Item = NewFact>) -> Self {
        append(&self.store, &stored(facts));
        self
    }

    /// Sends JSON.
    ///
    /// # Panics
    /// If the path is none.
    #[track_caller]
    pub fn post(self, path: &str, json: Value) -> HttpAnswer {
        self.send("POST", path, &[], Some(json))
    }

    /// Sends JSON under an idempotency key.
    ///
    /// # Panics
    /// If the path is none.
    #[track_caller]
    pub fn post_with_key(self, path: &str, key: &str, json: Value) -> HttpAnswer {
        self.send("POST", path, &[("idempotency-key", key)], Some(json))
    }

    /// Asks for a state, a history or another document.
    ///
    /// # Panics
    /// If the path is none.
    #[track_caller]
    pub fn get(self, path: &str) -> HttpAnswer {
        self.send("GET", path, &[], None)
    }

    #[track_caller]
    fn send(mut self, method: &str, path: &str, headers: &[(&str, &str)], json: Option<Value>) -> HttpAnswer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = json.map_or_else(Body::empty, |json| Body::from(json.to_string()));
        let request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        let request = request.unwrap_or_else(|error| panic!("`{path}` makes no request: {error}"));
        let before = events(&self.store).len();
        let (status, body) = block_on(async {
            let response = self.router.call(request).await.unwrap_or_else(|error| match error {});
            let status = response.status().as_u16();
            let bytes = to_bytes(response.into_body(), usize::MAX).await;
            (status, bytes.unwrap_or_else(|error| panic!("the answer cannot be read: {error}")))
        });
        let body = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        HttpAnswer { status, body, before, test: self }
    }
}

/// The answer to a request, and what it recorded.
pub struct HttpAnswer {
    status: u16,
    body: Value,
    /// The events in the log before the request.
    before: usize,
    test: HttpTest,
}

impl HttpAnswer {
    /// Expects a status.
    ///
    /// # Panics
    /// If the status is different.
    #[track_caller]
    pub fn then_status(self, status: u16) -> Self {
        assert!(self.status == status, "expected status {status}, got {}: {}", self.status, self.body);
        self
    }

    /// Expects that the request recorded exactly these events, in this order.
    ///
    /// # Panics
    /// If it recorded others.
    #[track_caller]
    pub fn then_events(self, facts: impl IntoIterator<Item = NewFact>) -> Self {
        let expected = stored(facts).iter().map(in_words).collect::<Vec<_>>();
        let recorded = events(&self.test.store).split_off(self.before);
        let recorded = recorded.iter().map(fact_of).map(|fact| in_words(&fact)).collect::<Vec<_>>();
        assert!(
            recorded == expected,
            "the events differ from the expected ones\nexpected\n    {}\nbut got\n    {}",
            list(&expected),
            list(&recorded)
        );
        self
    }

    /// Expects a value in the answer, at a JSON pointer such as `/state/balance`.
    ///
    /// # Panics
    /// If the value is different or missing.
    #[track_caller]
    pub fn then_value(self, pointer: &str, value: Value) -> Self {
        let found = self.body.pointer(pointer);
        assert!(found == Some(&value), "expected {value} at `{pointer}`, got {}", self.body);
        self
    }

    /// The answer: JSON, or a text.
    #[must_use]
    pub const fn body(&self) -> &Value {
        &self.body
    }

    /// Goes on with the same log.
    #[must_use]
    pub fn and(self) -> HttpTest {
        self.test
    }
}

fn stored(facts: impl IntoIterator<Item = NewFact>) -> Vec<Fact> {
    let facts = facts.into_iter().map(NewFact::into_fact).collect::<Result<Vec<_>, _>>();
    facts.unwrap_or_else(|error| panic!("an event cannot be stored: {error}"))
}

fn events(store: &MemoryStore) -> Vec<RecordedEvent> {
    let read = Read::log(gesta_core::Query::All).limit(whole_log());
    store.read_now(&read).expect("a log in memory can be read").events
}

/// A recorded event as the fact that it was. Tags of the system, such as that of the correlation, are left out.
fn fact_of(event: &RecordedEvent) -> Fact {
    Fact {
        stream: event.stream().parse().expect("it was stored"),
        event_type: event.event_type().parse().expect("it was stored"),
        schema_version: event.schema_version(),
        data: event.data(),
        tags: event
            .tags()
            .filter(|tag| !tag.starts_with('$'))
            .map(|tag| tag.parse().expect("it was stored"))
            .collect(),
        reverses: None,
    }
}

fn in_words(fact: &Fact) -> String {
    format!("{}: {}", fact.stream, text_of(fact))
}

fn list(events: &[String]) -> String {
    if events.is_empty() { "nothing".to_owned() } else { events.join("\n    ") }
}
