//! Reads of a log that lost a segment in its middle, from every place: each present event is given, each loss is
//! reported, and nothing else counts as lost.

use std::ops::RangeInclusive;
use std::sync::Arc;

use gesta_conformance::sample::{self, Sample as _};
use gesta_core::{
    Batch, Checkpoint, Direction, EventStore as _, Limit, NewEvent, Place, Query, Read, ReadError, Select,
    StreamName, Version,
};

use crate::env::OsEnv;
use crate::folder::segment_path;
use crate::options::Options;
use crate::store::LogStore;

const EVENTS: u64 = 60;
/// How many events have index files: none, some before the loss, or all, which covers it.
const INDEXED: [u64; 3] = [0, 20, EVENTS];
/// Every stream there is, and one that has no event.
const STREAMS: [&str; 7] = ["a-all", "a-around", "a-before", "a-begun", "a-behind", "a-lost", "a-none"];

/// The stream of an event. The lost segment holds some 12 events around the 30th.
fn stream_of(position: u64) -> &'static str {
    match position {
        30 => "a-lost",
        31 | 50 | 52 => "a-begun",
        15 | 17 => "a-before",
        10 | 45 | 46 => "a-around",
        44 | 55 => "a-behind",
        _ => "a-all",
    }
}

/// A log that lost its third segment.
struct Damaged {
    log: LogStore,
    lost: RangeInclusive<u64>,
    /// Whether index files from before the loss cover it.
    is_covered: bool,
    _folder: tempfile::TempDir,
}

impl Damaged {
    /// With index files over the first `indexed` events.
    fn new(indexed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let open = |index_run_bytes| {
            let options = Options { segment_size_bytes: 64 << 10, index_run_bytes, ..Options::default() };
            LogStore::open_inline(Arc::new(OsEnv), folder.path(), &options).unwrap()
        };
        let mut next = 1;
        for (end, index_run_bytes) in [(indexed, 16 << 10), (EVENTS, Options::default().index_run_bytes)] {
            let log = open(index_run_bytes);
            while next <= end {
                let batch = next..(next + 1 + next % 3).min(EVENTS + 1);
                next = batch.end;
                log.append_blocking(Batch::new(batch.map(event))).unwrap();
                // Full tables become index files.
                log.keep_inline();
            }
        }
        std::fs::remove_file(segment_path(folder.path(), 3)).unwrap();
        let log = open(Options::default().index_run_bytes);
        let [damage] = &log.recovery().damage[..] else { panic!("it is one loss") };
        let lost_stream = pollster::block_on(log.stream("a-lost".parse().unwrap()));
        let is_covered = lost_stream.is_ok_and(|info| info.is_some());
        assert_eq!(is_covered, indexed == EVENTS);
        let lost = damage.from..=damage.to;
        assert!(
            lost.contains(&29) && lost.contains(&32) && *lost.start() > 18 && *lost.end() < 43,
            "{lost:?}"
        );
        Self { log, lost, is_covered, _folder: folder }
    }

    fn checkpoint(&self, position: u64) -> Checkpoint {
        Checkpoint::new(self.log.id(), [position])
    }

    /// Whether a loss outside the index may have cost a stream events. It did not if the stream's versions continue
    /// without a gap.
    fn may_have_lost(&self, stream: &str) -> bool {
        let own = |position: &u64| stream_of(*position) == stream;
        self.lost.clone().any(|position| own(&position))
            || !(*self.lost.end() + 1..=EVENTS).any(|at| own(&at))
    }

    /// Positions at the ends of the log and of the loss.
    fn edges(&self) -> Vec<u64> {
        let (from, to) = (*self.lost.start(), *self.lost.end());
        vec![0, 1, from - 2, from - 1, from, from + 1, to - 1, to, to + 1, to + 2, EVENTS - 1, EVENTS]
    }

    /// Reads page after page to the end, and continues after losses.
    fn walk_log(&self, read: &Read, mut at: u64) -> (Vec<u64>, Vec<RangeInclusive<u64>>) {
        let Select::Log { query, .. } = &read.select else { panic!("it is a read of the log") };
        let (mut positions, mut losses) = (Vec::new(), Vec::new());
        for _ in 0..=EVENTS {
            let from = Place::At(self.checkpoint(at));
            let select = Select::Log { query: query.clone(), from, lanes: None };
            match self.log.read_blocking(&Read { select, ..read.clone() }) {
                Ok(page) => {
                    positions.extend(page.events.iter().map(|event| event.position().sequence));
                    if page.end {
                        return (positions, losses);
                    }
                    at = page.scanned_to.sequence(0);
                }
                Err(ReadError::DataLoss { from, to, resume, .. }) => {
                    losses.push(from.sequence..=to.sequence);
                    at = resume.sequence(0);
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no end from {at} on: {read:?}");
    }

    fn check_log(&self, stream: Option<&'static str>, read: &Read, at: u64, until: u64) {
        let is_meant = |position: &u64| stream.is_none_or(|stream| stream_of(*position) == stream);
        let is_lost = |position: &u64| self.lost.contains(position);
        let range = match read.direction {
            Direction::Forward => at + 1..=until,
            Direction::Backward => until + 1..=at,
        };
        let costs = match stream {
            _ if self.is_covered => range.clone().any(|position| is_lost(&position) && is_meant(&position)),
            stream => {
                range.clone().any(|position| is_lost(&position))
                    && stream.is_none_or(|own| self.may_have_lost(own))
            }
        };
        let mut expected =
            range.filter(|position| is_meant(position) && !is_lost(position)).collect::<Vec<_>>();
        if read.direction == Direction::Backward {
            expected.reverse();
        }
        let losses = if costs { vec![self.lost.clone()] } else { Vec::new() };
        let read = read.clone().until(self.checkpoint(until));
        assert_eq!(self.walk_log(&read, at), (expected, losses), "from {at}: {read:?}");
    }

    /// Reads page after page of a stream, to its end or a loss. Returns whether it met a loss.
    fn walk_stream(
        &self,
        read: &Read,
        stream: &StreamName,
        until: u64,
        mut from: Option<u64>,
    ) -> (Vec<u64>, bool) {
        let read = read.clone().until(self.checkpoint(until));
        let (mut positions, mut is_short) = (Vec::new(), false);
        for _ in 0..=EVENTS {
            let select = Select::Stream { name: stream.clone(), from: from.map(Version::new) };
            match self.log.read_blocking(&Read { select, ..read.clone() }) {
                Ok(page) => {
                    assert!(!is_short, "only a loss cuts a page short: {from:?}, {read:?}");
                    positions.extend(page.events.iter().map(|event| event.position().sequence));
                    if page.end {
                        assert_eq!(page.scanned_to, self.checkpoint(until), "{from:?}, {read:?}");
                        return (positions, false);
                    }
                    is_short = page.events.len() < read.limit.events.get() as usize;
                    let last = page.events.last().expect("a page that is not the last has an event");
                    let version = last.version().get();
                    from = Some(match read.direction {
                        Direction::Forward => version + 1,
                        Direction::Backward => {
                            version.checked_sub(1).expect("below the first event is the end")
                        }
                    });
                    let (scanned_to, last) = (page.scanned_to.sequence(0), last.position().sequence);
                    let exact = match read.direction {
                        Direction::Forward => last,
                        Direction::Backward => last - 1,
                    };
                    assert_eq!(
                        scanned_to, exact,
                        "what was given is not given again, and a loss not passed over"
                    );
                }
                Err(ReadError::DataLoss { from, to, resume, .. }) => {
                    assert!(self.lost.contains(&from.sequence) && self.lost.contains(&to.sequence));
                    // Backward, the loss may hide the stream's end, or older events lie below it.
                    let sides = [to.sequence, from.sequence - 1].map(|at| self.checkpoint(at));
                    let possible = if read.direction == Direction::Forward { &sides[..1] } else { &sides };
                    assert!(possible.contains(&resume), "{resume}, {read:?}");
                    return (positions, true);
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no end from {from:?} on: {read:?}");
    }

    fn check_stream(&self, stream: &'static str, read: &Read, from: Option<u64>, until: u64) {
        let is_lost = |position: &u64| self.lost.contains(position);
        let own = (0..).zip((1..=EVENTS).filter(|position| stream_of(*position) == stream));
        let own = own.collect::<Vec<(u64, u64)>>();
        let known_head = own.iter().rfind(|(_, position)| self.is_covered || !is_lost(position));
        let (start, is_head) = match (from, known_head) {
            (Some(from), Some((head, _))) => (from, from > *head),
            (Some(from), None) => (from, true),
            (None, _) => (u64::MAX, true),
        };
        let mut meant = own.clone();
        match read.direction {
            Direction::Forward => {
                meant.retain(|(version, position)| *version >= from.unwrap_or(0) && *position <= until);
            }
            Direction::Backward => {
                meant.retain(|(version, position)| *version <= start && *position > until);
                meant.reverse();
            }
        }
        let meant = meant.into_iter().map(|(_, position)| position).collect::<Vec<_>>();
        let (begin, end) = (*self.lost.start(), *self.lost.end());
        let is_in_doubt = !self.is_covered
            && self.may_have_lost(stream)
            && match read.direction {
                // No event of the stream lies after the loss, so the loss may hide more.
                Direction::Forward => {
                    until >= begin && !own.iter().any(|(_, at)| (end + 1..=until).contains(at))
                }
                // The same, or missing versions may lie anywhere in the loss.
                Direction::Backward => {
                    let is_hidden = is_head && known_head.is_none_or(|(_, at)| *at < begin);
                    let is_missing = own.iter().any(|(version, at)| *version <= start && is_lost(at));
                    until < end && (is_hidden || is_missing)
                }
            };
        let is_before =
            |position: &u64| is_in_doubt && *position < begin && read.direction == Direction::Backward;
        let expected =
            meant.iter().copied().take_while(|position| !is_lost(position) && !is_before(position));
        let expected = expected.collect::<Vec<_>>();
        let costs = is_in_doubt || meant.iter().any(is_lost);
        let walked = self.walk_stream(read, &stream.parse().unwrap(), until, from);
        assert_eq!(
            walked,
            (expected, costs),
            "covered {}, {stream} from {from:?}: {read:?}",
            self.is_covered
        );
    }
}

fn event(position: u64) -> NewEvent {
    sample::event(stream_of(position), position).with_data(vec![b'1'; 5_000])
}

/// Both directions, with pages of a few events and without a limit.
fn ways(read: Read) -> Vec<Read> {
    let short = read.clone().limit(Limit::events(2.try_into().unwrap()));
    vec![short.clone(), read.clone(), short.backward(), read.backward()]
}

#[test]
fn reads_of_the_log_give_every_present_event_and_report_each_relevant_loss_once() {
    for log in INDEXED.map(Damaged::new) {
        for stream in STREAMS.map(Some).into_iter().chain([None]) {
            let query = stream.map_or(Query::All, |stream| Query::stream(stream.parse().unwrap()));
            for read in ways(Read::log(query)) {
                for at in log.edges() {
                    for until in log.edges() {
                        log.check_log(stream, &read, at, until);
                    }
                }
            }
        }
    }
}

#[test]
fn reads_of_a_stream_give_its_events_up_to_a_loss_that_may_concern_it() {
    for log in INDEXED.map(Damaged::new) {
        for stream in STREAMS {
            for read in ways(Read::stream(stream.parse().unwrap())) {
                for from in [None].into_iter().chain((0..6).chain([20, 25, 30, 60]).map(Some)) {
                    for until in log.edges() {
                        log.check_stream(stream, &read, from, until);
                    }
                }
            }
        }
    }
}

#[test]
fn a_backward_read_reports_a_loss_directly_below_the_last_event_of_a_stream() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::default();
    let log = LogStore::open(folder.path(), &options).unwrap();
    for (number, data) in (1_u64..).zip(["first", "second", "third"]) {
        let event = sample::event("a-all", number).with_data(data);
        log.append_blocking(Batch::new([event])).unwrap();
    }
    drop(log);
    let path = segment_path(folder.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(6).position(|window| window == b"second").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let log = LogStore::open(folder.path(), &options).unwrap();
    let from = Some(Version::new(1));
    let read = Read::from(Select::Stream { name: "a-all".parse().unwrap(), from }).backward();
    let error = log.read_blocking(&read).unwrap_err();
    let ReadError::DataLoss { from, to, .. } = error else { panic!("{error}") };
    assert_eq!((from.sequence, to.sequence), (2, 2));
}
