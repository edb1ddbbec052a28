//! Events by id and by tag.

use gesta_core::{EventId, EventStore, Item, Place, Query, Read, ReadError, RecordedEvent, StreamName};

use super::CausesError;

/// The most events of one id that are looked at.
const SAME_ID_MAX: usize = 100;

/// The event with an id, in a stream if one is named.
pub(super) async fn find(
    store: &dyn EventStore,
    id: EventId,
    stream: Option<&StreamName>,
) -> Result<RecordedEvent, CausesError> {
    let query = Item { stream: stream.cloned(), ids: vec![id], ..Item::default() }.into();
    let mut events = read_all(store, query, SAME_ID_MAX).await?;
    match events.len() {
        0 => Err(CausesError::NoEvent { id, stream: stream.cloned() }),
        1 => Ok(events.remove(0)),
        _ => {
            let streams = events.iter().filter_map(|event| event.stream().parse().ok()).collect();
            Err(CausesError::Ambiguous { id, streams })
        }
    }
}

/// The first `max` events that match, in the order of the log.
pub(super) async fn read_all(
    store: &dyn EventStore,
    query: Query,
    max: usize,
) -> Result<Vec<RecordedEvent>, ReadError> {
    let mut events = Vec::new();
    let mut from = Place::Start;
    loop {
        let page = store.read(Read::log_from(query.clone(), from)).await?;
        events.extend(page.events);
        if page.end || events.len() >= max {
            events.truncate(max);
            return Ok(events);
        }
        from = Place::At(page.scanned_to);
    }
}
