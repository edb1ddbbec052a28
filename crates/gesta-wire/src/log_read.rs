//! The body of `POST /events/query`: a read of the log, written and read.

use std::borrow::Cow;
use std::num::{NonZeroU32, NonZeroU64};

use gesta_core::{
    BATCH_EVENTS_MAX, Checkpoint, CheckpointParseError, Direction, EventType, Lanes, LanesParseError,
    NameError, Place, Query, Read, Select,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::query::{QueryJson, QueryJsonError};
use crate::schema::{about, between, named, nullable, one_of, request, text};

/// A read of the log in JSON, borrowed from its text. A method for each member reads it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LogReadJson<'a> {
    #[serde(borrow)]
    query: QueryJson<'a>,
    #[serde(borrow, default)]
    from: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    until: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    direction: Option<Cow<'a, str>>,
    /// The largest number of events in the page.
    #[serde(default)]
    pub limit: Option<u32>,
    /// The largest number of bytes in the page.
    #[serde(default)]
    pub limit_bytes: Option<NonZeroU64>,
    /// The largest number of entries to examine.
    #[serde(default)]
    pub limit_examined: Option<NonZeroU64>,
    #[serde(borrow, default)]
    lanes: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    event_name: Option<Cow<'a, str>>,
}

/// Why JSON of the right shape is not a read of the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogReadJsonError {
    /// The query is malformed.
    #[error(transparent)]
    Query(#[from] QueryJsonError),
    /// The name for all events is malformed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A place is malformed.
    #[error("`{member}`: {source}")]
    Place {
        /// The member.
        member: &'static str,
        /// The fault.
        source: CheckpointParseError,
    },
    /// The lanes are malformed.
    #[error("`lanes`: {0}")]
    Lanes(#[from] LanesParseError),
    /// The direction has another name.
    #[error("direction `{name}` is neither `forward` nor `backward`")]
    Direction {
        /// The name, cut to its first 40 characters.
        name: String,
    },
}

impl LogReadJson<'_> {
    /// The query, with its names checked.
    ///
    /// # Errors
    /// [`LogReadJsonError::Query`].
    pub fn query(&self) -> Result<Query, LogReadJsonError> {
        Ok(self.query.to_query()?)
    }

    /// The place to start at, if it is given.
    ///
    /// # Errors
    /// [`LogReadJsonError::Place`].
    pub fn from(&self) -> Result<Option<Place>, LogReadJsonError> {
        self.from.as_deref().map(place_from_text).transpose()
    }

    /// The place to end at, if it is given.
    ///
    /// # Errors
    /// [`LogReadJsonError::Place`].
    pub fn until(&self) -> Result<Option<Checkpoint>, LogReadJsonError> {
        self.until.as_deref().map(|token| checkpoint("until", token)).transpose()
    }

    /// The direction; forward if it is not given.
    ///
    /// # Errors
    /// [`LogReadJsonError::Direction`].
    pub fn direction(&self) -> Result<Direction, LogReadJsonError> {
        self.direction.as_deref().map_or(Ok(Direction::Forward), direction_from_text)
    }

    /// The lanes, if they are given.
    ///
    /// # Errors
    /// [`LogReadJsonError::Lanes`].
    pub fn lanes(&self) -> Result<Option<Lanes>, LogReadJsonError> {
        Ok(self.lanes.as_deref().map(str::parse).transpose()?)
    }

    /// The name under which a subscription sends all events, if it is given.
    ///
    /// # Errors
    /// [`LogReadJsonError::Name`].
    pub fn event_name(&self) -> Result<Option<EventType>, LogReadJsonError> {
        Ok(self.event_name.as_deref().map(EventType::new).transpose()?)
    }
}

/// Reads a place: `start`, `end`, or the token of a checkpoint.
///
/// # Errors
/// [`LogReadJsonError::Place`].
pub fn place_from_text(text: &str) -> Result<Place, LogReadJsonError> {
    match text {
        "start" => Ok(Place::Start),
        "end" => Ok(Place::End),
        token => checkpoint("from", token).map(Place::At),
    }
}

fn checkpoint(member: &'static str, token: &str) -> Result<Checkpoint, LogReadJsonError> {
    token.parse().map_err(|source| LogReadJsonError::Place { member, source })
}

/// Reads a direction: `forward` or `backward`.
///
/// # Errors
/// [`LogReadJsonError::Direction`].
pub fn direction_from_text(text: &str) -> Result<Direction, LogReadJsonError> {
    match text {
        "forward" => Ok(Direction::Forward),
        "backward" => Ok(Direction::Backward),
        other => Err(LogReadJsonError::Direction { name: other.chars().take(40).collect() }),
    }
}

/// Returns the name of a direction.
#[must_use]
pub const fn direction_text(direction: Direction) -> &'static str {
    match direction {
        Direction::Forward => "forward",
        Direction::Backward => "backward",
    }
}

/// Returns the body of `POST /events/query` for a read of the log; `None` for a read of a stream. At most `events_max` events are
/// asked for, the largest page of the server.
#[must_use]
pub fn log_read_json(read: &Read, events_max: NonZeroU32) -> Option<Value> {
    let Select::Log { query, from, lanes } = &read.select else { return None };
    let from = match from {
        Place::Start => "start".to_owned(),
        Place::End => "end".to_owned(),
        Place::At(checkpoint) => checkpoint.to_string(),
    };
    let mut body = json!({
        "query": QueryJson::of(query),
        "from": from,
        "direction": direction_text(read.direction),
        "limit": read.limit.events.min(events_max),
        "limitBytes": read.limit.bytes,
        "limitExamined": read.limit.examined,
    });
    if let Some(until) = &read.until {
        body["until"] = until.to_string().into();
    }
    if let Some(lanes) = lanes {
        body["lanes"] = lanes.to_string().into();
    }
    Some(body)
}

/// The largest `limit` of a page, which holds the largest batch.
const PAGE_EVENTS_MAX: u64 = BATCH_EVENTS_MAX as u64;

pub(crate) fn log_read_schema() -> Value {
    let of_subscription = "For a subscription: the name under which all events are sent.";
    request(vec![
        ("query", named("Query")),
        ("from?", nullable(named("Place"))),
        ("until?", nullable(named("Checkpoint"))),
        ("direction?", nullable(one_of(&["forward", "backward"]))),
        ("limit?", nullable(between(1, PAGE_EVENTS_MAX))),
        ("limitBytes?", nullable(between(1, u64::MAX))),
        ("limitExamined?", nullable(between(1, u64::MAX))),
        ("lanes?", nullable(about(text(), "Lanes and ranges of them, such as `0-255,512`."))),
        ("eventName?", nullable(about(named("EventType"), of_subscription))),
    ])
}
