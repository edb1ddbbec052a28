//! Batches as they were recorded, for a copy of the log: a walk over frames that begins where the index says.

use bytes::Bytes;
use gesta_core::{CommandKey, Position, ReadError, RecordedBatch};

use super::{LookError, data_loss};
use crate::damage::Damage;
use crate::format::{FRAME_HEADER_BYTES, Frame, FrameHeader, FrameKind, Record};
use crate::index::{IndexSnapshot, Location, LookupError, ReadMode};
use crate::limits::{COPY_BATCHES_MAX, COPY_BYTES_MAX};
use crate::segment::{SegmentFile, WalkError, Walker};
use crate::shared::Shared;

/// The next batches after a position, up to another one, which is durable. Waits for the disk. Empty at the end.
pub(crate) fn batches(shared: &Shared, after: u64, until: u64) -> Result<Vec<RecordedBatch>, ReadError> {
    let until = until.min(shared.published.position());
    let mut batches = Pages { batches: Vec::new(), bytes: 0, last: after, until };
    let snapshot = shared.snapshot().map_err(|fault| LookError::from(fault).into_read_error())?;
    while batches.last < until && !batches.is_full() {
        let read = batches.take_segment(shared, &snapshot);
        // What is before the damage is returned; the next call begins with it.
        if let Err(error) = read {
            return if batches.batches.is_empty() { Err(error) } else { Ok(batches.batches) };
        }
    }
    Ok(batches.batches)
}

/// The batches read so far.
struct Pages {
    batches: Vec<RecordedBatch>,
    bytes: usize,
    /// The position of the last event.
    last: u64,
    until: u64,
}

impl Pages {
    const fn is_full(&self) -> bool {
        self.bytes >= COPY_BYTES_MAX || self.batches.len() >= COPY_BATCHES_MAX
    }

    /// Takes batches from the segment that holds the next one.
    fn take_segment(&mut self, shared: &Shared, snapshot: &IndexSnapshot) -> Result<(), ReadError> {
        let next = self.last + 1;
        if let Some(damage) = lost_at(shared, next) {
            return Err(data_loss(shared, damage, damage.to));
        }
        let unavailable = |fault: LookupError| LookError::from(fault).into_read_error();
        let location = location(snapshot, next).map_err(unavailable)?;
        let damaged = |offset: u64| {
            let place = format!("segment {} at offset {offset}", location.segment.id);
            let position = Position { partition: 0, sequence: next };
            let resume = shared.checkpoint(next);
            ReadError::DataLoss { location: place, from: position, to: position, resume }
        };
        let Some(mut offset) = location.offset.checked_sub(FRAME_HEADER_BYTES as u64) else {
            return Err(damaged(location.offset));
        };
        let failed = |error: WalkError| ReadError::Unavailable { reason: error.into_io().to_string() };
        let mut walker = Walker::new(&location.segment).map_err(failed)?;
        let before = self.last;
        while self.last < self.until && !self.is_full() {
            let Some((bytes, header)) = walker.frame_at(offset).map_err(failed)? else { break };
            offset += header.length as u64;
            match header.kind {
                FrameKind::End => break,
                FrameKind::Idle | FrameKind::Start => continue,
                FrameKind::Events if header.position != self.last + 1 => break,
                FrameKind::Events => {}
            }
            match batch(&location.segment, offset - header.length as u64, &bytes, &header) {
                Some(batch) => self.take(batch, &header),
                None => break,
            }
        }
        if self.last > before { Ok(()) } else { Err(damaged(offset)) }
    }

    fn take(&mut self, batch: RecordedBatch, header: &FrameHeader) {
        self.bytes += header.length;
        self.last = header.next_position() - 1;
        self.batches.push(batch);
    }
}

/// The batch in a frame; `None` if it is damaged.
fn batch(segment: &SegmentFile, offset: u64, bytes: &Bytes, header: &FrameHeader) -> Option<RecordedBatch> {
    let frame = Frame::read(&segment.salt, offset, bytes).ok()?;
    let records = (header.position..).zip(frame.records());
    let events = records.map(|(sequence, record)| {
        Record::read(&segment.salt, Position { partition: 0, sequence }, &bytes.slice_ref(record)).ok()
    });
    let command = frame.command_key().map(|(key, request)| CommandKey { key: bytes.slice_ref(key), request });
    RecordedBatch::new(events.collect::<Option<Vec<_>>>()?, command).ok()
}

fn location(snapshot: &IndexSnapshot, position: u64) -> Result<Location, LookupError> {
    let part = snapshot.part_of(position).expect("a durable position without damage is in the index");
    let held = part.look(ReadMode::Disk);
    let part = held.part();
    part.locator().location(part.relative(position))
}

/// The damage that has lost the event at a position.
fn lost_at(shared: &Shared, position: u64) -> Option<&Damage> {
    let mut damage = shared.index.damage().iter();
    damage.find(|damage| damage.loses_events() && (damage.from..=damage.to).contains(&position))
}
