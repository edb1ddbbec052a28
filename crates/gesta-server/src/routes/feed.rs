//! Subscriptions over HTTP: server-sent events, resumed by `Last-Event-ID` without a gap and without a repeat.
//!
//! The id of every event is the checkpoint right after it, also within a batch. If the log goes on and nothing matches, an id
//! without data moves the client on. A slow client holds one small page in memory: the next page is read when it has taken this one.

use std::num::{NonZeroU32, NonZeroU64};
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use gesta_core::{
    Checkpoint, EventType, Lanes, Limit, Page, Place, Query, Read, ReadError, Retry, Select, Subscription,
};
use gesta_wire::{kinds, write_event};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Duration, sleep};

use crate::limits::{FEED_BYTES_MAX, FEED_EVENTS_MAX};
use crate::stall::Connection;
use crate::state::{Shared, stopped};
use gesta::http::{Problem, header_text};

/// One subscription of one client. Ends with its connection, or when the server stops.
struct Feed {
    /// Goes on over heartbeats: a slow read is not begun again.
    next: NextPage,
    /// The place after the last page.
    at: Checkpoint,
    /// The name under which all events are sent; otherwise each is sent under its type.
    event_name: Option<EventType>,
    heartbeat: Duration,
    stopping: watch::Receiver<bool>,
    state: FeedState,
    _permit: OwnedSemaphorePermit,
}

/// The next page of a subscription, and the subscription.
type NextPage = Pin<Box<dyn Future<Output = (Subscription, Result<Page, ReadError>)> + Send>>;

#[derive(PartialEq, Eq)]
enum FeedState {
    /// Nothing is sent yet. The first line tells the client how soon to reconnect.
    Opened,
    Following,
    /// An error is sent, and nothing after it.
    Ended,
}

/// Opens a subscription.
pub(super) async fn open(
    shared: &Arc<Shared>,
    parts: &Parts,
    query: Query,
    lanes: Option<Lanes>,
    from: Place,
    event_name: Option<EventType>,
) -> Result<Response, Problem> {
    let permit = subscription_permit(shared)?;
    let limit = Limit {
        events: FEED_EVENTS_MAX.try_into().expect("it is not zero"),
        bytes: FEED_BYTES_MAX.try_into().expect("it is not zero"),
        ..Limit::default()
    };
    // The first read may be refused. That has to happen here, before the status is sent.
    let select = Select::Log { query: query.clone(), from: from.clone(), lanes: lanes.clone() };
    check_place(shared, select).await?;
    let subscription = Subscription::new(Arc::clone(&shared.store), query, from).await?.limit(limit);
    let subscription = lanes.into_iter().fold(subscription, Subscription::lanes);
    if let Some(connection) = parts.extensions.get::<Connection>() {
        connection.follows();
    }
    let feed = Feed {
        at: subscription.checkpoint().clone(),
        next: next_page(subscription),
        event_name,
        heartbeat: shared.limits.heartbeat,
        stopping: shared.stopping.subscribe(),
        state: FeedState::Opened,
        _permit: permit,
    };
    let chunks = stream::unfold(feed, |mut feed| async move {
        let chunk = feed.next().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), feed))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

/// Refuses a place of another store, beyond the head, or of another history.
pub(super) async fn check_place(shared: &Shared, select: Select) -> Result<(), ReadError> {
    let one = Limit { examined: NonZeroU64::MIN, ..Limit::events(NonZeroU32::MIN) };
    shared.store.read(Read::from(select).limit(one)).await.map(drop)
}

/// Reads the next page of a subscription.
fn next_page(mut subscription: Subscription) -> NextPage {
    Box::pin(async move {
        let page = subscription.next().await;
        (subscription, page)
    })
}

/// The place after the last event that the client has seen.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<Checkpoint>, Problem> {
    let Some(token) = header_text(headers, "Last-Event-ID")? else { return Ok(None) };
    let checkpoint = token.parse();
    checkpoint.map(Some).map_err(|error| Problem::invalid(format!("header `Last-Event-ID`: {error}")))
}

/// Room for one subscription, until it is dropped.
pub(super) fn subscription_permit(shared: &Shared) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(&shared.subscriptions).try_acquire_owned().map_err(|_| too_many())
}

fn too_many() -> Problem {
    let detail = "the server has no room for another subscription: try again after a pause";
    Problem::of(kinds::OVERLOADED, detail).retry(Retry::AfterPause)
}

impl Feed {
    async fn next(&mut self) -> Option<Bytes> {
        match self.state {
            FeedState::Ended => return None,
            FeedState::Opened => {
                self.state = FeedState::Following;
                return Some(Bytes::from_static(b"retry: 1000\n\n"));
            }
            FeedState::Following => {}
        }
        let (subscription, page) = tokio::select! {
            next = &mut self.next => next,
            () = sleep(self.heartbeat) => return Some(Bytes::from_static(b": nothing new\n\n")),
            () = stopped(&mut self.stopping) => return None,
        };
        Some(match page {
            Ok(page) => {
                self.next = next_page(subscription);
                let before = std::mem::replace(&mut self.at, page.scanned_to.clone());
                render(&page, before, self.event_name.as_ref())
            }
            Err(error) => self.end_with(error),
        })
    }

    fn end_with(&mut self, error: ReadError) -> Bytes {
        self.state = FeedState::Ended;
        tracing::warn!(error = %error, "a subscription ends");
        let mut out = b"event: $error\n".to_vec();
        data(Problem::from(error).to_json().to_string().as_bytes(), &mut out);
        out.into()
    }
}

/// A page as server-sent events. `at` is the place where the page begins.
fn render(page: &Page, mut at: Checkpoint, event_name: Option<&EventType>) -> Bytes {
    let mut out = Vec::new();
    let mut json = Vec::new();
    for event in &page.events {
        at = at.past(event);
        let name = event_name.map_or(event.event_type(), EventType::as_str);
        out.extend_from_slice(format!("id: {at}\nevent: {name}\n").as_bytes());
        json.clear();
        write_event(event, &mut json);
        data(&json, &mut out);
    }
    if at != page.scanned_to {
        out.extend_from_slice(format!("id: {}\n\n", page.scanned_to).as_bytes());
    }
    out.into()
}

/// Writes the data of an event and ends the event. A line break, which JSON has only in its white space, begins a new `data` line.
fn data(json: &[u8], out: &mut Vec<u8>) {
    for line in json.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
}
