//! Requests: a method, a path below the address of the server, and a body. They are made on the caller's thread.

use std::fmt::Display;
use std::num::{NonZeroU32, NonZeroU64};

use bytes::Bytes;
use gesta_core::{Batch, Checkpoint, CommandKey, Limit, Listing, Read, Select, StreamName, When};
use gesta_wire::{batch_json, command_json, direction_text, format_time, log_read_json};
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

/// One request. A clone shares the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// The path and its parameters.
    pub(crate) path: String,
    /// JSON; empty for a request without a body.
    pub(crate) body: Bytes,
    /// Headers besides those of every request.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Request {
    /// A `GET`.
    pub(crate) fn get(path: String) -> Self {
        Self { method: Method::GET, path, body: Bytes::new(), headers: Vec::new() }
    }

    /// A `POST` of JSON.
    pub(crate) fn post(path: &str, body: Vec<u8>) -> Self {
        Self { method: Method::POST, path: path.to_owned(), body: body.into(), headers: Vec::new() }
    }

    /// The same request with another header.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Asks for the store and its limits.
    pub(crate) fn store() -> Self {
        Self::get("/store".to_owned())
    }

    /// Appends a batch.
    pub(crate) fn append(batch: &Batch) -> Self {
        Self::post("/batches", batch_json(batch))
    }

    /// Asks for the first answer to a command.
    pub(crate) fn repeat_of(command: &CommandKey, near: &StreamName) -> Self {
        let body = json!({"command": command_json(command), "near": near.as_str()});
        Self::post("/batches/repeat", body.to_string().into_bytes())
    }

    /// Reads a page of at most `events_max` events and about `bytes_max` bytes.
    pub(crate) fn read(mut read: Read, events_max: NonZeroU32, bytes_max: NonZeroU64) -> Self {
        read.limit.events = read.limit.events.min(events_max);
        read.limit.bytes = read.limit.bytes.min(bytes_max);
        match log_read_json(&read, events_max) {
            Some(body) => Self::post("/events/query", body.to_string().into_bytes()),
            None => Self::get(stream_path(&read)),
        }
    }

    /// Asks for the last version of a stream.
    pub(crate) fn stream(name: StreamName) -> Self {
        let last = Read::stream(name).backward().limit(Limit::events(NonZeroU32::MIN));
        Self::get(stream_path(&last))
    }

    /// Lists streams.
    pub(crate) fn streams(listing: &Listing, streams_max: NonZeroU32) -> Self {
        let mut path = Path::new("/streams").with("limit", listing.limit.min(streams_max));
        if let Some(category) = &listing.category {
            path = path.with("category", category.as_str());
        }
        if let Some(token) = &listing.after {
            path = path.with("after", &token.0);
        }
        Self::get(path.0)
    }

    /// Asks for a place. `None` if the server knows no such place.
    pub(crate) fn locate(at: When) -> Option<Self> {
        let at = match at {
            When::ClosedAt(time) => {
                let body = json!({"closed": format_time(time)}).to_string();
                return Some(Self::post("/checkpoint", body.into_bytes()));
            }
            When::Start => "start".to_owned(),
            When::Head => "head".to_owned(),
            When::RecordedUpTo(time) => format_time(time),
            _ => return None,
        };
        Some(Self::get(Path::new("/checkpoint").with("at", at).0))
    }

    /// Waits for at most `seconds` until an event lies past a place.
    pub(crate) fn wait(past: &Checkpoint, seconds: u32) -> Self {
        Self::get(Path::new("/checkpoint").with("past", past).with("wait", seconds).0)
    }
}

fn stream_path(read: &Read) -> String {
    let Select::Stream { name, from } = &read.select else { unreachable!("other reads have a body") };
    let mut path = Path::new(&format!("/streams/{}", encode(name)))
        .with("direction", direction_text(read.direction))
        .with("limit", read.limit.events)
        .with("limit_bytes", read.limit.bytes)
        .with("limit_examined", read.limit.examined);
    if let Some(from) = from {
        path = path.with("from", from);
    }
    if let Some(until) = &read.until {
        path = path.with("until", until);
    }
    path.0
}

/// A path with parameters.
pub(crate) struct Path(pub(crate) String);

impl Path {
    pub(crate) fn new(path: &str) -> Self {
        Self(path.to_owned())
    }

    pub(crate) fn with(mut self, name: &str, value: impl Display) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&encode(value));
        self
    }
}

pub(crate) fn encode(text: impl Display) -> String {
    utf8_percent_encode(&text.to_string(), NON_ALPHANUMERIC).to_string()
}
