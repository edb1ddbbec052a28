//! Metadata of events: actor, correlation, causation, reason.

use std::collections::BTreeMap;

use bytes::Bytes;
use gesta_core::{NameError, RecordedEvent, Tag, Timestamp};
use serde::Serialize;

/// Metadata that is recorded with every event of a call.
///
/// Actor, correlation and causation become the tags `$actor:…`, `$correlation:…` and `$causation:…`, so that events can be
/// queried by them. The rest is a JSON object in the event's metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    actor: Option<String>,
    correlation: Option<String>,
    causation: Option<String>,
    time: Option<Timestamp>,
    metadata: BTreeMap<String, serde_json::Value>,
}

impl Meta {
    /// Empty metadata.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Who sent the command.
    #[must_use]
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// A value shared by all events that follow from one outside request.
    #[must_use]
    pub fn correlation(mut self, correlation: impl Into<String>) -> Self {
        self.correlation = Some(correlation.into());
        self
    }

    /// The id of the event or command that caused it.
    #[must_use]
    pub fn causation(mut self, causation: impl Into<String>) -> Self {
        self.causation = Some(causation.into());
        self
    }

    /// Caused by an event: the causation is its id, the correlation is that of the event, or its id if it has none.
    #[must_use]
    pub fn caused_by(self, event: &RecordedEvent) -> Self {
        let id = event.id().to_string();
        let correlation = event.tag("$correlation").unwrap_or(&id).to_owned();
        self.causation(id).correlation(correlation)
    }

    /// The reason, as text.
    #[must_use]
    pub fn reason(self, reason: impl Into<String>) -> Self {
        self.entry("reason", reason.into())
    }

    /// The W3C trace context.
    #[must_use]
    pub fn traceparent(self, traceparent: impl Into<String>) -> Self {
        self.entry("traceparent", traceparent.into())
    }

    /// Any other entry.
    #[must_use]
    pub fn entry(mut self, name: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// When it happened; the current time by default.
    #[must_use]
    pub fn time(mut self, time: Timestamp) -> Self {
        self.time = Some(time);
        self
    }

    pub(crate) const fn happened_at(&self) -> Option<Timestamp> {
        self.time
    }

    pub(crate) fn tags(&self) -> Result<Vec<Tag>, NameError> {
        let named =
            [("$actor", &self.actor), ("$correlation", &self.correlation), ("$causation", &self.causation)];
        let given = named.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        given.map(|(key, value)| Tag::from_parts(key, value)).collect()
    }

    /// The JSON object for the event's metadata; empty without entries.
    pub(crate) fn to_bytes(&self) -> Bytes {
        if self.metadata.is_empty() {
            return Bytes::new();
        }
        let mut json = Vec::with_capacity(128);
        let written = self.metadata.serialize(&mut serde_json::Serializer::new(&mut json));
        written.expect("strings and JSON values can be written as JSON");
        json.into()
    }
}

#[cfg(test)]
mod tests {
    use gesta_core::{EventId, NewEvent, Position, Version};

    use super::*;

    #[test]
    fn what_an_event_causes_shares_its_correlation_or_starts_with_its_id() {
        let time = Timestamp::from_nanos(1);
        let event = |tags: &[&str]| {
            let (stream, event_type) = ("a-1".parse().unwrap(), "t".parse().unwrap());
            let mut event = NewEvent::json(EventId::from_u128(7), stream, event_type, time, "{}");
            event.tags = tags.iter().map(|tag| tag.parse().unwrap()).collect();
            RecordedEvent::new(Position { partition: 0, sequence: 1 }, Version::FIRST, time, event.to_bytes())
        };
        let id = EventId::from_u128(7).to_string();
        let meta = Meta::new().caused_by(&event(&["$correlation:c-1", "$causation:x"]));
        assert_eq!(meta, Meta::new().causation(&id).correlation("c-1"));
        assert_eq!(Meta::new().caused_by(&event(&[])), Meta::new().causation(&id).correlation(&id));
    }
}
