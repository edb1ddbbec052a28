//! `GET /streams/{stream}`: the events of one stream, page by page.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use gesta_core::{Checkpoint, Direction, Page, Read, ReadError, Select, StreamName, Version};
use gesta_wire::schema::{list, named, one_of, text};
use gesta_wire::{cloudevents, kinds};

use super::page;
use super::page_limit::{self, PageLimit};
use crate::accept::{Form, PAGES};
use crate::routes::StreamPath;
use crate::routes::events::direction;
use crate::state::Shared;
use gesta::http::api::{Operation, entity_tag};
use gesta::http::{Params, Problem, etag, is_unchanged, next_address};

/// A read of a stream, from an address.
struct Request {
    stream: StreamName,
    from: Option<Version>,
    direction: Direction,
    limit: PageLimit,
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
    let mut page = shared.store.read(request.to_read()).await?;
    let last = page.last_version.filter(|_| !may_be_hidden);
    if last.is_none() && !may_be_hidden && page.events.is_empty() {
        return Err(no_stream(&request.stream, &page));
    }
    let next = request.next(&page).map(|from| next_address(&uri, "from", &from.to_string()));
    page.last_version = last;
    let mut response = page::answer(&shared, form, &page, Some(&request.stream), next.as_deref())?;
    if let Some(version) = last {
        response.headers_mut().insert(header::ETAG, tag(form, version));
    }
    Ok(response)
}

pub(super) fn operation() -> Operation {
    let operation = Operation::new("readStream", "read the events of a stream")
        .tag("events")
        .path("stream", "The stream.", named("StreamName"))
        .query("from", "The first version of the page, in both directions.", named("Version"))
        .query("direction", "The default is `forward`.", one_of(&["forward", "backward"]))
        .query(
            "until",
            "Forward the last place to read; backward the place above which to read.",
            named("Checkpoint"),
        );
    page_limit::described(operation)
        .json(200, "A page, as `Accept` prefers it.", named("StreamPage"))
        .content(200, "", cloudevents::BATCH_MEDIA_TYPE, list(named("CloudEvent")))
        .answer_header("ETag", "The version of the stream, and the form if it is not JSON.", entity_tag())
        .answer_header("Link", "The next page, with `rel=\"next\"`.", text())
        .conditional_read()
        .problems(kinds::OF_READS)
        .problems(&[kinds::INVALID_NAME, kinds::SYSTEM_STREAM, kinds::NO_STREAM])
}

impl Request {
    fn of(stream: StreamName, mut params: Params) -> Result<Self, Problem> {
        let request = Self {
            stream,
            from: params.read("from")?.map(Version::new),
            direction: direction(&mut params)?,
            limit: PageLimit::of_params(&mut params)?,
            until: params.read("until")?,
        };
        params.finish()?;
        Ok(request)
    }

    fn to_read(&self) -> Read {
        Read {
            select: Select::Stream { name: self.stream.clone(), from: self.from },
            direction: self.direction,
            until: self.until.clone(),
            limit: self.limit.to_limit(),
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

/// The places let a client give the empty page of the store.
fn no_stream(stream: &StreamName, page: &Page) -> Problem {
    let detail = format!("stream `{stream}` has no event");
    Problem::of(kinds::NO_STREAM, detail)
        .with("stream", stream.as_str())
        .with("scannedTo", page.scanned_to.to_string())
        .with("head", page.head.to_string())
}
