//! The copy of a process: what it knows of the partition.

use std::collections::HashMap;

use gesta_core::{
    AppendError, Batch, Checkpoint, CommandKey, CommandRecord, Condition, EventId, Facts, Placed, Position,
    RecordedBatch, RecordedEvent, StoreId, StreamName, Timestamp, Version, check_marks,
};
use gesta_jetstream::{CopyGroup, Place, Tip};

use super::Wrong;

/// The store of all simulations.
pub(super) const STORE: StoreId = StoreId::from_bytes([7; 16]);

/// The copy of a process.
#[derive(Debug, Clone, Default)]
pub(super) struct Copy {
    events: Vec<RecordedEvent>,
    /// The last position of each batch.
    ends: Vec<u64>,
    /// The command of each batch.
    commands: Vec<Option<CommandKey>>,
    heads: HashMap<String, Placed>,
    /// The places that the copy has had, the newest last.
    places: Vec<Place>,
}

impl Copy {
    /// Adds what a message has. Batches that are there are compared.
    pub(super) fn apply(&mut self, batches: &[RecordedBatch], place: Place) -> Result<(), Wrong> {
        for batch in batches {
            if batch.first().sequence <= self.position() {
                if self.event(batch.first().sequence) != Some(&batch.events()[0]) {
                    return Err(format!("a copy gets another batch at {} than it has", batch.first()));
                }
                continue;
            }
            if batch.first().sequence != self.position() + 1 {
                return Err(format!(
                    "a copy that ends at {} gets a batch at {}",
                    self.position(),
                    batch.first()
                ));
            }
            batch.events().iter().for_each(|event| self.add(event.clone()));
            self.ends.push(self.position());
            self.commands.push(batch.command().cloned());
        }
        self.places.push(place);
        Ok(())
    }

    fn add(&mut self, event: RecordedEvent) {
        let place = Placed { version: event.version(), position: event.position() };
        self.heads.insert(event.stream().to_owned(), place);
        self.events.push(event);
    }

    pub(super) fn position(&self) -> u64 {
        self.events.len() as u64
    }

    /// The time that the next event has at least.
    pub(super) fn recorded_at(&self) -> Timestamp {
        let last = self.events.last().map_or(Timestamp::from_nanos(0), |event| event.recorded_at());
        last.max(self.place().tip.recorded_at)
    }

    pub(super) fn place(&self) -> Place {
        self.places.last().copied().unwrap_or_else(|| Place::at(Tip::start(STORE, 0)))
    }

    /// What is left after a kill: all events of some earlier moment, and a place that may be older still.
    pub(super) fn after_kill(&self, lost_batches: usize, lost_places: usize) -> Self {
        let mut left = Self::default();
        let kept = self.ends.len().saturating_sub(lost_batches);
        left.ends = self.ends[..kept].to_vec();
        left.commands = self.commands[..kept].to_vec();
        let end = left.ends.last().copied().unwrap_or(0);
        let events = self.events.iter().take_while(|event| event.position().sequence <= end);
        events.for_each(|event| left.add(event.clone()));
        let position = left.position();
        left.places = self.places.iter().filter(|place| place.tip.position <= position).copied().collect();
        left.places.truncate(left.places.len().saturating_sub(lost_places));
        left
    }

    pub(super) fn checkpoint(&self) -> Checkpoint {
        let start = Checkpoint::start(STORE, 1);
        self.events.last().map_or(start.clone(), |event| start.past(event))
    }

    pub(super) fn head(&self, stream: &str) -> Option<Placed> {
        self.heads.get(stream).copied()
    }

    pub(super) fn find(&self, stream: &str, id: EventId) -> Option<Placed> {
        let event = self.events.iter().find(|event| event.id() == id && event.stream() == stream)?;
        Some(Placed { version: event.version(), position: event.position() })
    }

    fn command(&self, key: &CommandKey) -> Option<CommandRecord<'_>> {
        let is_same = |command: &Option<CommandKey>| command.as_ref().is_some_and(|own| own.key == key.key);
        let at = self.commands.iter().position(is_same)?;
        let first = at.checked_sub(1).map_or(0, |before| self.ends[before]) + 1;
        let versions =
            (first..=self.ends[at]).filter_map(|at| self.event(at)).map(|event| event.version().get());
        let request = self.commands[at].as_ref().map(|own| own.request)?;
        Some(CommandRecord { request, first, versions: versions.collect() })
    }

    fn event(&self, sequence: u64) -> Option<&RecordedEvent> {
        self.events.get(usize::try_from(sequence.checked_sub(1)?).ok()?)
    }
}

/// The facts of a copy.
struct Known<'a>(&'a Copy);

impl Facts for Known<'_> {
    fn command(&self, key: &CommandKey) -> Option<CommandRecord<'_>> {
        self.0.command(key)
    }

    fn event(&self, _: usize, stream: &StreamName, id: EventId) -> Option<Placed> {
        self.0.find(stream.as_str(), id)
    }

    fn batch_end(&self, sequence: u64) -> u64 {
        *self.0.ends.iter().find(|end| **end >= sequence).expect("an event is in a batch")
    }

    fn head(&self, _: usize, stream: &StreamName) -> Option<Placed> {
        self.0.head(stream.as_str())
    }

    fn expected_event(&self, at: usize, stream: &StreamName, id: EventId) -> Option<Placed> {
        self.event(at, stream, id)
    }

    fn check_place(&self, _: usize, after: &Checkpoint) -> Result<(), AppendError> {
        let head = self.0.checkpoint();
        if !head.at_least(after) {
            return Err(AppendError::CheckpointAhead { checkpoint: after.clone(), head });
        }
        Ok(check_marks(after, |at| self.0.event(at.sequence).map(RecordedEvent::mark))?)
    }

    fn newest_match(&self, _: usize, condition: &Condition, after: u64) -> Option<u64> {
        let newest = self.0.events.iter().rev().take_while(|event| event.position().sequence > after);
        let mut matches = newest.filter(|event| condition.fail_if_any.matches(event));
        matches.next().map(|event| event.position().sequence)
    }
}

/// A group in front of a copy. What is accepted joins a copy of the copy.
pub(super) struct Group<'a> {
    pub(super) copy: Copy,
    pub(super) batches: &'a [Batch],
}

impl CopyGroup for Group<'_> {
    fn facts(&self, _: usize) -> impl Facts {
        Known(&self.copy)
    }

    fn accept(&mut self, at: usize, now: Timestamp) -> RecordedBatch {
        let recorded_at = now.max(self.copy.recorded_at());
        for new in &self.batches[at].events {
            let head = self.copy.head(new.stream.as_str());
            let version = head.map_or(Version::FIRST, |head| head.version.next());
            let position = Position { partition: 0, sequence: self.copy.position() + 1 };
            self.copy.add(RecordedEvent::new(position, version, recorded_at, new.to_bytes()));
        }
        self.copy.ends.push(self.copy.position());
        self.copy.commands.push(self.batches[at].command.clone());
        let first = self.copy.events.len() - self.batches[at].events.len();
        let command = self.batches[at].command.clone();
        RecordedBatch::new(self.copy.events[first..].to_vec(), command).expect("a batch has events")
    }
}
