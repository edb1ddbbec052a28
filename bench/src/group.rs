//! Consumer groups in the process: how fast one hands out what is in the log, and what groups at the head cost appends.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bench_core::{Call, Events, Gesta, Meter, Process, Streams, append_line, batch_of};
use gesta_consumer::SystemClock;
use gesta_consumer::group::{
    GroupName, GroupSettings, Groups, LocalGroups, LocalGroupsOptions, Settlement, Take,
};
use gesta_core::{EventStore, Place, Query, Read};
use gesta_log::LogStore;
use gesta_state::StateStore;

use crate::asked::Asked;
use crate::figure::{Round, compare};

/// Events in the log of the first figure, and events in one batch of it.
const EVENTS: u64 = 500_000;
pub const BATCH: u64 = 1_000;
/// Streams of these events.
const STREAMS: u64 = 10_000;
/// Callers that append single events in the second figure.
const CALLERS: u64 = 32;
/// Groups at the head in the second figure.
const GROUPS: [usize; 3] = [0, 1, 4];

pub fn run(asked: &Asked) {
    let events = asked.events.unwrap_or(EVENTS) / BATCH * BATCH;
    deal(events);
    appends(asked);
}

/// Appends events in batches.
pub fn fill(log: &LogStore, events: u64) {
    let made = Events::new(Streams::Turns(STREAMS));
    for _ in 0..events / BATCH {
        log.append_blocking(batch_of(&made.take(0, BATCH))).expect("an append");
    }
}

/// Hands out a log of events to members with an empty handler.
fn deal(events: u64) {
    let folder = bench_core::folder();
    let log = Arc::clone(Gesta::open(folder.path(), Call::Blocking).log());
    fill(&log, events);
    for members in [1, 2] {
        let name = format!("group: {events} events, {members} members");
        let mut number = 0;
        let ours = || {
            number += 1;
            let groups = local_groups(&log, &folder.path().join(format!("state-{members}-{number}.db")));
            create(&*groups, "g", Place::Start);
            let round = Round::time(|| {
                std::thread::scope(|scope| {
                    for member in 0..members {
                        let groups = &groups;
                        scope.spawn(move || {
                            handle(&**groups, "g", member, || is_done(&**groups, "g", events))
                        });
                    }
                });
                events
            });
            groups.close();
            round
        };
        compare(&name, "events/s", ours, || read_in_pages(&*log, events));
    }
}

/// The same events read page by page by one reader, which is all that the group's scan has to do.
pub fn read_in_pages(store: &dyn EventStore, events: u64) -> Round {
    Round::time(|| {
        let mut place = Place::Start;
        loop {
            let page = pollster::block_on(store.read(Read::log_from(Query::All, place))).expect("a page");
            if page.end {
                return events;
            }
            place = Place::At(page.scanned_to);
        }
    })
}

/// Appends single events, with groups at the head whose members do nothing with them.
fn appends(asked: &Asked) {
    let lasts = asked.lasts(2.0);
    println!("\n### groups at the head: single durable appends by {CALLERS} callers\n");
    println!("| groups | appended/s | of those without groups | CPU µs/event |");
    println!("| ---: | ---: | ---: | ---: |");
    let mut rates = [const { Vec::new() }; GROUPS.len()];
    for _ in 0..asked.rounds {
        for (rates, groups) in rates.iter_mut().zip(GROUPS) {
            rates.push(append_beside(groups, lasts));
        }
    }
    let median = |rates: &mut Vec<(f64, f64)>| {
        rates.sort_by(|one, other| one.0.total_cmp(&other.0));
        rates[rates.len() / 2]
    };
    let (alone, _) = median(&mut rates[0].clone());
    for (rates, groups) in rates.iter_mut().zip(GROUPS) {
        let (rate, processor) = median(rates);
        println!("| {groups} | {rate:.0} | {:.3} | {processor:.2} |", rate / alone);
        let row = format!("{groups},{rate:.0},{:.3},{processor:.2}", rate / alone);
        let heading = "groups,events_per_second,of_alone,cpu_us_per_event";
        append_line(&asked.out.join("groups.csv"), heading, &row);
    }
}

/// The rate of appends beside groups, and the processor time of the process for each event in microseconds.
fn append_beside(count: usize, lasts: Duration) -> (f64, f64) {
    let folder = bench_core::folder();
    let log = Arc::clone(Gesta::open(folder.path(), Call::Blocking).log());
    let groups = local_groups(&log, &folder.path().join("state.db"));
    (0..count).for_each(|number| create(&*groups, &format!("g-{number}"), Place::End));
    let is_over = AtomicBool::new(false);
    let events = Events::new(Streams::Turns(STREAMS));
    std::thread::scope(|scope| {
        for number in 0..count {
            let (groups, is_over) = (&groups, &is_over);
            scope.spawn(move || {
                handle(&**groups, &format!("g-{number}"), 0, || is_over.load(Ordering::Relaxed));
            });
        }
        let meter = Meter::start(Process::Own, folder.path());
        let begun = Instant::now();
        let callers = (0..CALLERS).map(|caller| {
            let (log, events) = (&log, &events);
            scope.spawn(move || {
                let mut appended = 0_u64;
                while begun.elapsed() < lasts {
                    log.append_blocking(batch_of(&events.take(caller, 1))).expect("an append");
                    appended += 1;
                }
                appended
            })
        });
        let callers = callers.collect::<Vec<_>>();
        let appended = callers.into_iter().map(|caller| caller.join().expect("no panic")).sum::<u64>() as f64;
        let (took, used) = (begun.elapsed(), meter.stop());
        is_over.store(true, Ordering::Relaxed);
        (appended / took.as_secs_f64(), used.processor.as_secs_f64() * 1e6 / appended)
    })
}

pub fn local_groups(log: &Arc<LogStore>, state: &Path) -> Arc<LocalGroups> {
    let store = Arc::clone(log) as Arc<dyn EventStore>;
    let values = Arc::new(StateStore::open(state).expect("a key-value store"));
    let options =
        LocalGroupsOptions { boot_epoch: log.boot_epoch(), is_alone: true, ..LocalGroupsOptions::default() };
    Arc::new(LocalGroups::start(store, values, Arc::new(SystemClock), options).expect("a thread"))
}

pub fn create(groups: &dyn Groups, name: &str, from: Place) {
    let most = |count| NonZeroU32::new(count).expect("a number above 0");
    let settings = GroupSettings { from, in_flight_max: most(4_000), ..GroupSettings::new(Query::All) };
    pollster::block_on(groups.put(group(name), settings, None)).expect("a group");
}

pub fn group(name: &str) -> GroupName {
    name.parse().expect("a name")
}

/// A member with an empty handler: it acknowledges what it got with the call that takes more.
pub fn handle(groups: &dyn Groups, name: &str, member: u64, is_over: impl Fn() -> bool) {
    let mut settle = Vec::new();
    let mut is_idle = true;
    while !is_idle || !is_over() {
        let take =
            Take::new(format!("m-{member}").parse().expect("a name"), 1_000, Duration::from_millis(50));
        let take = Take { settle: std::mem::take(&mut settle), ..take };
        let taken = pollster::block_on(groups.take(group(name), take)).expect("deliveries");
        is_idle = taken.deliveries.is_empty();
        settle.extend(taken.deliveries.iter().map(|delivery| Settlement::handled(delivery.id)));
    }
}

/// True once every event was acknowledged.
pub fn is_done(groups: &dyn Groups, name: &str, events: u64) -> bool {
    let status = pollster::block_on(groups.get(group(name))).expect("a status");
    status.settled.handled >= events
}
