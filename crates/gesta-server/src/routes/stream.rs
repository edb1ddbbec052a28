//! `GET /streams/{stream}`: the events of one stream, page by page.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use gesta_core::{Checkpoint, Direction, Limit, Page, Read, ReadError, Select, StreamName, Version};

use super::page;
use crate::accept::{Form, PAGES};
use crate::limits::PAGE_EVENTS_DEFAULT;
use crate::routes::StreamPath;
use crate::routes::events::{direction, page_limit};
use crate::state::Shared;
use crate::wire;
use gesta::http::{Params, Problem, etag, is_unchanged, next_address};

/// A read of a stream, from an address.
struct Request {
    stream: StreamName,
    from: Option<Version>,
    direction: Direction,
    limit: Option<NonZeroU32>,
    until: Option<Checkpoint>,
}

/// One page of a stream. The entity tag is the stream's version, for the next append or the next read. There is none if damage may
/// hide the last event.
pub(super) async fn read(
    State(shared): State<Arc<Shared>>,
    StreamPath(stream): StreamPath,
    uri: Uri,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    let (request, form) = (Request::of(stream, params)?, Form::preferred(&headers, PAGES));
    let (known, may_be_hidden) = match shared.store.stream(request.stream.clone()).await {
        Err(ReadError::DataLoss { .. }) => (None, true),
        known => (known?.map(|info| info.version), false),
    };
    if let Some(current) = known.map(|version| tag(form, version))
        && is_unchanged(&headers, &current)?
    {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, current)]).into_response());
    }
    let page = shared.store.read(request.to_read()).await?;
    let last = page.last_version.filter(|_| !may_be_hidden);
    if last.is_none() && !may_be_hidden && page.events.is_empty() {
        return Err(no_stream(&request.stream));
    }
    let next = request.next(&page).map(|from| next_address(&uri, "from", &from.to_string()));
    let mut members = b"\"stream\":".to_vec();
    wire::write_string(request.stream.as_str(), &mut members);
    let version = last.map_or_else(|| "null".to_owned(), |version| version.to_string());
    members.extend_from_slice(format!(",\"lastVersion\":{version},").as_bytes());
    let mut response = page::answer(&shared, form, &page, next.as_deref(), &members)?;
    if let Some(version) = last {
        response.headers_mut().insert(header::ETAG, tag(form, version));
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

    /// The version at which the next page starts; `None` on the last page.
    fn next(&self, page: &Page) -> Option<Version> {
        let last = page.events.last().filter(|_| !page.end)?.version();
        match self.direction {
            Direction::Forward => Some(last.next()),
            Direction::Backward => last.get().checked_sub(1).map(Version::new),
        }
    }
}

/// The entity tag of a stream in a form. Each form has its own, so that no cache gives one for the other.
fn tag(form: Form, version: Version) -> HeaderValue {
    match form {
        Form::CloudEvents => {
            HeaderValue::try_from(format!("\"{version}-cloudevents\"")).expect("visible ASCII")
        }
        Form::Json | Form::EventStream => etag(version),
    }
}

fn no_stream(stream: &StreamName) -> Problem {
    let detail = format!("stream `{stream}` has no event");
    Problem::new(StatusCode::NOT_FOUND, "no-stream", "There is no such stream", detail)
        .with("stream", stream.as_str())
}
