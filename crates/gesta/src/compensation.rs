//! Compensations: events that undo what earlier events did. Recorded events never change.

use gesta_core::{AtomicScope, Condition, EventId, Item, RecordedEvent, StreamName, Tag};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

use crate::hex::hex;

/// The key of the tag that names the compensated event.
const TAG: &str = "$compensates";
/// The bytes of a stream's digest in the tag: an id is unique only within its stream.
const DIGEST_BYTES: usize = 8;

/// A recorded event: its stream and its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventRef {
    /// The stream.
    pub stream: StreamName,
    /// The id, unique in the stream.
    pub id: EventId,
}

impl EventRef {
    /// The tag of events that compensate this one: `$compensates:<id>@<first 16 hexadecimal digits of the SHA-256 of the stream>`.
    #[must_use]
    pub fn tag(&self) -> Tag {
        tag_of(self.stream.as_str(), self.id)
    }

    /// Fails if an event that compensates this one is recorded. A store of several partitions looks into the stream of this
    /// event only: a reversal has to stand there.
    pub(crate) fn is_not_compensated(&self, scope: AtomicScope) -> Condition {
        let stream = (scope == AtomicScope::Partition).then(|| self.stream.clone());
        let item = Item { stream, tags: vec![self.tag()], ..Item::default() };
        Condition { fail_if_any: item.into(), after: None }
    }
}

/// Reads the id of an event in a decision's input: `#[serde(deserialize_with = "gesta::event_id")]`.
///
/// # Errors
/// It is not a UUID.
pub fn event_id<'de, D: Deserializer<'de>>(from: D) -> Result<EventId, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

/// The event that another one compensates, as far as that one names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compensated {
    id: EventId,
    digest: String,
}

impl Compensated {
    /// What a recorded event compensates, if anything.
    pub(crate) fn by(event: &RecordedEvent) -> Option<Self> {
        let (id, digest) = event.tag(TAG)?.split_once('@')?;
        Some(Self { id: id.parse().ok()?, digest: digest.to_owned() })
    }

    /// The id of the event. Events of other streams may have it too.
    #[must_use]
    pub const fn id(&self) -> EventId {
        self.id
    }

    /// True if it is this event.
    #[must_use]
    pub fn is(&self, event: &EventRef) -> bool {
        self.id == event.id && self.digest == digest_of(event.stream.as_str())
    }
}

/// The tag of events that compensate that one.
pub(crate) fn tag_of(stream: &str, id: EventId) -> Tag {
    let tag = Tag::from_parts(TAG, &format!("{id}@{}", digest_of(stream)));
    tag.expect("an id and hexadecimal digits are the value of a tag")
}

fn digest_of(stream: &str) -> String {
    hex(&Sha256::digest(stream)[..DIGEST_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_names_the_event_and_its_stream() {
        let event = EventRef { stream: "account-1".parse().unwrap(), id: EventId::from_u128(7) };
        let expected = "$compensates:00000000-0000-0000-0000-000000000007@07e998012c1137de";
        assert_eq!(event.tag().as_str(), expected);
        assert_ne!(tag_of("account-2", event.id), event.tag());
    }
}
