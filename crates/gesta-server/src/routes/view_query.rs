//! `GET` and `POST /views/{name}/query`: read-only SQL on a view, after the client's own write if it asks for that.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use gesta::http::{Params, Problem, header_text};
use gesta_core::{Checkpoint, Retry};
use gesta_views::{Cancel, QueryError, QueryLimits, SqlValue, UnknownView, Views, WaitError};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use super::views::{unknown, views};
use crate::answer;
use crate::body::{RequestBody, read_json, want_json};
use crate::limits::QUERIES_MAX;
use crate::routes::PathParam;
use crate::state::Shared;
use crate::wire::rows_json;

/// The body of a query.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryBody {
    sql: String,
    #[serde(default)]
    params: BTreeMap<String, Value>,
}

/// A query in the address: the parameter `sql`.
pub(super) async fn get(
    State(shared): State<Arc<Shared>>,
    PathParam(name): PathParam,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    let sql =
        params.one("sql")?.ok_or_else(|| Problem::invalid("parameter `sql` is missing: give the query"))?;
    let wait_for = wait_for(&headers, &mut params)?;
    params.finish()?;
    run(&shared, name, sql, Vec::new(), wait_for).await
}

/// A query in the body, with parameters.
pub(super) async fn post(
    State(shared): State<Arc<Shared>>,
    PathParam(name): PathParam,
    headers: HeaderMap,
    mut params: Params,
    body: RequestBody,
) -> Result<Response, Problem> {
    let wait_for = wait_for(&headers, &mut params)?;
    params.finish()?;
    want_json(&headers)?;
    let query = read_json::<QueryBody>(&body.bytes, "an object with `sql`")?;
    let values =
        query.params.into_iter().map(|(name, value)| sql_value(&name, value).map(|value| (name, value)));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    drop(body);
    run(&shared, name, query.sql, values, wait_for).await
}

async fn run(
    shared: &Shared,
    name: String,
    sql: String,
    values: Vec<(String, SqlValue)>,
    until: Option<Checkpoint>,
) -> Result<Response, Problem> {
    let views = Arc::clone(views(shared, &name)?);
    if let Some(checkpoint) = until {
        wait(shared, &views, &name, &checkpoint).await?;
    }
    let permit = timeout(shared.limits.query_wait_max, Arc::clone(&shared.queries).acquire_owned()).await;
    let permit = permit.map_err(|_| too_many_queries())?.expect("the semaphore is never closed");
    let limits = &shared.limits;
    let cancel = CancelOnDrop(Cancel::default());
    let limits = QueryLimits {
        time: limits.query_time_max,
        rows: limits.query_rows_max,
        cancel: Some(cancel.0.clone()),
        ..QueryLimits::default()
    };
    let reader = Arc::clone(&views);
    let asked = name.clone();
    let query = tokio::task::spawn_blocking(move || {
        let rows = reader.query(&asked, &sql, &values, &limits);
        drop(permit);
        rows
    });
    let rows = query.await.expect("a query does not panic").map_err(refused)?;
    let mut answer = rows_json(rows);
    let state = views.state(&name).map_err(unknown)?;
    answer["state"] = state.name().into();
    answer["error"] = state.error().map(ToString::to_string).into();
    answer::json(shared, answer.to_string().into_bytes())
}

fn too_many_queries() -> Problem {
    let detail = format!("{QUERIES_MAX} queries of views are running: send the query again after a pause");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Too many queries are running", detail)
        .retry(Retry::AfterPause)
}

/// Ends the query when its client is gone, which drops the handler.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// The checkpoint that the view must reach before the query runs: header `Wait-For` or parameter `wait_for`.
fn wait_for(headers: &HeaderMap, params: &mut Params) -> Result<Option<Checkpoint>, Problem> {
    let parameter = params.read("wait_for")?;
    let Some(token) = header_text(headers, "Wait-For")? else { return Ok(parameter) };
    if parameter.is_some() {
        return Err(Problem::invalid("both `Wait-For` and `wait_for` are given: give one"));
    }
    let checkpoint = token.parse();
    checkpoint.map(Some).map_err(|error| Problem::invalid(format!("header `Wait-For`: {error}")))
}

async fn wait(shared: &Shared, views: &Views, name: &str, checkpoint: &Checkpoint) -> Result<(), Problem> {
    let patience = shared.limits.wait_time_max;
    match timeout(patience, views.wait_for(name, checkpoint)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(cannot_wait(error)),
        Err(_) => {
            let serving = views.status(name).await.ok().and_then(|status| status.serving);
            let detail = format!(
                "the view `{name}` did not reach {checkpoint} within {patience:?}: send the query again"
            );
            let title = "The view has not caught up";
            Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "not-caught-up", title, detail)
                .retry(Retry::AfterPause)
                .with("serving", serving.map(|checkpoint| checkpoint.to_string())))
        }
    }
}

fn cannot_wait(error: WaitError) -> Problem {
    let detail = error.to_string();
    match error {
        WaitError::UnknownView(error) => unknown(error),
        WaitError::Stopped { .. } => stopped(detail),
        WaitError::ForeignCheckpoint { checkpoint } => {
            gesta_core::ReadError::ForeignCheckpoint { checkpoint }.into()
        }
        WaitError::CheckpointAhead { checkpoint, head } => {
            gesta_core::ReadError::CheckpointAhead { checkpoint, head }.into()
        }
        WaitError::Read(error) => error.into(),
    }
}

fn stopped(detail: String) -> Problem {
    let detail = format!(
        "{detail}; when the cause is gone, `POST /views/{{name}}/restart` restarts the view; an edited file is read when the server starts"
    );
    Problem::new(StatusCode::CONFLICT, "view-stopped", "The view has stopped", detail)
}

/// The problem that a refused query is.
fn refused(error: QueryError) -> Problem {
    let (detail, retry) = (error.to_string(), error.retry());
    let problem = |status, kind, title| Problem::new(status, kind, title, detail.clone()).retry(retry);
    match error {
        QueryError::UnknownView { name } => unknown(UnknownView { name }),
        QueryError::Stopped { error, .. } => stopped(format!("{detail}: {error}")),
        QueryError::NotReady { .. } => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "The view has no rows to show yet")
        }
        QueryError::Damaged { .. } => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "The view is rebuilt")
        }
        QueryError::Busy { .. } => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "The view's database is busy")
        }
        QueryError::NotAllowed { .. } => {
            problem(StatusCode::FORBIDDEN, "not-allowed", "Queries can only read")
        }
        QueryError::TimeLimit { .. } | QueryError::TooManyRows { .. } | QueryError::TooManyBytes { .. } => {
            problem(StatusCode::UNPROCESSABLE_ENTITY, "query-limit", "The query is beyond a limit")
        }
        QueryError::NotOneStatement { .. }
        | QueryError::UnnamedParameter { .. }
        | QueryError::MissingParameter { .. }
        | QueryError::UnknownParameter { .. }
        | QueryError::Sql { .. }
        | QueryError::Cancelled => {
            problem(StatusCode::BAD_REQUEST, "invalid-query", "The query is not well formed")
        }
    }
}

fn sql_value(name: &str, value: Value) -> Result<SqlValue, Problem> {
    match value {
        Value::Null => Ok(SqlValue::Null),
        Value::Bool(value) => Ok(SqlValue::Integer(value.into())),
        Value::String(text) => Ok(SqlValue::Text(text)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Ok(SqlValue::Integer(number)),
            (None, Some(number)) => Ok(SqlValue::Real(number)),
            (None, None) => Err(Problem::invalid(format!("parameter `{name}` is a number out of range"))),
        },
        Value::Array(_) | Value::Object(_) => Err(Problem::invalid(format!(
            "parameter `{name}` is an array or object: give a text, a number, a boolean or null"
        ))),
    }
}
