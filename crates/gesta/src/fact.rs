//! Facts: events encoded for the stream they belong to.

use bytes::Bytes;
use gesta_core::{EventType, NameError, RecordedEvent, StreamName, Tag};

use crate::compensation::EventRef;
use crate::error::EncodeError;
use crate::event::Event;
use crate::key::Key;

/// An event to be recorded in the stream of an entity. [`At::emit`](crate::At::emit) makes one for a state of a decision's boundary,
/// [`Self::new`] for any other entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFact(Result<Fact, EncodeError>);

/// An encoded event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) stream: StreamName,
    pub(crate) event_type: EventType,
    pub(crate) schema_version: u16,
    pub(crate) data: Bytes,
    pub(crate) tags: Vec<Tag>,
    /// The event that this one reverses, if it reverses one.
    pub(crate) reverses: Option<EventRef>,
}

impl NewFact {
    /// An event of that entity. The decision fails with [`SendError::Encode`](crate::SendError::Encode) if the id is
    /// not valid or the event cannot be encoded.
    #[must_use]
    pub fn new<K: Key, E: Event>(id: &K, event: E) -> Self {
        Self(id.stream().map_err(EncodeError::from).and_then(|stream| Fact::new(stream, &event)))
    }

    /// An event of that stream.
    #[must_use]
    pub fn of_stream<E: Event>(stream: StreamName, event: E) -> Self {
        Self(Fact::new(stream, &event))
    }

    /// Marks the event as a compensation of a recorded one: a refund, a correction. Several events may compensate the same one.
    ///
    /// The recorded event does not change. It is found from this one by [`Recorded::compensates`](crate::Recorded::compensates),
    /// and this one from it by the tag of [`EventRef::tag`].
    #[must_use]
    pub fn compensates(self, event: &EventRef) -> Self {
        Self(self.0.map(|mut fact| {
            fact.tags.push(event.tag());
            fact
        }))
    }

    /// As [`Self::compensates`], and only once: the command fails with
    /// [`SendError::AlreadyCompensated`](crate::SendError::AlreadyCompensated) if an event that compensates it is recorded already.
    #[must_use]
    pub fn reverses(self, event: EventRef) -> Self {
        Self(self.compensates(&event).0.map(|mut fact| {
            fact.reverses = Some(event);
            fact
        }))
    }

    pub(crate) const fn of_fact(fact: Fact) -> Self {
        Self(Ok(fact))
    }

    /// A fact that fails the decision which records it.
    pub(crate) const fn failed(error: EncodeError) -> Self {
        Self(Err(error))
    }

    pub(crate) fn into_fact(self) -> Result<Fact, EncodeError> {
        self.0
    }
}

impl Fact {
    pub(crate) fn new<E: Event>(stream: StreamName, event: &E) -> Result<Self, EncodeError> {
        let info = event.info();
        let data = event.encode()?;
        // Views and other programs read fields by name, so a payload must have names.
        if data.first() != Some(&b'{') {
            return Err(EncodeError::NotAnObject { event_type: info.name });
        }
        Ok(Self {
            stream,
            event_type: EventType::new(info.name)?,
            schema_version: info.version,
            data,
            tags: event.tags()?,
            reverses: None,
        })
    }

    /// A recorded event, without the tags `$actor`, `$correlation` and `$causation`.
    pub(crate) fn of_recorded(event: &RecordedEvent) -> Result<Self, NameError> {
        let tags = event.tags().filter(|tag| !tag.starts_with('$'));
        Ok(Self {
            stream: event.stream().parse()?,
            event_type: event.event_type().parse()?,
            schema_version: event.schema_version(),
            data: event.data(),
            tags: tags.map(str::parse).collect::<Result<_, _>>()?,
            reverses: None,
        })
    }
}
