//! A disk that is too small for the log: when the log may refuse work for want of space, and what must work after
//! space was freed.

use gesta_core::{AppendError, Appended, Batch};

use super::Simulation;
use crate::model::Wrong;
use crate::plan::fresh_batch;

/// Space that the log may need besides a frame: the header and the marks of a segment, and a manifest, twice.
const ROOM_BESIDES_BYTES: u64 = 16 << 10;
/// Space that an open may need: it copies frames that are not known to be durable into another segment.
const ROOM_TO_OPEN_BYTES: u64 = 48 << 10;
/// Space that an operator frees on a full disk.
const FREED_BYTES: u64 = 128 << 10;

impl Simulation {
    /// The free bytes, if the disk is limited.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        self.profile.disk_bytes?;
        Some(self.disk_bytes.saturating_sub(self.machine.used_bytes()))
    }

    /// Checks that no batch is refused for want of space while there is enough.
    pub(super) fn check_refused(
        &self,
        batch: &Batch,
        answer: &Result<Appended, AppendError>,
    ) -> Result<(), Wrong> {
        let (Err(AppendError::StorageFull { .. }), Some(free)) = (answer, self.free_bytes()) else {
            return Ok(());
        };
        let events = batch.events.iter().map(|event| event.to_bytes().as_bytes().len() as u64 + 64);
        // One frame fills at most half of a segment, and halving may exceed the smallest size by the same amount
        // again.
        let room = 4 * events.sum::<u64>() + ROOM_BESIDES_BYTES;
        match free > room {
            true => {
                Err(format!("a batch that needs {room} bytes is refused with {free} bytes free: {answer:?}"))
            }
            false => Ok(()),
        }
    }

    /// Checks that a log opens and takes writes while there is enough space.
    pub(super) fn check_opens(&self, why: &dyn std::fmt::Debug) -> Result<(), Wrong> {
        match self.free_bytes() {
            Some(free) if free > ROOM_TO_OPEN_BYTES => {
                Err(format!("an open fails for want of space with {free} bytes free: {why:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Frees space. Then an open log takes appends again without a restart.
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
