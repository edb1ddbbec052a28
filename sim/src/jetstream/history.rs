//! What the cluster has at the end, read without the code that wrote it but for the bytes of messages.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use bytes::Bytes;
use gesta_core::{
    Batch, Expected, NewEvent, RecordedBatch, RecordedEvent, Repeat, StreamName, Timestamp, Version,
};
use gesta_jetstream::{Message, Tip};

use super::Wrong;
use super::cluster::{Cluster, Stored};
use super::copy::STORE;
use super::judge::Operation;

/// How far a time may be ahead of the server's: what a process with a right clock never reaches.
const AHEAD_MAX_NANOS: i64 = 10_000_000_000;

/// The versions of all streams at one moment.
type Heads = HashMap<String, Version>;

/// What the cluster has at the end. A moment is a number of batches: a batch is decided after those before it in its message.
pub(super) struct History {
    events: Vec<RecordedEvent>,
    /// The number of events at each moment.
    ends: Vec<usize>,
    heads: Vec<Heads>,
    /// The moment after each message; the first one is before all of them.
    moments: Vec<usize>,
    /// The request of each command key, and its first position.
    commands: HashMap<Bytes, ([u8; 32], u64)>,
    operations: HashSet<usize>,
    /// The highest floor so far.
    floor: Timestamp,
    /// True if a message follows one that is lost. Nothing after it counts.
    pub(super) is_broken: bool,
}

impl History {
    /// Reads all messages, and checks their order and what each batch expected.
    pub(super) fn read(cluster: &Cluster, operations: &[Operation], has_lost: bool) -> Result<Self, Wrong> {
        let mut history = Self {
            events: Vec::new(),
            ends: vec![0],
            heads: vec![Heads::new()],
            moments: vec![0],
            commands: HashMap::new(),
            operations: HashSet::new(),
            floor: Timestamp::MIN,
            is_broken: false,
        };
        let mut tip = Tip::start(STORE, 0);
        for (number, stored) in (1..).zip(&cluster.log) {
            let wrong = |error: &dyn std::fmt::Display| format!("message {number} cannot be read: {error}");
            let message = Message::decode(&stored.bytes, 0).map_err(|error| wrong(&error))?;
            tip = match message.follow(&tip, number) {
                Ok(tip) => tip,
                Err(_) if has_lost => {
                    history.is_broken = true;
                    return Ok(history);
                }
                Err(error) => return Err(wrong(&error)),
            };
            let mut heads = history.heads[history.heads.len() - 1].clone();
            for batch in message.batches() {
                history.add(batch, &mut heads, stored, (operations, has_lost))?;
                history.heads.push(heads.clone());
                history.ends.push(history.events.len());
            }
            history.floor = history.floor.max(message.floor().unwrap_or(Timestamp::MIN));
            history.moments.push(history.ends.len() - 1);
        }
        Ok(history)
    }

    fn add(
        &mut self,
        batch: &RecordedBatch,
        heads: &mut Heads,
        stored: &Stored,
        (operations, has_lost): (&[Operation], bool),
    ) -> Result<(), Wrong> {
        let number = usize::try_from(u128::from_be_bytes(*batch.events()[0].id().as_bytes()) / 16);
        let number = number.expect("ids are made from numbers");
        let sent = &operations.get(number).ok_or("an event is of no operation")?.batch;
        let ids = batch.events().iter().map(|event| event.id());
        if !ids.eq(sent.events.iter().map(|event| event.id)) || batch.command() != sent.command.as_ref() {
            return Err(format!("operation {number} is written as another batch"));
        }
        self.check_expected(number, sent, heads, has_lost)?;
        self.check_new(number, batch)?;
        self.check_time(number, batch, stored.stored_at)?;
        for event in batch.events() {
            let next = heads.get(event.stream()).map_or(Version::FIRST, |version| version.next());
            if event.version() != next {
                return Err(format!(
                    "an event of operation {number} has version {} for {next}",
                    event.version()
                ));
            }
            heads.insert(event.stream().to_owned(), next);
            self.events.push(event.clone());
        }
        Ok(())
    }

    /// Checks that what a batch expects is true at its place.
    fn check_expected(
        &self,
        number: usize,
        batch: &Batch,
        heads: &Heads,
        has_lost: bool,
    ) -> Result<(), Wrong> {
        for (stream, expected) in &batch.expect {
            let actual = heads.get(stream.as_str()).copied();
            if !expected.is_met_by(actual, |_| None) {
                return Err(format!("operation {number} expects {expected} and is written after {actual:?}"));
            }
        }
        for condition in &batch.conditions {
            let after = condition.after.as_ref().map_or(0, |after| after.sequence(0));
            let newer = self.events.get(usize::try_from(after).expect("a few")..).unwrap_or(&[]);
            // After a loss, the place of a condition may be one of another history, which its mark tells.
            if newer.iter().any(|event| condition.fail_if_any.matches(event)) && !has_lost {
                return Err(format!("operation {number} is written though its condition fails"));
            }
        }
        Ok(())
    }

    /// Checks that neither the command key of a batch nor the ids of its events were written before.
    fn check_new(&mut self, number: usize, batch: &RecordedBatch) -> Result<(), Wrong> {
        let is_known = |event: &RecordedEvent| self.find(self.events.len(), event.stream(), event).is_some();
        if batch.events().iter().any(is_known) || !self.operations.insert(number) {
            return Err(format!("operation {number} is written twice"));
        }
        let Some(command) = batch.command() else { return Ok(()) };
        let entry = (command.request, batch.first().sequence);
        if self.commands.insert(command.key.clone(), entry).is_some() {
            return Err(format!("the command key of operation {number} is written twice"));
        }
        Ok(())
    }

    /// Checks that the time of a batch does not go back, and is not far ahead of the server's.
    fn check_time(&self, number: usize, batch: &RecordedBatch, stored_at: Timestamp) -> Result<(), Wrong> {
        let time = batch.recorded_at();
        if self.events.last().is_some_and(|last| time < last.recorded_at()) {
            return Err(format!("operation {number} has a time that goes back"));
        }
        if time < self.floor {
            return Err(format!("operation {number} has a time before a floor"));
        }
        if time.as_nanos() - stored_at.as_nanos() > AHEAD_MAX_NANOS {
            return Err(format!("operation {number} has a time that is far ahead"));
        }
        Ok(())
    }

    /// True if the batch of an operation is written.
    pub(super) fn wrote(&self, operation: usize) -> bool {
        self.operations.contains(&operation)
    }

    pub(super) fn event(&self, sequence: u64) -> Option<&RecordedEvent> {
        self.events.get(usize::try_from(sequence.checked_sub(1)?).ok()?)
    }

    /// The request of a command key, and its first position.
    pub(super) fn command(&self, key: &Bytes) -> Option<([u8; 32], u64)> {
        self.commands.get(key).copied()
    }

    /// The moments of a call that was made while the cluster had these numbers of messages.
    pub(super) fn moments(&self, messages: &RangeInclusive<usize>) -> RangeInclusive<usize> {
        self.moments[*messages.start()]..=self.moments[*messages.end()]
    }

    /// True if an expectation is met at a moment.
    pub(super) fn meets(&self, at: usize, stream: &StreamName, expected: &Expected) -> bool {
        expected.is_met_by(self.heads[at].get(stream.as_str()).copied(), |_| None)
    }

    /// The index at which a batch has to be cut at a moment, since ids of it are taken. `None` if it is new or a repeat.
    pub(super) fn cut_at(&self, at: usize, batch: &Batch) -> Option<usize> {
        let place = |event: &NewEvent| {
            let same =
                |known: &RecordedEvent| known.id() == event.id && known.stream() == event.stream.as_str();
            self.events[..self.ends[at]].iter().position(same)
        };
        let places = batch.events.iter().map(place).collect::<Vec<_>>();
        let follows = |at: usize| match (places[at - 1], places[at]) {
            (Some(before), Some(place)) => before < place,
            (before, place) => before.is_some() == place.is_some(),
        };
        let is_cut = |at: &usize| places[*at].is_some() != places[0].is_some() || !follows(*at);
        (1..places.len()).find(is_cut)
    }

    /// Checks that the places of an acknowledgement are those of the batch, or of another one with its command key.
    pub(super) fn check_places(&self, batch: &Batch, repeat: &Repeat) -> Result<(), Wrong> {
        let first = repeat.places[0].position.sequence;
        let command = batch.command.as_ref();
        if command.is_some_and(|own| self.command(&own.key) == Some((own.request, first))) {
            return Ok(());
        }
        for (event, place) in batch.events.iter().zip(&repeat.places) {
            let at = place.position;
            let Some(written) = self.event(at.sequence) else { return Err(format!("and is lost at {at}")) };
            let is_same = written.id() == event.id && written.stream() == event.stream.as_str();
            if !is_same || written.version() != place.version {
                return Err(format!("and another event is at {at}"));
            }
        }
        Ok(())
    }

    fn find(&self, end: usize, stream: &str, event: &RecordedEvent) -> Option<&RecordedEvent> {
        self.events[..end].iter().find(|known| known.id() == event.id() && known.stream() == stream)
    }
}
