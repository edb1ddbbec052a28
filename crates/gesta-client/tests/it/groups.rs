//! The laws of consumer groups, from a client through a server to groups.

use std::sync::Arc;
use std::time::Duration;

use gesta_client::{ClientOptions, RemoteStore};
use gesta_conformance::{GroupHarness, LocalHarness, Served};
use gesta_consumer::group::{
    ChangeError, GroupName, GroupSettings, GroupState, Groups, LookError, PutError, Take, TakeError,
};
use gesta_core::{Batch, EventId, MemoryStore, NewEvent, Query, ReadError, StoreId, Timestamp};
use gesta_server::Server;
use pollster::block_on;
use test_servers::free_address;

use crate::server::{Running, listen};

/// A harness whose groups are clients of servers of another harness's groups.
struct Remote<H>(H);

/// What serves the groups of a client, and the groups.
struct Behind {
    server: Running,
    groups: Served,
}

impl<H: GroupHarness> Remote<H> {
    fn start(groups: Served) -> Served {
        let server = Running::start_server(listen(free_address()), server_of(&groups));
        let client = RemoteStore::connect(&server.url(), &ClientOptions::default());
        let client = client.expect("the server answers");
        let remote = Arc::new(client.groups());
        Served { groups: remote, store: Arc::new(client), owner: Box::new(Behind { server, groups }) }
    }

    /// Ends the client, then the server as `end` says. Returns the groups behind it.
    fn end(client: Served, end: fn(Running)) -> Served {
        let Served { groups, store, owner } = client;
        drop((groups, store));
        let behind = owner.downcast::<Behind>().expect("the groups are of this harness");
        let Behind { server, groups } = *behind;
        end(server);
        groups
    }
}

impl<H: GroupHarness> GroupHarness for Remote<H> {
    fn serve(&self) -> Served {
        Self::start(self.0.serve())
    }

    fn restart(&self, served: Served) -> Served {
        Self::start(self.0.restart(Self::end(served, drop)))
    }

    fn crash(&self, served: Served) -> Served {
        Self::start(self.0.crash(Self::end(served, Running::kill)))
    }

    fn advance(&self, served: &Served, by: Duration) {
        let behind = served.owner.downcast_ref::<Behind>().expect("the groups are of this harness");
        self.0.advance(&behind.groups, by);
    }
}

mod in_memory {
    use super::Remote;

    gesta_conformance::group_laws!(Remote(gesta_conformance::LocalHarness::new(1)));
}

mod in_three_partitions {
    use super::Remote;

    gesta_conformance::group_laws!(Remote(gesta_conformance::LocalHarness::new(3)));
}

/// A group of all events, and a call that waits for them.
fn all() -> (GroupName, GroupSettings, Take) {
    let take = Take::new("m".parse().unwrap(), 8, Duration::from_secs(60));
    ("mail".parse().unwrap(), GroupSettings::new(Query::All), take)
}

fn server_of(subject: &Served) -> Server {
    Server::builder(Arc::clone(&subject.store)).groups(Arc::clone(&subject.groups)).build()
}

#[test]
fn a_call_that_waits_while_its_server_dies_is_unavailable_and_may_be_sent_again() {
    let (group, settings, take) = all();
    let harness = LocalHarness::new(1);
    let subject = harness.serve();
    let running = Running::start_server(listen(free_address()), server_of(&subject));
    let address = running.address;
    let groups = RemoteStore::connect(&running.url(), &ClientOptions::default()).unwrap().groups();
    block_on(groups.put(group.clone(), settings, None)).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(groups.take(group.clone(), take.clone())));
        while block_on(groups.get(group.clone())).unwrap().members.is_empty() {}
        running.kill();
        let lost = waiting.join().unwrap();
        assert!(matches!(lost, Err(TakeError::Unavailable { .. })), "{lost:?}");
    });
    let away = block_on(groups.pause(group.clone(), "ops".to_owned()));
    assert!(matches!(away, Err(ChangeError::Unavailable { .. })), "surely not done: {away:?}");
    let subject = harness.restart(subject);
    let _running = Running::start_server(listen(address), server_of(&subject));
    let event = NewEvent::json(
        EventId::from_u128(1),
        "order-1".parse().unwrap(),
        "placed".parse().unwrap(),
        Timestamp::from_nanos(1),
        "1",
    );
    block_on(subject.store.append(Batch::new([event]))).unwrap();
    assert_eq!(block_on(groups.take(group, take)).unwrap().deliveries.len(), 1);
}

#[test]
fn the_groups_of_another_store_at_the_address_are_never_touched() {
    let (group, settings, take) = all();
    let subject = LocalHarness::new(1).serve();
    let running = Running::start_server(listen(free_address()), server_of(&subject));
    let address = running.address;
    let groups = RemoteStore::connect(&running.url(), &ClientOptions::default()).unwrap().groups();
    block_on(groups.put(group.clone(), settings.clone(), None)).unwrap();
    drop(running);
    let other = Arc::new(MemoryStore::new(StoreId::from_bytes([8; 16]), 1, || Timestamp::from_nanos(1)));
    let served = LocalHarness::new(1).serve();
    let others = Arc::clone(&served.groups);
    block_on(others.put(group.clone(), settings.clone(), None)).unwrap();
    let server = Server::builder(other).groups(Arc::clone(&others)).build();
    let _running = Running::start_server(listen(address), server);
    assert_eq!(block_on(groups.pause(group.clone(), "ops".to_owned())), Err(ChangeError::Closed));
    assert_eq!(block_on(groups.take(group.clone(), take)), Err(TakeError::Closed));
    assert_eq!(block_on(groups.put(group.clone(), settings, None)), Err(PutError::Closed));
    assert_eq!(block_on(groups.get(group.clone())), Err(LookError::Closed));
    let state = block_on(others.get(group)).unwrap().state;
    assert!(!matches!(state, GroupState::Paused { .. }), "{state:?}");
}

#[test]
fn a_server_without_groups_does_not_know_any() {
    let subject = LocalHarness::new(1).serve();
    let running = Running::start(Arc::clone(&subject.store));
    let client = RemoteStore::connect(&running.url(), &ClientOptions::default()).unwrap();
    assert!(client.features().is_empty());
    let (group, settings, take) = all();
    let groups = client.groups();
    assert!(block_on(groups.put(group.clone(), settings, None)).is_err());
    assert!(block_on(groups.take(group.clone(), take)).is_err());
    let looked = block_on(groups.get(group));
    assert!(matches!(looked, Err(LookError::Read(ReadError::Invalid { .. }))), "{looked:?}");
}
