//! The log of a simulation, and what the judges know of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use gesta_core::{
    Batch, Checkpoint, EventId, Lane, MemoryStore, NewEvent, Position, Read, ReadError, StoreId, StreamName,
    Timestamp,
};

use super::plan::event_type;
use crate::random::Random;

/// An event as the judges know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Unique over all histories.
    pub(super) uid: u64,
    pub(super) stream: StreamName,
    pub(super) version: u64,
    pub(super) position: Position,
    /// `a` or `b`.
    pub(super) kind: &'static str,
}

/// A log in memory, and every event in it.
pub(super) struct Log {
    pub(super) id: StoreId,
    pub(super) partitions: u16,
    store: MemoryStore,
    time: Arc<AtomicI64>,
    /// The batches, and the time of each.
    batches: Vec<(Vec<NewEvent>, i64)>,
    pub(super) events: Vec<Known>,
    /// The head after each batch.
    heads: Vec<Checkpoint>,
}

impl Log {
    pub(super) fn new(number: u8, partitions: u16) -> Self {
        let id = StoreId::from_bytes([number; 16]);
        let time = Arc::new(AtomicI64::new(0));
        let clock = Arc::clone(&time);
        let store =
            MemoryStore::new(id, partitions, move || Timestamp::from_nanos(clock.load(Ordering::Relaxed)));
        let heads = vec![Checkpoint::start(id, partitions)];
        Self { id, partitions, store, time, batches: Vec::new(), events: Vec::new(), heads }
    }

    /// Appends one batch of 1 to 3 events of streams in one partition. Returns the new events' uids.
    pub(super) fn append(&mut self, streams: &[String], next_uid: &mut u64, random: &mut Random) -> Vec<u64> {
        let first = &streams[random.index(streams.len())];
        let partition = |stream: &str| Lane::of(stream).partition(self.partitions);
        let near = streams.iter().filter(|stream| partition(stream) == partition(first)).collect::<Vec<_>>();
        let count = if random.chance(75) { 1 } else { 1 + random.below(3) };
        let mut events = Vec::new();
        for _ in 0..count {
            *next_uid += 1;
            let kind = ["a", "a", "b"][random.index(3)];
            let stream = if events.is_empty() { first } else { near[random.index(near.len())] };
            let id = EventId::from_u128(u128::from(*next_uid));
            let stream = stream.parse().expect("a stream of the plan");
            let data = vec![b'1'; random.index(120)];
            events.push(NewEvent::json(id, stream, event_type(kind), Timestamp::from_nanos(0), data));
        }
        let time = 1 + self.batches.last().map_or(0, |(_, time)| *time) + i64::from(random.chance(50));
        self.record(events, time)
    }

    fn record(&mut self, events: Vec<NewEvent>, time: i64) -> Vec<u64> {
        self.time.store(time, Ordering::Relaxed);
        let appended = self.store.append_now(Batch::new(events.clone())).expect("the log takes every batch");
        let mut uids = Vec::new();
        for (event, place) in events.iter().zip(appended.places) {
            let bytes = *event.id.as_bytes();
            let uid = u64::try_from(u128::from_be_bytes(bytes)).expect("a small id");
            uids.push(uid);
            self.events.push(Known {
                uid,
                stream: event.stream.clone(),
                version: place.version.get(),
                position: place.position,
                kind: if event.event_type.as_str() == "a" { "a" } else { "b" },
            });
        }
        self.batches.push((events, time));
        self.heads.push(self.head());
        uids
    }

    pub(super) fn read(&self, read: &Read) -> Result<gesta_core::Page, ReadError> {
        self.store.read_now(read)
    }

    pub(super) fn head(&self) -> Checkpoint {
        let read = Read::log_from(gesta_core::Query::All, gesta_core::Place::End);
        self.store.read_now(&read).expect("the head can be read").head
    }

    /// The heads after each batch, with the start.
    pub(super) fn heads(&self) -> &[Checkpoint] {
        &self.heads
    }

    /// The log cut after a number of batches, as another store.
    pub(super) fn restored(&self, batches: usize, number: u8) -> Self {
        let mut restored = Self::new(number, self.partitions);
        for (events, time) in &self.batches[..batches] {
            restored.record(events.clone(), *time);
        }
        restored
    }

    pub(super) fn find(&self, position: Position) -> Option<&Known> {
        self.events.iter().find(|event| event.position == position)
    }
}
