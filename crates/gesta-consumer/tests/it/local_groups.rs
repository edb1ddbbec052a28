//! Local groups: their thread, their list, and key-value stores that fail.

use std::sync::Arc;
use std::time::Duration;

use gesta_conformance::AwayKeyValues;
use gesta_consumer::group::{
    ChangeError, Delivery, GroupName, GroupSettings, GroupState, Groups, LocalGroups, LocalGroupsOptions,
    LookError, PutError, Settlement, Take, TakeError, Taken, Then,
};
use gesta_consumer::{Clock, TestClock};
use gesta_core::{
    Batch, EventId, KeyName, KeyValueStore as _, MemoryKeyValueStore, MemoryStore, NewEvent, Query, StoreId,
    Timestamp,
};
use pollster::block_on;

struct World {
    store: Arc<MemoryStore>,
    values: Arc<AwayKeyValues>,
    clock: TestClock,
    events: u128,
}

impl World {
    fn new() -> Self {
        let clock = TestClock::default();
        let time = clock.clone();
        let store = MemoryStore::new(StoreId::from_bytes([5; 16]), 1, move || time.now());
        let values = Arc::new(AwayKeyValues::new(Arc::<MemoryKeyValueStore>::default()));
        Self { store: Arc::new(store), values, clock, events: 0 }
    }

    fn start(&self) -> LocalGroups {
        let options = LocalGroupsOptions { boot_epoch: 1, is_alone: true, ..LocalGroupsOptions::default() };
        let clock = Arc::new(self.clock.clone());
        LocalGroups::start(self.store.clone(), self.values.clone(), clock, options).unwrap()
    }

    fn append(&mut self, stream: &str) {
        self.events += 1;
        let id = EventId::from_u128(self.events);
        let (stream, kind) = (stream.parse().unwrap(), "a.b".parse().unwrap());
        let event = NewEvent::json(id, stream, kind, Timestamp::from_nanos(0), "{}");
        self.store.append_now(Batch::new([event])).unwrap();
    }
}

fn group(name: &str) -> GroupName {
    name.parse().unwrap()
}

fn create(groups: &LocalGroups, name: &str) {
    block_on(groups.put(group(name), GroupSettings::new(Query::All), None)).unwrap();
}

/// Calls until a delivery is there.
fn take(groups: &LocalGroups, name: &str) -> Delivery {
    let call = Take::new("m".parse().unwrap(), 1, Duration::from_secs(20));
    block_on(groups.take(group(name), call)).unwrap().deliveries.remove(0)
}

fn settle(groups: &LocalGroups, name: &str, settlement: Settlement) {
    let call = Take::new("m".parse().unwrap(), 0, Duration::ZERO);
    let taken = block_on(groups.take(group(name), Take { settle: vec![settlement], ..call }));
    assert_eq!(taken, Ok(Taken::default()));
}

fn wait_until_dealt(groups: &LocalGroups, name: &str) {
    while block_on(groups.get(group(name))).unwrap().state == GroupState::Starting {
        std::thread::yield_now();
    }
}

#[test]
fn all_groups_are_found_again_beside_the_words_about_their_streams() {
    let mut world = World::new();
    let groups = world.start();
    let names = ["g", "g-1", "g.x", "g0", "h"];
    for name in names {
        create(&groups, name);
        for stream in 0..3 {
            world.append(&format!("s-{name}-{stream}"));
        }
    }
    for name in names {
        for _ in 0..3 {
            let delivery = take(&groups, name);
            settle(&groups, name, Settlement::then(delivery.id, 0, Then::Park));
        }
    }
    groups.close();
    let groups = world.start();
    let listed = block_on(groups.list()).unwrap();
    assert_eq!(listed.iter().map(|status| status.name.as_str()).collect::<Vec<_>>(), names);
}

#[test]
fn a_close_answers_everybody_and_later_calls_are_refused() {
    let mut world = World::new();
    let groups = Arc::new(world.start());
    create(&groups, "g");
    world.append("s-1");
    let delivery = take(&groups, "g");
    let waiting = {
        let groups = groups.clone();
        std::thread::spawn(move || {
            let call = Take::new("n".parse().unwrap(), 1, Duration::from_secs(20));
            block_on(groups.take(group("g"), call))
        })
    };
    while block_on(groups.get(group("g"))).unwrap().members.len() < 2 {
        std::thread::yield_now();
    }
    settle(&groups, "g", Settlement::handled(delivery.id));
    groups.close();
    assert_eq!(waiting.join().unwrap(), Err(TakeError::Closed));
    assert_eq!(block_on(groups.list()), Err(LookError::Closed));
    assert_eq!(block_on(groups.resume(group("g"))), Err(ChangeError::Closed));
    let groups = world.start();
    wait_until_dealt(&groups, "g");
    assert_eq!(block_on(groups.get(group("g"))).unwrap().lag_events, Some(0), "the last put has it");
}

#[test]
fn without_the_key_value_store_calls_are_refused_until_it_is_back() {
    let world = World::new();
    create(&world.start(), "g");
    world.values.set_away(true);
    let groups = world.start();
    let call = || Take::new("m".parse().unwrap(), 1, Duration::ZERO);
    let refused = block_on(groups.take(group("g"), call()));
    assert!(
        matches!(refused, Err(TakeError::Unavailable { ref reason }) if reason.contains("away")),
        "{refused:?}"
    );
    world.values.set_away(false);
    while block_on(groups.take(group("g"), call())).is_err() {
        world.clock.advance(Duration::from_secs(1));
    }
}

#[test]
fn a_list_of_groups_that_cannot_be_read_is_reported_with_the_reason() {
    let world = World::new();
    world.values.set_away(true);
    let groups = world.start();
    let away = "the list of groups cannot be read: the key-value store is not available: away";
    let unavailable = LookError::Unavailable { reason: away.to_owned() };
    assert_eq!(block_on(groups.list()), Err(unavailable));
    let put = block_on(groups.put(group("g"), GroupSettings::new(Query::All), None));
    assert_eq!(put, Err(PutError::Unavailable { reason: away.to_owned() }));
    world.values.set_away(false);
    while block_on(groups.list()).is_err() {
        world.clock.advance(Duration::from_secs(60));
    }
    create(&groups, "g");
}

#[test]
fn a_group_whose_row_cannot_be_read_is_shown_as_stopped_beside_the_others() {
    let world = World::new();
    create(&world.start(), "g");
    let key = "groups/broken".parse::<KeyName>().unwrap();
    block_on(world.values.put(key, "no row".into(), None)).unwrap();
    let groups = world.start();
    wait_until_dealt(&groups, "g");
    let shown = block_on(groups.list()).unwrap();
    let states = shown.iter().map(|status| (status.name.as_str(), &status.state)).collect::<Vec<_>>();
    let [("broken", GroupState::Stopped { reason }), ("g", GroupState::Running)] = &states[..] else {
        panic!("{states:?}")
    };
    assert!(reason.contains("its row cannot be read"), "{reason}");
    let refused = block_on(groups.remove(group("broken")));
    assert!(matches!(refused, Err(ChangeError::Unavailable { .. })), "{refused:?}");
}

#[test]
fn a_close_does_not_wait_for_a_key_value_store_that_is_away() {
    let mut world = World::new();
    let groups = world.start();
    create(&groups, "g");
    world.append("s-1");
    let delivery = take(&groups, "g");
    world.values.set_away(true);
    settle(&groups, "g", Settlement::handled(delivery.id));
    groups.close();
}

#[test]
fn newer_groups_over_the_same_stores_take_over() {
    let mut world = World::new();
    let older = world.start();
    create(&older, "g");
    world.append("s-1");
    let delivery = take(&older, "g");
    let newer = world.start();
    wait_until_dealt(&newer, "g");
    settle(&older, "g", Settlement::handled(delivery.id));
    while block_on(older.get(group("g"))).unwrap().state != GroupState::TakenOver {
        world.clock.advance(Duration::from_millis(100));
    }
    let call = Take::new("m".parse().unwrap(), 1, Duration::ZERO);
    let refused = block_on(older.take(group("g"), call));
    assert!(matches!(refused, Err(TakeError::Unavailable { .. })), "{refused:?}");
    let again = take(&newer, "g");
    assert_eq!(
        (again.attempt, &again.events),
        (1, &delivery.events),
        "its progress was lost with the older dealer"
    );
}

#[test]
fn deliveries_that_a_server_could_not_write_come_again_without_an_attempt() {
    let mut world = World::new();
    let groups = world.start();
    create(&groups, "g");
    world.append("s-1");
    let lost = take(&groups, "g");
    groups.unwritten(&group("g"), &"m".parse().unwrap(), &[lost.id]);
    let again = take(&groups, "g");
    assert_eq!((again.attempt, &again.events), (1, &lost.events));
}
