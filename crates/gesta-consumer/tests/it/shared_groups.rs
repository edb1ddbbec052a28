//! Groups of one store that two processes have open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use gesta_conformance::AwayKeyValues;
use gesta_consumer::group::{
    GroupName, GroupSettings, Groups, LocalGroups, LocalGroupsOptions, LookError, Peer, PutError, Settlement,
    SharedGroups, Take, TakeError,
};
use gesta_consumer::{Clock as _, TestClock};
use gesta_core::{Batch, EventId, MemoryKeyValueStore, MemoryStore, NewEvent, Query, StoreId, Timestamp};
use pollster::block_on;

/// The processes by their address.
type Network = Arc<Mutex<BTreeMap<String, Arc<SharedGroups>>>>;

struct World {
    clock: TestClock,
    store: Arc<MemoryStore>,
    values: Arc<MemoryKeyValueStore>,
    network: Network,
}

impl World {
    fn new() -> Self {
        let clock = TestClock::default();
        let store = MemoryStore::new(StoreId::from_bytes([3; 16]), 1, || Timestamp::from_nanos(0));
        Self { clock, store: Arc::new(store), values: Arc::default(), network: Network::default() }
    }

    /// Starts a process at an address.
    fn process(&self, address: &str) -> (Arc<SharedGroups>, Arc<AwayKeyValues>) {
        self.process_of_id(&format!("process {address}"), address)
    }

    fn process_of_id(&self, id: &str, address: &str) -> (Arc<SharedGroups>, Arc<AwayKeyValues>) {
        let values = AwayKeyValues::new(Arc::clone(&self.values) as _);
        let (values, network) = (Arc::new(values), Arc::clone(&self.network));
        let connect = move |peer: &Peer<'_>| {
            let network = network.lock().unwrap();
            let called = network.get(peer.address).filter(|groups| groups.trusts(peer.secret));
            let found = called.and_then(|groups| groups.dealt_as(peer.id));
            found.ok_or_else(|| "nobody is there".to_owned())
        };
        let groups = SharedGroups::new(
            id.to_owned(),
            format!("secret of {id}"),
            self.store.clone(),
            values.clone(),
            Arc::new(self.clock.clone()),
            Box::new(connect),
        );
        let groups = Arc::new(groups);
        self.network.lock().unwrap().insert(address.to_owned(), Arc::clone(&groups));
        groups.announce(address.to_owned()).unwrap();
        (groups, values)
    }

    /// Moves the clock until a call has an answer.
    fn until<T: Send>(&self, call: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let calling = scope.spawn(call);
            while !calling.is_finished() {
                self.tick();
            }
            calling.join().unwrap()
        })
    }

    /// Moves the clock, in steps that are no stall.
    fn pass(&self, time: Duration) {
        for _ in 0..time.as_millis() / 100 {
            self.tick();
        }
    }

    /// Moves the clock, slowly enough for the threads of the processes. Where one stalls all the same, another process deals for a while.
    fn tick(&self) {
        self.clock.advance(Duration::from_millis(100));
        thread::park_timeout(Duration::from_millis(1));
    }

    fn append(&self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let (stream, kind) =
                (format!("order-{}", number % 5).parse().unwrap(), "placed".parse().unwrap());
            let id = EventId::from_u128(u128::from(number) + 1);
            self.store
                .append_now(Batch::new([NewEvent::json(id, stream, kind, Timestamp::from_nanos(0), "{}")]))
                .unwrap();
        }
    }
}

fn group() -> GroupName {
    "mailer".parse().unwrap()
}

/// Handles events through a process, until as many are known.
fn handle(groups: &SharedGroups, member: &str, seen: &Mutex<BTreeSet<EventId>>, wanted: usize) {
    let mut settle = Vec::new();
    while seen.lock().unwrap().len() < wanted || !settle.is_empty() {
        let take = Take {
            member: member.parse().unwrap(),
            max: if seen.lock().unwrap().len() < wanted { 10 } else { 0 },
            wait: Duration::from_secs(1),
            holds: Some(Vec::new()),
            settle: settle.clone(),
        };
        // It is not known for a while who deals.
        let Ok(taken) = block_on(groups.take(group(), take)) else { continue };
        settle.clear();
        for delivery in taken.deliveries {
            seen.lock().unwrap().extend(delivery.events.iter().map(|event| event.id()));
            settle.push(Settlement { id: delivery.id, handled: None, then: None, error: None });
        }
    }
}

#[test]
fn calls_at_every_process_reach_the_one_that_deals_and_another_one_deals_when_it_ends() {
    let world = World::new();
    let (first, _) = world.process("a");
    let settings = GroupSettings::new(Query::All);
    world.until(|| block_on(first.put(group(), settings, None))).unwrap();
    let (second, _) = world.process("b");
    let seen = Mutex::default();
    world.append(0..20);
    world.until(|| handle(&second, "m", &seen, 20));
    first.close();
    let closed_at = world.clock.elapsed();
    world.append(20..40);
    world.until(|| handle(&second, "m", &seen, 40));
    // Nobody waited for the time of a silent process.
    let took = world.clock.elapsed() - closed_at;
    assert!(took < Duration::from_secs(8), "{took:?}");
    let status = world.until(|| block_on(second.get(group()))).unwrap();
    assert_eq!(status.name, group());
    assert!(matches!(block_on(first.get(group())), Err(LookError::Closed)));
}

#[test]
fn a_process_that_loses_its_store_stops_and_another_one_takes_over() {
    let world = World::new();
    let (first, values) = world.process("a");
    let settings = GroupSettings::new(Query::All);
    world.until(|| block_on(first.put(group(), settings, None))).unwrap();
    let (second, _) = world.process("b");
    let seen = Mutex::default();
    world.append(0..10);
    world.until(|| handle(&second, "m", &seen, 10));
    values.set_away(true);
    // Longer than a process deals without an accepted put.
    world.pass(Duration::from_secs(7));
    world.append(10..20);
    world.until(|| handle(&second, "m", &seen, 20));
    let error = world.until(|| block_on(first.get(group()))).unwrap_err();
    assert!(matches!(error, LookError::Unavailable { .. }), "{error}");
    values.set_away(false);
    world.append(20..30);
    world.until(|| handle(&first, "n", &seen, 30));
}

/// Waits, while time passes, until a process deals.
fn wait_until_deals(world: &World, groups: &SharedGroups) {
    while groups.dealer().is_none_or(|dealer| !dealer.is_here) {
        world.tick();
    }
}

fn take(max: u32, wait: Duration) -> Take {
    Take { member: "m".parse().unwrap(), max, wait, holds: Some(Vec::new()), settle: Vec::new() }
}

#[test]
fn a_process_whose_store_says_nothing_deals_no_more() {
    let world = World::new();
    let (first, values) = world.process("a");
    world.until(|| block_on(first.put(group(), GroupSettings::new(Query::All), None))).unwrap();
    let (second, _) = world.process("b");
    thread::scope(|scope| {
        let open = scope.spawn(|| block_on(first.take(group(), take(10, Duration::from_secs(60)))));
        values.set_silent(true);
        wait_until_deals(&world, &second);
        world.append(0..10);
        world.until(|| handle(&second, "n", &Mutex::default(), 10));
        values.set_silent(false);
        let answer = world.until(|| open.join().unwrap());
        assert!(matches!(answer, Err(TakeError::Unavailable { .. })), "{answer:?}");
    });
}

#[test]
fn a_group_that_a_process_without_the_role_took_is_taken_back() {
    let world = World::new();
    let (first, _) = world.process("a");
    world.until(|| block_on(first.put(group(), GroupSettings::new(Query::All), None))).unwrap();
    // As a program of an earlier release, which knows nothing of the role.
    let (store, values, clock) = (world.store.clone(), world.values.clone(), Arc::new(world.clock.clone()));
    let thief = LocalGroups::start(store, values, clock, LocalGroupsOptions::default()).unwrap();
    let seen = Mutex::default();
    world.append(0..5);
    world.until(|| {
        assert!(
            !block_on(thief.take(group(), take(1, Duration::from_secs(9)))).unwrap().deliveries.is_empty()
        )
    });
    thief.close();
    world.append(5..10);
    world.until(|| handle(&first, "m", &seen, 10));
}

#[test]
fn a_group_belongs_to_its_host_at_every_process_that_deals() {
    let world = World::new();
    let (first, _) = world.process("a");
    wait_until_deals(&world, &first);
    let (host, _) = world.process("b");
    let settings = GroupSettings::new(Query::All);
    world.until(|| block_on(host.host(group(), settings.clone()))).unwrap();
    let (third, _) = world.process("c");
    first.close();
    let end = world.clock.elapsed() + Duration::from_secs(60);
    loop {
        let refused = world.until(|| block_on(third.remove(group())));
        match refused {
            Err(gesta_consumer::group::ChangeError::Hosted { .. }) => break,
            Err(_) => assert!(world.clock.elapsed() < end, "{refused:?}"),
            // Nobody had told the new dealer yet. The host is told that its group is gone, once it starts again.
            Ok(()) => world.until(|| block_on(host.host(group(), settings.clone()))).map(drop).unwrap(),
        }
    }
}

#[test]
fn a_process_that_replaces_one_at_its_address_adds_nothing_while_that_one_may_deal() {
    let world = World::new();
    let kind = |kind: &str| Query::types([kind.parse().unwrap()]);
    let (first, _) = world.process("a");
    let settings = GroupSettings::new(kind("placed"));
    world.until(|| block_on(first.host(group(), settings.clone()))).unwrap();
    // The first one lives on, without its address.
    let (second, _) = world.process_of_id("process a, later", "a");
    wait_until_deals(&world, &second);
    let began = world.clock.elapsed();
    world.until(|| block_on(second.host(group(), settings.clone()))).unwrap();
    let wider = GroupSettings::new(kind("shipped"));
    let refused = world.until(|| block_on(second.host(group(), wider.clone())));
    assert!(matches!(refused, Err(PutError::Unavailable { .. })), "{refused:?}");
    while world.until(|| block_on(second.host(group(), wider.clone()))).is_err() {
        world.pass(Duration::from_millis(500));
    }
    let waited = world.clock.elapsed() - began;
    assert!((Duration::from_secs(6)..Duration::from_secs(30)).contains(&waited), "{waited:?}");
}
