//! States in the past: `GET /states/{category}/{id}?every=…`, `/states/{category}?every=…`, `/states/{category}/{id}/diff`, and
//! `POST /states/{category}/{id}/what-if`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use gesta_core::{Timestamp, Version};
use gesta_wire::{format_time, parse_time};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Params, Problem, Shared, json, refuse_encoded};
use crate::app::AppError;
use crate::command::{InputError, read_input};
use crate::load::AsOf;
use crate::past::{By, Cut, Cuts, FieldChange, JsonEvent, WhatIf};

/// The most cuts in one answer, and the most states of a category.
const CUTS_MAX: usize = 10_000;

#[derive(Serialize)]
struct Series {
    stream: String,
    cuts: Vec<CutJson>,
}

/// A cut with its state, as JSON.
#[derive(Debug, Serialize)]
pub struct CutJson {
    /// The moment; absent if the cuts count events.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    version: Option<u64>,
    #[serde(rename = "final")]
    is_final: bool,
    state: Box<RawValue>,
}

impl From<(Cut, Box<RawValue>)> for CutJson {
    fn from((cut, state): (Cut, Box<RawValue>)) -> Self {
        let Cut { at, version, is_final } = cut;
        Self { at: at.map(format_time), version: version.map(Version::get), is_final, state }
    }
}

/// A cut of one entity of a category.
#[derive(Debug, Serialize)]
pub struct EntityCutJson {
    id: String,
    #[serde(flatten)]
    cut: CutJson,
}

impl From<(String, Cut, Box<RawValue>)> for EntityCutJson {
    fn from((id, cut, state): (String, Cut, Box<RawValue>)) -> Self {
        Self { id, cut: (cut, state).into() }
    }
}

#[derive(Serialize)]
struct CategorySeries {
    category: String,
    cuts: Vec<EntityCutJson>,
}

#[derive(Serialize)]
struct Diff {
    stream: String,
    changes: Vec<FieldChange>,
}

/// A series of states.
pub(super) async fn series(
    shared: &Shared,
    (category, id): (String, String),
    every: &str,
    mut params: Params,
) -> Result<Response, Problem> {
    let cuts = cuts(every, &mut params)?;
    params.finish()?;
    let cuts = shared.app.series(&shared.gesta, &category, &id, &cuts, CUTS_MAX).await?;
    if cuts.is_empty() {
        return Err(Problem::nothing_happened(&category, &id));
    }
    let cuts = cuts.into_iter().map(CutJson::from).collect();
    Ok(json(&Series { stream: format!("{category}-{id}"), cuts }))
}

/// The cuts of a step, with the parameters `zone`, `by`, `from` and `to`.
///
/// # Errors
/// A [`Problem`], 400, that names the parameter.
pub fn cuts(every: &str, params: &mut Params) -> Result<Cuts, Problem> {
    let zone = params.one("zone")?;
    let mut cuts =
        Cuts::parse(every, zone.as_deref()).map_err(|error| Problem::invalid(error.to_string()))?;
    match params.one("by")?.as_deref() {
        None | Some("recorded_at") => {}
        Some("time") => cuts = cuts.by(By::Time),
        Some(other) => {
            return Err(Problem::invalid(format!("by `{other}` is neither `recorded_at` nor `time`")));
        }
    }
    if params.read("closed")?.unwrap_or(false) {
        cuts = cuts.closed();
    }
    for (name, bound) in [("from", Cuts::from as fn(Cuts, Timestamp) -> Cuts), ("to", Cuts::to)] {
        if let Some(text) = params.one(name)? {
            let time = parse_time(&text);
            cuts =
                bound(cuts, time.map_err(|error| Problem::invalid(format!("parameter `{name}`: {error}")))?);
        }
    }
    cuts.check().map_err(Problem::invalid)?;
    Ok(cuts)
}

/// A series of the states of all entities of a category.
pub(super) async fn category(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<String>, PathRejection>,
    mut params: Params,
) -> Result<Response, Problem> {
    let Path(category) = path?;
    let every = params.one("every")?;
    let every = every.ok_or_else(|| {
        Problem::invalid("parameter `every` is missing: give the step of a series, such as `day`")
    })?;
    let (cuts, lanes) = (cuts(&every, &mut params)?, params.read("lanes")?);
    params.finish()?;
    let cuts = shared.app.series_of_category(&shared.gesta, &category, &cuts, lanes, CUTS_MAX).await?;
    Ok(json(&CategorySeries { category, cuts: cuts.into_iter().map(EntityCutJson::from).collect() }))
}

/// The state of an entity as it would be with other events.
pub(super) async fn what_if(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<(String, String)>, PathRejection>,
    params: Params,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Path((category, id)) = path?;
    params.finish()?;
    refuse_encoded(&headers)?;
    let what = what_if_from_json(&body?).map_err(AppError::from)?;
    let now = shared.gesta.environment().now();
    let is_past = what.until.as_ref().map_or(Ok(()), |until| check_past(until, now));
    is_past.map_err(|reason| Problem::invalid(format!("`until`: {reason}")))?;
    let view = shared.app.what_if(&shared.gesta, &category, &id, what).await?;
    match view.version {
        Some(_) => Ok(json(&view)),
        None => Err(Problem::nothing_happened(&category, &id)),
    }
}

/// The body of a what-if.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhatIfJson {
    #[serde(default)]
    without: Vec<u64>,
    #[serde(default)]
    replace: Vec<Replacement>,
    #[serde(default)]
    insert: Vec<Insertion>,
    until: Option<Value>,
}

#[derive(Deserialize)]
struct Replacement {
    version: u64,
    #[serde(flatten)]
    event: JsonEvent,
}

#[derive(Deserialize)]
struct Insertion {
    after: u64,
    #[serde(flatten)]
    event: JsonEvent,
}

/// Reads other events for an entity: `without`, `replace`, `insert` and `until`.
///
/// # Errors
/// [`InputError`] names the wrong field.
pub fn what_if_from_json(json: &[u8]) -> Result<WhatIf<JsonEvent>, InputError> {
    let WhatIfJson { without, replace, insert, until } = read_input(json)?;
    let until = until.map(|until| match until {
        Value::String(text) => point(&text),
        other => point(&other.to_string()),
    });
    let until = until.transpose();
    let until = until.map_err(|reason| InputError { field: Some("until".to_owned()), reason })?;
    if let Some(item) = replace.iter().find(|item| without.contains(&item.version)) {
        let reason = format!("version {} is in `without` too: give it once", item.version);
        return Err(InputError { field: Some("replace".to_owned()), reason });
    }
    Ok(WhatIf {
        without: without.into_iter().map(Version::new).collect(),
        replace: replace.into_iter().map(|item| (Version::new(item.version), item.event)).collect(),
        insert: insert.into_iter().map(|item| (Version::new(item.after), item.event)).collect(),
        until,
    })
}

/// What differs between two states.
pub(super) async fn diff(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<(String, String)>, PathRejection>,
    mut params: Params,
) -> Result<Response, Problem> {
    let Path((category, id)) = path?;
    let now = shared.gesta.environment().now();
    let mut point = |name: &'static str| {
        let text = params.one(name)?;
        text.map(|text| {
            let point = point(&text).and_then(|point| check_past(&point, now).map(|()| point));
            point.map_err(|reason| Problem::invalid(format!("parameter `{name}`: {reason}")))
        })
        .transpose()
    };
    let (from, to) = (point("from")?, point("to")?);
    params.finish()?;
    let from = from.ok_or_else(|| {
        Problem::invalid("give `from`, and perhaps `to`: a version, a time or a checkpoint")
    })?;
    let changes = shared.app.diff(&shared.gesta, &category, &id, from, to).await?;
    Ok(json(&Diff { stream: format!("{category}-{id}"), changes }))
}

/// Refuses a point by a time in the future, up to which events may still be recorded.
///
/// # Errors
/// It lies after `now`.
pub fn check_past(point: &AsOf, now: Timestamp) -> Result<(), String> {
    match point {
        AsOf::RecordedAt(time) if *time > now => {
            Err(format!("{} lies in the future: events may still be recorded up to then", format_time(*time)))
        }
        _ => Ok(()),
    }
}

/// A point in a history as it is written: a version, the time when it was recorded, or a checkpoint.
///
/// # Errors
/// It is none of them.
pub fn point(text: &str) -> Result<AsOf, String> {
    if let Ok(version) = text.parse() {
        return Ok(AsOf::Version(Version::new(version)));
    }
    if let Ok(time) = parse_time(text) {
        return Ok(AsOf::RecordedAt(time));
    }
    let checkpoint = text.parse().map(AsOf::Checkpoint);
    checkpoint.map_err(|_| format!("`{text}` is no version, no time in RFC 3339 and no checkpoint"))
}
