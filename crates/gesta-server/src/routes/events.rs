//! `GET /events` and `POST /events/query`: reads the log, filtered, as pages or as a subscription.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use axum::response::Response;
use gesta_core::{Checkpoint, Direction, EventType, Item, Limit, Place, Query, Read, Select};
use serde::Deserialize;

use super::{feed, page};
use crate::accept::{Form, PAGES_AND_FEED};
use crate::body::{RequestBody, read_json, want_json};
use crate::limits::{PAGE_EVENTS_DEFAULT, PAGE_EVENTS_MAX};
use crate::state::Shared;
use crate::wire::{QueryJson, check_user_stream};
use gesta::http::{Params, Problem, next_address};

/// A read of the log, from an address or a body.
struct Request {
    query: Query,
    from: Option<Place>,
    until: Option<Checkpoint>,
    direction: Direction,
    limit: Option<NonZeroU32>,
    /// The rest is for subscriptions only: the place after the last event that the client has seen.
    last_event_id: Option<Checkpoint>,
    /// The name under which all events are sent; otherwise each is sent under its type.
    event_name: Option<EventType>,
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
    #[serde(borrow, default, rename = "eventName")]
    event_name: Option<Cow<'a, str>>,
}

/// Reads by parameters: one item, all of whose fields must match.
pub(super) async fn read(
    State(shared): State<Arc<Shared>>,
    parts: Parts,
    params: Params,
) -> Result<Response, Problem> {
    let (request, form) = (Request::of_params(params)?, Form::preferred(&parts.headers, PAGES_AND_FEED));
    if form == Form::EventStream {
        return follow(&shared, &parts, request).await;
    }
    let page = shared.store.read(request.to_read()?).await?;
    let next = (!page.end).then(|| next_address(&parts.uri, "from", &page.scanned_to.to_string()));
    page::answer(&shared, form, &page, next.as_deref(), b"")
}

/// Reads by a body: a query of several items.
pub(super) async fn query(
    State(shared): State<Arc<Shared>>,
    parts: Parts,
    params: Params,
    body: RequestBody,
) -> Result<Response, Problem> {
    params.finish()?;
    want_json(&parts.headers)?;
    let request = Request::of_json(&read_json(&body.bytes, "an object with `query`")?)?;
    drop(body);
    let form = Form::preferred(&parts.headers, PAGES_AND_FEED);
    if form == Form::EventStream {
        return follow(&shared, &parts, request).await;
    }
    let page = shared.store.read(request.to_read()?).await?;
    page::answer(&shared, form, &page, None, b"")
}

async fn follow(shared: &Arc<Shared>, parts: &Parts, request: Request) -> Result<Response, Problem> {
    if request.direction == Direction::Backward || request.until.is_some() || request.limit.is_some() {
        return Err(Problem::invalid(
            "a subscription goes forward and does not end: leave out `direction`, `until` and `limit`",
        ));
    }
    let from = feed::last_event_id(&parts.headers)?.or(request.last_event_id).map(Place::At);
    let from = from.or(request.from).unwrap_or(Place::Start);
    feed::open(shared, parts, request.query, from, request.event_name).await
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
            last_event_id: params.read("lastEventId")?,
            event_name: params.read("event_name")?,
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
            last_event_id: None,
            event_name: json.event_name.as_deref().map(EventType::new).transpose()?,
        };
        request.checked()
    }

    /// Refuses a query that names a stream of the system.
    fn checked(self) -> Result<Self, Problem> {
        if let Query::Any(items) = &self.query {
            items.iter().filter_map(|item| item.stream.as_ref()).try_for_each(check_user_stream)?;
        }
        Ok(self)
    }

    /// The read of a page.
    fn to_read(&self) -> Result<Read, Problem> {
        if self.last_event_id.is_some() || self.event_name.is_some() {
            return Err(Problem::invalid(
                "`lastEventId` and `event_name` are for subscriptions: send `Accept: text/event-stream`",
            ));
        }
        let start = match self.direction {
            Direction::Forward => Place::Start,
            Direction::Backward => Place::End,
        };
        let default = NonZeroU32::new(PAGE_EVENTS_DEFAULT).expect("it is not zero");
        Ok(Read {
            select: Select::Log {
                query: self.query.clone(),
                from: self.from.clone().unwrap_or(start),
                lanes: None,
            },
            direction: self.direction,
            until: self.until.clone(),
            limit: Limit::events(self.limit.unwrap_or(default)),
        })
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
