//! Fetching records: neighbours in one read, each proven once, all sharing the buffer they were read into.

use bytes::Bytes;
use gesta_core::{Position, ReadError, RecordedEvent};

use crate::env::read_exact_at;
use crate::format::Record;
use crate::index::Location;
use crate::limits::{READ_BYTES_MAX, READ_GAP_BYTES_MAX};
use crate::shared::Shared;

/// What was read, up to the first record that could not be.
pub(super) struct Fetched {
    pub(super) events: Vec<RecordedEvent>,
    pub(super) failed: Option<Failed>,
}

/// A record that could not be read.
pub(super) struct Failed {
    pub(super) position: u64,
    /// Where it is, and what is wrong there.
    place: String,
    /// Whether its bytes are there, and do not prove themselves.
    is_damage: bool,
}

impl Failed {
    /// The error for a page that begins with it.
    pub(super) fn into_error(self, shared: &Shared, from: u64, to: u64, resume: u64) -> ReadError {
        if !self.is_damage {
            return ReadError::Unavailable { reason: self.place };
        }
        let position = |sequence| Position { partition: 0, sequence };
        let (from, to, resume) = (position(from), position(to), shared.checkpoint(resume));
        ReadError::DataLoss { location: self.place, from, to, resume }
    }
}

/// Reads and proves the records at these locations, in their order.
pub(super) fn fetch(locations: &[Location]) -> Fetched {
    let mut events = Vec::with_capacity(locations.len());
    let failed = fetch_into(&mut events, locations).err();
    Fetched { events, failed }
}

fn fetch_into(events: &mut Vec<RecordedEvent>, locations: &[Location]) -> Result<(), Failed> {
    let mut rest = locations;
    while !rest.is_empty() {
        let (extent, count) = Extent::over(rest);
        let bytes = extent.read(&rest[0])?;
        for location in &rest[..count] {
            events.push(extent.event(location, &bytes)?);
        }
        rest = &rest[count..];
    }
    Ok(())
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
            let gap = wider.len().saturating_sub(extent.len() + location.len());
            let is_near = location.segment.id == first.segment.id && gap <= READ_GAP_BYTES_MAX;
            if !is_near || wider.len() > READ_BYTES_MAX {
                break;
            }
            extent = wider;
            count += 1;
        }
        (extent, count)
    }

    const fn len(&self) -> u64 {
        self.to - self.from
    }

    fn read(&self, first: &Location) -> Result<Bytes, Failed> {
        let mut buffer = vec![0; usize::try_from(self.len()).expect("a segment is at most 1 GiB")];
        match read_exact_at(&*first.segment.file, &mut buffer, self.from) {
            Ok(()) => Ok(buffer.into()),
            Err(error) => Err(Failed {
                position: first.position,
                place: format!(
                    "reading segment {} at offset {} failed: {error}",
                    first.segment.id, self.from
                ),
                is_damage: error.kind() == std::io::ErrorKind::UnexpectedEof,
            }),
        }
    }

    fn event(&self, location: &Location, bytes: &Bytes) -> Result<RecordedEvent, Failed> {
        let at = |offset: u64| usize::try_from(offset - self.from).expect("within the extent");
        let record = bytes.slice(at(location.offset)..at(location.end));
        let position = Position { partition: 0, sequence: location.position };
        Record::read(&location.segment.salt, position, &record).map_err(|error| {
            let place = format!("segment {} at offset {}: {error}", location.segment.id, location.offset);
            tracing::error!(position = location.position, place, "an event is damaged");
            Failed { position: location.position, place, is_damage: true }
        })
    }
}
