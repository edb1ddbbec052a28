//! Fetches records. Neighbours are fetched in one read, each record is verified once, and all share the buffer they
//! were read into.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use gesta_core::{Position, ReadError, RecordedEvent};

use crate::env::read_exact_at;
use crate::format::{FRAME_HEADER_BYTES, Frame, FrameHeader, Record, read_command, version_in};
use crate::index::{CommandEntry, Location, LookupError, ReadMode};
use crate::limits::{
    CACHED_READ_BYTES_MAX, CACHED_READ_EVENTS_MAX, READ_AHEAD_BYTES_MAX, READ_BUFFER_BYTES, READ_BYTES_MAX,
    READ_GAP_BYTES_MAX, READS_AHEAD,
};
use crate::shared::Shared;

/// The events up to the first unreadable record.
pub(super) struct Fetched {
    pub(super) events: Vec<RecordedEvent>,
    pub(super) failed: Option<Failed>,
}

/// A record that could not be read.
pub(super) struct Failed {
    pub(super) position: u64,
    /// Its place, and the error.
    place: String,
    /// Whether its bytes are damaged or missing.
    is_damage: bool,
}

impl Failed {
    fn reading(first: &Location, extent: &Extent, error: &std::io::Error) -> Self {
        Self {
            position: first.position,
            place: format!("reading segment {} at offset {} failed: {error}", first.segment.id, extent.from),
            // Both mean that the file lost bytes.
            is_damage: matches!(
                error.kind(),
                std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::NotFound
            ),
        }
    }

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

/// Reads and verifies the records at these locations, in their order. Waits for the disk.
pub(super) fn fetch(locations: &[Location]) -> Fetched {
    let mut reader = Reader::new(locations, ReadMode::Disk);
    let mut events = Vec::with_capacity(locations.len());
    let failed = reader.fetch_into(&mut events).err();
    if let Some(Failed { position, place, is_damage: true }) = &failed {
        tracing::error!(position, place, "an event is damaged");
    }
    Fetched { events, failed }
}

/// Like [`fetch`], for threads that must not wait: only a few records that are all in memory. `None` otherwise and
/// after any error, which [`fetch`] then returns.
pub(super) fn fetch_cached(locations: &[Location]) -> Option<Vec<RecordedEvent>> {
    let bytes = locations.iter().map(Location::len).sum::<u64>();
    if locations.len() > CACHED_READ_EVENTS_MAX || bytes > CACHED_READ_BYTES_MAX {
        return None;
    }
    let mut reader = Reader::new(locations, ReadMode::Memory);
    let mut events = Vec::with_capacity(locations.len());
    reader.fetch_into(&mut events).ok()?;
    Some(events)
}

/// Reads extent after extent. Tries memory first. Once a read has to wait for the disk, later reads are announced to
/// the disk: it does many at once in about the time of one.
///
/// *Choice: announcements, not threads.* Sixteen reading threads were no faster, took twice the processor time, and
/// would be woken even for reads that are in memory.
struct Reader<'a> {
    mode: ReadMode,
    rest: &'a [Location],
    /// The locations after the announced reads.
    untold: &'a [Location],
    /// Announced reads that are still to be made, and their bytes.
    told: usize,
    told_bytes: u64,
    /// Whether a read had to wait for the disk.
    is_cold: bool,
}

impl<'a> Reader<'a> {
    const fn new(locations: &'a [Location], mode: ReadMode) -> Self {
        Self { mode, rest: locations, untold: locations, told: 0, told_bytes: 0, is_cold: false }
    }

    fn fetch_into(&mut self, events: &mut Vec<RecordedEvent>) -> Result<(), Failed> {
        while !self.rest.is_empty() {
            let (extents, len) = gather(self.rest);
            let (mut buffer, mut at) = (vec![0; len], 0);
            let (locations, mut read) = (self.rest, Ok(()));
            let mut whole = 0;
            for (extent, count) in &extents {
                read = self.read(extent, *count, &mut buffer[at..at + extent.size()]);
                if read.is_err() {
                    break;
                }
                at += extent.size();
                whole += 1;
            }
            let (bytes, mut at, mut rest) = (Bytes::from(buffer), 0, locations);
            for (extent, count) in &extents[..whole] {
                let bytes = bytes.slice(at..at + extent.size());
                for location in &rest[..*count] {
                    events.push(extent.event(location, &bytes)?);
                }
                at += extent.size();
                rest = &rest[*count..];
            }
            read?;
        }
        Ok(())
    }

    /// Reads the first extent of the rest. It covers `count` locations.
    fn read(&mut self, extent: &Extent, count: usize, buffer: &mut [u8]) -> Result<(), Failed> {
        let first = &self.rest[0];
        self.rest = &self.rest[count..];
        match self.told {
            0 => self.untold = self.rest,
            _ => (self.told, self.told_bytes) = (self.told - 1, self.told_bytes - extent.len()),
        }
        if !self.is_cold {
            if first.segment.file.read_cached_at(buffer, extent.from) {
                return Ok(());
            }
            self.is_cold = true;
        }
        if self.mode == ReadMode::Memory {
            return Err(Failed::reading(first, extent, &std::io::ErrorKind::WouldBlock.into()));
        }
        self.tell();
        read_exact_at(&*first.segment.file, buffer, extent.from)
            .map_err(|error| Failed::reading(first, extent, &error))
    }

    /// Announces as many reads as the disk should do at once.
    fn tell(&mut self) {
        while self.told < READS_AHEAD && self.told_bytes < READ_AHEAD_BYTES_MAX && !self.untold.is_empty() {
            let (extent, count) = Extent::over(self.untold);
            self.untold[0].segment.file.will_read(extent.from, extent.len());
            self.untold = &self.untold[count..];
            self.told += 1;
            self.told_bytes += extent.len();
        }
    }
}

/// The first extents that fit one buffer, each with its number of locations, and the length of the buffer. A separate
/// allocation for each record would cost as much as the reads.
fn gather(locations: &[Location]) -> (Vec<(Extent, usize)>, usize) {
    let (mut extents, mut len, mut rest) = (Vec::new(), 0, locations);
    while !rest.is_empty() {
        let (extent, count) = Extent::over(rest);
        if !extents.is_empty() && len + extent.size() > READ_BUFFER_BYTES {
            break;
        }
        len += extent.size();
        rest = &rest[count..];
        extents.push((extent, count));
    }
    (extents, len)
}

/// A range of one segment that is read at once.
struct Extent {
    from: u64,
    to: u64,
}

impl Extent {
    /// The extent over the first locations that lie near each other, in either direction, and their number.
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

    fn size(&self) -> usize {
        usize::try_from(self.len()).expect("a segment is at most 1 GiB")
    }

    fn event(&self, location: &Location, bytes: &Bytes) -> Result<RecordedEvent, Failed> {
        let at = |offset: u64| usize::try_from(offset - self.from).expect("within the extent");
        let record = bytes.slice(at(location.offset)..at(location.end));
        let position = Position { partition: 0, sequence: location.position };
        Record::read(&location.segment.salt, position, &record).map_err(|error| {
            let place = format!("segment {} at offset {}: {error}", location.segment.id, location.offset);
            Failed { position: location.position, place, is_damage: true }
        })
    }
}

/// Reads the one record at a location; `None` if it is damaged.
pub(super) fn fetch_one(location: &Location, mode: ReadMode) -> Result<Option<RecordedEvent>, LookupError> {
    let locations = std::slice::from_ref(location);
    if mode == ReadMode::Memory {
        let mut events = fetch_cached(locations).ok_or(LookupError::NotInMemory)?;
        return Ok(events.pop());
    }
    let Fetched { mut events, failed } = fetch(locations);
    match failed {
        Some(Failed { is_damage: false, place, .. }) => {
            let (segment, offset) = (location.segment.id, location.offset);
            Err(LookupError::Log { segment, offset, source: std::io::Error::other(place) })
        }
        _ => Ok(events.pop()),
    }
}

/// The time at which an event was recorded, from its record.
pub(super) fn recorded_at(location: &Location, run: u64) -> Result<i64, LookupError> {
    match fetch(std::slice::from_ref(location)) {
        Fetched { failed: Some(failed), .. } => {
            Err(LookupError::Io { run, source: std::io::Error::other(failed.place) })
        }
        Fetched { events, .. } => Ok(events[0].recorded_at().as_nanos()),
    }
}

/// The command of a batch. `first` is the location of its first event, `last` the position of its last one.
pub(crate) fn command_of(first: &Location, last: u64) -> Result<CommandEntry, LookupError> {
    let failed = |source| LookupError::Log { segment: first.segment.id, offset: first.offset, source };
    let damaged = || failed(std::io::ErrorKind::InvalidData.into());
    let frame_at = first.offset.checked_sub(FRAME_HEADER_BYTES as u64).ok_or_else(damaged)?;
    let mut header = [0; FRAME_HEADER_BYTES];
    read_exact_at(&*first.segment.file, &mut header, frame_at).map_err(failed)?;
    let header = FrameHeader::read(&first.segment.salt, frame_at, &header).map_err(|_| damaged())?;
    let mut bytes = vec![0; header.length];
    read_exact_at(&*first.segment.file, &mut bytes, frame_at).map_err(failed)?;
    let frame = Frame::read(&first.segment.salt, frame_at, &bytes).map_err(|_| damaged())?;
    let (_, request) = read_command(frame.command).ok_or_else(damaged)?;
    let versions = frame.records().map(version_in).collect::<Box<[_]>>();
    let entry = CommandEntry { request, first: header.position, versions };
    if entry.last() == last { Ok(entry) } else { Err(damaged()) }
}
