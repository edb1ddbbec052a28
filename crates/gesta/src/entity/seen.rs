//! What a decision has seen: the versions, the batches that they rest on, and how far the log was read.

use std::sync::Arc;

use gesta_core::{Checkpoint, Condition, EventId, Expected, Position, StreamName, Version};

use crate::boundary::{Part, expected};

use super::line::{Base, Next};
use super::outcome::Outcome;
use super::plan::PartPlan;
use super::planted::{Bug, planted};

/// What a decision has seen.
pub(super) struct Seen {
    /// The streams, in the order of the parts, each once.
    pub(super) streams: Vec<SeenStream>,
    /// The conditions of the parts over queries.
    pub(super) conditions: Vec<Condition>,
    /// A place that covers the durable events.
    pub(super) read_to: Option<Checkpoint>,
    /// All parts were read at one place, after the command arrived.
    pub(super) is_at_gate: bool,
}

/// What a decision has seen of one stream.
pub(super) struct SeenStream {
    pub(super) line: usize,
    pub(super) stream: StreamName,
    pub(super) version: Option<Version>,
    pub(super) id: Option<EventId>,
    /// The position of the last event; unknown while it is not durable.
    pub(super) position: Option<Position>,
    /// The batch of the last event, if it is not settled.
    pub(super) rests_on: Option<Arc<Outcome>>,
    /// When its newest load began.
    pub(super) loaded_at: u64,
    /// The next batch of this process in the stream, once there is one.
    pub(super) next: Arc<Next>,
}

impl Seen {
    pub(super) const fn new(is_at_gate: bool) -> Self {
        Self { streams: Vec::new(), conditions: Vec::new(), read_to: None, is_at_gate }
    }

    /// Adds a part, with the base of its kept state and the next batch of its line.
    pub(super) fn add(&mut self, part: &dyn Part, plan: PartPlan, kept: Option<(&Base, Arc<Next>)>) {
        let (base, next) = kept.unzip();
        self.conditions.extend(part.condition());
        let read_to = base.map_or_else(|| part.scanned_to(), |base| base.read_to.as_ref());
        if let Some(read_to) = read_to {
            self.read_to = Some(join(self.read_to.take(), read_to));
        }
        let (Some((stream, version)), PartPlan::Kept { line, .. } | PartPlan::Read { line: Some(line) }) =
            (part.expectation(), plan)
        else {
            return;
        };
        let base = base.cloned().unwrap_or_else(|| Base { version, ..Base::default() });
        let Base { version, id, position, rests_on, loaded_at, .. } = base;
        let next = next.unwrap_or_default();
        let seen = SeenStream { line, stream, version, id, position, rests_on, loaded_at, next };
        match self.streams.iter_mut().find(|known| known.line == line) {
            // Two parts that saw different versions saw states that never were together: the append must fail.
            Some(known) if seen.version < known.version => *known = seen,
            Some(_) => {}
            None => self.streams.push(seen),
        }
    }

    /// The unsettled batches that the states rest on, each once.
    pub(super) fn needs(&self) -> Vec<Arc<Outcome>> {
        let mut needs = Vec::<Arc<Outcome>>::new();
        for outcome in self.streams.iter().filter_map(|seen| seen.rests_on.as_ref()) {
            if needs.iter().all(|known| known.number() != outcome.number()) {
                needs.push(Arc::clone(outcome));
            }
        }
        needs
    }

    /// The last version of each stream that has events.
    pub(super) fn versions(&self) -> Vec<(StreamName, Version)> {
        self.streams.iter().filter_map(|seen| Some((seen.stream.clone(), seen.version?))).collect()
    }
}

impl SeenStream {
    /// What an append expects of the stream. A version does not name an event that is not durable: if its batch is
    /// refused, another event may take the version.
    pub(super) fn expectation(&self) -> (StreamName, Expected) {
        let anchor = self.rests_on.as_ref().and(self.version.zip(self.id));
        let anchor = anchor.filter(|_| !planted(Bug::NoAnchor));
        let expected =
            anchor.map_or_else(|| expected(self.version), |(version, id)| Expected::Event { version, id });
        (self.stream.clone(), expected)
    }

    /// The position of the last event, once it is durable.
    pub(super) fn durable_position(&self) -> Option<Position> {
        match &self.rests_on {
            Some(outcome) => outcome.last_place(&self.stream).map(|place| place.position),
            None => self.position,
        }
    }
}

/// The smallest place that covers both. A place of another store counts for nothing.
pub(super) fn join(a: Option<Checkpoint>, b: &Checkpoint) -> Checkpoint {
    a.filter(|a| a.is_comparable(b)).map_or_else(|| b.clone(), |a| a.join(b))
}

#[cfg(test)]
mod tests {
    use gesta_core::StoreId;

    use super::*;

    #[test]
    fn the_join_of_two_places_covers_both() {
        let at = |sequences: [u64; 3]| Checkpoint::new(StoreId::from_bytes([7; 16]), sequences);
        assert_eq!(join(Some(at([1, 5, 0])), &at([2, 3, 0])), at([2, 5, 0]));
        assert_eq!(join(None, &at([2, 3, 0])), at([2, 3, 0]));
    }
}
