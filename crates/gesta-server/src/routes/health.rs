//! `GET /livez` and `GET /readyz`: for whoever restarts processes and routes traffic.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use gesta_core::{Retry, Timestamp, When};
use serde_json::{Value, json};

use crate::state::Shared;
use gesta::http::Problem;

/// The process answers; it looks at nothing else, so that a full disk does not lead to restarts.
pub(super) async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// The store answers every kind of call, and the server is not stopping. A store that takes no writes is ready: it does what it can, and
/// says why it does no more.
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
    // A place by time costs next to nothing, and is found in the index: a store that still builds its own says how far that is.
    shared.store.locate(When::RecordedUpTo(Timestamp::MAX)).await?;
    let head = shared.store.locate(When::Head).await?;
    Ok(Json(json!({"status": "ready", "head": head.to_string()})))
}
