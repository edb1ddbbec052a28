//! A disk that the log outgrows: what may be refused for want of space, and what has to go on once there is space again.

use gesta_core::{AppendError, Appended, Batch};

use super::Simulation;
use crate::model::Wrong;
use crate::plan::fresh_batch;

/// Room that the log may want besides that for a frame: the header and the marks of a segment, and a manifest, twice.
const ROOM_BESIDES_BYTES: u64 = 16 << 10;
/// Room that an open may want: frames that are not known to be durable are copied into a segment of their own.
const ROOM_TO_OPEN_BYTES: u64 = 48 << 10;
/// What an operator frees on a disk that is full.
const FREED_BYTES: u64 = 128 << 10;

impl Simulation {
    /// The bytes that are free, where the disk has an end.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        self.profile.disk_bytes?;
        Some(self.disk_bytes.saturating_sub(self.machine.used_bytes()))
    }

    /// Nothing is refused for want of space while there is some.
    pub(super) fn check_refused(
        &self,
        batch: &Batch,
        answer: &Result<Appended, AppendError>,
    ) -> Result<(), Wrong> {
        let (Err(AppendError::StorageFull { .. }), Some(free)) = (answer, self.free_bytes()) else {
            return Ok(());
        };
        let events = batch.events.iter().map(|event| event.to_bytes().as_bytes().len() as u64 + 64);
        // A segment is at most half filled by one frame, and halving may pass the smallest size by as much again.
        let room = 4 * events.sum::<u64>() + ROOM_BESIDES_BYTES;
        match free > room {
            true => {
                Err(format!("a batch that needs {room} bytes is refused with {free} bytes free: {answer:?}"))
            }
            false => Ok(()),
        }
    }

    /// A log is opened, and takes writes, while there is some space.
    pub(super) fn check_opens(&self, why: &dyn std::fmt::Debug) -> Result<(), Wrong> {
        match self.free_bytes() {
            Some(free) if free > ROOM_TO_OPEN_BYTES => {
                Err(format!("an open fails for want of space with {free} bytes free: {why:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Frees some space: then a log that is open takes appends again, without being opened anew.
    pub(super) fn free_space(&mut self) -> Result<(), Wrong> {
        if self.profile.disk_bytes.is_none() {
            return Ok(());
        }
        self.disk_bytes = self.machine.used_bytes() + FREED_BYTES;
        self.machine.set_capacity(Some(self.disk_bytes));
        let Some(log) = self.log.clone().filter(|_| !self.machine.is_stopped()) else { return Ok(()) };
        let batch = fresh_batch(&mut self.random, self.model.sent.len(), &self.model);
        let number = self.model.send(batch.clone());
        let answer = log.append_blocking(batch);
        if let Err(AppendError::StorageFull { .. } | AppendError::ReadOnly { .. }) = &answer {
            return Err(format!("{FREED_BYTES} bytes were freed, and an append is refused: {answer:?}"));
        }
        self.model.answered(number, &answer, self.is_faulty())
    }
}
