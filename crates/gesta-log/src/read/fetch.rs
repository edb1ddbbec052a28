//! Fetching records: neighbours in one read, each proven once, all sharing the buffer they were read into.

use bytes::Bytes;
use gesta_core::{Position, ReadError, RecordedEvent};

use crate::env::read_exact_at;
use crate::format::{FRAME_HEADER_BYTES, Frame, FrameHeader, Record, read_command, u64_at};
use crate::index::{CommandEntry, Fault, Location};
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
                // Both mean that the file is not what it was.
                is_damage: matches!(
                    error.kind(),
                    std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::NotFound
                ),
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

/// When an event was recorded, as its record says.
pub(super) fn recorded_at(location: &Location, run: u64) -> Result<i64, Fault> {
    match fetch(std::slice::from_ref(location)) {
        Fetched { failed: Some(failed), .. } => {
            Err(Fault::Io { run, source: std::io::Error::other(failed.place) })
        }
        Fetched { events, .. } => Ok(events[0].recorded_at().as_nanos()),
    }
}

/// The command of the batch whose first event lies there, and whose last one has that position.
pub(crate) fn command_of(first: &Location, last: u64) -> Result<CommandEntry, Fault> {
    let failed = |source| Fault::Log { segment: first.segment.id, offset: first.offset, source };
    let damaged = || failed(std::io::ErrorKind::InvalidData.into());
    let frame_at = first.offset.checked_sub(FRAME_HEADER_BYTES as u64).ok_or_else(damaged)?;
    let mut header = [0; FRAME_HEADER_BYTES];
    read_exact_at(&*first.segment.file, &mut header, frame_at).map_err(failed)?;
    let header = FrameHeader::read(&first.segment.salt, frame_at, &header).map_err(|_| damaged())?;
    let mut bytes = vec![0; header.length];
    read_exact_at(&*first.segment.file, &mut bytes, frame_at).map_err(failed)?;
    let frame = Frame::read(&first.segment.salt, frame_at, &bytes).map_err(|_| damaged())?;
    let (_, request) = read_command(frame.command).ok_or_else(damaged)?;
    let versions = frame.records().map(|record| u64_at(record, 8)).collect::<Box<[_]>>();
    let entry = CommandEntry { request, first: header.position, versions };
    if entry.last() == last { Ok(entry) } else { Err(damaged()) }
}
