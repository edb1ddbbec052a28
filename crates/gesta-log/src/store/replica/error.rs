//! Why a replica does not take what it is fed.

use std::io;

use gesta_core::{AppendError, CopyError, Position, ReadError, Retry};

/// Why a replica does not take what it is fed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The batch is of another partition.
    #[error("the batch at {position} is not of partition {partition}, which the replica follows")]
    OtherPartition {
        /// The place of the batch.
        position: Position,
        /// The partition of the replica.
        partition: u16,
    },
    /// Batches are missing before this one, or it overlaps the one before.
    #[error("the batch at {position} cannot follow: the replica goes on at sequence {next}")]
    NotNext {
        /// The place of the batch.
        position: Position,
        /// The sequence that the next batch begins at.
        next: u64,
    },
    /// The replica holds another event there: its history is not that of the source. Move it aside with
    /// [`Replica::set_aside`](crate::Replica::set_aside), and begin a new one.
    #[error(
        "the source has another event at {position} than the replica: one of them is of another history; move the replica aside and begin a new one"
    )]
    Diverged {
        /// The place of the event.
        position: Position,
    },
    /// The log refused a batch. Versions with a gap, and ids or a command key that are already recorded, are
    /// [`AppendError::Conflict`] and [`CopyError::Moved`].
    #[error(transparent)]
    Append(#[from] CopyError),
    /// The events up to the head could not be compared.
    #[error("the batches that are known cannot be compared")]
    Read(#[source] ReadError),
    /// The events are durable; the place of the source is not.
    #[error("writing the file `through` failed")]
    Through(#[source] io::Error),
}

impl ReplicaError {
    /// Whether, and when, it helps to feed the same batches again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        use AppendError::{Overloaded, StorageFull, Unavailable};
        match self {
            Self::Append(CopyError::Append {
                source: Overloaded | StorageFull { .. } | Unavailable { .. },
                ..
            })
            | Self::Through(_) => Retry::AfterPause,
            Self::Read(source) => source.retry(),
            Self::OtherPartition { .. } | Self::NotNext { .. } | Self::Diverged { .. } | Self::Append(_) => {
                Retry::Never
            }
        }
    }
}
