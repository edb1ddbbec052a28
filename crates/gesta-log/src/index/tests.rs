//! Runs, tables and merges against a plain scan of the same events: every look-up gives the same answer.

use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use gesta_core::{EventId, EventType, Item, Query, StreamName, Tag};
use proptest::prelude::*;

use super::key::{Key, Kind};
use super::lookup_error::{LookupError, ReadMode};
use super::memtable::{IndexedEvent, MemTable};
use super::part::{Part, PartRef};
use super::run::{BlockCache, Covered, Extent, FIRST_OF_FRAME, Merge, MergeError};
use super::runs::RunFiles;
use super::{FoundId, IndexSnapshot};
use crate::env::OsEnv;
use crate::format::FrameName;
use crate::segment::{ChainPosition, LogPoint, MissingFile, SegmentFile};

/// The size of a record in these logs, and the bytes before the first record of a frame.
const RECORD_BYTES: u64 = 104;
const HEADER_BYTES: u64 = 64;
const SEGMENT_BYTES: u64 = 3 << 10;

/// An event of a log that is scanned.
#[derive(Debug, Clone)]
struct Event {
    stream: String,
    event_type: String,
    tags: Vec<String>,
    id: EventId,
    version: u64,
    /// The first and the last position of its batch.
    batch: (u64, u64),
    segment: u64,
    offset: u64,
}

/// The drawn numbers of one event; names derive from them.
#[derive(Debug, Clone)]
struct Drawn {
    stream: u8,
    event_type: u8,
    tags: Vec<u8>,
    id: u128,
    ends_batch: bool,
}

fn stream_name(number: u8) -> String {
    // Some names have the maximum length and differ at their ends only; some are prefixes of others.
    match number {
        0..=2 => format!("long-{:0>506}{number}", ""),
        3 => "s".to_owned(),
        4 => "s-".to_owned() + "1",
        _ => format!("s-{number}"),
    }
}

fn log_of(drawn: &[Drawn], rolls: &[bool]) -> Vec<Event> {
    let mut log = Vec::<Event>::new();
    let (mut segment, mut end, mut rolls) = (1, 4096, rolls.iter().cycle());
    let batches = drawn.split_inclusive(|event| event.ends_batch);
    for batch in batches {
        if end > 4096 + SEGMENT_BYTES || *rolls.next().expect("it goes on and on") {
            (segment, end) = (segment + 1, 4096);
        }
        let first = log.len() as u64 + 1;
        let last = first + batch.len() as u64 - 1;
        end += HEADER_BYTES;
        for own in batch {
            let stream = stream_name(own.stream);
            let version = log.iter().filter(|event| event.stream == stream).count() as u64;
            let tags = own.tags.iter().map(|tag| format!("tag:{tag}")).collect();
            let (event_type, id) = (format!("t.type{}", own.event_type), EventId::from_u128(own.id));
            log.push(Event {
                stream,
                event_type,
                tags,
                id,
                version,
                batch: (first, last),
                segment,
                offset: end,
            });
            end += RECORD_BYTES;
        }
    }
    log
}

/// The parts of an index, and their log.
struct Indexed {
    log: Vec<Event>,
    snapshot: IndexSnapshot,
    _folder: tempfile::TempDir,
}

fn segment(id: u64) -> Arc<SegmentFile> {
    Arc::new(SegmentFile { id, salt: [0; 16], file: Arc::new(MissingFile) })
}

/// Adds events to a table, batch by batch.
fn fill(table: &MemTable, log: &[Event]) {
    let mut state = table.write();
    let mut current = 0;
    for (event, position) in log.iter().zip(table.first..) {
        if event.segment != current {
            current = event.segment;
            state.begin_segment(segment(current));
        }
        let is_first = event.batch.0 == position;
        if is_first {
            state.begin_frame(FrameName { number: position, checksum: 7 });
        }
        let indexed = IndexedEvent { stream: &event.stream, event_type: &event.event_type, id: event.id };
        let offset = u32::try_from(event.offset).unwrap();
        let tags = event.tags.iter().map(String::as_str);
        assert_eq!(state.insert(&indexed, tags, offset, is_first, || event.version), event.version);
        if event.batch.1 == position {
            state.end_batch(i64::try_from(position).unwrap(), event.offset + RECORD_BYTES);
        }
    }
}

fn end_at(position: u64) -> LogPoint {
    let chain = ChainPosition { position, ..ChainPosition::START };
    LogPoint { segment: 1, offset: 4200, last_frame: 4096, chain, ..LogPoint::START }
}

/// Cuts a log into tables at the ends of batches, writes all but the last few as runs, and merges neighbours.
fn index(
    log: Vec<Event>,
    cache_bytes: u64,
    cuts: &[u64],
    tables: usize,
    merges: &[(usize, usize)],
) -> Indexed {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("index")).unwrap();
    let cache = Arc::new(BlockCache::new(cache_bytes));
    let files = RunFiles { root: folder.path().to_owned(), store: [1; 16], secret: 7, cache };
    let ends =
        cuts.iter().filter_map(|cut| log.get(usize::try_from(*cut).unwrap()).map(|event| event.batch.1));
    let mut ends = ends.collect::<BTreeSet<_>>();
    ends.insert(log.len() as u64);
    let (mut snapshot, mut first) = (IndexSnapshot::default(), 1);
    let in_runs = ends.len().saturating_sub(tables);
    for (number, end) in ends.into_iter().enumerate() {
        let table = MemTable::new(first);
        fill(&table, &log[usize::try_from(first - 1).unwrap()..usize::try_from(end).unwrap()]);
        if number < in_runs {
            let run = files.write(&OsEnv, number as u64 + 1, &table.read(), end_at(end)).unwrap();
            snapshot.runs.push(Arc::new(run));
        } else {
            snapshot.tables.push(table);
        }
        first = end + 1;
    }
    snapshot.tables.push(MemTable::new(first));
    for (id, (from, count)) in (1_000..).zip(merges) {
        merge(&files, &mut snapshot, id, *from, *count);
    }
    Indexed { log, snapshot, _folder: folder }
}

/// Merges `count` runs from one on, or as many as there are.
fn merge(files: &RunFiles, snapshot: &mut IndexSnapshot, id: u64, from: usize, count: usize) {
    let Some(merged) = snapshot.runs.get(from..from + count).filter(|_| count > 1) else { return };
    let mut merge = Merge::new(merged.to_vec(), files.begin(&OsEnv, id).unwrap()).unwrap();
    while !merge.step().unwrap() {}
    let run = merge.finish(id, 1).unwrap();
    snapshot.runs.splice(from..from + count, [Arc::new(run)]);
}

impl Indexed {
    /// The positions of a part whose events satisfy the predicate.
    fn scan(&self, part: PartRef<'_>, means: impl Fn(&Event) -> bool) -> Vec<u64> {
        let own =
            (1..).zip(&self.log).filter(|(position, _)| (part.first()..=part.last()).contains(position));
        own.filter(|(_, event)| means(event)).map(|(position, _)| position).collect()
    }

    fn check(&self) {
        for part in self.snapshot.parts() {
            let held = part.look(ReadMode::Disk);
            let part = held.part();
            self.check_keys(part);
            self.check_places(part);
            for query in self.queries() {
                self.check_plan(part, &query);
            }
        }
        self.check_heads();
        self.check_ids();
    }

    /// Checks a look-up of several ids: each is found in the newest run that holds it, and absent ids are not found.
    fn check_ids(&self) {
        let nowhere = [0, 1 << 100, u128::MAX].map(|id| ("long-1", EventId::from_u128(id)));
        let own = self.log.iter().map(|event| (event.stream.as_str(), event.id));
        let events = own.chain(nowhere).collect::<Vec<_>>();
        for events in [&events[..], &events[events.len() - 1..], &[]] {
            let mut found = vec![None; events.len()];
            for FoundId { at, place } in self.snapshot.find_in_runs(events, ReadMode::Disk).unwrap() {
                assert_eq!(found[at].replace(place), None, "it is said once");
            }
            let one = |(stream, id): &(&str, EventId)| {
                let mut runs = self.snapshot.runs.iter().rev().map(|run| PartRef::Run(run, ReadMode::Disk));
                runs.find_map(|run| run.find_id(&Key::stream(stream), &Key::id(*id)).unwrap())
            };
            assert_eq!(found, events.iter().map(one).collect::<Vec<_>>());
        }
    }

    fn check_keys(&self, part: PartRef<'_>) {
        let category = |event: &Event| StreamName::category_of(&event.stream).to_owned();
        for own in self.log.iter().step_by(3) {
            let stream = own.stream.as_bytes();
            let base = self.check_list(part, Kind::Stream, stream, |event| event.stream == own.stream);
            let first = self.scan(part, |event| event.stream == own.stream);
            assert_eq!(base, first.first().map(|at| self.log[usize::try_from(*at - 1).unwrap()].version));
            let (kind, id) = (own.event_type.as_bytes(), own.id);
            self.check_list(part, Kind::Type, kind, |event| event.event_type == own.event_type);
            self.check_list(part, Kind::Id, id.as_bytes(), |event| event.id == id);
            let name = category(own);
            self.check_list(part, Kind::Category, name.as_bytes(), |event| category(event) == name);
            self.check_list(part, Kind::New, name.as_bytes(), |event| {
                category(event) == name && event.version == 0
            });
            for tag in &own.tags {
                self.check_list(part, Kind::Tag, tag.as_bytes(), |event| event.tags.contains(tag));
            }
            let found = self.scan(part, |event| event.stream == own.stream && event.id == id);
            let expected = found.first().map(|at| (self.log[usize::try_from(*at - 1).unwrap()].version, *at));
            assert_eq!(
                part.find_id(&Key::stream(&own.stream), &Key::id(id)).unwrap(),
                expected,
                "{id} in {}",
                own.stream
            );
        }
        self.check_list(part, Kind::Created, &[], |event| event.version == 0);
        let nobody = format!("long-{:0>507}", "x");
        assert!(self.check_list(part, Kind::Stream, nobody.as_bytes(), |_| false).is_none());
    }

    /// Returns the version that the list begins with, according to the part.
    fn check_list(
        &self,
        part: PartRef<'_>,
        kind: Kind,
        key: &[u8],
        means: impl Fn(&Event) -> bool,
    ) -> Option<u64> {
        let expected = self.scan(part, means);
        let Some((mut list, base)) = part.list(&Key::new(kind, key)).unwrap() else {
            assert_eq!(expected, [0; 0], "{kind:?} {}", key.escape_ascii());
            return None;
        };
        let found = (0..list.len()).map(|at| part.first() + u64::from(list.at(at).unwrap()));
        assert_eq!(found.collect::<Vec<_>>(), expected, "{kind:?} {}", key.escape_ascii());
        assert_eq!(part.first() + u64::from(list.last()), *expected.last().unwrap());
        Some(base)
    }

    fn check_places(&self, part: PartRef<'_>) {
        let mut locator = part.locator();
        for position in part.first()..=part.last() {
            let event = &self.log[usize::try_from(position - 1).unwrap()];
            let location = locator.location(part.relative(position)).unwrap();
            assert_eq!((location.position, location.segment.id), (position, event.segment));
            assert_eq!(location.offset, event.offset);
            assert!(location.end >= event.offset + RECORD_BYTES, "the whole record is read");
            assert_eq!(part.batch_start(position).unwrap(), event.batch.0);
            assert_eq!(part.batch_end(position).unwrap(), event.batch.1);
        }
    }

    fn queries(&self) -> Vec<Query> {
        let [first, .., last] = &self.log[..] else { return vec![Query::All] };
        let stream = |event: &Event| Some(event.stream.parse::<StreamName>().unwrap());
        let types = |event: &Event| vec![event.event_type.parse::<EventType>().unwrap()];
        let tag = |number: u8| Tag::new(format!("tag:{number}")).unwrap();
        let both = Item { stream: stream(first), types: types(last), ..Item::default() };
        let ids = Item { ids: vec![first.id, last.id, EventId::from_u128(u128::MAX)], ..Item::default() };
        let tags = Item { tags: vec![tag(0), tag(1)], ..Item::default() };
        let category = StreamName::category_of(&last.stream).parse().unwrap();
        let all =
            Item { category: Some(category), tags: vec![tag(2)], types: types(first), ..Item::default() };
        let items = [both.clone(), ids, tags, all, Item { stream: stream(last), ..Item::default() }];
        let mut queries = items.iter().cloned().map(Query::from).collect::<Vec<_>>();
        queries.extend([Query::Any(items.to_vec()), Query::All]);
        queries
    }

    fn means(query: &Query, event: &Event) -> bool {
        let Query::Any(items) = query else { return true };
        items.iter().any(|item| {
            item.stream.as_ref().is_none_or(|stream| stream.as_str() == event.stream)
                && item
                    .category
                    .as_ref()
                    .is_none_or(|own| own.as_str() == StreamName::category_of(&event.stream))
                && (item.types.is_empty() || item.types.iter().any(|own| own.as_str() == event.event_type))
                && (item.ids.is_empty() || item.ids.contains(&event.id))
                && item.tags.iter().all(|tag| event.tags.iter().any(|own| own == tag.as_str()))
        })
    }

    /// Checks a plan from every position of a part, in both directions, with one plan for all look-ups and with one
    /// for each.
    fn check_plan(&self, part: PartRef<'_>, query: &Query) {
        let expected = self.scan(part, |event| Self::means(query, event));
        let relative = expected.iter().map(|position| part.relative(*position)).collect::<Vec<_>>();
        let len = part.relative(part.last() + 1);
        let (mut onward, mut back) = (part.plan(query).unwrap(), part.plan(query).unwrap());
        for from in 0..=len {
            let next = relative.get(relative.partition_point(|position| *position < from)).copied();
            assert_eq!(onward.next(from).unwrap(), next, "from {from}, {query:?}");
            assert_eq!(part.plan(query).unwrap().next(from).unwrap(), next, "at once from {from}, {query:?}");
            let from = len - from;
            let before = relative.partition_point(|position| *position <= from).checked_sub(1);
            let previous = before.map(|at| relative[at]);
            assert_eq!(back.previous(from).unwrap(), previous, "down from {from}, {query:?}");
        }
        assert_eq!(back.previous(u32::MAX).unwrap(), relative.last().copied());
    }

    fn check_heads(&self) {
        for own in self.log.iter().step_by(7) {
            for up_to in (0..=self.log.len() as u64).step_by(5).chain([u64::MAX]) {
                let known = usize::try_from(up_to.min(self.log.len() as u64)).unwrap();
                let last = self.log[..known].iter().rposition(|event| event.stream == own.stream);
                let expected = last.map(|at| (self.log[at].version, at as u64 + 1));
                let found = self.snapshot.head(&own.stream, up_to, ReadMode::Disk).unwrap();
                assert_eq!(found, expected, "{} up to {up_to}", own.stream);
            }
        }
        for position in 1..=self.log.len() as u64 {
            let part = self.snapshot.part_of(position).expect("every position is in a part");
            assert!(matches!(part, Part::Run(_) | Part::MemTable(_)) && part.first() <= position);
        }
        assert!(self.snapshot.part_of(self.log.len() as u64 + 1).is_none());
    }
}

fn drawn(ids_grow: bool) -> impl Strategy<Value = Vec<Drawn>> {
    let event = (0_u8..9, 0_u8..3, prop::collection::vec(0_u8..4, 0..4), 0_u128..400, 0_u8..3);
    prop::collection::vec(event, 1..220).prop_map(move |events| {
        let numbered = events.into_iter().zip(0_u128..);
        let drawn = numbered.map(|((stream, event_type, tags, id, ends), number)| {
            // Unless ids grow, several streams may hold an id, and one stream twice.
            let id = if ids_grow { number << 64 | id } else { id * 0x1_0001 };
            Drawn { stream, event_type, tags, id, ends_batch: ends == 0 }
        });
        drawn.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn runs_tables_and_merges_give_the_answers_of_a_scan(
        events in any::<bool>().prop_flat_map(drawn),
        rolls in prop::collection::vec(prop::bool::weighted(0.1), 7),
        cuts in prop::collection::vec(0_u64..220, 0..12),
        tables in 0_usize..4,
        merges in prop::collection::vec((0_usize..4, 2_usize..9), 0..4),
        // Room for every filter, for some, for none.
        cache_bytes in prop::sample::select(vec![1_u64 << 20, 1 << 10, 0]),
    ) {
        index(log_of(&events, &rolls), cache_bytes, &cuts, tables, &merges).check();
    }
}

/// A list of `count` positions with a fixed step, spread over two runs, which are merged.
fn check_long_list(count: u32, step: u32) {
    let (_folder, files) = run_files();
    let (len, cut) = (u64::from(count * step), u64::from(count / 3 * step));
    let mut snapshot = IndexSnapshot::default();
    for (id, first, last) in
        [(1, 1, cut), (2, cut + 1, len)].into_iter().filter(|(_, first, last)| first <= last)
    {
        let table = MemTable::new(first);
        let mut state = table.write();
        state.begin_segment(segment(1));
        for position in first..=last {
            state.begin_frame(FrameName { number: position, checksum: 7 });
            let is_hot = position % u64::from(step) == 0;
            let stream = if is_hot { "hot-1" } else { "cold-1" };
            let event =
                IndexedEvent { stream, event_type: "a.b", id: EventId::from_u128(u128::from(position)) };
            let base = || if is_hot { position / u64::from(step) - 1 } else { 0 };
            state.insert(&event, ["hot"].into_iter().filter(|_| is_hot), 4096, true, base);
            state.end_batch(0, 4200);
        }
        drop(state);
        let run = files.write(&OsEnv, id, &table.read(), end_at(last)).unwrap();
        check_positions(&run, count, step);
        snapshot.runs.push(Arc::new(run));
    }
    let runs = snapshot.runs.len();
    merge(&files, &mut snapshot, 3, 0, runs);
    assert_eq!(snapshot.runs.len(), 1);
    check_positions(&snapshot.runs[0], count, step);
}

/// Checks that the list of a run holds every `step`-th position: at each index near an end of a chunk, a block or the
/// list.
fn check_positions(run: &super::run::Run, count: u32, step: u32) {
    let part = PartRef::Run(run, ReadMode::Disk);
    let hot = |position: &u64| position.is_multiple_of(u64::from(step));
    let expected = (run.footer.first..=run.footer.last).filter(hot).collect::<Vec<_>>();
    for (kind, key) in [(Kind::Stream, &b"hot-1"[..]), (Kind::Tag, b"hot")] {
        let Some((mut list, base)) = part.list(&Key::new(kind, key)).unwrap() else {
            assert!(expected.is_empty());
            continue;
        };
        assert_eq!(list.len(), expected.len(), "of {count}");
        if kind == Kind::Stream {
            assert_eq!(base, expected[0] / u64::from(step) - 1);
        }
        let near_an_end = |at: &usize| at % 128 <= 1 || at % 128 == 127 || at + 2 >= expected.len();
        for at in (0..expected.len()).filter(near_an_end) {
            let position = part.relative(expected[at]);
            assert_eq!(list.at(at).unwrap(), position);
            // Hints from near and far, before and after, at the position itself and on both sides of it.
            for hint in [0, at.saturating_sub(1), at, at + 1, at + 2, expected.len()] {
                assert_eq!(list.lower_bound(hint, position).unwrap(), at, "of {count}, hint {hint}");
                assert_eq!(list.lower_bound(hint, position + 1).unwrap(), at + 1, "of {count}, hint {hint}");
            }
        }
    }
}

#[test]
fn lists_of_every_shape_are_found_in_runs_and_merges() {
    for count in [1, 2, 16, 17, 48, 127, 128, 129, 1_024, 1_025, 3_075] {
        for step in [1, 2, 7] {
            check_long_list(count, step);
        }
    }
}

#[test]
fn a_list_whose_directory_has_several_blocks_is_found() {
    check_long_list(300_000, 1);
}

#[test]
fn the_first_record_of_a_frame_is_marked_and_nothing_else() {
    let drawn = Drawn { stream: 3, event_type: 0, tags: vec![], id: 1, ends_batch: false };
    let events = [drawn.clone(), Drawn { ends_batch: true, ..drawn.clone() }, drawn];
    let indexed = index(log_of(&events, &[false]), 1 << 20, &[], 0, &[]);
    let mut offsets = indexed.snapshot.runs[0].offsets(ReadMode::Disk);
    let marked = (0..3).map(|at| offsets.get(at).unwrap() & FIRST_OF_FRAME != 0);
    assert_eq!(marked.collect::<Vec<_>>(), [true, false, true]);
}

/// Run files in a new folder.
fn run_files() -> (tempfile::TempDir, RunFiles) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("index")).unwrap();
    let cache = Arc::new(BlockCache::new(64 << 10));
    let files = RunFiles { root: folder.path().to_owned(), store: [1; 16], secret: 7, cache };
    (folder, files)
}

/// Where the record of a position begins, in runs that a test writes key by key.
fn offset_of(position: u64) -> u32 {
    4096 + 8 * u32::try_from(position).unwrap()
}

/// A run over a range of positions in segments that begin at given positions, with these tags in this order.
fn run_of(
    files: &RunFiles,
    id: u64,
    positions: RangeInclusive<u64>,
    segments: &[(u64, u64)],
    tags: impl IntoIterator<Item = (String, Range<u32>)>,
) -> Arc<super::run::Run> {
    let (first, last) = positions.into_inner();
    let mut builder = files.begin(&OsEnv, id).unwrap();
    (first..=last).for_each(|position| builder.offset(offset_of(position) | FIRST_OF_FRAME).unwrap());
    let tags = tags.into_iter().map(|(tag, positions)| (Key::new(Kind::Tag, tag.as_bytes()), positions));
    // One id for all events: no test looks for it.
    for (key, positions) in tags.chain([(Key::new(Kind::Id, &[7; 16]), 0..1)]) {
        builder.begin_key(key.as_bytes(), 0).unwrap();
        builder.positions(positions).unwrap();
        builder.end_key().unwrap();
    }
    let ends = segments.iter().skip(1).map(|(first, _)| *first).chain([last + 1]);
    let extents = segments.iter().zip(ends).map(|((first, segment), end)| Extent {
        first: *first,
        segment: *segment,
        end: offset_of(end).into(),
    });
    let covered = Covered {
        id,
        tier: 0,
        store: files.store,
        first,
        last,
        first_frame: FrameName { number: first, checksum: 7 },
        end: end_at(last),
        extents: extents.collect(),
        segments: segments.iter().map(|(_, id)| segment(*id)).collect(),
    };
    Arc::new(builder.finish(covered).unwrap())
}

/// A run of `count` positions that share one tag.
fn run_of_one_key(files: &RunFiles, id: u64, first: u64, count: u32) -> Arc<super::run::Run> {
    let last = first + u64::from(count) - 1;
    run_of(files, id, first..=last, &[(first, 1)], [("hot".to_owned(), 0..count)])
}

#[test]
fn positions_are_found_at_the_ends_of_every_block_of_a_directory() {
    /// Positions that one block of a directory covers.
    const BLOCK: u32 = 256 * 1_024;
    const COUNT: u32 = 2 * BLOCK + 1_025;
    let (_folder, files) = run_files();
    let run = run_of_one_key(&files, 1, 1, COUNT);
    let (mut list, _) =
        PartRef::Run(&run, ReadMode::Disk).list(&Key::new(Kind::Tag, b"hot")).unwrap().unwrap();
    for near in [0, 1_024, BLOCK, BLOCK + 1_024, 2 * BLOCK, 2 * BLOCK + 1_024, COUNT] {
        for at in near.saturating_sub(2)..(near + 2).min(COUNT) {
            assert_eq!(list.at(at as usize).unwrap(), at);
            // The hint lies after the list, so the list is searched.
            assert_eq!(list.lower_bound(COUNT as usize, at).unwrap(), at as usize);
            assert_eq!(list.lower_bound(COUNT as usize, COUNT - at).unwrap(), (COUNT - at) as usize);
        }
    }
}

#[test]
fn a_merge_stops_and_goes_on_in_the_middle_of_a_long_list() {
    const COUNT: u32 = 600_000;
    let (_folder, files) = run_files();
    let runs =
        [(1, 1), (2, 1 + u64::from(COUNT))].map(|(id, first)| run_of_one_key(&files, id, first, COUNT));
    let mut merge = Merge::new(runs.to_vec(), files.begin(&OsEnv, 3).unwrap()).unwrap();
    let mut steps = 1;
    while !merge.step().unwrap() {
        steps += 1;
    }
    let blocks = COUNT.div_ceil(1_024);
    let (of_offsets, of_chunks) = ((2 * blocks).div_ceil(64), (2 * blocks).div_ceil(256));
    assert_eq!(steps, of_offsets + of_chunks, "{of_offsets} of them for offsets");
    let run = merge.finish(3, 1).unwrap();
    let part = PartRef::Run(&run, ReadMode::Disk);
    let (mut list, _) = part.list(&Key::new(Kind::Tag, b"hot")).unwrap().unwrap();
    assert_eq!(list.len(), 2 * COUNT as usize);
    for at in (0..2 * COUNT).step_by(997) {
        assert_eq!(list.at(at as usize).unwrap(), at);
    }
}

#[test]
fn a_merge_stops_and_goes_on_between_keys() {
    let (_folder, files) = run_files();
    // The tags alternate between the two runs.
    let tags = |own: u32| (0..3_000_u32).map(move |n| (format!("{:05}", 2 * n + own), 0..1));
    let runs = [run_of(&files, 1, 1..=1, &[(1, 1)], tags(0)), run_of(&files, 2, 2..=2, &[(2, 1)], tags(1))];
    let mut merge = Merge::new(runs.to_vec(), files.begin(&OsEnv, 3).unwrap()).unwrap();
    let mut steps = 1;
    while !merge.step().unwrap() {
        steps += 1;
    }
    assert_eq!(steps, 3, "one for offsets, two for keys");
    let run = merge.finish(3, 1).unwrap();
    assert_eq!((run.footer.keys, run.footer.postings), (6_001, 6_002));
    for n in 0..6_000 {
        let key = Key::new(Kind::Tag, format!("{n:05}").as_bytes());
        let (mut list, _) = PartRef::Run(&run, ReadMode::Disk).list(&key).unwrap().unwrap();
        assert_eq!((list.len(), list.at(0).unwrap()), (1, n % 2));
    }
}

#[test]
fn a_merged_run_locates_every_record() {
    let (_folder, files) = run_files();
    let tag = || [("hot".to_owned(), 0..1)];
    // The second segment begins within a run, the third with one.
    let runs = vec![
        run_of(&files, 1, 1..=1_500, &[(1, 1)], tag()),
        run_of(&files, 2, 1_501..=3_548, &[(1_501, 1), (2_000, 2)], tag()),
        run_of(&files, 3, 3_549..=4_000, &[(3_549, 3)], tag()),
    ];
    let mut snapshot = IndexSnapshot { runs, ..IndexSnapshot::default() };
    merge(&files, &mut snapshot, 4, 0, 3);
    let part = PartRef::Run(&snapshot.runs[0], ReadMode::Disk);
    let mut locator = part.locator();
    for position in 1..=4_000 {
        let location = locator.location(part.relative(position)).unwrap();
        let segment = 1 + u64::from(position >= 2_000) + u64::from(position >= 3_549);
        assert_eq!((location.position, location.segment.id), (position, segment));
        assert_eq!((location.offset, location.len()), (offset_of(position).into(), 8));
    }
    let extents = snapshot.runs[0].footer.extents.iter().map(|extent| (extent.first, extent.segment));
    assert_eq!(extents.collect::<Vec<_>>(), [(1, 1), (2_000, 2), (3_549, 3)]);
}

#[test]
fn a_merge_refuses_a_position_beyond_its_run() {
    let (_folder, files) = run_files();
    // For a list beside its key and one in a chunk: up to the last position of the run, and one beyond.
    for (from, end, is_sound) in [(9, 100, true), (9, 101, false), (90, 100, true), (90, 101, false)] {
        let tags = [("hot".to_owned(), from..end)];
        let runs = vec![run_of(&files, 1, 1..=100, &[(1, 1)], tags), run_of_one_key(&files, 2, 101, 5)];
        let mut merge = Merge::new(runs, files.begin(&OsEnv, 3).unwrap()).unwrap();
        let ended = std::iter::repeat_with(|| merge.step()).find(|step| !matches!(step, Ok(false)));
        match ended.expect("it goes on until it ends") {
            Ok(_) => assert!(is_sound, "{from}..{end}"),
            Err(error) => {
                assert!(matches!(error, MergeError::Read(LookupError::Damaged { run: 1, .. })), "{error}");
                assert!(!is_sound, "{from}..{end}");
            }
        }
    }
}
