//! `/checkpoint`: finds a place in the log by name or time, waits for a new event past a place, or closes a time.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use gesta::http::api::Operation;
use gesta::http::{Params, Problem};
use gesta_core::{Checkpoint, Place, Query, Select, When};
use gesta_wire::schema::{between, named, one_of};
use gesta_wire::{checkpoint_json, kinds, parse_time};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::feed::{check_place, subscription_permit};
use crate::body::{RequestBody, read_json, want_json};
use crate::state::{Shared, stopped};

/// How long a request with `past` waits if it does not say.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);
/// The longest wait that the description tells, which is the default of the limits.
const WAIT_SECONDS_MAX: u64 = 60;

/// `at` is `head` (the default), `start`, or a time: the place after all events recorded up to then. With `past`, the head as soon as
/// something lies past that place, or after `wait` seconds as it is.
pub(super) async fn read(
    State(shared): State<Arc<Shared>>,
    mut params: Params,
) -> Result<Json<Value>, Problem> {
    let (at, past, wait) = (params.one("at")?, params.read("past")?, params.read::<u64>("wait")?);
    params.finish()?;
    let checkpoint = match (at.as_deref(), past, wait) {
        (Some(_), Some(_), _) => return Err(Problem::invalid("both `at` and `past` are given: give one")),
        (_, None, Some(_)) => {
            return Err(Problem::invalid("`wait` is given without `past`: give the place to wait at"));
        }
        (None, Some(past), wait) => wait_past(&shared, &past, in_bounds(&shared, wait)?).await?,
        (at, None, None) => locate(&shared, at.unwrap_or("head")).await?,
    };
    Ok(Json(checkpoint_json(&checkpoint)))
}

pub(super) fn operation() -> Operation {
    let at = json!({"anyOf": [one_of(&["head", "start"]), named("Time")]});
    Operation::new(
        "findCheckpoint",
        "find a place in the log: its start, its head, or a time; or wait for a new event past a place",
    )
    .tag("log")
    .query("at", "The place, or the time up to which events were recorded; the default is `head`.", at)
    .query("past", "Answers with the head as soon as something lies past this place.", named("Checkpoint"))
    .query(
        "wait",
        "With `past`: the seconds to wait at most; the default is 30.",
        between(0, WAIT_SECONDS_MAX),
    )
    .json(200, "The place.", named("CheckpointAnswer"))
    .problems(kinds::OF_READS)
}

/// The body of a request that closes a time.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Closing {
    closed: String,
}

/// The place after all events recorded up to a time, once no more can be.
pub(super) async fn close(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    params: Params,
    body: RequestBody,
) -> Result<Json<Value>, Problem> {
    params.finish()?;
    want_json(&headers)?;
    let asked = read_json::<Closing>(&body.bytes, "an object with `closed`, a time")?;
    let time = parse_time(&asked.closed).map_err(|error| Problem::invalid(format!("`closed`: {error}")))?;
    let place = shared.store.locate(When::ClosedAt(time)).await?;
    Ok(Json(checkpoint_json(&place)))
}

pub(super) fn close_operation() -> Operation {
    let body = json!({
        "type": "object",
        "required": ["closed"],
        "additionalProperties": false,
        "properties": {"closed": named("Time")},
    });
    Operation::new(
        "closeTime",
        "close a time: later events are recorded later, so the place after all events up to then is final",
    )
    .tag("log")
    .body("application/json", body)
    .json(200, "The place.", named("CheckpointAnswer"))
    .problems(kinds::OF_READS)
}

async fn locate(shared: &Shared, at: &str) -> Result<Checkpoint, Problem> {
    Ok(match at {
        "head" => shared.store.head_now().await?,
        "start" => shared.store.locate(When::Start).await?,
        time => {
            let time = parse_time(time).map_err(|error| {
                Problem::invalid(format!("parameter `at` is not `start` or `head`: {error}"))
            })?;
            shared.store.locate(When::RecordedUpTo(time)).await?
        }
    })
}

fn in_bounds(shared: &Shared, wait: Option<u64>) -> Result<Duration, Problem> {
    let max = shared.limits.checkpoint_wait_max;
    match wait.map(Duration::from_secs) {
        None => Ok(WAIT_DEFAULT.min(max)),
        Some(wait) if wait <= max => Ok(wait),
        Some(wait) => Err(Problem::invalid(format!(
            "`wait` is {} seconds: give 0 to {}",
            wait.as_secs(),
            max.as_secs()
        ))),
    }
}

/// The head of the log, as soon as it is past the place. It is a subscription for the limits of the server.
async fn wait_past(shared: &Shared, past: &Checkpoint, wait: Duration) -> Result<Checkpoint, Problem> {
    let _permit = subscription_permit(shared)?;
    let mut stopping = shared.stopping.subscribe();
    // A wait of 0 seconds may end before the store has looked.
    let select = Select::Log { query: Query::All, from: Place::At(past.clone()), lanes: None };
    check_place(shared, select).await?;
    let new = async {
        tokio::select! {
            head = shared.store.wait_past(past.clone()) => Some(head),
            () = stopped(&mut stopping) => None,
        }
    };
    match timeout(wait, new).await {
        Ok(Some(head)) => Ok(head?),
        Ok(None) | Err(_) => Ok(shared.store.locate(When::Head).await?),
    }
}
