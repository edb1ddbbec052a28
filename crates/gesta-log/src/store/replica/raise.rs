//! Translation between the words of the log, which has one partition, and those of the source.

use gesta_core::{Appended, Checkpoint, Placed, Position, ReadError, RecordedBatch, RecordedEvent};

use super::Replica;

impl Replica {
    /// Translates a place of the source into one of the log: that of the partition alone.
    #[must_use]
    pub fn lower(&self, place: &Checkpoint) -> Checkpoint {
        let sequence = place.sequence(self.partition);
        let lowered = Checkpoint::new(place.store(), [sequence]);
        match place.mark(self.partition) {
            Some(mark) => lowered.with_mark(Position { partition: 0, sequence }, mark),
            None => lowered,
        }
    }

    /// Moves the place of the partition in `whole`, a place of the source, to a place of the log.
    ///
    /// # Panics
    /// If `whole` has no such partition.
    #[must_use]
    pub fn raise(&self, place: &Checkpoint, whole: Checkpoint) -> Checkpoint {
        let at = self.raise_position(Position { partition: 0, sequence: place.sequence(0) });
        match place.mark(0) {
            Some(mark) => whole.with_mark(at, mark),
            None => whole.with(at.partition, at.sequence),
        }
    }

    /// Translates a position of the log into one of the source.
    #[must_use]
    pub const fn raise_position(&self, position: Position) -> Position {
        Position { partition: self.partition, sequence: position.sequence }
    }

    /// Translates an event that the log has read into one of the source. The bytes are shared.
    #[must_use]
    pub fn raise_event(&self, event: &RecordedEvent) -> RecordedEvent {
        let position = self.raise_position(event.position());
        RecordedEvent::new(position, event.version(), event.recorded_at(), (**event).clone())
    }

    /// Translates a batch that the log has read into one of the source. The bytes are shared.
    #[must_use]
    pub fn raise_batch(&self, batch: &RecordedBatch) -> RecordedBatch {
        let events = batch.events().iter().map(|event| self.raise_event(event)).collect();
        RecordedBatch::new(events, batch.command().cloned()).expect("it was a batch before")
    }

    /// Translates the log's answer to a repeat. `start` is the place before the first event of the source.
    ///
    /// # Panics
    /// If `start` has no such partition.
    #[must_use]
    pub fn raise_appended(&self, appended: Appended, start: &Checkpoint) -> Appended {
        let place = |place: Placed| Placed { position: self.raise_position(place.position), ..place };
        Appended {
            places: appended.places.into_iter().map(place).collect(),
            checkpoint: self.raise(&appended.checkpoint, start.clone()),
            ..appended
        }
    }

    /// Translates the log's refusal of a read. `whole` has the places of the other partitions.
    ///
    /// # Panics
    /// If `whole` has no such partition.
    #[must_use]
    pub fn raise_error(&self, error: ReadError, whole: &Checkpoint) -> ReadError {
        let raise = |place: &Checkpoint| self.raise(place, whole.clone());
        match error {
            ReadError::ForeignCheckpoint { checkpoint } => {
                ReadError::ForeignCheckpoint { checkpoint: raise(&checkpoint) }
            }
            ReadError::CheckpointAhead { checkpoint, head } => {
                ReadError::CheckpointAhead { checkpoint: raise(&checkpoint), head: raise(&head) }
            }
            ReadError::Diverged { checkpoint, found } => {
                ReadError::Diverged { checkpoint: raise(&checkpoint), found: raise(&found) }
            }
            ReadError::DataLoss { location, from, to, resume } => ReadError::DataLoss {
                location,
                from: self.raise_position(from),
                to: self.raise_position(to),
                resume: raise(&resume),
            },
            other => other,
        }
    }
}
