//! The events in the body of an append, in every form that one may have: JSON, CloudEvents in structured mode, one or an array, and
//! a CloudEvent in binary mode.

use axum::http::HeaderMap;
use bytes::Bytes;
use gesta::http::{Problem, media_type, unsupported_type};
use gesta_core::{BATCH_EVENTS_MAX, CommandKey, NewEvent, StreamName};
use gesta_wire::cloudevents::{self, CloudEvent, CloudEventError};
use gesta_wire::{Capped, EventJson, EventJsonError, HalfPair, check_user_names, check_user_stream, kinds};

use crate::binary;
use crate::body::read_json;
use crate::closed::Closed;
use crate::idempotency::event_id;
use crate::time::now;

/// As many events as a batch may have.
pub(crate) type Many<T> = Capped<T, BATCH_EVENTS_MAX>;

/// The body of an append.
pub(crate) struct Incoming {
    form: Form,
    /// The whole content of the request: what an `Idempotency-Key` stands for. In binary mode it includes the attributes.
    pub(crate) text: Bytes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    CloudEvent,
    CloudEvents,
}

impl Incoming {
    /// Finds the form by the headers.
    pub(crate) fn of(headers: &HeaderMap, body: &Bytes) -> Result<Self, Problem> {
        let media_type = media_type(headers)?;
        if binary::is_binary(headers, &media_type) {
            return Ok(Self { form: Form::CloudEvent, text: binary::to_structured(headers, body)? });
        }
        let taken = [
            ("application/json", Form::Json),
            (cloudevents::MEDIA_TYPE, Form::CloudEvent),
            (cloudevents::BATCH_MEDIA_TYPE, Form::CloudEvents),
        ];
        match taken.iter().find(|(name, _)| *name == media_type) {
            Some((_, form)) => Ok(Self { form: *form, text: body.clone() }),
            None => Err(unsupported_type(&media_type, &taken.map(|(name, _)| name))),
        }
    }

    /// Whether the body is JSON of the server's form, and not CloudEvents.
    pub(crate) fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    /// The events. All go to `stream`, or each names its stream if there is none.
    pub(crate) fn events(
        &self,
        closed: &Closed,
        stream: Option<&StreamName>,
        command: Option<&CommandKey>,
    ) -> Result<Vec<NewEvent>, Problem> {
        match self.form {
            Form::Json => self.json_events(closed, stream, command),
            Form::CloudEvent => {
                read_cloud_events(&self.text, vec![read_json(&self.text, "a CloudEvent")?], closed, stream)
            }
            Form::CloudEvents => {
                let events = read_json::<Many<CloudEvent<'_>>>(&self.text, "an array of CloudEvents")?;
                read_cloud_events(&self.text, events.0, closed, stream)
            }
        }
    }

    /// One event or an array of events in the server's JSON.
    fn json_events(
        &self,
        closed: &Closed,
        stream: Option<&StreamName>,
        command: Option<&CommandKey>,
    ) -> Result<Vec<NewEvent>, Problem> {
        let is_array = self.text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        let wanted = "an event, or an array of events,";
        let events = match is_array {
            true => read_json::<Many<EventJson<'_>>>(&self.text, wanted)?.0,
            false => vec![read_json(&self.text, wanted)?],
        };
        new_events(&self.text, &events, closed, stream, command)
    }
}

/// Makes events of the server's JSON.
pub(crate) fn new_events(
    text: &Bytes,
    events: &[EventJson<'_>],
    closed: &Closed,
    stream: Option<&StreamName>,
    command: Option<&CommandKey>,
) -> Result<Vec<NewEvent>, Problem> {
    let now = now();
    let read = |(index, event): (usize, &EventJson<'_>)| {
        let stream = stream_of(event.stream(), stream)?;
        let event = event.to_new_event(text, stream, || event_id(command, index), now);
        of_user(
            event.map_err(|error| match error {
                EventJsonError::HalfPair { half, .. } => half_pair(half, &error),
                error => wrong_event(&error),
            })?,
            closed,
        )
    };
    events
        .iter()
        .enumerate()
        .map(|event| read(event).map_err(|problem| problem.with("event", event.0)))
        .collect()
}

fn read_cloud_events(
    text: &Bytes,
    events: Vec<CloudEvent<'_>>,
    closed: &Closed,
    stream: Option<&StreamName>,
) -> Result<Vec<NewEvent>, Problem> {
    let now = now();
    let read = |event: CloudEvent<'_>| {
        let wrong = |error| match error {
            CloudEventError::HalfPair { half, .. } => half_pair(half, &error),
            error => wrong_event(&error),
        };
        let subject = event.text("subject").map_err(wrong)?;
        let stream = match (&subject, stream) {
            // The event's own error names the attribute.
            (None, None) => None,
            _ => Some(stream_of(subject.as_deref(), stream)?),
        };
        of_user(event.to_new_event(text, stream, now).map_err(wrong)?, closed)
    };
    let events = events.into_iter().enumerate();
    events.map(|(index, event)| read(event).map_err(|problem| problem.with("event", index))).collect()
}

/// The stream of an event: the one in the address, which the event may repeat, or the one that the event names.
fn stream_of(named: Option<&str>, stream: Option<&StreamName>) -> Result<StreamName, Problem> {
    match (named, stream) {
        (None, Some(stream)) => Ok(stream.clone()),
        (Some(named), Some(stream)) if named == stream.as_str() => Ok(stream.clone()),
        (Some(named), Some(stream)) => {
            let detail = format!("the event names stream `{named}`, but the address names `{stream}`");
            Err(Problem::invalid(detail))
        }
        (Some(named), None) => {
            let stream = StreamName::new(named)?;
            check_user_stream(&stream)?;
            Ok(stream)
        }
        (None, None) => Err(Problem::invalid("the event names no `stream`")),
    }
}

/// The event, if a user may append it: its names are a user's, and its category is not closed.
fn of_user(event: NewEvent, closed: &Closed) -> Result<NewEvent, Problem> {
    check_user_names(&event)?;
    closed.check(&event)?;
    Ok(event)
}

fn wrong_event(error: &dyn std::error::Error) -> Problem {
    Problem::of(kinds::INVALID_EVENT, error.to_string())
}

fn half_pair(half: HalfPair, error: &dyn std::error::Error) -> Problem {
    Problem::from(half).detail(error.to_string())
}
