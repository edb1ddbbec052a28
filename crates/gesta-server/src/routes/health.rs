//! `GET /livez` and `GET /readyz`: for whoever restarts processes and routes traffic.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use gesta_core::{Retry, When};
use serde_json::{Value, json};

use crate::state::Shared;
use gesta::http::Problem;

/// The process answers; it looks at nothing else, so that a full disk does not lead to restarts.
pub(super) async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// The store answers reads, and the server is not stopping.
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, Problem> {
    if *shared.stopping.borrow() {
        let detail = "the server is stopping: ask another one, or come again";
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "The server is stopping",
            detail,
        )
        .retry(Retry::AfterPause));
    }
    let head = shared.store.locate(When::Head).await?;
    Ok(Json(json!({"status": "ready", "head": head.to_string()})))
}
