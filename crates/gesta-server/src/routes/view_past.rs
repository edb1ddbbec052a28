//! `/views/{name}/query` with `at`, `time` or `every`: a view as of an earlier moment, and at many moments.

use std::sync::Arc;

use axum::response::Response;
use gesta::http::api::{Operation, every, series_parameters};
use gesta::http::{Params, Problem, cuts};
use gesta::past::Cuts;
use gesta_views::{
    Definition, EvaluateError, Evaluation, EvaluationLimits, QueryLimits, RunError, UnknownView, Views,
};
use gesta_wire::schema::{between, named};
use gesta_wire::{format_time, kinds, position_json};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::view_query::{CancelOnDrop, Query, permit, refused, running};
use super::views::{unknown, views};
use crate::answer;
use crate::limits::SERIES_CUTS_MAX;
use crate::moment::{MomentError, moment_at, moment_by_time};
use crate::rows::rows_json;
use crate::state::Shared;
use crate::time::now;
use crate::view_series::{SeriesError, SeriesLimits, ViewSeries};

/// The moments that a query asks for.
pub(super) enum Past {
    At(String),
    Time(String),
    Every(Box<Cuts>),
}

impl Past {
    /// Takes the parameters `at`, `time` and `every`; `None` without any of them.
    pub(super) fn take(params: &mut Params) -> Result<Option<Self>, Problem> {
        let (at, time) = (params.one("at")?.map(Self::At), params.one("time")?.map(Self::Time));
        let every = match params.one("every")? {
            None => None,
            Some(every) => Some(Self::Every(Box::new(cuts(&every, params)?))),
        };
        let mut asked = [at, time, every].into_iter().flatten();
        let first = asked.next();
        if asked.next().is_some() {
            return Err(Problem::invalid("more than one of `at`, `time` and `every` is given: give one"));
        }
        Ok(first)
    }
}

/// Adds the parameters.
pub(super) fn described(operation: Operation) -> Operation {
    let position = between(0, u64::MAX);
    let at = json!({"anyOf": [position, named("Time"), named("Checkpoint")]});
    let text = "At the end of each `hour`, `day`, `week`, `month` or `year`, or after each run of a number of events. Each row then begins with its `cut`.";
    let operation = operation
        .query("at", "As of a checkpoint, a position, or a time up to which events were recorded.", at)
        .query("time", "As of the events that happened up to this time.", named("Time"))
        .query("every", text, every());
    series_parameters(operation).problems(&[kinds::LATE_EVENT])
}

/// Answers a query of the past.
pub(super) async fn run(shared: &Shared, query: Query, past: Past) -> Result<Response, Problem> {
    let views = Arc::clone(views(shared, &query.view)?);
    let definition = views.definition(&query.view);
    let definition = definition.ok_or_else(|| unknown(UnknownView { name: query.view.clone() }))?;
    let store = &*shared.store;
    let moment = match past {
        Past::At(text) => moment_at(store, &text, now()).await,
        Past::Time(text) => moment_by_time(store, &text, now()).await,
        Past::Every(cuts) => return series(shared, query, views, definition, *cuts).await,
    };
    let moment = moment.map_err(no_moment)?;
    let running = running(shared).await?;
    let kept = shared.evaluations.kept(&definition, &moment);
    // A view that is built already waits for no other one.
    let building = if kept.is_none() { Some(building(shared).await?) } else { None };
    let (store, evaluations) = (Arc::clone(&shared.store), Arc::clone(&shared.evaluations));
    let cancel = CancelOnDrop::default();
    let (limits, query_limits) = (evaluation_limits(shared, &cancel), query.limits(shared, &cancel));
    let name = query.view.clone();
    let rows = tokio::task::spawn_blocking(move || {
        let _running = running;
        let view = match kept {
            Some(kept) => kept,
            None => {
                let evaluation = Evaluation::new(&*store, &definition).within(&limits).beside(&views);
                evaluations.get(&evaluation, moment)?
            }
        };
        drop(building);
        Ok(view.query(&query.sql, &query.values, &query_limits)?)
    });
    let rows = rows.await.expect("an evaluation does not panic");
    let rows = rows.map_err(|error| failed(&name, error))?;
    answer::json(shared, rows_json(rows).to_string().into_bytes())
}

/// The rows of a query at each cut.
async fn series(
    shared: &Shared,
    query: Query,
    views: Arc<Views>,
    definition: Definition,
    cuts: Cuts,
) -> Result<Response, Problem> {
    let permits = (running(shared).await?, building(shared).await?);
    let cancel = CancelOnDrop::default();
    let (limits, query_limits) = (evaluation_limits(shared, &cancel), query.limits(shared, &cancel));
    let (store, name) = (Arc::clone(&shared.store), query.view.clone());
    let runtime = tokio::runtime::Handle::current();
    let series = tokio::task::spawn_blocking(move || {
        let QueryLimits { rows, bytes, .. } = query_limits;
        let most = SeriesLimits { cuts: SERIES_CUTS_MAX, rows, bytes };
        let (sql, parameters) = (&query.sql, &query.values);
        let mut series = ViewSeries { cuts, sql, parameters, limits: query_limits, most };
        let until = runtime.block_on(series.end(&*store, now())).map_err(RunError::from);
        let until = until.map_err(EvaluateError::from)?;
        let evaluation = Evaluation::new(&*store, &definition).within(&limits).beside(&views);
        let answer = series.run(&evaluation, &until);
        drop(permits);
        answer
    });
    let series = series.await.expect("an evaluation does not panic");
    let series = series.map_err(|error| match error {
        SeriesError::Evaluate(error) => failed(&name, error),
        error @ SeriesError::TooMany { .. } => too_much(&name, &error.to_string()),
    })?;
    answer::json(shared, series.to_string().into_bytes())
}

/// Waits until a view may be built.
async fn building(shared: &Shared) -> Result<OwnedSemaphorePermit, Problem> {
    permit(shared, &shared.evaluating).await
}

fn evaluation_limits(shared: &Shared, cancel: &CancelOnDrop) -> EvaluationLimits {
    EvaluationLimits {
        events: shared.limits.evaluation_events_max,
        time: shared.limits.evaluation_time_max,
        cancel: cancel.0.clone(),
    }
}

fn no_moment(error: MomentError) -> Problem {
    match error {
        MomentError::Read(error) => error.into(),
        error => Problem::invalid(error.to_string()),
    }
}

fn too_much(view: &str, detail: &str) -> Problem {
    let detail = format!(
        "{detail}; the command line has no such limit: `gesta view {view} '<query>' --views <folder> --url <address>`"
    );
    Problem::of(kinds::QUERY_LIMIT, detail)
}

/// The problem that an evaluation ended with.
fn failed(view: &str, error: EvaluateError) -> Problem {
    let (detail, retry) = (error.to_string(), error.retry());
    match error {
        EvaluateError::Query(error) => refused(error),
        EvaluateError::TooManyEvents { .. } | EvaluateError::TooLong { .. } => too_much(view, &detail),
        EvaluateError::LateEvent { position, cut } => Problem::of(kinds::LATE_EVENT, detail)
            .with("position", position_json(position))
            .with("cut", format_time(cut)),
        EvaluateError::Run(RunError::Read(error)) => error.into(),
        EvaluateError::Run(RunError::NoPast { .. }) => Problem::of(kinds::VIEW_STOPPED, detail),
        EvaluateError::Run(error) if error.event().is_some() => Problem::of(kinds::VIEW_STOPPED, detail),
        _ => Problem::internal(detail).retry(retry),
    }
}
