//! A chunk: the rows of one statement of a page, and how far they reach.

use bytes::Bytes;
use gesta_core::{EventBytes, Position, RecordedEvent, Timestamp, Version};
use tokio_postgres::Row;

use super::damaged;
use crate::pool::Unread;

/// One row: an event, and the end of its batch.
pub(super) struct Found {
    pub(super) event: RecordedEvent,
    pub(super) batch_end: u64,
    /// True if a row follows that the statement left out or returned next.
    pub(super) has_next: bool,
    /// The place up to which the scans went, if one was cut.
    pub(super) reach: Option<u64>,
}

impl Found {
    pub(super) const fn position(&self) -> u64 {
        self.event.position().sequence
    }
}

/// Reads rows of position, end of the batch, version, time, record, is there a next row, and reach.
pub(super) fn rows(rows: &[Row]) -> Result<Vec<Found>, Unread> {
    rows.iter().map(row).collect()
}

fn row(row: &Row) -> Result<Found, Unread> {
    Ok(Found {
        event: recorded_event(row)?,
        batch_end: row.try_get::<_, i64>(1)?.cast_unsigned(),
        has_next: row.try_get(5)?,
        reach: row.try_get::<_, Option<i64>>(6)?.map(i64::cast_unsigned),
    })
}

/// Reads the event of a row of position, end of the batch, version, time and record.
pub(crate) fn recorded_event(row: &Row) -> Result<RecordedEvent, Unread> {
    let position = row.try_get::<_, i64>(0)?;
    let record = Bytes::copy_from_slice(row.try_get::<_, &[u8]>(4)?);
    let bytes = EventBytes::parse(record).map_err(|error| damaged(position, error))?;
    let at = Position { partition: 0, sequence: position.cast_unsigned() };
    let version = Version::new(row.try_get::<_, i64>(2)?.cast_unsigned());
    Ok(RecordedEvent::new(at, version, Timestamp::from_nanos(row.try_get(3)?), bytes))
}
