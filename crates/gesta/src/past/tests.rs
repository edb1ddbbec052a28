//! Series against loads at each cut, steps against a list of states, and states with other events.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use gesta_core::{Batch, EventId, MemoryStore, NewEvent, StoreId, StreamName, Timestamp};
use serde::{Deserialize, Serialize};

use super::*;
use crate::load::{AsOf, Source, load_at};
use crate::random::Random;
use crate::testing::block_on;
use crate::{Event, State, Version};

const HOUR: i64 = 3_600_000_000_000;

#[derive(Debug, Clone, PartialEq, Event)]
#[event(prefix = "list")]
enum Listed {
    Added { number: u64 },
}

/// The numbers in the order in which they were folded: it tells any two histories apart.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct List(Vec<u64>);

impl State for List {
    type Event = Listed;

    fn evolve(&mut self, Listed::Added { number }: Listed) {
        self.0.push(number);
    }
}

fn stream() -> StreamName {
    "list-1".parse().unwrap()
}

/// Appends an event that happened at a time, while the clock of the store stands there.
fn append(store: &MemoryStore, number: u64, time: i64) {
    let data = format!("{{\"number\":{number}}}");
    let (kind, time) = ("list.added".parse().unwrap(), Timestamp::from_nanos(time));
    let event = NewEvent::json(EventId::from_u128(number.into()), stream(), kind, time, data);
    store.append_now(Batch::new([event])).unwrap();
}

/// A store whose clock the test sets.
fn store() -> (Arc<MemoryStore>, Arc<AtomicI64>) {
    let clock = Arc::new(AtomicI64::new(0));
    let now = Arc::clone(&clock);
    let read = move || Timestamp::from_nanos(now.load(Ordering::SeqCst));
    (Arc::new(MemoryStore::new(StoreId::from_bytes([7; 16]), 1, read)), clock)
}

fn series_of(store: &MemoryStore, cuts: &Cuts) -> Vec<(Cut, List)> {
    series_at(Timestamp::MAX, store, cuts)
}

/// The series as it is shown at a time.
fn series_at(now: Timestamp, store: &MemoryStore, cuts: &Cuts) -> Vec<(Cut, List)> {
    let mut found = Vec::new();
    let visit = |cut, state: &List| {
        found.push((cut, state.clone()));
        ControlFlow::Continue(())
    };
    block_on(series((store, now), stream(), cuts, visit)).unwrap();
    found
}

fn check_against_loads(seed: u64) {
    let mut random = Random::new(seed);
    let (store, clock) = store();
    let mut recorded = 0;
    for number in 0..=random.below(40) as u64 {
        recorded += i64::try_from(random.below(3)).unwrap() * HOUR / 2;
        clock.store(recorded, Ordering::SeqCst);
        let late = if random.below(4) == 0 { i64::try_from(random.below(30)).unwrap() * HOUR } else { 0 };
        append(&store, number, recorded - late);
    }
    let by = if random.below(2) == 0 { By::Time } else { By::RecordedAt };
    let step = [Step::Hour, Step::Day, Step::Week][random.below(3)];
    let found = series_of(&store, &Cuts::every(step, "Europe/Prague").unwrap().by(by));
    assert!(!found.is_empty());
    for (cut, state) in &found {
        let at = cut.at.unwrap();
        let as_of = if by == By::Time { AsOf::Time(at) } else { AsOf::RecordedAt(at) };
        let source = Source { events: &*store, snapshots: None };
        let loaded = block_on(load_at::<List>(source, stream(), as_of)).unwrap();
        assert_eq!((&loaded.state, loaded.version), (state, cut.version), "seed {seed}, {at}");
        assert_eq!(cut.is_final, by == By::RecordedAt && at.as_nanos() < recorded, "seed {seed}, {at}");
    }
    assert!(found.windows(2).all(|pair| pair[0].0.at < pair[1].0.at));
}

#[test]
fn each_state_of_a_series_is_what_a_load_at_its_cut_gives() {
    (0..300).for_each(check_against_loads);
}

#[test]
fn cuts_are_given_also_where_nothing_changed() {
    let (store, _) = store();
    append(&store, 1, 0);
    append(&store, 2, 72 * HOUR);
    let found = series_of(&store, &Cuts::every(Step::Day, "UTC").unwrap().by(By::Time));
    let lengths = found.iter().map(|(_, list)| list.0.len()).collect::<Vec<_>>();
    assert_eq!(lengths, [1, 1, 1, 2]);
    let part = Cuts::every(Step::Day, "UTC").unwrap().by(By::Time);
    let part = part.from(Timestamp::from_nanos(24 * HOUR)).to(Timestamp::from_nanos(72 * HOUR - 1));
    assert_eq!(series_of(&store, &part).len(), 2);
}

#[test]
fn cuts_by_events_end_with_the_last_event() {
    let (store, _) = store();
    assert_eq!(series_of(&store, &Cuts::every_events(2.try_into().unwrap())), []);
    (0..5).for_each(|number| append(&store, number, 0));
    let found = series_of(&store, &Cuts::every_events(2.try_into().unwrap()));
    let versions = found.iter().map(|(cut, _)| cut.version.unwrap().get()).collect::<Vec<_>>();
    assert_eq!(versions, [1, 3, 4]);
    assert_eq!(found[2].1.0, [0, 1, 2, 3, 4]);
}

#[test]
fn a_series_stops_when_its_reader_does() {
    let (store, _) = store();
    (0..5).for_each(|number| append(&store, number, 0));
    let mut seen = 0;
    let visit = |_, _: &List| {
        seen += 1;
        ControlFlow::Break(())
    };
    let cuts = Cuts::every_events(1.try_into().unwrap());
    block_on(series((&*store, Timestamp::MAX), stream(), &cuts, visit)).unwrap();
    assert_eq!(seen, 1);
}

#[test]
fn a_closed_series_ends_with_the_last_cut_that_has_passed_and_never_changes() {
    let days = || Cuts::every(Step::Day, "UTC").unwrap();
    let (store, clock) = store();
    clock.store(HOUR, Ordering::SeqCst);
    append(&store, 1, HOUR);
    let noon_of_the_third_day = Timestamp::from_nanos(60 * HOUR);
    clock.store(60 * HOUR, Ordering::SeqCst);
    let open = series_at(noon_of_the_third_day, &store, &days());
    assert_eq!(open.iter().map(|(cut, _)| cut.is_final).collect::<Vec<_>>(), [false]);
    let closed = series_at(noon_of_the_third_day, &store, &days().closed());
    let ends = closed.iter().map(|(cut, _)| cut.at.unwrap().as_nanos() + 1).collect::<Vec<_>>();
    assert_eq!(ends, [24 * HOUR, 48 * HOUR]);
    assert!(closed.iter().all(|(cut, _)| cut.is_final));
    // The clock goes back.
    clock.store(HOUR, Ordering::SeqCst);
    append(&store, 2, HOUR);
    assert_eq!(series_at(noon_of_the_third_day, &store, &days().closed()), closed);
    let first_day = days().to(Timestamp::from_nanos(24 * HOUR)).closed();
    assert_eq!(series_at(noon_of_the_third_day, &store, &first_day), closed[..1]);
    assert_eq!(series_at(Timestamp::from_nanos(23 * HOUR), &store, &days().closed()), []);
}

#[test]
fn cuts_that_cannot_be_closed_say_why() {
    let days = Cuts::every(Step::Day, "UTC").unwrap();
    assert!(days.clone().by(By::Time).closed().check().unwrap_err().contains("`time`"));
    assert!(
        Cuts::every_events(1.try_into().unwrap()).closed().check().unwrap_err().contains("number of events")
    );
    assert_eq!(days.closed().check(), Ok(()));
}

fn what(what: WhatIf<Listed>) -> Result<Vec<u64>, crate::LoadError> {
    let (store, _) = store();
    (0..4).for_each(|number| append(&store, number, i64::try_from(number).unwrap()));
    block_on(what_if::<List>(&*store, stream(), what)).map(|loaded| loaded.state.0)
}

const fn added(number: u64) -> Listed {
    Listed::Added { number }
}

#[test]
fn a_state_is_folded_with_other_events() {
    let version = Version::new;
    assert_eq!(what(WhatIf::default()).unwrap(), [0, 1, 2, 3]);
    let other = WhatIf {
        without: vec![version(1)],
        replace: vec![(version(2), added(20))],
        insert: vec![(version(1), added(10)), (version(3), added(30)), (version(3), added(31))],
        until: None,
    };
    assert_eq!(what(other.clone()).unwrap(), [0, 10, 20, 3, 30, 31]);
    let early = WhatIf {
        insert: vec![(version(0), added(9))],
        until: Some(AsOf::Version(version(1))),
        ..WhatIf::default()
    };
    assert_eq!(what(early).unwrap(), [0, 9, 1]);
    let by_time = WhatIf { until: Some(AsOf::Time(Timestamp::from_nanos(2))), ..WhatIf::default() };
    assert_eq!(what(by_time).unwrap(), [0, 1, 2]);
}

#[test]
fn a_version_that_is_not_there_is_named() {
    let without = WhatIf { without: vec![Version::new(4)], ..WhatIf::default() };
    assert_eq!(
        what(without).unwrap_err().to_string(),
        "stream `list-1` has no version 4: its last version is 3"
    );
    let beyond = WhatIf {
        insert: vec![(Version::new(3), added(9))],
        until: Some(AsOf::Version(Version::new(1))),
        ..WhatIf::default()
    };
    assert!(what(beyond).is_err());
}

/// A walk at random against the states of the whole history.
fn check_steps<S: State + Serialize>(seed: u64, events: u64, steps: usize) {
    let (store, _) = store();
    let data = |number: u64| format!("{{\"number\":{number}}}");
    let event = |number: u64| {
        let (kind, time) = ("list.added".parse().unwrap(), Timestamp::from_nanos(0));
        NewEvent::json(EventId::from_u128(number.into()), stream(), kind, time, data(number))
    };
    store.append_now(Batch::new((0..events).map(event))).unwrap();
    let mut state = S::default();
    let mut json = vec![serde_json::to_value(&state).unwrap()];
    for number in 0..events {
        let decode = <S::Event as Event>::decode;
        assert!(decode("list.added", 1, data(number).as_bytes(), &mut |event| state.evolve(event)).unwrap());
        json.push(serde_json::to_value(&state).unwrap());
    }
    let mut random = Random::new(seed);
    let mut walk = block_on(Steps::of::<S>(store, stream())).unwrap();
    // The number of events that are folded in.
    let mut at = 0_usize;
    for _ in 0..steps {
        let found = match random.below(4) {
            0 => {
                at = at.saturating_sub(1);
                block_on(walk.back()).unwrap()
            }
            1 => {
                at = 1 + random.below(usize::try_from(events).unwrap());
                Some(block_on(walk.goto(Version::new(at as u64 - 1))).unwrap())
            }
            _ => match block_on(walk.next()).unwrap() {
                Some(step) => {
                    at += 1;
                    Some(step)
                }
                None => {
                    assert_eq!(at as u64, events, "seed {seed}");
                    continue;
                }
            },
        };
        assert_eq!(walk.version(), last(at), "seed {seed}");
        let Some(step) = found else {
            assert_eq!(at, 0);
            continue;
        };
        assert_eq!((step.event.version(), &step.state), (last(at).unwrap(), &json[at]), "seed {seed}");
        assert_eq!(step.changes, changes(&json[at - 1], &json[at]));
    }
}

/// The version of the last of some events.
fn last(events: usize) -> Option<Version> {
    events.checked_sub(1).map(|version| Version::new(version as u64))
}

/// The sum of the numbers, kept as snapshots. It counts what is folded.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
struct Sum(u64);

thread_local! {
    static FOLDED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

impl State for Sum {
    type Event = Listed;

    fn evolve(&mut self, Listed::Added { number }: Listed) {
        FOLDED.set(FOLDED.get() + 1);
        self.0 += number;
    }

    fn snapshots() -> Option<crate::Snapshots<Self>> {
        Some(crate::Snapshots::new(500, 1, "Sum", ""))
    }
}

#[test]
fn steps_lead_to_the_states_of_the_history() {
    (0..50).for_each(|seed| check_steps::<List>(seed, 1 + seed % 7, 60));
    (0..3).for_each(|seed| check_steps::<Sum>(seed, 3_100, 60));
}

#[test]
fn a_step_back_folds_few_events_where_states_are_kept() {
    let (store, _) = store();
    (0..4_500).for_each(|number| append(&store, number, 0));
    let mut walk = block_on(Steps::of::<Sum>(store, stream())).unwrap();
    block_on(walk.goto(Version::new(4_400))).unwrap();
    for _ in 0..3 {
        FOLDED.set(0);
        block_on(walk.back()).unwrap().unwrap();
        assert!(FOLDED.get() <= 1_000, "{} events were folded", FOLDED.get());
    }
    let beyond = block_on(walk.goto(Version::new(4_500))).unwrap_err();
    assert_eq!(beyond.to_string(), "stream `list-1` has no version 4500: its last version is 4499");
    assert_eq!(walk.version(), Some(Version::new(4_499)));
}

fn json_event(event_type: &str, data: serde_json::Value) -> JsonEvent {
    JsonEvent { event_type: event_type.to_owned(), schema_version: None, data }
}

#[test]
fn other_events_are_read_as_stored_ones_are() {
    let version = Version::new;
    let what_if = WhatIf {
        replace: vec![(version(1), json_event("list.added", serde_json::json!({"number": 20})))],
        insert: vec![(version(2), json_event("list.added", serde_json::json!({"number": 30})))],
        ..WhatIf::default()
    };
    assert_eq!(what(decoded(what_if).unwrap()).unwrap(), [0, 20, 2, 30, 3]);
    let refused = |event| {
        let what = WhatIf { insert: vec![(version(0), event)], ..WhatIf::default() };
        decoded::<Listed>(what).unwrap_err()
    };
    let unknown = refused(json_event("list.removed", serde_json::json!({})));
    assert_eq!(unknown, "`list.removed` is no event of this entity: known are `list.added`");
    let wrong = refused(json_event("list.added", serde_json::json!({"number": "x"})));
    assert!(wrong.starts_with("the data of `list.added` does not decode: "), "{wrong}");
    let newer = JsonEvent { schema_version: Some(2), ..json_event("list.added", serde_json::json!({})) };
    assert!(refused(newer).contains("schema version 2"));
}
