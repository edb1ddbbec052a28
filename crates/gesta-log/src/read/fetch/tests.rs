//! Reads of a file that records the calls it gets, in order, and knows which bytes are in memory.

use std::io;
use std::sync::{Arc, Mutex};

use gesta_conformance::sample::{self, Sample as _};
use gesta_core::Batch;

use super::*;
use crate::env::File;
use crate::format::{Prepared, Salt, Seal};
use crate::limits::HALVES_EVENTS_MIN;
use crate::read::halves::fetch_in_halves;
use crate::read::pool::Pool;
use crate::segment::SegmentFile;
use crate::shared::Recent;

const SALT: Salt = [9; 16];
/// The distance between records: further apart than one read spans.
const STEP: u64 = READ_GAP_BYTES_MAX + 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Cached(u64),
    Told(u64),
    Read(u64),
}

/// A file of records, one every [`STEP`] bytes.
struct Noted {
    bytes: Vec<u8>,
    /// Records that begin before this offset are in memory.
    cached_to: u64,
    /// Reads that begin here fail.
    fails_at: Option<u64>,
    /// The read that begins at the first offset ends once the one at the second was requested.
    waits_for: Option<(u64, u64)>,
    calls: Mutex<Vec<Call>>,
}

impl File for Noted {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.calls.lock().unwrap().push(Call::Read(offset));
        if self.fails_at == Some(offset) {
            return Err(io::ErrorKind::Other.into());
        }
        let from = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&self.bytes[from..from + buffer.len()]);
        Ok(buffer.len())
    }

    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> bool {
        self.calls.lock().unwrap().push(Call::Cached(offset));
        if let Some((at, other)) = self.waits_for.filter(|(at, _)| *at == offset) {
            assert_ne!(at, other);
            while !self.calls.lock().unwrap().contains(&Call::Cached(other)) {
                std::thread::yield_now();
            }
        }
        let from = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&self.bytes[from..from + buffer.len()]);
        offset < self.cached_to
    }

    fn will_read(&self, offset: u64, _len: u64) {
        self.calls.lock().unwrap().push(Call::Told(offset));
    }
}

/// Where the record at a position begins.
const fn place(position: u64) -> u64 {
    position * STEP
}

/// A file with `count` records, of positions from 1 on.
fn noted(count: u64) -> Noted {
    let mut bytes = vec![0; usize::try_from(place(count + 1)).unwrap()];
    for position in 1..=count {
        let event = sample::event("a-1", position).with_data(vec![b'x'; 40]);
        let mut prepared = Prepared::new(&Batch::new([event]));
        let (salt, number) = (SALT, position);
        let seal = Seal { salt, offset: 4096, number, position, durable: 0, recorded_at: 7, previous: 5 };
        prepared.seal(&seal, [position - 1]);
        let record = &prepared.bytes()[FRAME_HEADER_BYTES..];
        let at = usize::try_from(place(position)).unwrap();
        bytes[at..at + record.len()].copy_from_slice(record);
    }
    Noted { bytes, cached_to: 0, fails_at: None, waits_for: None, calls: Mutex::default() }
}

fn locations(file: &Arc<Noted>, positions: impl IntoIterator<Item = u64>) -> Vec<Location> {
    let segment = Arc::new(SegmentFile { id: 1, salt: SALT, file: Arc::clone(file) as Arc<dyn File> });
    let location = |position| {
        let (segment, offset) = (Arc::clone(&segment), place(position));
        Location { segment, position, offset, end: offset + 200 }
    };
    positions.into_iter().map(location).collect()
}

fn positions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.position().sequence).collect()
}

#[test]
fn a_page_on_a_cold_disk_is_announced_ahead_of_its_reads() {
    let count = 3 * READS_AHEAD as u64;
    let file = Arc::new(noted(count));
    let asked = (1..=count).rev().collect::<Vec<_>>();
    let fetched = fetch(&locations(&file, asked.iter().copied()));
    assert!(fetched.failed.is_none());
    assert_eq!(positions(&fetched.events), asked, "in the requested order");

    let calls = file.calls.lock().unwrap();
    let of = |pick: fn(&Call) -> Option<u64>| calls.iter().filter_map(pick).collect::<Vec<_>>();
    let told = of(|call| if let Call::Told(at) = call { Some(*at) } else { None });
    let read = of(|call| if let Call::Read(at) = call { Some(*at) } else { None });
    let places = asked.iter().map(|position| place(*position)).collect::<Vec<_>>();
    assert_eq!(told, places[1..], "one announcement each, except for the first read");
    assert_eq!(read, places);
    assert_eq!(calls[0], Call::Cached(places[0]), "memory is tried first, and once");
    assert_eq!(calls.iter().filter(|call| matches!(call, Call::Cached(_))).count(), 1);
    let mut ahead = 0;
    for (index, call) in calls.iter().enumerate() {
        match call {
            Call::Told(_) => ahead += 1,
            // The first read follows the look into memory.
            Call::Read(at) if *at != places[0] => ahead -= 1,
            Call::Read(_) => assert_eq!(ahead, READS_AHEAD, "call {index}: enough reads are announced"),
            Call::Cached(_) => {}
        }
        assert!(ahead <= READS_AHEAD + 1, "call {index}: {ahead} reads ahead, including the next one");
    }
}

#[test]
fn records_in_memory_take_one_call_each_and_no_announcement() {
    let file = Arc::new(Noted { cached_to: u64::MAX, ..noted(300) });
    let fetched = fetch(&locations(&file, 1..=300));
    assert_eq!(positions(&fetched.events), (1..=300).collect::<Vec<_>>());
    let calls = file.calls.lock().unwrap();
    assert_eq!(*calls, (1..=300).map(|position| Call::Cached(place(position))).collect::<Vec<_>>());
}

#[test]
fn a_page_that_is_partly_in_memory_is_whole() {
    let file = Arc::new(Noted { cached_to: place(41), ..noted(100) });
    let fetched = fetch(&locations(&file, 1..=100));
    assert_eq!(positions(&fetched.events), (1..=100).collect::<Vec<_>>());
    let calls = file.calls.lock().unwrap();
    assert_eq!(calls[..41], (1..=41).map(|position| Call::Cached(place(position))).collect::<Vec<_>>());
    assert_eq!(calls[41], Call::Told(place(42)));
    assert!(calls.contains(&Call::Read(place(41))));
}

#[test]
fn the_first_failure_in_page_order_ends_a_page_after_the_events_before_it() {
    // Damage before a failing read, and the other way round; within one buffer and across several.
    for (damaged, failing, backward) in
        [(5, 6, false), (6, 5, false), (20, 90, false), (90, 20, false), (90, 20, true), (6, 5, true)]
    {
        let mut file = noted(100);
        file.bytes[usize::try_from(place(damaged)).unwrap() + 60] ^= 1;
        let file = Arc::new(Noted { fails_at: Some(place(failing)), ..file });
        let mut asked = (1..=100).collect::<Vec<_>>();
        if backward {
            asked.reverse();
        }
        let Fetched { events, failed } = fetch(&locations(&file, asked.iter().copied()));
        let first = asked.iter().position(|position| [damaged, failing].contains(position)).unwrap();
        assert_eq!(positions(&events), asked[..first], "{damaged}, {failing}");
        let failed = failed.expect("it fails");
        assert_eq!((failed.position, failed.is_damage), (asked[first], asked[first] == damaged));
        assert!(failed.place.contains(&format!("offset {}", place(asked[first]))), "{}", failed.place);
    }
}

#[test]
fn a_read_on_the_callers_thread_is_small_and_never_waits_for_the_disk() {
    let most = CACHED_READ_EVENTS_MAX as u64;
    let hot = Arc::new(Noted { cached_to: u64::MAX, ..noted(most + 1) });
    let events = fetch_cached(&locations(&hot, 1..=most)).expect("it is in memory");
    assert_eq!(positions(&events), (1..=most).collect::<Vec<_>>());
    assert!(fetch_cached(&locations(&hot, 1..=most + 1)).is_none(), "one too many");
    let mut large = locations(&hot, 1..=1);
    large[0].end = large[0].offset + CACHED_READ_BYTES_MAX + 1;
    assert!(fetch_cached(&large).is_none(), "a byte too many");

    let cold = Arc::new(Noted { cached_to: place(3), ..noted(5) });
    assert!(fetch_cached(&locations(&cold, 1..=5)).is_none());
    let calls = cold.calls.lock().unwrap();
    assert_eq!(*calls, [1, 2, 3].map(|position| Call::Cached(place(position))), "no other calls");
}

#[test]
fn readers_at_the_head_share_one_read() {
    let slots = crate::limits::RECENT_EVENTS as u64;
    let file = Arc::new(Noted { cached_to: u64::MAX, ..noted(slots + 3) });
    let recent = Recent::new();
    let read = |positions: std::ops::RangeInclusive<u64>, durable: u64| {
        let asked = locations(&file, positions);
        if let Some(events) = recent.get(&asked, durable) {
            return (self::positions(&events), true);
        }
        let events = fetch_cached(&asked).expect("it is in memory");
        recent.put(&asked, &events, durable);
        (self::positions(&events), false)
    };
    assert_eq!(read(1..=2, 2), (vec![1, 2], false));
    assert_eq!(read(1..=2, 2), (vec![1, 2], true), "the second reader");
    assert_eq!(read(2..=3, 3), (vec![2, 3], false), "all of a page or none");
    assert_eq!(read(2..=3, 3), (vec![2, 3], true));
    let calls = file.calls.lock().unwrap().len();
    assert_eq!(calls, 4, "one read for each event of a page that is not shared");
    // Another event of the same slot is never returned, and evicts only an older one.
    assert_eq!(read(slots + 2..=slots + 2, slots + 2), (vec![slots + 2], false));
    assert_eq!(read(2..=2, slots + 2), (vec![2], false), "far from the head, nothing is shared");
    assert_eq!(read(slots + 2..=slots + 2, slots + 2), (vec![slots + 2], true));
    assert_eq!(read(2..=2, 3), (vec![2], false), "a late reader does not evict a newer event");
    assert_eq!(read(slots + 2..=slots + 2, slots + 2), (vec![slots + 2], true));
}

#[test]
fn a_small_event_does_not_keep_a_large_buffer() {
    let file = Arc::new(Noted { cached_to: u64::MAX, ..noted(2) });
    let recent = Recent::new();
    let mut asked = locations(&file, 1..=1);
    asked[0].end = asked[0].offset + crate::limits::RECENT_READ_BYTES_MAX + 1;
    let events = fetch_cached(&asked).expect("it is in memory");
    recent.put(&asked, &events, 1);
    assert!(recent.get(&asked, 1).is_none());
}

#[test]
fn an_idle_thread_reads_the_second_half_of_a_large_page() {
    let count = HALVES_EVENTS_MIN as u64;
    let pool = Pool::new(1, 2).unwrap();
    pool.idle().wait_for_one();
    // The first read ends once another thread has begun the last one.
    let file = Noted { cached_to: u64::MAX, waits_for: Some((place(1), place(count))), ..noted(count) };
    let fetched = fetch_in_halves(locations(&Arc::new(file), 1..=count), pool.idle());
    assert!(fetched.failed.is_none());
    assert_eq!(positions(&fetched.events), (1..=count).collect::<Vec<_>>());
}

#[test]
fn no_thread_helps_while_every_core_is_busy() {
    let pool = Pool::new(1, 2).unwrap();
    pool.idle().wait_for_one();
    let offered = Arc::new(());
    let offer = || {
        let theirs = Arc::clone(&offered);
        pool.idle().offer(move || drop(theirs));
    };
    let _busy = (pool.idle().busy(), pool.idle().busy());
    offer();
    assert_eq!(Arc::strong_count(&offered), 1, "it was dropped at once");
}

#[test]
fn a_large_page_ends_at_the_first_unreadable_record_in_either_half() {
    let count = HALVES_EVENTS_MIN as u64;
    for threads in [0, 1] {
        for fails_at in [1, 7, count / 2, count / 2 + 1, count] {
            let pool = Pool::new(threads, 2).unwrap();
            let file = Noted { fails_at: Some(place(fails_at)), ..noted(count) };
            let fetched = fetch_in_halves(locations(&Arc::new(file), 1..=count), pool.idle());
            assert_eq!(fetched.failed.map(|failed| failed.position), Some(fails_at));
            assert_eq!(positions(&fetched.events), (1..fails_at).collect::<Vec<_>>());
        }
    }
}
