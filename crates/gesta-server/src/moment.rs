//! The moment of a view as of the past, as it is written.

use gesta_core::{Checkpoint, EventStore, ReadError, Timestamp, When};
use gesta_views::Moment;
use gesta_wire::{TimeError, format_time, parse_time};

/// A text is not a moment that a view can be shown at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MomentError {
    /// It has no form of a moment.
    #[error("`{text}` is no position, no time in RFC 3339 and no checkpoint")]
    Form {
        /// The text, cut to its first 80 characters.
        text: String,
    },
    /// It is not a time.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// It is later than now.
    #[error("{} lies in the future: events may still be recorded up to then", format_time(*time))]
    Future {
        /// The time.
        time: Timestamp,
    },
    /// A position is a place in one partition only.
    #[error(
        "the log has {partitions} partitions, so a position is not a place in all of it: give a checkpoint or a time"
    )]
    Partitions {
        /// The partitions of the store.
        partitions: usize,
    },
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// All events up to a place: a checkpoint, a position, or the time up to which they were recorded.
///
/// # Errors
/// [`MomentError`].
pub async fn moment_at(store: &dyn EventStore, text: &str, now: Timestamp) -> Result<Moment, MomentError> {
    if let Ok(sequence) = text.parse() {
        let head = store.head_now().await?;
        let partitions = head.sequences().len();
        return match partitions {
            1 => Ok(head.with(0, sequence).into()),
            _ => Err(MomentError::Partitions { partitions }),
        };
    }
    if let Ok(checkpoint) = text.parse::<Checkpoint>() {
        return Ok(checkpoint.into());
    }
    match parse_time(text) {
        Ok(time) => Ok(store.locate(When::RecordedUpTo(not_after(time, now)?)).await?.into()),
        Err(error @ TimeError::OutOfRange { .. }) => Err(error.into()),
        Err(TimeError::Form { text }) => Err(MomentError::Form { text }),
    }
}

/// All events of now whose `time` is at or before that one.
///
/// # Errors
/// [`MomentError`].
pub async fn moment_by_time(
    store: &dyn EventStore,
    text: &str,
    now: Timestamp,
) -> Result<Moment, MomentError> {
    let time = not_after(parse_time(text)?, now)?;
    Ok(Moment { until: store.head_now().await?, happened_by: Some(time) })
}

fn not_after(time: Timestamp, now: Timestamp) -> Result<Timestamp, MomentError> {
    if time > now { Err(MomentError::Future { time }) } else { Ok(time) }
}
