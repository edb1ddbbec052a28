//! Servers of a cluster that are killed while two processes append.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gesta_core::{AppendError, Batch, EventStore, Limit, NewEvent, Query, Read, Retry};
use gesta_jetstream::{JetStreamStore, Options};
use pollster::block_on;
use test_servers::NatsCluster;

use crate::opening::{at, event};
use crate::partitions::with_partitions;

/// Appends that are acknowledged between two faults.
const BETWEEN_FAULTS: u64 = 40;

/// Appends one event after the other until the end, and sends again what has no answer.
fn append(
    store: &JetStreamStore,
    numbers: &AtomicU64,
    acknowledged: &Mutex<Vec<u128>>,
    is_over: &AtomicBool,
) {
    while !is_over.load(Ordering::Relaxed) {
        let number = u128::from(numbers.fetch_add(1, Ordering::Relaxed));
        let batch = || {
            Batch::new([NewEvent { stream: format!("a-{}", number % 7).parse().unwrap(), ..event(number) }])
        };
        while let Err(error) = block_on(store.append(batch())) {
            let passes = matches!(error.retry(), Retry::AfterPause | Retry::Unknown);
            assert!(passes && !matches!(error, AppendError::ReadOnly { .. }), "{error}");
        }
        acknowledged.lock().unwrap().push(number);
    }
}

#[test]
#[ignore = "half a minute, for elections: `cargo xtask night` runs it"]
fn what_is_acknowledged_is_there_once_after_servers_were_killed() {
    check(1);
}

#[test]
#[ignore = "half a minute, for elections: `cargo xtask night` runs it"]
fn what_is_acknowledged_in_three_partitions_is_there_once_after_servers_were_killed() {
    check(3);
}

#[expect(clippy::print_stdout, reason = "the night reports the counts")]
fn check(partitions: u16) {
    let Some(mut cluster) = NatsCluster::start() else { return };
    let (url, folders) = (with_partitions(&at(cluster.url()), partitions), tempfile::tempdir().unwrap());
    let open =
        |folder: &str| JetStreamStore::open(&url, &folders.path().join(folder), &Options::default()).unwrap();
    let stores = [open("first"), open("second")];
    let (numbers, acknowledged, is_over) = (AtomicU64::new(1), Mutex::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for store in stores.iter().chain(&stores) {
            scope.spawn(|| append(store, &numbers, &acknowledged, &is_over));
        }
        let wait_for_more = || {
            let goal = acknowledged.lock().unwrap().len() as u64 + BETWEEN_FAULTS;
            while (acknowledged.lock().unwrap().len() as u64) < goal {
                std::thread::yield_now();
            }
        };
        wait_for_more();
        for server in 0..3 {
            // One of them is the leader of the stream.
            cluster.kill(server);
            wait_for_more();
            cluster.start_again(server);
            wait_for_more();
            // A server that does not follow the stream any more has no vote.
            cluster.wait_until_ready(server);
        }
        (0..3).for_each(|server| cluster.kill(server));
        (0..3).for_each(|server| cluster.start_again(server));
        wait_for_more();
        is_over.store(true, Ordering::Relaxed);
    });
    let heads = stores.each_ref().map(|store| block_on(store.head_now()).unwrap());
    assert_eq!(heads[0], heads[1]);
    let read = open("third");
    let all = Limit::events(std::num::NonZeroU32::MAX);
    let page = block_on(read.read(Read::log(Query::All).limit(all))).unwrap();
    let ids = page.events.iter().map(|event| u128::from_be_bytes(*event.id().as_bytes())).collect::<Vec<_>>();
    let different = ids.iter().collect::<HashSet<_>>();
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(page.end, "one page has all of them");
    assert_eq!(different.len(), ids.len(), "an event is written twice");
    assert!(acknowledged.iter().all(|number| different.contains(number)), "an acknowledged event is lost");
    println!("{} acknowledged, {} written, 6 kills", acknowledged.len(), ids.len());
}
