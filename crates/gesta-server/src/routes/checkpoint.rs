//! `GET /checkpoint`: finds a place in the log by name or time.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gesta_core::When;
use serde_json::{Value, json};

use crate::state::Shared;
use gesta::http::parse_time;
use gesta::http::{Params, Problem};

/// `at` is `head` (the default), `start`, or a time: the place after all events recorded up to then.
pub(super) async fn locate(
    State(shared): State<Arc<Shared>>,
    mut params: Params,
) -> Result<Json<Value>, Problem> {
    let at = match params.one("at")?.as_deref() {
        None | Some("head") => When::Head,
        Some("start") => When::Start,
        Some(time) => {
            let time = parse_time(time);
            When::RecordedUpTo(time.map_err(|error| {
                Problem::invalid(format!("parameter `at` is not `start` or `head`: {error}"))
            })?)
        }
    };
    params.finish()?;
    let checkpoint = shared.store.locate(at).await?;
    Ok(Json(json!({"checkpoint": checkpoint.to_string()})))
}
