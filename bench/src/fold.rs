//! Folds one stream of a million events with a typed decider, from the disk and from the page cache.

use std::path::Path;
use std::sync::Arc;

use gesta::{Command, Decider, Event, Gesta, Key, State};
use gesta_core::{Batch, EventId, EventStore, NewEvent, Query, Read, Timestamp};
use gesta_log::{LogStore, Options};

use crate::bare;
use crate::figure::{Round, compare};

const EVENTS: u64 = 1_000_000;

#[derive(Debug, Clone, Key)]
#[key("meter")]
struct MeterId(u64);

#[derive(Debug, PartialEq, Event)]
#[event(prefix = "bench.meter")]
enum MeterEvent {
    Read { place: String, value: u64 },
    Reset { by: String },
}

#[derive(Debug, Clone, Command)]
enum MeterCommand {
    Read { place: String, value: u64 },
}

#[derive(Debug, Default)]
struct Meter {
    sum: u64,
    resets: u64,
}

impl State for Meter {
    type Event = MeterEvent;

    fn evolve(&mut self, event: MeterEvent) {
        match event {
            MeterEvent::Read { value, .. } => self.sum += value,
            MeterEvent::Reset { .. } => self.resets += 1,
        }
    }
}

impl Decider for Meter {
    type Id = MeterId;
    type Command = MeterCommand;
    type Error = std::convert::Infallible;

    fn decide(
        &self,
        MeterCommand::Read { place, value }: MeterCommand,
    ) -> Result<Vec<MeterEvent>, Self::Error> {
        Ok(vec![MeterEvent::Read { place, value }])
    }
}

pub fn run() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = Arc::new(LogStore::open(folder.path(), &Options::default()).expect("a log"));
    fill(&log);
    let gesta = Gesta::new(log.clone() as Arc<dyn EventStore>);
    let fold = || {
        Round::time(|| {
            let loaded = pollster::block_on(gesta.load::<Meter>(&MeterId(1))).expect("a state");
            assert_eq!((loaded.state.sum, loaded.state.resets), (EVENTS * 9 / 10 * 3, EVENTS / 10));
            EVENTS
        })
    };
    let read = || bare::read_segments(folder.path(), EVENTS);
    compare("fold: 1,000,000 events, in the page cache", "events/s", fold, read);
    let files = folder.path();
    compare("fold: 1,000,000 events, from a cold disk", "events/s", cold(files, fold), cold(files, read));
    let scan_all = || Round::time(|| scan(&log));
    compare("read: 1,000,000 events, all, not decoded", "events/s", scan_all, read);
    drop(gesta);
    drop(log);
    let open = || {
        Round::time(|| {
            LogStore::open(folder.path(), &Options::default()).expect("a log");
            EVENTS
        })
    };
    compare("open: 1,000,000 events, in the page cache", "events/s", open, read);
}

/// The same work, each time after dropping the page cache, which is not timed.
fn cold(files: &Path, mut work: impl FnMut() -> Round) -> impl FnMut() -> Round {
    move || {
        bench_core::drop_caches(files);
        work()
    }
}

fn fill(log: &LogStore) {
    for batch in 0..EVENTS / 1_000 {
        let event = |number: u64| {
            let (kind, data) = match number % 10 {
                0 => ("bench.meter.reset", r#"{"by":"the inspector of meters"}"#),
                _ => ("bench.meter.read", r#"{"place":"Hauptstrasse 17, back yard","value":3}"#),
            };
            let (id, stream) = (EventId::from_u128(u128::from(number)), "meter-1".parse().expect("a name"));
            NewEvent::json(id, stream, kind.parse().expect("a type"), Timestamp::from_nanos(1), data)
        };
        let events = (batch * 1_000..(batch + 1) * 1_000).map(event);
        log.append_blocking(Batch::new(events)).expect("an append");
    }
}

fn scan(log: &LogStore) -> u64 {
    let (mut read, mut count) = (Read::log(Query::All), 0);
    loop {
        let page = log.read_blocking(&read).expect("a page");
        count += page.events.len() as u64;
        if page.end {
            return count;
        }
        read = Read::log_from(Query::All, gesta_core::Place::At(page.scanned_to));
    }
}
