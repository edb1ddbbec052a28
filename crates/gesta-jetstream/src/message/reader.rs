//! Reads the fields of a message, and refuses what no writer writes.

use std::collections::HashMap;

use bytes::Bytes;
use gesta_core::{
    COMMAND_KEY_BYTES_MAX, CommandKey, EventBytes, Position, RecordedBatch, RecordedEvent, Timestamp, Version,
};

use super::{CHECKSUM_BYTES, MessageError};
use crate::limits::MESSAGE_BATCHES_MAX;

/// The bytes that are not read yet.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(super) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], MessageError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(MessageError::Field { field })?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, MessageError> {
        self.array(field).map(u64::from_le_bytes)
    }

    pub(super) fn time(&mut self, field: &'static str) -> Result<Timestamp, MessageError> {
        self.array(field).map(|bytes| Timestamp::from_nanos(i64::from_le_bytes(bytes)))
    }

    fn count(&mut self, field: &'static str) -> Result<usize, MessageError> {
        self.array(field).map(|bytes| u32::from_le_bytes(bytes) as usize)
    }

    /// Takes bytes as a piece of the whole message, without a copy.
    fn piece(&mut self, message: &Bytes, length: usize, field: &'static str) -> Result<Bytes, MessageError> {
        let from = message.len() - CHECKSUM_BYTES - self.rest.len();
        self.rest = self.rest.get(length..).ok_or(MessageError::Field { field })?;
        Ok(message.slice(from..from + length))
    }

    /// Takes the batches.
    pub(super) fn batches(
        &mut self,
        message: &Bytes,
        partition: u16,
        position_before: u64,
    ) -> Result<Vec<RecordedBatch>, MessageError> {
        let number = self.count("number of batches")?;
        if number > MESSAGE_BATCHES_MAX {
            return Err(MessageError::Field { field: "number of batches" });
        }
        let mut batches = Vec::new();
        let mut last = Position { partition, sequence: position_before };
        let mut time = None;
        for _ in 0..number {
            let batch = self.batch(message, last)?;
            if time.is_some_and(|time| batch.recorded_at() < time) {
                return Err(MessageError::Field { field: "time of a batch" });
            }
            time = Some(batch.recorded_at());
            last = batch.last().position();
            batches.push(batch);
        }
        check_versions(&batches)?;
        Ok(batches)
    }

    /// Takes the floor, if there is one. It is all that is left.
    pub(super) fn floor(&mut self, last: Option<&RecordedBatch>) -> Result<Option<Timestamp>, MessageError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let floor = self.time("end")?;
        if !self.rest.is_empty() {
            return Err(MessageError::Field { field: "end" });
        }
        match last.is_some_and(|last| floor <= last.recorded_at()) {
            true => Err(MessageError::Field { field: "floor" }),
            false => Ok(Some(floor)),
        }
    }

    fn batch(&mut self, message: &Bytes, last: Position) -> Result<RecordedBatch, MessageError> {
        let recorded_at = self.time("time of a batch")?;
        let command = self.command(message)?;
        let number = self.count("number of events")?;
        let mut events = Vec::new();
        let mut sequence = last.sequence;
        for _ in 0..number {
            let version = Version::new(self.u64("version")?);
            let length = self.count("length of an event")?;
            let event = EventBytes::parse(self.piece(message, length, "length of an event")?)?;
            // A position after it is left: places are counted past it.
            sequence += 1;
            if sequence == u64::MAX {
                return Err(MessageError::Field { field: "position" });
            }
            let position = Position { partition: last.partition, sequence };
            events.push(RecordedEvent::new(position, version, recorded_at, event));
        }
        Ok(RecordedBatch::new(events, command)?)
    }

    fn command(&mut self, message: &Bytes) -> Result<Option<CommandKey>, MessageError> {
        let length = usize::from(u16::from_le_bytes(self.array("length of a command key")?));
        match length {
            0 => Ok(None),
            1..=COMMAND_KEY_BYTES_MAX => {
                let key = self.piece(message, length, "command key")?;
                Ok(Some(CommandKey { key, request: self.array("request of a command")? }))
            }
            _ => Err(MessageError::Field { field: "length of a command key" }),
        }
    }
}

/// Checks that the events of each stream have versions without a gap.
fn check_versions(batches: &[RecordedBatch]) -> Result<(), MessageError> {
    let mut last = HashMap::<&str, u64>::new();
    for event in batches.iter().flat_map(RecordedBatch::events) {
        let version = event.version().get();
        let before = last.insert(event.stream(), version);
        if before.is_some_and(|before| before.checked_add(1) != Some(version)) {
            return Err(MessageError::Field { field: "version" });
        }
    }
    Ok(())
}
