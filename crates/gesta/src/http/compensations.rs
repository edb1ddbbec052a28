//! The events that compensate those of a page.

use std::collections::HashMap;

use gesta_core::{EventStore, Item, Place, QUERY_ITEMS_MAX, Query, Read, ReadError, RecordedEvent};
use serde::Serialize;

use crate::compensation::tag_of;

/// An event that compensates another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct By {
    stream: String,
    id: String,
}

/// What compensates the events of a page, by their tags.
pub(super) struct Compensations(HashMap<String, Vec<By>>);

impl Compensations {
    pub(super) async fn of(store: &dyn EventStore, events: &[RecordedEvent]) -> Result<Self, ReadError> {
        let mut found = HashMap::<_, Vec<_>>::new();
        for events in events.chunks(QUERY_ITEMS_MAX) {
            let tags = events.iter().map(|event| tag_of(event.stream(), event.id()));
            let items = tags.map(|tag| Item { tags: vec![tag], ..Item::default() });
            let (query, mut from) = (Query::Any(items.collect()), Place::Start);
            loop {
                let page = store.read(Read::log_from(query.clone(), from)).await?;
                for event in &page.events {
                    let by = By { stream: event.stream().to_owned(), id: event.id().to_string() };
                    let tag = event.tags().find(|tag| tag.starts_with("$compensates:"));
                    found.entry(tag.unwrap_or_default().to_owned()).or_default().push(by);
                }
                if page.end {
                    break;
                }
                from = Place::At(page.scanned_to);
            }
        }
        Ok(Self(found))
    }

    pub(super) fn of_event(&self, event: &RecordedEvent) -> &[By] {
        let tag = tag_of(event.stream(), event.id());
        self.0.get(tag.as_str()).map_or(&[], Vec::as_slice)
    }
}
