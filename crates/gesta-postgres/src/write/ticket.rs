//! One batch on its way to a group.

use std::sync::{Arc, OnceLock};

use gesta_core::{AppendError, Appended, Batch, EventBytes, NewEvent, StreamName, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::search::Searched;
use crate::read::terms_of;

/// The answer to an append.
pub(crate) type Answer = Result<Appended, AppendError>;

/// The search of a batch's conditions, once it has ended.
pub(crate) type Search = Arc<OnceLock<Result<Searched, AppendError>>>;

/// One batch on its way to a group.
pub(crate) struct Ticket {
    pub(crate) batch: Batch,
    /// Its events, encoded.
    pub(crate) events: Vec<Encoded>,
    /// Bytes of the encoded events.
    pub(crate) bytes: usize,
    /// Nothing for a batch without conditions.
    pub(crate) search: Option<Search>,
    /// Why its conditions could not be searched again, if that was tried last.
    pub(crate) search_error: Option<AppendError>,
    pub(crate) reply: oneshot::Sender<Answer>,
    /// The place of a batch that another store has recorded; `None` if the writer chooses it.
    pub(crate) recorded: Option<RecordedPlace>,
    pub(crate) since: Instant,
    /// True if it may have been written: by an attempt whose commit has no answer, or by another process whose commit nothing has
    /// confirmed.
    pub(crate) is_in_doubt: bool,
    /// Its room in the queue.
    _room: OwnedSemaphorePermit,
}

/// Where and when another store has recorded a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordedPlace {
    pub(crate) first: u64,
    pub(crate) recorded_at: Timestamp,
}

/// One event as the tables hold it.
pub(crate) struct Encoded {
    pub(crate) bytes: EventBytes,
    pub(crate) terms: Vec<i64>,
}

impl Encoded {
    /// Encodes an event.
    pub(crate) fn of(event: &NewEvent) -> Self {
        Self::of_bytes(event.to_bytes())
    }

    /// Takes an event that is encoded.
    pub(crate) fn of_bytes(bytes: EventBytes) -> Self {
        let terms = terms_of(bytes.stream(), bytes.event_type(), bytes.tags());
        Self { bytes, terms }
    }
}

impl Ticket {
    /// A ticket that begins to wait now, and where its answer arrives. Bytes are those of the encoded events.
    pub(crate) fn new(
        batch: Batch,
        events: Vec<Encoded>,
        bytes: usize,
        room: OwnedSemaphorePermit,
    ) -> (Self, oneshot::Receiver<Answer>) {
        let (reply, answer) = oneshot::channel();
        let ticket = Self {
            batch,
            events,
            bytes,
            search: None,
            search_error: None,
            reply,
            recorded: None,
            since: Instant::now(),
            is_in_doubt: false,
            _room: room,
        };
        (ticket, answer)
    }

    /// True if the batch can be decided: its conditions were searched.
    pub(crate) fn is_ready(&self) -> bool {
        self.search.as_ref().is_none_or(|search| search.get().is_some())
    }

    /// The streams that the batch writes to or has an expectation of.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &StreamName> {
        let written = self.batch.events.iter().map(|event| &event.stream);
        written.chain(self.batch.expect.iter().map(|(stream, _)| stream))
    }

    /// Why the search has failed, if it has.
    pub(crate) fn search_failure(&self) -> Option<&AppendError> {
        self.search.as_ref()?.get()?.as_ref().err()
    }

    /// The result of the search, if there was one and it has not failed.
    pub(crate) fn searched(&self) -> Option<&Searched> {
        self.search.as_ref()?.get()?.as_ref().ok()
    }
}
