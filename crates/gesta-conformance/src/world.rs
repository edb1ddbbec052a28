//! The subject of a law: one store, its clock, and the common calls. Each call also checks the invariants that always
//! hold.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use gesta_core::{
    AppendError, Appended, AtomicScope, Batch, Capabilities, Checkpoint, Direction, EventStore, Lane,
    MemoryStore, Page, Place, Query, Read, ReadError, RecordedEvent, Select, StoreId, StreamName, Timestamp,
    Version, When,
};
use pollster::block_on;

use crate::given::{name, number};
use crate::harness::{Clock, Harness, Snapshot};

/// More pages than any law reads. A store that returns more makes no progress.
const PAGES_MAX: usize = 10_000;
/// How often a batch in doubt is sent again. A store that reports more doubts never settles one.
const RESENDS_MAX: usize = 20;

pub(crate) struct World<'a> {
    pub(crate) harness: &'a dyn Harness,
    pub(crate) store: Arc<dyn EventStore>,
}

impl<'a> World<'a> {
    pub(crate) fn new(harness: &'a dyn Harness) -> Self {
        harness.clock().set(1_000);
        Self { harness, store: harness.store() }
    }

    pub(crate) fn clock(&self) -> &Clock {
        self.harness.clock()
    }

    pub(crate) fn capabilities(&self) -> &Capabilities {
        self.store.capabilities()
    }

    pub(crate) fn partitions(&self) -> u16 {
        self.capabilities().partitions
    }

    pub(crate) fn partition_of(&self, stream: &str) -> u16 {
        Lane::of(stream).partition(self.partitions())
    }

    /// Returns true if one batch is restricted to one of several partitions.
    pub(crate) fn is_scoped_to_a_partition(&self) -> bool {
        self.partitions() > 1 && self.capabilities().atomic_scope == AtomicScope::Partition
    }

    /// Returns at least three partition keys: the first in partition 0, the next in 1, and so on, in turn.
    pub(crate) fn keys(&self) -> Vec<String> {
        let keys = |partition| {
            let all = (0..).map(|number| format!("k{number}"));
            all.filter(move |key| self.partition_of(&format!("{{{key}}}")) == partition)
        };
        let count = usize::from(self.partitions()).max(3);
        let partitions = (0..self.partitions()).cycle().take(count).enumerate();
        let nth = |at: usize| at / usize::from(self.partitions());
        partitions.map(|(at, partition)| keys(partition).nth(nth(at)).expect("keys without end")).collect()
    }

    // Histories.

    /// Keeps the store's current content.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        let store = std::mem::replace(&mut self.store, no_store());
        let (store, snapshot) = self.harness.snapshot(store);
        self.store = store;
        snapshot
    }

    /// Loses all appends since a snapshot. Returns `false` if the store can lose nothing; the law then ends.
    pub(crate) fn put_back(&mut self, snapshot: Snapshot) -> bool {
        self.store = no_store();
        let Some(store) = self.harness.put_back(snapshot) else { return false };
        self.store = store;
        true
    }

    // Appends.

    /// Appends a batch. The store must accept it as new.
    pub(crate) fn append(&self, batch: Batch) -> Appended {
        let appended = self.answer(batch);
        let is_new = !appended.repeated || self.harness.resends();
        assert!(is_new, "a new batch was answered as a repeat: {appended:?}");
        appended
    }

    /// Appends a batch. The store must answer it as a repeat and write nothing.
    pub(crate) fn repeat(&self, batch: Batch) -> Appended {
        // Another handle may have written before, and this one may not know it yet.
        let head = || block_on(self.store.head_now()).expect("a head");
        let before = head();
        let appended = self.answer(batch);
        assert!(appended.repeated, "a repeat was written again: {appended:?}");
        assert_eq!(head(), before, "a repeat writes nothing");
        appended
    }

    fn answer(&self, batch: Batch) -> Appended {
        let events = batch.events.iter().map(|event| (event.stream.clone(), event.id)).collect::<Vec<_>>();
        let appended = self.try_append(batch);
        let first = &events[..events.len().min(10)];
        let appended = appended.unwrap_or_else(|error| panic!("refused with `{error}`: {first:?}"));
        assert!(
            appended.places.iter().all(|place| appended.checkpoint.covers(place.position)),
            "the checkpoint of an append must cover its events: {appended:?}"
        );
        assert!(
            is_marked(&appended.checkpoint),
            "the checkpoint of an append must have a mark: {appended:?}"
        );
        appended
    }

    /// Appends a batch. The store must refuse it and write nothing.
    pub(crate) fn refuse(&self, batch: Batch) -> AppendError {
        let head = self.head();
        let error = self.try_append(batch).expect_err("the store must refuse the batch");
        assert_eq!(self.head(), head, "a refused batch must write nothing: {error}");
        error
    }

    pub(crate) fn try_append(&self, batch: Batch) -> Result<Appended, AppendError> {
        let resends = if self.harness.resends() { RESENDS_MAX } else { 0 };
        for _ in 0..resends {
            match block_on(self.store.append(batch.clone())) {
                Err(AppendError::InDoubt { .. }) => {}
                answer => return answer,
            }
        }
        block_on(self.store.append(batch))
    }

    // Reads.

    pub(crate) fn read(&self, read: Read) -> Page {
        let page =
            self.try_read(read.clone()).unwrap_or_else(|error| panic!("refused with `{error}`: {read:?}"));
        assert!(page.head.at_least(&page.scanned_to), "a page must not end beyond its head: {page:?}");
        assert!(is_marked(&page.head), "the head must have a mark: {page:?}");
        let is_given = !read.checkpoints().all(is_marked);
        assert!(is_given || is_marked(&page.scanned_to), "the end of a page must have a mark: {page:?}");
        page
    }

    pub(crate) fn try_read(&self, read: Read) -> Result<Page, ReadError> {
        block_on(self.store.read(read))
    }

    pub(crate) fn refuse_read(&self, read: Read) -> ReadError {
        self.try_read(read).expect_err("the store must refuse the read")
    }

    /// Reads all events of the log.
    pub(crate) fn log(&self) -> Vec<RecordedEvent> {
        let page = self.read(Read::log(Query::All));
        assert!(page.end, "the log of a law must fit one page");
        page.events
    }

    /// Reads all events of a stream.
    pub(crate) fn stream(&self, stream: &str) -> Vec<RecordedEvent> {
        self.read(Read::stream(name(stream))).events
    }

    /// Reads page after page to the end. Each page must move on or have reached the end.
    pub(crate) fn pages(&self, read: Read) -> Vec<Page> {
        let mut read = self.placed(read);
        let mut pages = Vec::new();
        loop {
            assert!(pages.len() < PAGES_MAX, "a read must reach its end: {read:?}");
            let page = self.read(read.clone());
            assert!(page.end || gets_on(&read, &page), "{page:?} does not get on from {read:?}");
            let next = next_read(read, &page);
            pages.push(page);
            match next {
                Some(next) => read = next,
                None => return pages,
            }
        }
    }

    /// Reads page after page to the end, and returns the events.
    pub(crate) fn paged(&self, read: Read) -> Vec<RecordedEvent> {
        self.pages(read).into_iter().flat_map(|page| page.events).collect()
    }

    /// Returns the same read, from a checkpoint.
    fn placed(&self, mut read: Read) -> Read {
        if let Select::Log { from, .. } = &mut read.select {
            *from = Place::At(match &*from {
                Place::Start => self.start(),
                Place::End => self.head(),
                Place::At(checkpoint) => checkpoint.clone(),
            });
        }
        read
    }

    // Places.

    pub(crate) fn start(&self) -> Checkpoint {
        self.locate(When::Start)
    }

    pub(crate) fn head(&self) -> Checkpoint {
        self.locate(When::Head)
    }

    pub(crate) fn recorded_up_to(&self, nanos: i64) -> Checkpoint {
        self.locate(When::RecordedUpTo(Timestamp::from_nanos(nanos)))
    }

    /// Closes a time.
    pub(crate) fn close(&self, nanos: i64) -> Result<Checkpoint, ReadError> {
        block_on(self.store.locate(When::ClosedAt(Timestamp::from_nanos(nanos))))
    }

    fn locate(&self, at: When) -> Checkpoint {
        block_on(self.store.locate(at)).expect("a place in the log")
    }

    /// Returns the version of a stream's last event.
    pub(crate) fn last_version(&self, stream: &StreamName) -> Option<Version> {
        block_on(self.store.stream(stream.clone())).expect("a stream's state").map(|info| info.version)
    }

    /// Groups entries by partition, because events in different partitions have no order.
    pub(crate) fn by_partition<T>(&self, entries: impl IntoIterator<Item = (u16, T)>) -> Vec<Vec<T>> {
        let mut lists = (0..self.partitions()).map(|_| Vec::new()).collect::<Vec<_>>();
        for (partition, entry) in entries {
            lists[usize::from(partition)].push(entry);
        }
        lists
    }

    /// Returns the ids of events, grouped by partition.
    pub(crate) fn ids_by_partition(&self, events: &[RecordedEvent]) -> Vec<Vec<u32>> {
        self.by_partition(events.iter().map(|event| (event.position().partition, number(event.id()))))
    }
}

/// A placeholder while the store is closed.
fn no_store() -> Arc<dyn EventStore> {
    Arc::new(MemoryStore::new(StoreId::from_bytes([0; 16]), 1, || Timestamp::from_nanos(0)))
}

/// Returns true if a checkpoint has a mark in every partition with a sequence above 0.
pub(crate) fn is_marked(checkpoint: &Checkpoint) -> bool {
    (0..).zip(checkpoint.sequences()).all(|(at, sequence)| sequence == 0 || checkpoint.mark(at).is_some())
}

/// Returns true if the page moved the read on in its direction.
fn gets_on(read: &Read, page: &Page) -> bool {
    match (&read.select, read.direction) {
        (Select::Log { from: Place::At(at), .. }, Direction::Forward) => {
            page.scanned_to != *at && page.scanned_to.at_least(at)
        }
        (Select::Log { from: Place::At(at), .. }, Direction::Backward) => {
            page.scanned_to != *at && at.at_least(&page.scanned_to)
        }
        _ => !page.events.is_empty(),
    }
}

/// Returns the read of the next page, if there is one.
fn next_read(mut read: Read, page: &Page) -> Option<Read> {
    if page.end {
        return None;
    }
    match &mut read.select {
        Select::Log { from, .. } => *from = Place::At(page.scanned_to.clone()),
        Select::Stream { from, .. } => {
            let last = page.events.last()?.version();
            *from = Some(match read.direction {
                Direction::Forward => last.next(),
                Direction::Backward => Version::new(last.get().checked_sub(1)?),
            });
        }
    }
    Some(read)
}

/// Polls once, with a waker that does nothing.
pub(crate) fn poll_once<T>(future: &mut Pin<Box<dyn Future<Output = T> + Send + '_>>) -> Poll<T> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}
