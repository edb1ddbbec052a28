//! `GET /events` and `POST /events/query`: reads the log, filtered, as pages or as a subscription.

use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use axum::response::Response;
use gesta_core::{Checkpoint, Direction, EventType, Item, Lanes, Place, Query, Read, Select};
use gesta_wire::schema::{about, list, named, one_of, text};
use gesta_wire::{LogReadJson, check_user_stream, cloudevents, direction_from_text, kinds, place_from_text};

use super::page_limit::{self, PageLimit};
use super::{feed, page};
use crate::accept::{Form, PAGES_AND_FEED};
use crate::body::{RequestBody, read_json, want_json};
use crate::state::Shared;
use gesta::http::api::Operation;
use gesta::http::{Params, Problem, next_address};

/// A read of the log, from an address or a body.
struct Request {
    query: Query,
    from: Option<Place>,
    until: Option<Checkpoint>,
    direction: Direction,
    lanes: Option<Lanes>,
    limit: PageLimit,
    /// The rest is for subscriptions only: the place after the last event that the client has seen.
    last_event_id: Option<Checkpoint>,
    /// The name under which all events are sent; otherwise each is sent under its type.
    event_name: Option<EventType>,
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
    page::answer(&shared, form, &page, None, next.as_deref())
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
    page::answer(&shared, form, &page, None, None)
}

/// What both routes answer with.
fn described(operation: Operation) -> Operation {
    let stream = "Server-sent events, if `Accept` prefers them: `id` is the checkpoint after the event, `event` its type, `data` the event as JSON.";
    operation
        .tag("log")
        .header(
            "Last-Event-ID",
            "For a subscription: the place after the last event that the client has seen.",
            named("Checkpoint"),
        )
        .json(200, "A page, as `Accept` prefers it; or a subscription.", named("Page"))
        .content(200, "", cloudevents::BATCH_MEDIA_TYPE, list(named("CloudEvent")))
        .content(200, "", "text/event-stream", about(text(), stream))
        .answer_header("Link", "The next page, with `rel=\"next\"`.", text())
        .problems(kinds::OF_READS)
        .problems(&[kinds::INVALID_NAME, kinds::SYSTEM_STREAM])
}

pub(super) fn read_operation() -> Operation {
    let operation = Operation::new("readLog", "read the log, or follow it as server-sent events")
        .text("An event must match all parameters. A page never cuts a batch.")
        .query("stream", "Events of this stream.", named("StreamName"))
        .query("category", "Events of the streams of this category.", named("Category"))
        .query("type", "Events of one of these types.", named("EventType"))
        .repeatable()
        .query("id", "Events with one of these ids.", named("EventId"))
        .repeatable()
        .query("tag", "Events with all of these tags.", named("Tag"))
        .repeatable()
        .query("from", "The default is the start of the log; backward its end.", named("Place"))
        .query(
            "until",
            "Forward the last place to read; backward the place above which to read.",
            named("Checkpoint"),
        )
        .query("direction", "The default is `forward`.", one_of(&["forward", "backward"]))
        .query("lanes", "Events of streams in these lanes, such as `0-255,512`.", text())
        .query(
            "lastEventId",
            "As the header `Last-Event-ID`, for clients that cannot send it.",
            named("Checkpoint"),
        )
        .query(
            "event_name",
            "For a subscription: the name under which all events are sent.",
            named("EventType"),
        );
    described(page_limit::described(operation))
}

pub(super) fn query_operation() -> Operation {
    let operation = Operation::new("queryLog", "the same, with a query of several items");
    described(operation.body("application/json", named("LogRead")))
}

async fn follow(shared: &Arc<Shared>, parts: &Parts, request: Request) -> Result<Response, Problem> {
    if request.direction == Direction::Backward || request.until.is_some() || !request.limit.is_empty() {
        return Err(Problem::invalid(
            "a subscription goes forward and does not end: leave out `direction`, `until` and the limits",
        ));
    }
    let from = feed::last_event_id(&parts.headers)?.or(request.last_event_id).map(Place::At);
    let from = from.or(request.from).unwrap_or(Place::Start);
    feed::open(shared, parts, request.query, request.lanes, from, request.event_name).await
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
            from: params.one("from")?.map(|text| place_from_text(&text)).transpose()?,
            until: params.read("until")?,
            direction: direction(&mut params)?,
            lanes: params.read("lanes")?,
            limit: PageLimit::of_params(&mut params)?,
            last_event_id: params.read("lastEventId")?,
            event_name: params.read("event_name")?,
        };
        params.finish()?;
        request.checked()
    }

    fn of_json(json: &LogReadJson<'_>) -> Result<Self, Problem> {
        let request = Self {
            query: json.query()?,
            from: json.from()?,
            until: json.until()?,
            direction: json.direction()?,
            lanes: json.lanes()?,
            limit: PageLimit::new(json.limit, json.limit_bytes, json.limit_examined)?,
            last_event_id: None,
            event_name: json.event_name()?,
        };
        request.checked()
    }

    /// Refuses a query that names a stream of the system.
    fn checked(self) -> Result<Self, Problem> {
        if let Query::Any(items) = &self.query {
            items.iter().filter_map(|item| item.stream.as_ref()).try_for_each(check_user_stream)?;
        }
        if self.event_name.as_ref().is_some_and(|name| name.as_str().starts_with('$')) {
            return Err(Problem::invalid(
                "the name of all events begins with `$`, as the problem does that ends a subscription: give another name",
            ));
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
        Ok(Read {
            select: Select::Log {
                query: self.query.clone(),
                from: self.from.clone().unwrap_or(start),
                lanes: self.lanes.clone(),
            },
            direction: self.direction,
            until: self.until.clone(),
            limit: self.limit.to_limit(),
        })
    }
}

/// The parameter `direction`.
pub(super) fn direction(params: &mut Params) -> Result<Direction, Problem> {
    Ok(params.one("direction")?.map_or(Ok(Direction::Forward), |text| direction_from_text(&text))?)
}
