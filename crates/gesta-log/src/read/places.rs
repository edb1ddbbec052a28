//! The marks of places in the log: added to places that are returned, and checked on places that come back.

use gesta_core::{Checkpoint, Limit, Position, RecordedEvent, check_marks};

use super::LookError;
use super::fetch::fetch_one;
use crate::index::{IndexSnapshot, LookupError, ReadMode};
use crate::shared::{Head, Shared};

/// Checks that a checkpoint within the log belongs to this history.
pub(crate) fn check_place(shared: &Shared, checkpoint: &Checkpoint, mode: ReadMode) -> Result<(), LookError> {
    if checkpoint.mark(0).is_none() {
        return Ok(());
    }
    let found = mark_at(shared, checkpoint.sequence(0), mode)?;
    check_marks(checkpoint, |_| found).map_err(|diverged| LookError::Read(diverged.into()))
}

/// The checkpoint at a position, with its mark.
pub(crate) fn place_at(shared: &Shared, sequence: u64, mode: ReadMode) -> Result<Checkpoint, LookupError> {
    Ok(shared.checkpoint_of(Head { position: sequence, mark: mark_at(shared, sequence, mode)? }))
}

/// The mark of the event at a durable position: from memory if this log returned or checked it before, else from its
/// record. `None` at position 0, and if the event is damaged.
pub(crate) fn mark_at(shared: &Shared, sequence: u64, mode: ReadMode) -> Result<Option<u32>, LookupError> {
    if sequence == 0 {
        return Ok(None);
    }
    let head = shared.published.head();
    if head.position == sequence && head.mark.is_some() {
        return Ok(head.mark);
    }
    if let Some(mark) = shared.marks.get(sequence) {
        return Ok(Some(mark));
    }
    let event = match shared.snapshot() {
        Ok(snapshot) => event_in(&snapshot, sequence, mode)?,
        Err(fault) => event_by_walk(shared, sequence, mode, fault)?,
    };
    let mark = event.map(|event| event.mark());
    if let Some(mark) = mark {
        shared.marks.put(sequence, mark);
    }
    Ok(mark)
}

/// The mark of the event at a position, in an index that is not visible yet. `None` if the event is unreadable.
pub(crate) fn mark_in(snapshot: &IndexSnapshot, sequence: u64) -> Option<u32> {
    let event = event_in(snapshot, sequence, ReadMode::Disk);
    let event = event.unwrap_or_else(|error| {
        tracing::warn!(sequence, %error, "the last event could not be read: the place after it has no mark");
        None
    });
    event.map(|event| event.mark())
}

fn event_in(
    snapshot: &IndexSnapshot,
    sequence: u64,
    mode: ReadMode,
) -> Result<Option<RecordedEvent>, LookupError> {
    let Some(part) = snapshot.part_of(sequence) else { return Ok(None) };
    let location = {
        let held = part.look(mode);
        let part = held.part();
        part.locator().location(part.relative(sequence))?
    };
    fetch_one(&location, mode)
}

/// The event at a position of a log without a complete index.
fn event_by_walk(
    shared: &Shared,
    sequence: u64,
    mode: ReadMode,
    fault: LookupError,
) -> Result<Option<RecordedEvent>, LookupError> {
    let Some(building) = &shared.building else { return Err(fault) };
    if mode == ReadMode::Memory {
        return Err(LookupError::NotInMemory);
    }
    let scanned = building.frames.forward(sequence - 1, sequence, Limit::default())?;
    let at = Position { partition: 0, sequence };
    Ok(scanned.events.into_iter().find(|event| event.position() == at))
}
