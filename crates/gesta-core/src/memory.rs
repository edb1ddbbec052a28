//! The in-memory store: small, slow and simple. All other stores are tested against it, and applications can use it
//! in their tests.
//!
//! *Choice:* look-ups scan plain vectors, so no index can be wrong. The cost: an append takes time in proportion to
//! the lengths of its streams, a filtered read in proportion to the log.

mod facts;
mod pages;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use event_listener::Event;

use crate::batch::{Appended, Batch, CommandKey, Placed};
use crate::capabilities::{AtomicScope, Capabilities, Limits};
use crate::checkpoint::{Checkpoint, Position, StoreId, Version};
use crate::decide::{CommandRecord, check, repeat_of};
use crate::error::{AppendError, ReadError};
use crate::event::{EventId, RecordedEvent};
use crate::form::{check_batch, check_checkpoint, check_command, check_marks, check_read};
use crate::lane::Lane;
use crate::limits::PARTITIONS_MAX;
use crate::name::StreamName;
use crate::read::{ListToken, Listing, Page, Read, StreamInfo, StreamPage, When};
use crate::store::{BoxFuture, EventStore};
use crate::time::Timestamp;
use facts::MemoryFacts;

/// A store that keeps everything in memory, until it is dropped.
///
/// With several partitions it has the capabilities of a partitioned store, and refuses the same batches.
pub struct MemoryStore {
    id: StoreId,
    capabilities: Capabilities,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    log: Mutex<Log>,
    appended: Event,
}

/// All appended events.
#[derive(Clone, Default)]
struct Log {
    partitions: Vec<Partition>,
    /// All streams, in the order of their first events. The index in this list is the token of a listing.
    streams: Vec<StreamName>,
    /// No event is recorded before this time any more.
    floor: Option<Timestamp>,
}

/// One totally ordered part of the log. The event with sequence `n` is at index `n - 1`.
#[derive(Clone, Default)]
struct Partition {
    number: u16,
    events: Vec<RecordedEvent>,
    /// The last sequence of each batch, ascending.
    batch_ends: Vec<u64>,
    /// The sequences of each stream's events. The event with version `v` is at index `v`.
    streams: HashMap<StreamName, Vec<u64>>,
    /// The request of each command key, and the first and last sequence of its batch.
    commands: HashMap<Bytes, ([u8; 32], u64, u64)>,
}

impl MemoryStore {
    /// Creates an empty store that reads the time from `clock`.
    ///
    /// # Panics
    /// If `partitions` is 0 or above 1,024.
    pub fn new(id: StoreId, partitions: u16, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        assert!((1..=PARTITIONS_MAX).contains(&partitions), "a store has 1 to {PARTITIONS_MAX} partitions");
        let atomic_scope = if partitions == 1 { AtomicScope::Store } else { AtomicScope::Partition };
        let capabilities = Capabilities::new(partitions, atomic_scope, Limits::default());
        let partitions = (0..partitions).map(|number| Partition { number, ..Partition::default() }).collect();
        let log = Mutex::new(Log { partitions, ..Log::default() });
        Self { id, capabilities, clock: Arc::new(clock), log, appended: Event::new() }
    }

    /// Copies the store, with the same id, content and clock.
    ///
    /// The two stores are independent from then on. Use the copy to test a restore of an older state.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self {
            id: self.id,
            capabilities: self.capabilities.clone(),
            clock: Arc::clone(&self.clock),
            log: Mutex::new(self.lock().clone()),
            appended: Event::new(),
        }
    }

    /// Appends like [`EventStore::append`], without a future.
    ///
    /// # Errors
    /// As [`EventStore::append`].
    pub fn append_now(&self, batch: Batch) -> Result<Appended, AppendError> {
        let partition = check_batch(&batch, self.id, &self.capabilities)?;
        let mut log = self.lock();
        let facts = MemoryFacts::new(&log, self.id, partition);
        let (places, repeated) = match repeat_of(&facts, &batch).map_err(|refused| refused.error)? {
            Some(repeat) => (repeat.places, true),
            None => {
                check(&facts, &batch).map_err(|refused| refused.error)?;
                (log.record(partition, batch, (self.clock)()), false)
            }
        };
        let checkpoint = log.partitions[usize::from(partition)].end_of_batch(self, &places);
        drop(log);
        self.appended.notify(usize::MAX);
        Ok(Appended { places, checkpoint, repeated })
    }

    /// Reads like [`EventStore::read`], without a future.
    ///
    /// # Errors
    /// As [`EventStore::read`].
    pub fn read_now(&self, read: &Read) -> Result<Page, ReadError> {
        let log = self.lock();
        check_read(read, &log.head(self.id), &self.capabilities)?;
        for checkpoint in read.checkpoints() {
            check_marks(checkpoint, |at| log.mark_at(at))?;
        }
        Ok(pages::page(&log, self.id, read))
    }

    fn repeat_of_now(
        &self,
        command: &CommandKey,
        near: &StreamName,
    ) -> Result<Option<Appended>, AppendError> {
        check_command(command)?;
        let log = self.lock();
        let number = self.partition_of(near);
        let partition = &log.partitions[usize::from(number)];
        let Some(record) = partition.command(command) else { return Ok(None) };
        let places = record.answer(command, number).map_err(|refused| refused.error)?.places;
        let checkpoint = partition.end_of_batch(self, &places);
        Ok(Some(Appended { places, checkpoint, repeated: true }))
    }

    fn stream_now(&self, name: &StreamName) -> Option<StreamInfo> {
        let log = self.lock();
        let version = log.partitions[usize::from(self.partition_of(name))].last_version(name)?;
        Some(StreamInfo { name: name.clone(), version })
    }

    fn streams_now(&self, listing: &Listing) -> Result<StreamPage, ReadError> {
        let log = self.lock();
        let from = match &listing.after {
            None => 0,
            Some(token) => {
                token.0.parse().ok().filter(|from| *from <= log.streams.len()).ok_or_else(|| {
                    ReadError::Invalid {
                        reason: format!(
                            "`{}` is not a token of this listing: use the `next` of its last page",
                            token.0
                        ),
                    }
                })?
            }
        };
        let wanted =
            |name: &StreamName| listing.category.as_ref().is_none_or(|category| *category == name.category());
        let mut found = log.streams.iter().enumerate().skip(from).filter(|(_, name)| wanted(name));
        let streams = found.by_ref().take(listing.limit.get() as usize);
        let streams = streams.map(|(_, name)| log.info(name, self.partition_of(name))).collect();
        let next = found.next().map(|(at, _)| ListToken(at.to_string().into()));
        Ok(StreamPage { streams, next })
    }

    fn locate_now(&self, at: When) -> Result<Checkpoint, ReadError> {
        let mut log = self.lock();
        Ok(match at {
            When::Start => Checkpoint::start(self.id, self.capabilities.partitions),
            When::Head => log.head(self.id),
            When::RecordedUpTo(time) => log.recorded_up_to(self.id, time),
            When::ClosedAt(time) => {
                log.close(time, || (self.clock)())?;
                log.recorded_up_to(self.id, time)
            }
        })
    }

    async fn wait_past_now(&self, after: Checkpoint) -> Result<Checkpoint, ReadError> {
        loop {
            // Listen first and read the head second. Otherwise an append between the two would be missed.
            let listener = self.appended.listen();
            let head = {
                let log = self.lock();
                let head = log.head(self.id);
                check_checkpoint(&after, &head)?;
                check_marks(&after, |at| log.mark_at(at))?;
                head
            };
            if !after.at_least(&head) {
                return Ok(head);
            }
            listener.await;
        }
    }

    fn partition_of(&self, name: &StreamName) -> u16 {
        Lane::of(name.as_str()).partition(self.capabilities.partitions)
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        // A poisoned lock is safe to use: only `record` changes the log, and no outside cause can stop it half way.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn head(&self, id: StoreId) -> Checkpoint {
        self.cut(id, |partition| partition.events.len() as u64)
    }

    fn cut(&self, id: StoreId, at: impl Fn(&Partition) -> u64) -> Checkpoint {
        let start = Checkpoint::new(id, self.partitions.iter().map(|_| 0));
        self.partitions.iter().fold(start, |place, partition| partition.place(place, at(partition)))
    }

    fn recorded_up_to(&self, id: StoreId, time: Timestamp) -> Checkpoint {
        self.cut(id, |partition| partition.events.partition_point(|event| event.recorded_at() <= time) as u64)
    }

    /// Gives all later events a later time.
    fn close(&mut self, time: Timestamp, clock: impl FnOnce() -> Timestamp) -> Result<(), ReadError> {
        let is_past =
            |partition: &Partition| partition.events.last().is_some_and(|last| last.recorded_at() > time);
        if self.partitions.iter().all(is_past) {
            return Ok(());
        }
        self.floor = self.floor.max(Some(time.floor_after(clock())?));
        Ok(())
    }

    /// The mark of the event at a position.
    fn mark_at(&self, at: Position) -> Option<u32> {
        let partition = self.partitions.get(usize::from(at.partition))?;
        Some(partition.event(at.sequence).mark())
    }

    fn info(&self, name: &StreamName, partition: u16) -> StreamInfo {
        let version = self.partitions[usize::from(partition)].last_version(name);
        StreamInfo { name: name.clone(), version: version.expect("a listed stream has an event") }
    }

    /// Writes an accepted batch. Nothing else changes the log.
    fn record(&mut self, partition: u16, batch: Batch, now: Timestamp) -> Vec<Placed> {
        let now = self.floor.map_or(now, |floor| floor.max(now));
        let partition = &mut self.partitions[usize::from(partition)];
        let recorded_at = partition.events.last().map_or(now, |last| last.recorded_at().max(now));
        let first = partition.events.len() as u64 + 1;
        let mut places = Vec::with_capacity(batch.events.len());
        for event in batch.events {
            let sequence = partition.events.len() as u64 + 1;
            let versions = partition.streams.entry(event.stream.clone()).or_default();
            if versions.is_empty() {
                self.streams.push(event.stream.clone());
            }
            let version = Version::new(versions.len() as u64);
            versions.push(sequence);
            let position = Position { partition: partition.number, sequence };
            partition.events.push(RecordedEvent::new(position, version, recorded_at, event.to_bytes()));
            places.push(Placed { version, position });
        }
        let last = partition.events.len() as u64;
        partition.batch_ends.push(last);
        if let Some(CommandKey { key, request }) = batch.command {
            partition.commands.insert(key, (request, first, last));
        }
        places
    }
}

impl Partition {
    fn event(&self, sequence: u64) -> &RecordedEvent {
        let index = usize::try_from(sequence - 1).expect("an index into memory");
        &self.events[index]
    }

    /// Moves a checkpoint to a sequence of this partition, with the mark of the event there.
    fn place(&self, checkpoint: Checkpoint, sequence: u64) -> Checkpoint {
        match sequence {
            0 => checkpoint.with(self.number, 0),
            sequence => checkpoint.past(self.event(sequence)),
        }
    }

    /// As [`Self::place`], but returns the caller's place if the page ends at its bound.
    fn place_within(&self, checkpoint: Checkpoint, sequence: u64, bound: &Checkpoint) -> Checkpoint {
        if sequence == bound.sequence(self.number) {
            return checkpoint.with_place_of(self.number, bound);
        }
        self.place(checkpoint, sequence)
    }

    fn last_version(&self, stream: &StreamName) -> Option<Version> {
        let versions = self.streams.get(stream)?;
        Some(Version::new(versions.len() as u64 - 1))
    }

    fn command(&self, command: &CommandKey) -> Option<CommandRecord<'_>> {
        let (request, first, last) = self.commands.get(&command.key)?;
        let versions = (*first..=*last).map(|sequence| self.event(sequence).version().get()).collect();
        Some(CommandRecord { request: *request, first: *first, versions })
    }

    fn find(&self, stream: &StreamName, id: EventId) -> Option<Placed> {
        let sequences = self.streams.get(stream)?;
        let event = sequences.iter().map(|sequence| self.event(*sequence)).find(|event| event.id() == id)?;
        Some(Placed { version: event.version(), position: event.position() })
    }

    /// The last sequence of the batch that holds an event.
    fn batch_end(&self, sequence: u64) -> u64 {
        self.batch_ends[self.batch_ends.partition_point(|end| *end < sequence)]
    }

    /// The checkpoint of an answer: the end of the batch that holds its last event.
    fn end_of_batch(&self, store: &MemoryStore, places: &[Placed]) -> Checkpoint {
        let last = places.last().expect("a batch has events").position.sequence;
        self.place(Checkpoint::start(store.id, store.capabilities.partitions), self.batch_end(last))
    }
}

impl EventStore for MemoryStore {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(async move { self.append_now(batch) })
    }

    fn repeat_of(
        &self,
        command: CommandKey,
        near: StreamName,
    ) -> BoxFuture<'_, Result<Option<Appended>, AppendError>> {
        Box::pin(async move { self.repeat_of_now(&command, &near) })
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        Box::pin(async move { self.read_now(&read) })
    }

    fn stream(&self, name: StreamName) -> BoxFuture<'_, Result<Option<StreamInfo>, ReadError>> {
        Box::pin(async move { Ok(self.stream_now(&name)) })
    }

    fn streams(&self, listing: Listing) -> BoxFuture<'_, Result<StreamPage, ReadError>> {
        Box::pin(async move { self.streams_now(&listing) })
    }

    fn locate(&self, at: When) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(async move { self.locate_now(at) })
    }

    fn wait_past(&self, after: Checkpoint) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(self.wait_past_now(after))
    }
}
