//! The index: where every event lies, and which events a query means. In memory, rebuilt from the log at open.
//!
//! *Invariants*
//! - Positions are dense: the event at position `p` has a slot, unless `p` is within reported damage.
//! - Posting lists hold growing positions. What is beyond the durable position is there for the writer alone; readers clip.
//! - Nothing here is needed for correctness after a restart: it is a function of the log.

mod locate;
mod postings;
mod streams;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use gesta_core::{CommandKey, EventId, Item, Query};

use crate::damage::Damage;
use crate::segment::SegmentFile;
pub(crate) use locate::Location;
pub(crate) use postings::Plan;
use postings::{ItemPlan, Source};
pub(crate) use streams::StreamEntry;

/// Everything that is looked up in memory.
#[derive(Default)]
pub(crate) struct Index {
    segments: Vec<Slots>,
    batches: Vec<BatchEnd>,
    streams: HashMap<Arc<str>, StreamEntry>,
    /// Every stream with the position of its first event, in the order of those.
    created: Vec<(u64, Arc<str>)>,
    categories: HashMap<Box<str>, Vec<u64>>,
    types: HashMap<Box<str>, Vec<u64>>,
    tags: HashMap<Box<str>, Vec<u64>>,
    ids: HashMap<EventId, Vec<u64>>,
    commands: HashMap<Box<[u8]>, CommandEntry>,
    damage: Vec<Damage>,
    last: u64,
}

/// The records of one segment: that of position `first + n` begins at offset `offsets[n]`.
struct Slots {
    segment: Arc<SegmentFile>,
    first: u64,
    offsets: Vec<u32>,
    /// Where the frames end that are indexed.
    end: u64,
}

/// The end of a batch, and when it was recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchEnd {
    pub(crate) last: u64,
    pub(crate) recorded_at: i64,
}

/// What a command key stands for: a request, and the events that it led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandEntry {
    pub(crate) request: [u8; 32],
    pub(crate) first: u64,
    /// The version of each of its events, from `first` on.
    pub(crate) versions: Box<[u64]>,
}

impl CommandEntry {
    pub(crate) const fn last(&self) -> u64 {
        self.first + self.versions.len() as u64 - 1
    }
}

/// What the index keeps of an event.
pub(crate) struct IndexedEvent<'a> {
    pub(crate) stream: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) id: EventId,
}

impl Index {
    /// The position of the last event, durable or not.
    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    /// Continues in another segment.
    pub(crate) fn begin_segment(&mut self, segment: Arc<SegmentFile>) {
        self.segments.push(Slots { segment, first: self.last + 1, offsets: Vec::new(), end: 0 });
    }

    /// Skips positions whose events are damaged.
    pub(crate) fn skip_to(&mut self, position: u64) {
        assert!(position > self.last, "positions grow");
        self.last = position - 1;
        if let Some(slots) = self.segments.last() {
            let (segment, end) = (Arc::clone(&slots.segment), slots.end);
            self.segments.push(Slots { segment, first: position, offsets: Vec::new(), end });
        }
    }

    /// Adds the next event of the log, whose record begins at that offset of the current segment. Gives its version.
    pub(crate) fn insert<'a>(
        &mut self,
        entry: &IndexedEvent<'_>,
        tags: impl Iterator<Item = &'a str>,
        offset: u32,
    ) -> u64 {
        let version = self.streams.get(entry.stream).map_or(0, StreamEntry::next_version);
        let grows = self.insert_at(version, entry, tags, offset);
        assert!(grows, "the next version is new");
        self.insert_id(entry.id);
        version
    }

    /// Adds the id of the event that was added last.
    pub(crate) fn insert_id(&mut self, id: EventId) {
        self.ids.entry(id).or_default().push(self.last);
    }

    /// Adds the next event of the log with a version that it has already; its id is added apart. `false` if its stream is beyond that version.
    #[must_use]
    pub(crate) fn insert_at<'a>(
        &mut self,
        version: u64,
        entry: &IndexedEvent<'_>,
        tags: impl Iterator<Item = &'a str>,
        offset: u32,
    ) -> bool {
        let position = self.last + 1;
        self.last = position;
        self.segments.last_mut().expect("events lie in a segment").offsets.push(offset);
        let grows = self.insert_in_stream(entry.stream, version, position);
        push(&mut self.types, entry.event_type, position);
        push(&mut self.categories, gesta_core::StreamName::category_of(entry.stream), position);
        tags.for_each(|tag| push(&mut self.tags, tag, position));
        grows
    }

    fn insert_in_stream(&mut self, stream: &str, version: u64, position: u64) -> bool {
        if let Some(own) = self.streams.get_mut(stream) {
            return own.push(version, position);
        }
        let name = Arc::<str>::from(stream);
        self.created.push((position, Arc::clone(&name)));
        self.streams.entry(name).or_default().push(version, position)
    }

    /// Ends the batch that the last events belong to; its frame ends at that offset.
    pub(crate) fn end_batch(&mut self, recorded_at: i64, frame_end: u64) {
        self.batches.push(BatchEnd { last: self.last, recorded_at });
        self.end_frame(frame_end);
    }

    /// Says how far the frames of the current segment go.
    pub(crate) fn end_frame(&mut self, frame_end: u64) {
        self.segments.last_mut().expect("frames lie in a segment").end = frame_end;
    }

    /// Remembers the command of the last batch, whose events have these versions. `false` if the key was there.
    pub(crate) fn insert_command(&mut self, key: &[u8], request: [u8; 32], versions: &[u64]) -> bool {
        assert!(!versions.is_empty(), "a batch has events");
        let first = self.last + 1 - versions.len() as u64;
        let entry = CommandEntry { request, first, versions: versions.into() };
        match self.commands.entry(key.into()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(entry);
                true
            }
        }
    }

    pub(crate) fn stream(&self, name: &str) -> Option<&StreamEntry> {
        self.streams.get(name)
    }

    pub(crate) fn streams(&self) -> impl Iterator<Item = (&str, &StreamEntry)> {
        self.streams.iter().map(|(name, entry)| (&**name, entry))
    }

    /// Streams from the one on whose first event stands at that position or later, in the order of those.
    pub(crate) fn created_from(&self, position: u64) -> &[(u64, Arc<str>)] {
        &self.created[self.created.partition_point(|(first, _)| *first < position)..]
    }

    pub(crate) fn command(&self, command: &CommandKey) -> Option<&CommandEntry> {
        self.commands.get(&*command.key)
    }

    /// Where the event with that id stands in that stream: its version and position.
    pub(crate) fn find(&self, stream: &str, id: EventId) -> Option<(u64, u64)> {
        let positions = self.ids.get(&id)?;
        let entry = self.streams.get(stream)?;
        positions.iter().find_map(|position| Some((entry.version_at(*position)?, *position)))
    }

    /// The end of the batch that holds that position.
    pub(crate) fn batch_end(&self, position: u64) -> u64 {
        self.batches[self.batches.partition_point(|batch| batch.last < position)].last
    }

    /// The first position of the batch that holds that position.
    pub(crate) fn batch_start(&self, position: u64) -> u64 {
        let at = self.batches.partition_point(|batch| batch.last < position);
        at.checked_sub(1).map_or(1, |before| self.batches[before].last + 1)
    }

    /// The end of the last batch that was recorded at that time or earlier.
    pub(crate) fn recorded_up_to(&self, time: i64) -> u64 {
        let count = self.batches.partition_point(|batch| batch.recorded_at <= time);
        count.checked_sub(1).map_or(0, |at| self.batches[at].last)
    }

    /// Takes back everything after a position: what was decided and never became durable.
    pub(crate) fn truncate(&mut self, last: u64) {
        let cut = |positions: &mut Vec<u64>| {
            positions.truncate(positions.partition_point(|position| *position <= last));
            !positions.is_empty()
        };
        for slots in &mut self.segments {
            let kept = usize::try_from((last + 1).saturating_sub(slots.first)).unwrap_or(usize::MAX);
            slots.offsets.truncate(kept);
        }
        self.batches.truncate(self.batches.partition_point(|batch| batch.last <= last));
        self.streams.retain(|_, entry| entry.truncate(last));
        self.created.truncate(self.created.partition_point(|(position, _)| *position <= last));
        for postings in [&mut self.categories, &mut self.types, &mut self.tags] {
            postings.retain(|_, positions| cut(positions));
        }
        self.ids.retain(|_, positions| cut(positions));
        self.commands.retain(|_, command| command.last() <= last);
        self.last = last;
    }

    /// How many events have an id that stands in their stream already.
    pub(crate) fn repeated_ids(&self) -> u64 {
        let several = self.ids.values().filter(|positions| positions.len() > 1);
        let repeated = several.map(|positions| {
            let in_stream =
                |entry: &StreamEntry| positions.iter().filter(|at| entry.version_at(**at).is_some()).count();
            self.streams.values().map(|entry| in_stream(entry).saturating_sub(1) as u64).sum::<u64>()
        });
        repeated.sum()
    }

    pub(crate) fn damage(&self) -> &[Damage] {
        &self.damage
    }

    pub(crate) fn report_damage(&mut self, damage: Damage) {
        self.damage.push(damage);
    }

    /// How to find the events that a query means.
    pub(crate) fn plan(&self, query: &Query) -> Plan<'_> {
        match query {
            Query::All => Plan::all(),
            Query::Any(items) => Plan::any(items.iter().map(|item| self.plan_item(item)).collect()),
        }
    }

    fn plan_item(&self, item: &Item) -> ItemPlan<'_> {
        let mut sources = Vec::new();
        if let Some(stream) = &item.stream {
            sources.push(Source::list(
                self.streams.get(stream.as_str()).map_or(&[][..], StreamEntry::positions),
            ));
        }
        sources.extend(item.tags.iter().map(|tag| Source::list(slice(self.tags.get(tag.as_str())))));
        if !item.ids.is_empty() {
            sources.push(Source::any(item.ids.iter().map(|id| slice(self.ids.get(id)))));
        }
        if !item.types.is_empty() {
            sources.push(Source::any(item.types.iter().map(|name| slice(self.types.get(name.as_str())))));
        }
        if let Some(category) = &item.category {
            sources.push(Source::list(slice(self.categories.get(category.as_str()))));
        }
        ItemPlan::new(sources)
    }

    /// Whether damaged positions may hold an event that the query means. Certain only for streams whose versions go on
    /// without a gap across the damage.
    pub(crate) fn may_have_lost(&self, damage: &Damage, query: &Query) -> bool {
        let Query::Any(items) = query else { return true };
        items.iter().any(|item| match &item.stream {
            Some(stream) => self.stream_may_have_lost(damage, stream.as_str()),
            None => true,
        })
    }

    /// Whether damage lies behind all that is known of a stream, so that its end may be further on.
    pub(crate) fn hides_end(&self, damage: &Damage, stream: &str) -> bool {
        let last = self.streams.get(stream).and_then(|entry| entry.positions().last().copied());
        last.is_none_or(|last| last < damage.from)
    }

    /// Whether damaged positions may hold an event of that stream.
    pub(crate) fn stream_may_have_lost(&self, damage: &Damage, stream: &str) -> bool {
        self.streams.get(stream).is_none_or(|entry| entry.may_have_lost(damage.from))
    }
}

fn slice(positions: Option<&Vec<u64>>) -> &[u64] {
    positions.map_or(&[], Vec::as_slice)
}

fn push(postings: &mut HashMap<Box<str>, Vec<u64>>, key: &str, position: u64) {
    match postings.get_mut(key) {
        Some(positions) if positions.last() == Some(&position) => {}
        Some(positions) => positions.push(position),
        None => {
            postings.insert(key.into(), vec![position]);
        }
    }
}
