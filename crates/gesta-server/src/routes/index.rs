//! `GET /`: lists the routes.

use axum::Json;
use serde_json::{Value, json};

/// Name, version and routes of the server.
pub(super) async fn index() -> Json<Value> {
    Json(json!({
        "name": "gesta",
        "version": env!("CARGO_PKG_VERSION"),
        "routes": ROUTES.iter().map(|(route, purpose)| json!({"route": route, "purpose": purpose})).collect::<Value>(),
    }))
}

const ROUTES: &[(&str, &str)] = &[
    ("GET /streams", "list streams"),
    ("GET /streams/{stream}", "read the events of a stream"),
    ("POST /streams/{stream}", "append events to a stream"),
    ("POST /batches", "append events to several streams atomically"),
    ("GET /events", "read the log, or follow it as server-sent events"),
    ("POST /events/query", "the same, with a query of several items"),
    ("GET /checkpoint", "find a place in the log: its start, its head, or a time"),
    ("GET /views", "list views"),
    ("GET /views/{name}", "the state of a view"),
    ("POST /views/{name}/restart", "restart a view that has stopped"),
    ("GET /views/{name}/query", "query a view in SQL"),
    ("POST /views/{name}/query", "the same, with parameters"),
    ("GET /commands", "list hosted commands and decisions"),
    ("POST /commands/{category}/{id}/{command}", "send a command to a hosted decider"),
    ("POST /commands/{decision}", "send a command to a hosted decision"),
    ("GET /states/{category}/{id}", "the state of an entity, now or at an earlier time"),
    ("GET /histories/{category}/{id}", "the history of an entity"),
    ("GET /livez", "check that the process answers"),
    ("GET /readyz", "check that the store answers every kind of call"),
];
