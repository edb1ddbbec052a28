//! Tables: the index of the newest positions, in memory. The last table is active and grows; the full ones wait to
//! become runs.
//!
//! *Invariants*
//! - Positions are dense. A table ends before damage and another begins after it, so versions of a stream are dense
//!   within a table too.
//! - Positions beyond the durable one are for the writer alone; readers clip them.
//! - Only the last table changes. A full one has no lock, so its content can be held across I/O.
//!
//! *Choice: each table links to the next one.* A batch that was prepared while a table was active finds everything
//! newer from there, however long it waited: the chain keeps the tables in memory (`docs/decisions/0006`).

mod ids;
mod keys;

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};

use gesta_core::{EventId, StreamName};

use super::key::Kind;
use super::run::FIRST_OF_FRAME;
use crate::format::FrameName;
use crate::locks;
use crate::segment::SegmentFile;
use ids::Ids;
use keys::Keys;

/// The memory of a key besides its bytes, of a position in a list, and of an event's id.
const ENTRY_BYTES: usize = size_of::<keys::Entry>() + 10;
const POSITION_BYTES: usize = 6;
const ID_BYTES: usize = 26;

/// The index of a range of positions, in memory.
pub(crate) struct MemTable {
    /// The first position that it covers or, if it is empty, will cover.
    pub(crate) first: u64,
    /// Its content while it grows; empty afterwards.
    growing: RwLock<State>,
    /// Set when it becomes full.
    full: OnceLock<Full>,
}

/// The content of a full table, and the table that follows it.
struct Full {
    state: State,
    next: Arc<MemTable>,
}

/// The content of a table during a look-up in memory. It does not change meanwhile. Never held across I/O: the writer
/// waits for it.
pub(crate) enum Contents<'a> {
    Growing(RwLockReadGuard<'a, State>),
    Full(&'a State),
}

impl Deref for Contents<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        match self {
            Self::Growing(state) => state,
            Self::Full(state) => state,
        }
    }
}

/// What a table holds.
pub(crate) struct State {
    pub(crate) first: u64,
    pub(crate) first_frame: Option<FrameName>,
    /// Where each record begins. The highest bit marks the first record of a frame.
    pub(crate) offsets: Vec<u32>,
    pub(crate) extents: Vec<TableExtent>,
    batches: Vec<BatchEnd>,
    keys: Keys,
    commands: HashMap<Box<[u8]>, CommandEntry>,
    ids: Ids,
    bytes: usize,
}

/// A piece of a segment whose records a table holds.
#[derive(Clone)]
pub(crate) struct TableExtent {
    pub(crate) segment: Arc<SegmentFile>,
    pub(crate) first: u64,
    /// Where the last known frame ends.
    pub(crate) end: u64,
}

/// The end of a batch, and when it was recorded.
#[derive(Debug, Clone, Copy)]
struct BatchEnd {
    last: u64,
    recorded_at: i64,
}

/// What a command key names: a request, and the events that it caused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandEntry {
    pub(crate) request: [u8; 32],
    pub(crate) first: u64,
    /// The version of each of its events, in order.
    pub(crate) versions: Box<[u64]>,
}

impl CommandEntry {
    pub(crate) const fn last(&self) -> u64 {
        self.first + self.versions.len() as u64 - 1
    }
}

/// The fields of an event that the index keeps.
pub(crate) struct IndexedEvent<'a> {
    pub(crate) stream: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) id: EventId,
}

impl MemTable {
    /// An empty table that begins at `first`.
    pub(crate) fn new(first: u64) -> Arc<Self> {
        Self::of(State::new(first))
    }

    /// An empty table that follows a full one. It reserves as much memory at once, which saves copies while it grows.
    pub(crate) fn after(before: &State) -> Arc<Self> {
        let mut state = State::new(before.last() + 1);
        state.offsets.reserve(before.offsets.len());
        state.keys.reserve(&before.keys);
        state.ids.reserve(&before.ids);
        Self::of(state)
    }

    /// A table with that content.
    pub(crate) fn of(state: State) -> Arc<Self> {
        let (first, growing) = (state.first, RwLock::new(state));
        Arc::new(Self { first, growing, full: OnceLock::new() })
    }

    /// For look-ups in memory.
    pub(crate) fn read(&self) -> Contents<'_> {
        if let Some(state) = self.full() {
            return Contents::Full(state);
        }
        // A panic under this lock is a broken invariant of the index: its writer is poisoned, and readers clip what
        // they see.
        let growing = locks::read(&self.growing);
        // It may have become full just before the lock was taken.
        self.full().map_or(Contents::Growing(growing), Contents::Full)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        let growing = locks::write(&self.growing);
        assert!(self.full.get().is_none(), "a full table never changes");
        growing
    }

    /// Its content, if it is full.
    pub(crate) fn full(&self) -> Option<&State> {
        self.full.get().map(|full| &full.state)
    }

    /// The table that follows this one.
    pub(crate) fn next(&self) -> Option<&Arc<Self>> {
        self.full.get().map(|full| &full.next)
    }

    /// Makes this table full: the next positions go into `next`.
    pub(crate) fn end_with(&self, next: Arc<Self>) {
        let mut growing = self.write();
        assert!(next.first > growing.last(), "tables follow one another");
        let state = std::mem::replace(&mut *growing, State::new(self.first));
        assert!(self.full.set(Full { state, next }).is_ok(), "a table ends once");
    }
}

impl State {
    pub(crate) fn new(first: u64) -> Self {
        Self {
            first,
            first_frame: None,
            offsets: Vec::new(),
            extents: Vec::new(),
            batches: Vec::new(),
            keys: Keys::default(),
            commands: HashMap::new(),
            ids: Ids::default(),
            bytes: 0,
        }
    }

    /// The number of positions that it covers.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.offsets.len()).expect("a table is below 4 G")
    }

    /// The last position that it covers; one before its first if it is empty.
    pub(crate) fn last(&self) -> u64 {
        self.first + self.offsets.len() as u64 - 1
    }

    /// The memory it takes, approximately.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Continues in another segment.
    pub(crate) fn begin_segment(&mut self, segment: Arc<SegmentFile>) {
        let first = self.last() + 1;
        if self.extents.last().is_some_and(|extent| extent.first == first) {
            self.extents.pop();
        }
        self.extents.push(TableExtent { segment, first, end: 0 });
    }

    /// Begins a frame. The next event is its first record.
    pub(crate) fn begin_frame(&mut self, frame: FrameName) {
        self.first_frame.get_or_insert(frame);
    }

    /// Adds the next event of the log; its record begins at `offset` in the current segment. `base` gives the event's
    /// version if the table does not know its stream. Returns the version.
    pub(crate) fn insert<'a>(
        &mut self,
        event: &IndexedEvent<'_>,
        tags: impl Iterator<Item = &'a str>,
        offset: u32,
        is_first_of_frame: bool,
        base: impl FnOnce() -> u64,
    ) -> u64 {
        let position = self.len();
        self.offsets.push(if is_first_of_frame { offset | FIRST_OF_FRAME } else { offset });
        let version = self.push_stream(event.stream.as_bytes(), position, base);
        let category = StreamName::category_of(event.stream).as_bytes();
        if version == 0 {
            self.push(Kind::New, category, position);
            self.push(Kind::Created, &[], position);
        }
        self.push(Kind::Category, category, position);
        self.push(Kind::Type, event.event_type.as_bytes(), position);
        tags.for_each(|tag| self.push(Kind::Tag, tag.as_bytes(), position));
        self.ids.push(event.id);
        self.bytes += 4 + ID_BYTES;
        version
    }

    fn push(&mut self, kind: Kind, key: &[u8], position: u32) {
        let (entry, is_new) = self.keys.entry(kind, key, || 0);
        if entry.push(position) {
            self.bytes += POSITION_BYTES;
        }
        if is_new {
            self.bytes += ENTRY_BYTES + key.len();
        }
    }

    fn push_stream(&mut self, name: &[u8], position: u32, base: impl FnOnce() -> u64) -> u64 {
        let (entry, is_new) = self.keys.entry(Kind::Stream, name, base);
        let version = entry.base + entry.positions().len() as u64;
        entry.push(position);
        self.bytes += POSITION_BYTES + if is_new { ENTRY_BYTES + name.len() } else { 0 };
        version
    }

    /// Ends the current batch. Its frame ends at `frame_end`.
    pub(crate) fn end_batch(&mut self, recorded_at: i64, frame_end: u64) {
        self.batches.push(BatchEnd { last: self.last(), recorded_at });
        self.bytes += size_of::<BatchEnd>();
        self.end_frame(frame_end);
    }

    /// Ends the current batch before its frame ends, at a damaged record. Does nothing if the table holds none of its
    /// events.
    pub(crate) fn break_off_batch(&mut self, recorded_at: i64, at: u64) {
        let ended = self.batches.last().map_or(self.first, |batch| batch.last + 1);
        if ended <= self.last() {
            self.end_batch(recorded_at, at);
        }
    }

    /// Records where the last frame of the current segment ends.
    pub(crate) fn end_frame(&mut self, frame_end: u64) {
        if let Some(extent) = self.extents.last_mut() {
            extent.end = frame_end;
        }
    }

    /// Adds the command of the last batch, whose events have these versions. `false` if the key is taken.
    pub(crate) fn insert_command(&mut self, key: &[u8], request: [u8; 32], versions: &[u64]) -> bool {
        assert!(!versions.is_empty(), "a batch has events");
        if self.commands.contains_key(key) {
            return false;
        }
        let first = self.last() + 1 - versions.len() as u64;
        let position = u32::try_from(first - self.first).expect("a table is below 4 G");
        self.push(Kind::Command, key, position);
        self.bytes += ENTRY_BYTES + key.len() + 8 * versions.len();
        self.commands.insert(key.into(), CommandEntry { request, first, versions: versions.into() });
        true
    }

    /// The positions of a key, relative to the first; for a stream, also the version of the first of them.
    pub(crate) fn find(&self, kind: Kind, key: &[u8]) -> Option<(&[u32], u64)> {
        if kind == Kind::Id {
            let id = EventId::from_bytes(key.try_into().ok()?);
            return self.ids.find(id).map(|positions| (positions, 0));
        }
        let entry = self.keys.find(kind, key)?;
        let positions = entry.positions();
        (!positions.is_empty()).then_some((positions, entry.base))
    }

    pub(crate) fn command(&self, key: &[u8]) -> Option<&CommandEntry> {
        self.commands.get(key)
    }

    /// The last event of every stream: its name, version and position.
    pub(crate) fn heads(&self) -> impl Iterator<Item = (&[u8], u64, u64)> {
        let streams = self.keys.iter().filter(|(key, _)| key[0] == Kind::Stream as u8);
        streams.filter_map(|(key, entry)| {
            let positions = entry.positions();
            let last = self.first + u64::from(*positions.last()?);
            Some((&key[1..], entry.base + positions.len() as u64 - 1, last))
        })
    }

    /// The last event of a stream: its version and position.
    pub(crate) fn head(&self, stream: &str) -> Option<(u64, u64)> {
        let (positions, base) = self.find(Kind::Stream, stream.as_bytes())?;
        let last = positions.last().expect("a list that is found has a position");
        Some((base + positions.len() as u64 - 1, self.first + u64::from(*last)))
    }

    /// The version and position of the event with an id in a stream.
    pub(crate) fn find_id(&self, stream: &str, id: EventId) -> Option<(u64, u64)> {
        let with_id = self.ids.find(id)?;
        let (own, base) = self.find(Kind::Stream, stream.as_bytes())?;
        with_id.iter().find_map(|position| {
            let index = own.binary_search(position).ok()?;
            Some((base + index as u64, self.first + u64::from(*position)))
        })
    }

    /// The end of the batch that holds a position.
    pub(crate) fn batch_end(&self, position: u64) -> u64 {
        self.batches[self.batches.partition_point(|batch| batch.last < position)].last
    }

    /// The first position of the batch that holds a position.
    pub(crate) fn batch_start(&self, position: u64) -> u64 {
        let at = self.batches.partition_point(|batch| batch.last < position);
        at.checked_sub(1).map_or(self.first, |before| self.batches[before].last + 1)
    }

    /// The end of the last batch that was recorded at that time or earlier.
    pub(crate) fn recorded_up_to(&self, time: i64) -> Option<u64> {
        let count = self.batches.partition_point(|batch| batch.recorded_at <= time);
        count.checked_sub(1).map(|at| self.batches[at].last)
    }

    /// Removes everything after a position: it was decided and never became durable.
    pub(crate) fn truncate(&mut self, last: u64) {
        let kept = u32::try_from((last + 1).saturating_sub(self.first)).unwrap_or(u32::MAX);
        self.offsets.truncate(kept as usize);
        self.batches.truncate(self.batches.partition_point(|batch| batch.last <= last));
        self.keys.truncate(kept);
        self.ids.truncate(kept);
        self.commands.retain(|_, command| command.last() <= last);
    }

    /// The number of positions in the lists of all keys.
    pub(crate) fn postings(&self) -> u64 {
        let of_keys = self.keys.iter().map(|(_, entry)| entry.positions().len() as u64).sum::<u64>();
        of_keys + u64::from(self.len())
    }

    /// Visits every key in the order of run files: the key with its kind, its positions, and for a stream the version
    /// of the first of them.
    pub(crate) fn visit_sorted<E>(
        &self,
        mut visit: impl FnMut(&[u8], &[u32], u64) -> Result<(), E>,
    ) -> Result<(), E> {
        Kind::ALL.into_iter().try_for_each(|kind| match kind {
            Kind::Id => self.ids.visit_sorted(|key, positions| visit(key, positions, 0)),
            _ => self.keys.visit_sorted(kind, &mut visit),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(events: &[(&str, &str, u128)]) -> State {
        let mut state = State::new(11);
        for (stream, event_type, id) in events {
            let event = IndexedEvent { stream, event_type, id: EventId::from_u128(*id) };
            state.insert(&event, ["a", "b"].into_iter(), 8, true, || 5);
            state.end_batch(i64::from(state.len()), 100);
        }
        state
    }

    #[test]
    fn added_events_are_found() {
        let state = table(&[("s-1", "x", 1), ("s-2", "x", 2), ("s-1", "y", 3)]);
        assert_eq!(state.find(Kind::Stream, b"s-1"), Some((&[0, 2][..], 5)));
        assert_eq!(state.head("s-1"), Some((6, 13)));
        assert_eq!(state.find_id("s-1", EventId::from_u128(3)), Some((6, 13)));
        assert_eq!(state.find_id("s-2", EventId::from_u128(3)), None, "another stream has it");
        assert_eq!(state.find(Kind::Type, b"s-1"), None, "kinds do not mix");
        assert_eq!(state.find(Kind::Tag, b"b"), Some((&[0, 1, 2][..], 0)));
        assert_eq!((state.batch_start(12), state.batch_end(12), state.last()), (12, 12, 13));
        assert_eq!((state.recorded_up_to(2), state.recorded_up_to(0)), (Some(12), None));
    }

    #[test]
    fn a_full_table_keeps_its_content_without_a_lock() {
        let full = MemTable::of(table(&[("s-1", "x", 1), ("s-2", "x", 2)]));
        assert!(full.full().is_none() && full.next().is_none());
        let before = full.read().bytes();
        let next = MemTable::after(&full.read());
        full.end_with(Arc::clone(&next));
        let content = full.full().unwrap();
        assert_eq!((content.head("s-2"), content.last(), content.bytes()), (Some((5, 12)), 12, before));
        assert!(matches!(full.read(), Contents::Full(_)) && Arc::ptr_eq(full.next().unwrap(), &next));
        next.write().begin_frame(FrameName { number: 3, checksum: 7 });
        assert_eq!((next.first, next.read().len()), (13, 0));
    }

    #[test]
    #[should_panic(expected = "a full table never changes")]
    fn a_full_table_takes_no_entries() {
        let table = MemTable::new(1);
        table.end_with(MemTable::new(1));
        drop(table.write());
    }

    #[test]
    fn truncated_events_are_gone() {
        let mut state = table(&[("s-1", "x", 1), ("s-2", "x", 2), ("s-1", "y", 3)]);
        state.truncate(11);
        assert_eq!(state.head("s-1"), Some((5, 11)));
        assert_eq!(state.find(Kind::Stream, b"s-2"), None);
        let mut keys = Vec::new();
        let visited: Result<(), ()> = state.visit_sorted(|key, _, _| {
            keys.push(key.to_vec());
            Ok(())
        });
        assert_eq!((visited, state.last(), keys.len()), (Ok(()), 11, 6));
        assert!(keys.is_sorted());
    }
}
