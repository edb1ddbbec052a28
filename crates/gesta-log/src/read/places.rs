//! The marks of places in the log: looked up where a place is given out, and checked where one comes back.

use gesta_core::{Checkpoint, Limit, Position, RecordedEvent, check_marks};

use super::LookError;
use super::fetch::fetch_one;
use crate::index::{Fault, Reach, View};
use crate::shared::{Head, Shared};

/// Checks that a checkpoint within the log is one of this history.
pub(crate) fn check_place(shared: &Shared, checkpoint: &Checkpoint, reach: Reach) -> Result<(), LookError> {
    if checkpoint.mark(0).is_none() {
        return Ok(());
    }
    let found = mark_at(shared, checkpoint.sequence(0), reach)?;
    check_marks(checkpoint, |_| found).map_err(|diverged| LookError::Read(diverged.into()))
}

/// The checkpoint at a position, with its mark.
pub(crate) fn place_at(shared: &Shared, sequence: u64, reach: Reach) -> Result<Checkpoint, Fault> {
    Ok(shared.checkpoint_of(Head { position: sequence, mark: mark_at(shared, sequence, reach)? }))
}

/// The mark of the event at a durable position: from memory if this log gave it out or checked it, else from its record. `None` at
/// position 0, and where the event is damaged.
pub(crate) fn mark_at(shared: &Shared, sequence: u64, reach: Reach) -> Result<Option<u32>, Fault> {
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
    let event = match shared.view() {
        Ok(view) => event_in(&view, sequence, reach)?,
        Err(fault) => event_by_walk(shared, sequence, reach, fault)?,
    };
    let mark = event.map(|event| event.mark());
    if let Some(mark) = mark {
        shared.marks.put(sequence, mark);
    }
    Ok(mark)
}

/// The mark of the event at a position of an index that is not shown yet. `None` where it cannot be read.
pub(crate) fn mark_in(view: &View, sequence: u64) -> Option<u32> {
    let event = event_in(view, sequence, Reach::Disk);
    let event = event.unwrap_or_else(|error| {
        tracing::warn!(sequence, %error, "the last event could not be read: places there have no mark");
        None
    });
    event.map(|event| event.mark())
}

fn event_in(view: &View, sequence: u64, reach: Reach) -> Result<Option<RecordedEvent>, Fault> {
    let Some(part) = view.part_of(sequence) else { return Ok(None) };
    let location = {
        let held = part.look(reach);
        let part = held.part();
        part.locator().location(part.relative(sequence))?
    };
    fetch_one(&location, reach)
}

/// The event at a position of a log whose index is not there yet.
fn event_by_walk(
    shared: &Shared,
    sequence: u64,
    reach: Reach,
    fault: Fault,
) -> Result<Option<RecordedEvent>, Fault> {
    let Some(building) = &shared.building else { return Err(fault) };
    if reach == Reach::Memory {
        return Err(Fault::NotInMemory);
    }
    let scanned = building.frames.forward(sequence - 1, sequence, Limit::default())?;
    let at = Position { partition: 0, sequence };
    Ok(scanned.events.into_iter().find(|event| event.position() == at))
}
