//! Fetching records: neighbours in one read, each proven once, all sharing the buffer they were read into.

use bytes::Bytes;
use gesta_core::{Position, ReadError, RecordedEvent};

use crate::env::read_exact_at;
use crate::format::Record;
use crate::index::Location;
use crate::limits::{READ_BYTES_MAX, READ_GAP_BYTES_MAX};
use crate::shared::Shared;

/// Reads and proves the records at these locations, in their order.
pub(crate) fn fetch(shared: &Shared, locations: &[Location]) -> Result<Vec<RecordedEvent>, ReadError> {
    let mut events = Vec::with_capacity(locations.len());
    let mut rest = locations;
    while !rest.is_empty() {
        let (extent, count) = Extent::over(rest);
        let bytes = extent.read(&rest[0])?;
        for location in &rest[..count] {
            events.push(extent.event(shared, location, &bytes)?);
        }
        rest = &rest[count..];
    }
    Ok(events)
}

/// A range of one segment that is read at once.
struct Extent {
    from: u64,
    to: u64,
}

impl Extent {
    /// As many of the first locations as lie near each other, in either direction.
    fn over(locations: &[Location]) -> (Self, usize) {
        let first = &locations[0];
        let mut extent = Self { from: first.offset, to: first.end };
        let mut count = 1;
        for location in &locations[1..] {
            let wider = Self { from: extent.from.min(location.offset), to: extent.to.max(location.end) };
            let gap = (wider.to - wider.from).saturating_sub(extent.to - extent.from + location.len());
            if location.segment.id != first.segment.id
                || gap > READ_GAP_BYTES_MAX
                || wider.to - wider.from > READ_BYTES_MAX
            {
                break;
            }
            extent = wider;
            count += 1;
        }
        (extent, count)
    }

    fn read(&self, location: &Location) -> Result<Bytes, ReadError> {
        let length = usize::try_from(self.to - self.from).expect("a segment is at most 1 GiB");
        let mut buffer = vec![0; length];
        match read_exact_at(&*location.segment.file, &mut buffer, self.from) {
            Ok(()) => Ok(buffer.into()),
            Err(error) => Err(ReadError::Unavailable {
                reason: format!(
                    "reading segment {} at offset {} failed: {error}",
                    location.segment.id, self.from
                ),
            }),
        }
    }

    fn event(&self, shared: &Shared, location: &Location, bytes: &Bytes) -> Result<RecordedEvent, ReadError> {
        let at = |offset: u64| usize::try_from(offset - self.from).expect("within the extent");
        let record = bytes.slice(at(location.offset)..at(location.end));
        let position = Position { partition: 0, sequence: location.position };
        Record::read(&location.segment.salt, position, &record).map_err(|error| {
            let place = format!("segment {} at offset {}: {error}", location.segment.id, location.offset);
            tracing::error!(position = location.position, place, "an event is damaged");
            let resume = shared.checkpoint(location.position);
            ReadError::DataLoss { location: place, from: position, to: position, resume }
        })
    }
}
