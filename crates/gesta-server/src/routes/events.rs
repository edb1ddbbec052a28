//! `GET /events` and `POST /events/query`: the log, filtered, page by page or followed.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use gesta_core::{Checkpoint, Direction, Item, Limit, Place, Query, Read, Select};
use serde::Deserialize;

use super::{feed, page};
use crate::body::{RequestBody, read_json, want_json};
use crate::limits::{PAGE_EVENTS_DEFAULT, PAGE_EVENTS_MAX};
use crate::routes::{accepts, allowed};
use crate::state::Shared;
use crate::wire::QueryJson;
use gesta::http::{Params, Problem};

/// A read of the log, as a request says it.
struct Request {
    query: Query,
    from: Option<Place>,
    until: Option<Checkpoint>,
    direction: Direction,
    limit: Option<NonZeroU32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestJson<'a> {
    #[serde(borrow)]
    query: QueryJson<'a>,
    #[serde(borrow, default)]
    from: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    until: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    direction: Option<Cow<'a, str>>,
    #[serde(default)]
    limit: Option<u32>,
}

/// Reads by parameters: one item, whose parameters must all match.
pub(super) async fn read(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
    params: Params,
) -> Result<Response, Problem> {
    let request = Request::of_params(params)?;
    if accepts(&headers, "text/event-stream") {
        return follow(&shared, &headers, request).await;
    }
    let page = shared.store.read(request.to_read()).await?;
    let next = (!page.end).then(|| next_address(&uri, &page.scanned_to));
    page::answer(&shared, &headers, &page, next.as_deref(), b"")
}

/// Reads by a body: a query of several items.
pub(super) async fn query(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    params: Params,
    body: RequestBody,
) -> Result<Response, Problem> {
    params.finish()?;
    want_json(&headers)?;
    let request = Request::of_json(&read_json(&body.bytes, "an object with `query`")?)?;
    drop(body);
    if accepts(&headers, "text/event-stream") {
        return follow(&shared, &headers, request).await;
    }
    let page = shared.store.read(request.to_read()).await?;
    page::answer(&shared, &headers, &page, None, b"")
}

async fn follow(shared: &Arc<Shared>, headers: &HeaderMap, request: Request) -> Result<Response, Problem> {
    if request.direction == Direction::Backward || request.until.is_some() || request.limit.is_some() {
        return Err(Problem::invalid(
            "a subscription goes forward and does not end: leave out `direction`, `until` and `limit`",
        ));
    }
    feed::open(shared, headers, request.query, request.from.unwrap_or(Place::Start)).await
}

impl Request {
    fn of_params(mut params: Params) -> Result<Self, Problem> {
        let item = Item {
            stream: params.read("stream")?,
            category: params.read("category")?,
            types: params.read_all("type")?,
            ids: params.read_all("id")?,
            tags: params.read_all("tag")?,
        };
        let request = Self {
            query: if item.is_empty() { Query::All } else { item.into() },
            from: params.one("from")?.map(|text| place(&text)).transpose()?,
            until: params.read("until")?,
            direction: direction(&mut params)?,
            limit: page_limit(&mut params)?,
        };
        params.finish()?;
        request.checked()
    }

    fn of_json(json: &RequestJson<'_>) -> Result<Self, Problem> {
        let until = json.until.as_deref().map(|token| parse_checkpoint("until", token)).transpose()?;
        let request = Self {
            query: json.query.to_query()?,
            from: json.from.as_deref().map(place).transpose()?,
            until,
            direction: json.direction.as_deref().map_or(Ok(Direction::Forward), parse_direction)?,
            limit: json.limit.map(in_bounds).transpose()?,
        };
        request.checked()
    }

    /// Refuses queries that name streams of the system.
    fn checked(self) -> Result<Self, Problem> {
        if let Query::Any(items) = &self.query {
            items.iter().filter_map(|item| item.stream.as_ref()).try_for_each(allowed)?;
        }
        Ok(self)
    }

    fn to_read(&self) -> Read {
        let start = match self.direction {
            Direction::Forward => Place::Start,
            Direction::Backward => Place::End,
        };
        let default = NonZeroU32::new(PAGE_EVENTS_DEFAULT).expect("it is not zero");
        Read {
            select: Select::Log {
                query: self.query.clone(),
                from: self.from.clone().unwrap_or(start),
                lanes: None,
            },
            direction: self.direction,
            until: self.until.clone(),
            limit: Limit::events(self.limit.unwrap_or(default)),
        }
    }
}

fn place(text: &str) -> Result<Place, Problem> {
    match text {
        "start" => Ok(Place::Start),
        "end" => Ok(Place::End),
        token => parse_checkpoint("from", token).map(Place::At),
    }
}

fn parse_checkpoint(name: &str, token: &str) -> Result<Checkpoint, Problem> {
    token.parse().map_err(|error| Problem::invalid(format!("`{name}`: {error}")))
}

/// The parameter `direction`.
pub(super) fn direction(params: &mut Params) -> Result<Direction, Problem> {
    params.one("direction")?.map_or(Ok(Direction::Forward), |text| parse_direction(&text))
}

fn parse_direction(text: &str) -> Result<Direction, Problem> {
    match text {
        "forward" => Ok(Direction::Forward),
        "backward" => Ok(Direction::Backward),
        other => Err(Problem::invalid(format!("direction `{other}` is neither `forward` nor `backward`"))),
    }
}

/// The parameter `limit`.
pub(super) fn page_limit(params: &mut Params) -> Result<Option<NonZeroU32>, Problem> {
    params.read("limit")?.map(in_bounds).transpose()
}

fn in_bounds(limit: u32) -> Result<NonZeroU32, Problem> {
    NonZeroU32::new(limit)
        .filter(|limit| limit.get() <= PAGE_EVENTS_MAX)
        .ok_or_else(|| Problem::invalid(format!("limit {limit} is not between 1 and {PAGE_EVENTS_MAX}")))
}

/// The same address, from where the page ended.
fn next_address(uri: &Uri, scanned_to: &Checkpoint) -> String {
    let others = uri.query().unwrap_or("").split('&');
    let others = others.filter(|pair| !pair.is_empty() && pair.split('=').next() != Some("from"));
    let params =
        others.map(str::to_owned).chain([format!("from={scanned_to}")]).collect::<Vec<_>>().join("&");
    format!("{}?{params}", uri.path())
}
