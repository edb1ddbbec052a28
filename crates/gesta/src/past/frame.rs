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
    /// Nothing is recorded before this time any more; `None` if that is not known of any time.
    open_from: Option<Timestamp>,
}

impl Frame {
    /// Finds the end of the log for these cuts. Closes the time of the last one, if that was asked for.
    pub(super) async fn of(store: &dyn EventStore, now: Timestamp, cuts: &Cuts) -> Result<Self, LoadError> {
        let is_closed = cuts.is_closed() && cuts.counts() == By::RecordedAt;
        match Self::last_passed(now, cuts).filter(|_| is_closed) {
            Some(last) => {
                let until = store.locate(When::ClosedAt(last)).await?;
                Ok(Self { until, cuts: cuts.clone().to(last), open_from: last.next() })
            }
            None => {
                let until = store.locate(When::Head).await?;
                let open_from = newest(store, cuts.counts()).await?;
                // Where nothing has passed, nothing is shown.
                let cuts = if is_closed { cuts.clone().to(Timestamp::MIN) } else { cuts.clone() };
                Ok(Self { until, cuts, open_from })
            }
        }
    }

    /// The last cut that lies before now.
    fn last_passed(now: Timestamp, cuts: &Cuts) -> Option<Timestamp> {
        let before_now = Timestamp::from_nanos(now.as_nanos().checked_sub(1)?);
        cuts.last_up_to(cuts.bounds().1.map_or(before_now, |to| to.min(before_now)))
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
