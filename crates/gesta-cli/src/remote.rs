//! A server as a store: the part of `EventStore` that the commands need, over HTTP.
//!
//! Its futures block the thread that polls them. That suits a command line, which does one thing at a time, and nothing else.

mod answers;

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use gesta_core::{
    AppendError, Appended, Batch, BoxFuture, Capabilities, Checkpoint, CommandKey, Direction, EventStore,
    Limits, Listing, Page, Place, Read, ReadError, Select, StreamInfo, StreamName, StreamPage, Version, When,
};
use gesta_server::format_time;
use gesta_server::wire::{QueryJson, expected_json, write_new_event};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use ureq::http::Method;

use crate::failure::{Failure, Outcome};
use answers::{Fault, read_appended, read_checkpoint, read_page, read_streams};

/// A server as a store.
pub(crate) struct Remote {
    agent: ureq::Agent,
    base: String,
    capabilities: Capabilities,
}

/// The most events in one page of the server.
const PAGE_EVENTS_MAX: u32 = 10_000;

impl Remote {
    /// Connects to a server.
    pub(crate) fn connect(url: &str) -> Outcome<Self> {
        let base = url.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") {
            return Err(Failure::usage(format!("`{url}` is not the address of a server"))
                .help("write it like `http://127.0.0.1:2114`; the command line has no TLS"));
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(10)))
            .build();
        let agent = ureq::Agent::new_with_config(config);
        let capabilities = Capabilities::new(1, gesta_core::AtomicScope::Store, Limits::default());
        let mut remote = Self { agent, base, capabilities };
        let head = remote.locate_now(When::Head).map_err(|fault| fault.failure(url))?;
        remote.capabilities.partitions = u16::try_from(head.sequences().len()).map_err(|_| {
            Failure::new(format!("the checkpoint of the server at `{url}` has too many partitions"))
        })?;
        Ok(remote)
    }

    /// The JSON answer to a `GET`.
    pub(crate) fn get(&self, path: &str) -> Result<Bytes, Fault> {
        self.call(Method::GET, path, None)
    }

    /// The JSON answer to a `POST`.
    pub(crate) fn post(&self, path: &str, body: Vec<u8>) -> Result<Bytes, Fault> {
        self.call(Method::POST, path, Some(body))
    }

    fn call(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Bytes, Fault> {
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        let response = match body {
            None => self.agent.run(request.body(()).map_err(Fault::request)?),
            Some(body) => {
                let request = request.header("content-type", "application/json");
                self.agent.run(request.body(body).map_err(Fault::request)?)
            }
        };
        let mut response = response.map_err(Fault::transport)?;
        let bytes =
            response.body_mut().with_config().limit(u64::MAX).read_to_vec().map_err(Fault::transport)?;
        if response.status().is_success() {
            return Ok(bytes.into());
        }
        Err(Fault::answer(response.status().as_u16(), &bytes))
    }

    fn append_now(&self, batch: &Batch) -> Result<Appended, AppendError> {
        if batch.command.is_some() {
            return Err(AppendError::Unsupported { capability: "command keys over HTTP".into() });
        }
        let answer = self.post("/batches", batch_json(batch)).map_err(Fault::append)?;
        read_appended(&answer).map_err(Fault::append)
    }

    fn read_now(&self, read: &Read) -> Result<Page, Fault> {
        let limit = read.limit.events.get().min(PAGE_EVENTS_MAX);
        let until = read.until.as_ref().map(ToString::to_string);
        let direction = direction_name(read.direction);
        match &read.select {
            Select::Stream { name, from } => {
                let from = from.map_or(String::new(), |from| format!("&from={from}"));
                let until = until.map_or(String::new(), |until| format!("&until={until}"));
                let path = format!("{}?direction={direction}&limit={limit}{from}{until}", stream_path(name));
                match self.get(&path) {
                    Err(fault) if fault.is_kind("no-stream") => self.empty_page(),
                    answer => read_page(&answer?),
                }
            }
            Select::Log { lanes: Some(_), .. } => Err(Fault::unsupported("lanes over HTTP")),
            Select::Log { query, from, lanes: None } => {
                let mut body = json!({
                    "query": QueryJson::of(query),
                    "from": place_name(from),
                    "direction": direction,
                    "limit": limit,
                });
                if let Some(until) = until {
                    body["until"] = until.into();
                }
                read_page(&self.post("/events/query", body.to_string().into_bytes())?)
            }
        }
    }

    /// The page of a stream without events.
    fn empty_page(&self) -> Result<Page, Fault> {
        let head = self.locate_now(When::Head)?;
        Ok(Page { events: Vec::new(), scanned_to: head.clone(), head, last_version: None, end: true })
    }

    fn stream_now(&self, name: StreamName) -> Result<Option<StreamInfo>, Fault> {
        match self.get(&format!("{}?direction=backward&limit=1", stream_path(&name))) {
            Err(fault) if fault.is_kind("no-stream") => Ok(None),
            answer => {
                let version = read_page(&answer?)?.last_version;
                Ok(version.map(|version| StreamInfo::new(name, version)))
            }
        }
    }

    fn streams_now(&self, listing: &Listing) -> Result<StreamPage, Fault> {
        let mut path = format!(
            "/streams?limit={}",
            listing.limit.min(NonZeroU32::new(PAGE_EVENTS_MAX).expect("not zero"))
        );
        if let Some(category) = &listing.category {
            path.push_str(&format!("&category={}", encode(category.as_str())));
        }
        if let Some(token) = &listing.after {
            path.push_str(&format!("&after={}", encode(&token.0)));
        }
        read_streams(&self.get(&path)?)
    }

    fn locate_now(&self, at: When) -> Result<Checkpoint, Fault> {
        let at = match at {
            When::Start => "start".to_owned(),
            When::Head => "head".to_owned(),
            When::RecordedUpTo(time) => encode(&format_time(time)),
            other => return Err(Fault::unsupported(&format!("the place {other:?} over HTTP"))),
        };
        read_checkpoint(&self.get(&format!("/checkpoint?at={at}"))?)
    }
}

/// Percent-encodes a text as part of a URL.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn stream_path(name: &StreamName) -> String {
    format!("/streams/{}", encode(name.as_str()))
}

const fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Forward => "forward",
        Direction::Backward => "backward",
    }
}

fn place_name(place: &Place) -> String {
    match place {
        Place::Start => "start".to_owned(),
        Place::End => "end".to_owned(),
        Place::At(checkpoint) => checkpoint.to_string(),
    }
}

fn batch_json(batch: &Batch) -> Vec<u8> {
    let mut out = b"{\"events\":[".to_vec();
    for (at, event) in batch.events.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_new_event(&event.to_bytes(), &mut out);
    }
    let expect = batch
        .expect
        .iter()
        .map(|(stream, expected)| json!({"stream": stream.as_str(), "version": expected_json(*expected)}));
    let conditions = batch.conditions.iter().map(|condition| {
        let after = condition.after.as_ref().map(ToString::to_string);
        json!({"failIfAny": QueryJson::of(&condition.fail_if_any), "after": after})
    });
    let rest = format!(
        "],\"expect\":{},\"conditions\":{}}}",
        expect.collect::<Value>(),
        conditions.collect::<Value>()
    );
    out.extend_from_slice(rest.as_bytes());
    out
}

impl EventStore for Remote {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(async move { self.append_now(&batch) })
    }

    fn repeat_of(
        &self,
        _: CommandKey,
        _: StreamName,
    ) -> BoxFuture<'_, Result<Option<Appended>, AppendError>> {
        Box::pin(async { Err(AppendError::Unsupported { capability: "command keys over HTTP".into() }) })
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        Box::pin(async move { self.read_now(&read).map_err(Fault::read) })
    }

    fn stream(&self, name: StreamName) -> BoxFuture<'_, Result<Option<StreamInfo>, ReadError>> {
        Box::pin(async move { self.stream_now(name).map_err(Fault::read) })
    }

    fn streams(&self, listing: Listing) -> BoxFuture<'_, Result<StreamPage, ReadError>> {
        Box::pin(async move { self.streams_now(&listing).map_err(Fault::read) })
    }

    fn locate(&self, at: When) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(async move { self.locate_now(at).map_err(Fault::read) })
    }

    fn wait_past(&self, _: Checkpoint) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(async { Err(ReadError::Unsupported { capability: "waiting over HTTP".into() }) })
    }
}

/// The version in a problem.
fn version(value: &Value) -> Option<Version> {
    value.as_u64().map(Version::new)
}
