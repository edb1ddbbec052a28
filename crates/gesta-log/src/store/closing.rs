//! Closing a time: a place by time that no later event comes before.

use gesta_core::{AppendError, Checkpoint, ReadError, Timestamp, When};

use super::LogStore;
use crate::read;
use crate::write::{Closing, in_doubt};

impl LogStore {
    /// The place after all events recorded at a time or earlier, once no more can come.
    pub(super) async fn close_at(&self, time: Timestamp) -> Result<Checkpoint, ReadError> {
        // The head first: an event that comes after the look may be of this time.
        let head = self.shared.published.position();
        let place = self.recorded_up_to(time).await?;
        if place.sequence(0) < head {
            return Ok(place);
        }
        time.floor_after(self.shared.now())?;
        let writer = self.late.commit.get().filter(|_| self.read_only().is_none());
        let Some(commit) = writer else { return Err(read_only()) };
        let (reply, answer) = oneshot::channel();
        commit.role.submit(Closing { time: time.as_nanos(), reply }).map_err(not_closed)?;
        answer.await.unwrap_or_else(|_| Err(in_doubt())).map_err(not_closed)?;
        self.recorded_up_to(time).await
    }

    async fn recorded_up_to(&self, time: Timestamp) -> Result<Checkpoint, ReadError> {
        self.look(move |shared, mode| read::locate(shared, When::RecordedUpTo(time), mode)).await
    }
}

fn read_only() -> ReadError {
    ReadError::Unsupported { capability: "closing a time while it is read-only".into() }
}

fn not_closed(error: AppendError) -> ReadError {
    match error {
        AppendError::ReadOnly { .. } => read_only(),
        AppendError::Closed => ReadError::Closed,
        AppendError::Overloaded => ReadError::Overloaded,
        error => ReadError::Unavailable { reason: format!("the time could not be closed: {error}") },
    }
}
