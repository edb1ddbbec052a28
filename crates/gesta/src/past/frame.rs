//! What a series reads, and up to when its cuts are final.

use std::num::NonZeroU32;

use gesta_core::{Checkpoint, EventStore, Limit, Place, Query, Read, Timestamp, When};

use super::cuts::{By, Cuts};
use crate::error::LoadError;

/// What a series reads, and up to when its cuts are final.
pub(super) struct Frame {
    /// The place up to which the log is read.
    pub(super) until: Checkpoint,
    pub(super) cuts: Cuts,
    /// The earliest time at which an event can still be recorded, if it is known.
    open_from: Option<Timestamp>,
}

impl Frame {
    /// Finds the end of the log for these cuts. Closes the time of the last one, if that was asked for.
    pub(super) async fn of(store: &dyn EventStore, now: Timestamp, cuts: &Cuts) -> Result<Self, LoadError> {
        let (cuts, closed) = cuts.close(store, now).await?;
        let (until, open_from) = match closed {
            Some(place) => (place, cuts.bounds().1.and_then(Timestamp::next)),
            None => {
                // The newest event first: what comes between the two looks is in the series.
                let newest = newest(store, cuts.counts()).await?;
                (store.locate(When::Head).await?, newest)
            }
        };
        Ok(Self { until, cuts, open_from })
    }

    /// True if no event can come into the cut any more.
    pub(super) fn is_final(&self, cut: Timestamp) -> bool {
        self.open_from.is_some_and(|open| cut < open)
    }
}

/// When the newest event of the log was recorded: nothing is recorded at an earlier time any more. `None` if that proves nothing.
async fn newest(store: &dyn EventStore, by: By) -> Result<Option<Timestamp>, LoadError> {
    // The newest event of one partition says nothing about the others.
    if by == By::Time || store.capabilities().partitions > 1 {
        return Ok(None);
    }
    let read =
        Read { limit: Limit::events(NonZeroU32::MIN), ..Read::log_from(Query::All, Place::End).backward() };
    Ok(store.read(read).await?.events.first().map(|event| event.recorded_at()))
}
