//! Events and batches for tests. A test names what matters to it, and nothing else.

use bytes::Bytes;
use gesta_core::{Batch, EventId, NewEvent, Timestamp};

/// An event with this id: type `test.happened`, one nanosecond after 1970, with an empty object as data.
///
/// ```
/// use gesta_conformance::sample::{Sample as _, event};
///
/// let opened = event("account-1", 7_u64).of_type("account.opened").with_data(r#"{"by":"ann"}"#);
/// assert_eq!((opened.event_type.as_str(), opened.tags.len()), ("account.opened", 0));
/// ```
///
/// # Panics
/// If this is no name of a stream.
#[must_use]
pub fn event(stream: &str, id: impl Into<u128>) -> NewEvent {
    let stream = stream.parse().expect("a stream name");
    let event_type = "test.happened".parse().expect("an event type");
    NewEvent::json(EventId::from_u128(id.into()), stream, event_type, Timestamp::from_nanos(1), "{}")
}

/// A batch of one such event.
///
/// # Panics
/// As [`event`].
#[must_use]
pub fn batch(stream: &str, id: impl Into<u128>) -> Batch {
    Batch::new([event(stream, id)])
}

/// Sets fields of an event from texts.
pub trait Sample {
    /// Gives the event this type.
    ///
    /// # Panics
    /// If this is no event type.
    #[must_use]
    fn of_type(self, event_type: &str) -> Self;

    /// Gives the event this data.
    #[must_use]
    fn with_data(self, data: impl Into<Bytes>) -> Self;

    /// Adds a tag.
    ///
    /// # Panics
    /// If this is no tag.
    #[must_use]
    fn with_tag(self, tag: &str) -> Self;
}

impl Sample for NewEvent {
    fn of_type(self, event_type: &str) -> Self {
        Self { event_type: event_type.parse().expect("an event type"), ..self }
    }

    fn with_data(self, data: impl Into<Bytes>) -> Self {
        Self { data: data.into(), ..self }
    }

    fn with_tag(mut self, tag: &str) -> Self {
        self.tags.push(tag.parse().expect("a tag"));
        self
    }
}
