//! `GET /streams/{stream}`: the events of one stream, page by page.

use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gesta_core::{Checkpoint, Direction, Limit, Page, Read, ReadError, Select, StreamName, Version};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::page;
use crate::limits::PAGE_EVENTS_DEFAULT;
use crate::precondition::{etag, from_etag};
use crate::routes::StreamPath;
use crate::routes::events::{direction, page_limit};
use crate::state::Shared;
use crate::wire;
use gesta::http::{Params, Problem};

/// A read of a stream, as the address says it.
struct Request {
    stream: StreamName,
    from: Option<Version>,
    direction: Direction,
    limit: Option<NonZeroU32>,
    until: Option<Checkpoint>,
}

/// One page of a stream. The entity tag is the stream's version, for the next append or to ask whether there is news; where
/// damage may hide its last event, there is none.
pub(super) async fn read(
    State(shared): State<Arc<Shared>>,
    StreamPath(stream): StreamPath,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    let request = Request::of(stream, params)?;
    let (known, may_be_hidden) = match shared.store.stream(request.stream.clone()).await {
        Err(ReadError::DataLoss { .. }) => (None, true),
        known => (known?.map(|info| info.version), false),
    };
    if let Some(version) = known.filter(|version| known_version(&headers) == Some(*version)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag(version))]).into_response());
    }
    let page = shared.store.read(request.to_read()).await?;
    let last = page.last_version.filter(|_| !may_be_hidden);
    if last.is_none() && !may_be_hidden && page.events.is_empty() {
        return Err(no_stream(&request.stream));
    }
    let next = request.next(&page);
    let mut members = b"\"stream\":".to_vec();
    wire::write_string(request.stream.as_str(), &mut members);
    let version = last.map_or_else(|| "null".to_owned(), |version| version.to_string());
    members.extend_from_slice(format!(",\"lastVersion\":{version},").as_bytes());
    let mut response = page::answer(&shared, &headers, &page, next.as_deref(), &members)?;
    if let Some(version) = last {
        response.headers_mut().insert(header::ETAG, etag(version));
    }
    Ok(response)
}

impl Request {
    fn of(stream: StreamName, mut params: Params) -> Result<Self, Problem> {
        let request = Self {
            stream,
            from: params.read("from")?.map(Version::new),
            direction: direction(&mut params)?,
            limit: page_limit(&mut params)?,
            until: params.read("until")?,
        };
        params.finish()?;
        Ok(request)
    }

    fn to_read(&self) -> Read {
        let default = NonZeroU32::new(PAGE_EVENTS_DEFAULT).expect("it is not zero");
        Read {
            select: Select::Stream { name: self.stream.clone(), from: self.from },
            direction: self.direction,
            until: self.until.clone(),
            limit: Limit::events(self.limit.unwrap_or(default)),
        }
    }

    /// Where the next page is; nothing at the end.
    fn next(&self, page: &Page) -> Option<String> {
        if page.end {
            return None;
        }
        let last = page.events.last()?.version();
        let (from, direction) = match self.direction {
            Direction::Forward => (last.next(), "forward"),
            Direction::Backward => (Version::new(last.get().checked_sub(1)?), "backward"),
        };
        let name = utf8_percent_encode(self.stream.as_str(), RESERVED);
        let mut next = format!("/streams/{name}?from={from}&direction={direction}");
        for (name, value) in [
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("until", self.until.as_ref().map(ToString::to_string)),
        ] {
            if let Some(value) = value {
                write!(next, "&{name}={value}").expect("a text can be written to");
            }
        }
        Some(next)
    }
}

/// What is written as an escape in an address: all but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The version that the client holds already.
fn known_version(headers: &HeaderMap) -> Option<Version> {
    from_etag(headers.get(header::IF_NONE_MATCH)?.to_str().ok()?)
}

fn no_stream(stream: &StreamName) -> Problem {
    let detail = format!("stream `{stream}` has no event");
    Problem::new(StatusCode::NOT_FOUND, "no-stream", "There is no such stream", detail)
        .with("stream", stream.as_str())
}
