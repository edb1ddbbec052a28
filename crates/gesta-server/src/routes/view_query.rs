//! `GET` and `POST /views/{name}/query`: read-only SQL on a view, after the client's own write or as of the past if it asks for that.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use gesta::http::api::Operation;
use gesta::http::{Params, Problem, header_text};
use gesta_core::{Checkpoint, Retry};
use gesta_views::{Cancel, QueryError, QueryLimits, SqlValue, UnknownView, Views, WaitError};
use gesta_wire::kinds;
use gesta_wire::schema::{about, answer, list, named, nullable, request, text};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::view_past::{self, Past};
use super::views::{unknown, views};
use crate::answer;
use crate::body::{RequestBody, read_json, want_json};
use crate::routes::PathParam;
use crate::rows::rows_json;
use crate::state::Shared;

/// The body of a query.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryBody {
    sql: String,
    #[serde(default)]
    params: BTreeMap<String, Value>,
}

/// A query on a view.
pub(super) struct Query {
    pub(super) view: String,
    pub(super) sql: String,
    pub(super) values: Vec<(String, SqlValue)>,
}

/// What the rows of a query are to show.
enum Shows {
    /// The view as it runs, once it has reached a place if there is one.
    Now(Option<Checkpoint>),
    Past(Past),
}

/// A query in the address: the parameter `sql`.
pub(super) async fn get(
    State(shared): State<Arc<Shared>>,
    PathParam(view): PathParam,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    let sql =
        params.one("sql")?.ok_or_else(|| Problem::invalid("parameter `sql` is missing: give the query"))?;
    let shows = Shows::of(&headers, params)?;
    run(&shared, Query { view, sql, values: Vec::new() }, shows).await
}

/// A query in the body, with parameters.
pub(super) async fn post(
    State(shared): State<Arc<Shared>>,
    PathParam(view): PathParam,
    headers: HeaderMap,
    params: Params,
    body: RequestBody,
) -> Result<Response, Problem> {
    let shows = Shows::of(&headers, params)?;
    want_json(&headers)?;
    let query = read_json::<QueryBody>(&body.bytes, "an object with `sql`")?;
    let values =
        query.params.into_iter().map(|(name, value)| sql_value(&name, value).map(|value| (name, value)));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    drop(body);
    run(&shared, Query { view, sql: query.sql, values }, shows).await
}

impl Shows {
    fn of(headers: &HeaderMap, mut params: Params) -> Result<Self, Problem> {
        let (wait_for, past) = (wait_for(headers, &mut params)?, Past::take(&mut params)?);
        params.finish()?;
        match (wait_for, past) {
            (wait_for, None) => Ok(Self::Now(wait_for)),
            (None, Some(past)) => Ok(Self::Past(past)),
            (Some(_), Some(_)) => Err(Problem::invalid(
                "a query of the past waits for nothing: leave out `Wait-For` and `wait_for`",
            )),
        }
    }
}

impl Query {
    pub(super) fn limits(&self, shared: &Shared, cancel: &CancelOnDrop) -> QueryLimits {
        QueryLimits {
            time: shared.limits.query_time_max,
            rows: shared.limits.query_rows_max,
            cancel: Some(cancel.0.clone()),
            ..QueryLimits::default()
        }
    }
}

async fn run(shared: &Shared, query: Query, shows: Shows) -> Result<Response, Problem> {
    match shows {
        Shows::Now(until) => run_now(shared, query, until).await,
        Shows::Past(past) => view_past::run(shared, query, past).await,
    }
}

/// What both routes take and give.
fn described(operation: Operation) -> Operation {
    let cell = json!({"description": "A value of SQL. Bytes are `{\"base64\": …}`, infinite numbers `{\"real\": …}`."});
    let rows = answer(vec![
        ("columns", list(text())),
        ("rows", list(list(cell))),
        ("checkpoint", about(named("Checkpoint"), "The place in the log that the rows show, exactly.")),
        (
            "parked?",
            about(
                list(named("StreamName")),
                "The streams that the view holds back: the rows lack their last events.",
            ),
        ),
        ("state?", about(text(), "The state of the view; missing if the past is asked for.")),
        ("error?", nullable(text())),
    ]);
    view_past::described(operation)
        .tag("views")
        .path("name", "The name of the view.", text())
        .query("wait_for", "The place that the view must reach first.", named("Checkpoint"))
        .header("Wait-For", "The same, as a header.", named("Checkpoint"))
        .json(200, "The rows.", rows)
        .problems(kinds::OF_READS)
        .problems(&[
            kinds::NO_VIEW,
            kinds::VIEW_STOPPED,
            kinds::NOT_CAUGHT_UP,
            kinds::NOT_READY,
            kinds::NOT_ALLOWED,
            kinds::QUERY_LIMIT,
            kinds::INVALID_QUERY,
        ])
}

pub(super) fn get_operation() -> Operation {
    let operation = Operation::new("queryView", "query a view in SQL");
    described(operation.query("sql", "One read-only `select`.", text()).required())
}

pub(super) fn post_operation() -> Operation {
    let value = json!({"type": ["null", "boolean", "string", "number"]});
    let params =
        json!({"type": "object", "additionalProperties": value, "description": "The values of `:names`."});
    let query = request(vec![("sql", about(text(), "One read-only `select`.")), ("params?", params)]);
    described(
        Operation::new("queryViewWithParameters", "the same, with parameters")
            .body("application/json", query),
    )
}

async fn run_now(shared: &Shared, query: Query, until: Option<Checkpoint>) -> Result<Response, Problem> {
    let views = Arc::clone(views(shared, &query.view)?);
    if let Some(checkpoint) = until {
        wait(shared, &views, &query.view, &checkpoint).await?;
    }
    let permit = running(shared).await?;
    let cancel = CancelOnDrop::default();
    let limits = query.limits(shared, &cancel);
    let reader = Arc::clone(&views);
    let name = query.view.clone();
    let query = tokio::task::spawn_blocking(move || {
        let rows = reader.query(&query.view, &query.sql, &query.values, &limits);
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

/// Waits until a query may run.
pub(super) async fn running(shared: &Shared) -> Result<OwnedSemaphorePermit, Problem> {
    permit(shared, &shared.queries).await
}

pub(super) async fn permit(shared: &Shared, of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    let permit = timeout(shared.limits.query_wait_max, Arc::clone(of).acquire_owned()).await;
    Ok(permit.map_err(|_| too_many_queries())?.expect("the semaphore is never closed"))
}

fn too_many_queries() -> Problem {
    let detail = "too many queries of views are running: send the query again after a pause";
    Problem::of(kinds::OVERLOADED, detail).retry(Retry::AfterPause)
}

/// Ends the query when its client is gone, which drops the handler.
#[derive(Default)]
pub(super) struct CancelOnDrop(pub(super) Cancel);

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
            Err(Problem::of(kinds::NOT_CAUGHT_UP, detail)
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
        "{detail}; when the cause is gone, `POST /views/{{name}}/restart` restarts the view; `POST /views/reload` reads an edited file"
    );
    Problem::of(kinds::VIEW_STOPPED, detail)
}

/// The problem that a refused query is.
pub(super) fn refused(error: QueryError) -> Problem {
    let (detail, retry) = (error.to_string(), error.retry());
    let problem = |kind| Problem::of(kind, detail.clone()).retry(retry);
    match error {
        QueryError::UnknownView { name } => unknown(UnknownView { name }),
        QueryError::Stopped { error, .. } => stopped(format!("{detail}: {error}")),
        QueryError::NotReady { .. } | QueryError::Damaged { .. } => problem(kinds::NOT_READY),
        QueryError::Busy { .. } => problem(kinds::OVERLOADED),
        QueryError::NotAllowed { .. } => problem(kinds::NOT_ALLOWED),
        QueryError::TimeLimit { .. } | QueryError::TooManyRows { .. } | QueryError::TooManyBytes { .. } => {
            problem(kinds::QUERY_LIMIT)
        }
        QueryError::NotOneStatement { .. }
        | QueryError::UnnamedParameter { .. }
        | QueryError::MissingParameter { .. }
        | QueryError::UnknownParameter { .. }
        | QueryError::Sql { .. }
        | QueryError::Cancelled => problem(kinds::INVALID_QUERY),
    }
}

fn sql_value(name: &str, value: Value) -> Result<SqlValue, Problem> {
    match value {
        Value::Null => Ok(SqlValue::Null),
        Value::Bool(value) => Ok(SqlValue::Integer(value.into())),
        Value::String(text) => Ok(SqlValue::Text(text)),
        Value::Number(number) if number.is_u64() && number.as_i64().is_none() => Err(Problem::invalid(
            format!("parameter `{name}` is {number}, which is no integer of SQL: they end at {}", i64::MAX),
        )),
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
