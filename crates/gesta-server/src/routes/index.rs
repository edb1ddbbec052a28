//! `GET /`: lists the routes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gesta::http::api::Operation;
use gesta::http::{Params, Problem};
use gesta_wire::schema::{answer, list, text};
use serde_json::{Value, json};

use super::description::described;
use crate::state::Shared;

/// Name, version and routes of the server.
pub(super) async fn index(State(shared): State<Arc<Shared>>, params: Params) -> Result<Json<Value>, Problem> {
    params.finish()?;
    let routes = described(&shared);
    let routes = routes.iter().map(|route| {
        json!({"route": format!("{} {}", route.method, route.path), "purpose": route.operation.summary()})
    });
    Ok(Json(json!({
        "name": "gesta",
        "version": env!("CARGO_PKG_VERSION"),
        "routes": routes.collect::<Value>(),
    })))
}

pub(super) fn operation() -> Operation {
    let route = answer(vec![("route", text()), ("purpose", text())]);
    let index = answer(vec![("name", text()), ("version", text()), ("routes", list(route))]);
    Operation::new("index", "list the routes").json(200, "The routes.", index)
}
