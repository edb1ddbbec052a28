//! What an open refuses, and what a process finds again.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{park_timeout, spawn};
use std::time::Duration;

use futures_util::FutureExt;
use gesta_core::{AppendError, Batch, EventId, EventStore, NewEvent, Query, Read, ReadError, Timestamp};
use gesta_jetstream::{JetStreamStore, JetStreamUrl, OpenError, Options, Stopped};
use pollster::block_on;
use test_servers::{NATS_CLUSTER_URL, NATS_URL, Nats};

use crate::cuts::{contains, for_each_chunk};
use crate::history::Kept;
use test_servers::given;

pub(crate) fn event(number: u128) -> NewEvent {
    let (id, time) = (EventId::from_u128(number), Timestamp::from_nanos(0));
    NewEvent::json(id, "a-1".parse().unwrap(), "a.b".parse().unwrap(), time, "{}")
}

/// A store of a random name.
pub(crate) fn at(servers: &str) -> JetStreamUrl {
    format!("{servers}/{}", uuid::Uuid::new_v4().simple()).parse().unwrap()
}

pub(crate) fn unsafe_options() -> Options {
    Options { takes_single_server: true, ..Options::default() }
}

#[test]
fn a_folder_that_a_process_has_open_is_refused_and_another_one_is_read_from_the_cluster() {
    let Some(servers) = given(NATS_URL) else { return };
    let (url, folders) = (at(&servers), tempfile::tempdir().unwrap());
    let first = JetStreamStore::open(&url, &folders.path().join("a"), &unsafe_options()).unwrap();
    block_on(first.append(Batch::new([event(1), event(2)]))).unwrap();
    let refused = JetStreamStore::open(&url, &folders.path().join("a"), &unsafe_options()).unwrap_err();
    assert!(matches!(refused, OpenError::Copy(_)), "{refused}");
    let second = JetStreamStore::open(&url, &folders.path().join("b"), &unsafe_options()).unwrap();
    assert_eq!(second.store_id(), first.store_id());
    let page = block_on(second.read(Read::log(Query::All))).unwrap();
    assert_eq!(page.events.len(), 2, "an open waits until the copy has what the cluster has");
}

#[test]
fn a_stream_that_one_server_keeps_is_refused_without_the_option_for_tests() {
    let Some(servers) = given(NATS_CLUSTER_URL) else { return };
    let (url, folder) = (at(&servers), tempfile::tempdir().unwrap());
    drop(JetStreamStore::open(&url, folder.path(), &unsafe_options()).unwrap());
    let refused = JetStreamStore::open(&url, folder.path(), &Options::default()).unwrap_err();
    assert!(refused.to_string().contains("needs three"), "{refused}");
}

#[test]
fn no_server_is_unreachable() {
    let (folder, free) = (tempfile::tempdir().unwrap(), test_servers::free_address());
    let url = format!("nats://{free}/shop").parse().unwrap();
    let refused = JetStreamStore::open(&url, folder.path(), &Options::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Unreachable { .. }), "{refused}");
}

/// Starts a proxy before a server that is gone once a client makes a consumer: it ends that connection, and takes no other one.
fn start_proxy_that_goes_with_the_first_consumer(server: &str) -> SocketAddr {
    let server = server.strip_prefix("nats://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(server).unwrap();
        drop(listener);
        let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        spawn(move || for_each_chunk(&mut answers, |chunk| back.write_all(chunk).is_ok()));
        for_each_chunk(&mut client, |chunk| {
            !contains(chunk, b"$JS.API.CONSUMER.CREATE") && server.write_all(chunk).is_ok()
        });
        let _ = (server.shutdown(Shutdown::Both), client.shutdown(Shutdown::Both));
    });
    address
}

#[test]
fn an_open_ends_if_the_cluster_is_gone_before_the_copy_has_caught_up() {
    let Some(servers) = given(NATS_URL) else { return };
    let (url, folders) = (at(&servers), tempfile::tempdir().unwrap());
    let open = |url: &JetStreamUrl, folder: &str| {
        JetStreamStore::open(url, &folders.path().join(folder), &unsafe_options())
    };
    let store = open(&url, "a").unwrap();
    block_on(store.append(Batch::new([event(1)]))).unwrap();
    let proxy = start_proxy_that_goes_with_the_first_consumer(&servers);
    let through = format!("nats://{proxy}/{}", url.name()).parse().unwrap();
    let refused = open(&through, "b").unwrap_err();
    assert!(refused.to_string().contains("partition 0 has delivered nothing for 45 s"), "{refused}");
    assert!(matches!(refused, OpenError::Unreachable { .. }), "{refused}");
    let store = open(&url, "b").unwrap();
    assert_eq!(block_on(store.read(Read::log(Query::All))).unwrap().events.len(), 1);
}

#[test]
fn calls_for_the_head_are_bounded_while_the_cluster_is_away() {
    let Some(mut server) = Nats::start("") else { return };
    let (url, folder) = (at(server.url()), tempfile::tempdir().unwrap());
    let store = JetStreamStore::open(&url, folder.path(), &unsafe_options()).unwrap();
    block_on(store.append(Batch::new([event(1)]))).unwrap();
    server.stop();
    let ask = || {
        let mut head = store.head_now();
        head.as_mut().now_or_never().ok_or(head)
    };
    let mut waiting = Vec::new();
    let refused = loop {
        match ask() {
            Ok(answer) => break answer.unwrap_err(),
            Err(head) => waiting.push(head),
        }
        assert!(waiting.len() <= 1 << 16, "they have no bound");
    };
    assert!(matches!(refused, ReadError::Overloaded), "{refused}");
    // The room of calls whose callers have gone is free again.
    drop(waiting);
    while matches!(ask(), Ok(Err(ReadError::Overloaded))) {
        park_timeout(Duration::from_millis(10));
    }
    server.start_again();
    while block_on(store.head_now()).is_err() {}
}

#[test]
fn a_copy_with_events_that_the_cluster_has_lost_is_not_opened() {
    let Some(servers) = given(NATS_URL) else { return };
    let (url, folders) = (at(&servers), tempfile::tempdir().unwrap());
    let open = |folder: &str| JetStreamStore::open(&url, &folders.path().join(folder), &unsafe_options());
    let store = open("a").unwrap();
    block_on(store.append(Batch::new([event(1)]))).unwrap();
    let kept = Kept::of(&servers, &url);
    block_on(store.append(Batch::new([event(2)]))).unwrap();
    drop(store);
    kept.put_back();
    // Another process, which has not seen the lost event, goes on.
    block_on(open("b").unwrap().append(Batch::new([event(3)]))).unwrap();
    let refused = open("a").unwrap_err();
    assert!(matches!(refused, OpenError::Lost { .. }), "{refused}");
}

#[test]
fn a_process_that_has_the_store_open_names_a_loss_and_takes_no_more_writes() {
    let Some(servers) = given(NATS_URL) else { return };
    let (url, folders) = (at(&servers), tempfile::tempdir().unwrap());
    let open =
        |folder: &str| JetStreamStore::open(&url, &folders.path().join(folder), &unsafe_options()).unwrap();
    let store = open("a");
    block_on(store.append(Batch::new([event(1)]))).unwrap();
    let kept = Kept::of(&servers, &url);
    block_on(store.append(Batch::new([event(2)]))).unwrap();
    assert_eq!(store.stopped(), None);
    kept.put_back();
    block_on(open("b").append(Batch::new([event(3)]))).unwrap();
    let refused = block_on(store.append(Batch::new([event(4)]))).unwrap_err();
    assert!(matches!(&refused, AppendError::ReadOnly { reason } if reason.contains("lost")), "{refused}");
    let stopped = store.stopped();
    assert!(matches!(stopped, Some(Stopped::Lost { partition: 0, .. })), "{stopped:?}");
}

#[test]
fn a_monitor_tells_if_a_server_syncs() {
    if given(NATS_URL).is_none() {
        return;
    }
    let (server, folder) =
        (Nats::start("").expect("it was fetched for the shared one"), tempfile::tempdir().unwrap());
    let open = |monitor: &str| {
        let url = format!("{}/shop?monitor={monitor}", server.url()).parse().unwrap();
        JetStreamStore::open(&url, folder.path(), &unsafe_options())
    };
    drop(open(&server.monitor()).unwrap());
    let unreachable = open(&test_servers::free_address().to_string()).unwrap_err();
    assert!(unreachable.to_string().contains("monitor"), "{unreachable}");
}

#[test]
fn a_server_that_was_started_again_takes_writes_though_it_has_forgotten_the_last_message() {
    let Some(mut server) = Nats::start("") else { return };
    let (url, folder) = (at(server.url()), tempfile::tempdir().unwrap());
    let store = JetStreamStore::open(&url, folder.path(), &unsafe_options()).unwrap();
    block_on(store.append(Batch::new([event(1)]))).unwrap();
    // The server then reads the ids of the last 100 ms only. It needs longer to start.
    Kept::of(server.url(), &url).shorten_window();
    for number in 2..4 {
        server.kill();
        server.start_again();
        let places = block_on(store.append(Batch::new([event(number)]))).unwrap().places;
        assert_eq!(places[0].position.sequence, u64::try_from(number).unwrap());
    }
}
