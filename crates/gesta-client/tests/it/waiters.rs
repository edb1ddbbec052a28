//! Waiting for new events: any number of waiters cost one open request, and no memory is left of them.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use gesta_client::{ClientOptions, RemoteStore};
use gesta_core::{EventStore, ReadError, When};
use pollster::block_on;

use crate::probe::{Probe, batch};
use crate::server::Running;

const WAITERS: usize = 10_000;
const ROUNDS: u32 = 8;

#[test]
fn ten_thousand_waiters_cost_one_open_request_and_leave_no_memory() {
    let probe = Probe::new(1);
    let server = Running::start(probe.clone());
    let client = RemoteStore::connect(&server.url(), &ClientOptions::default()).unwrap();
    let mut sizes = Vec::new();
    for round in 0..ROUNDS {
        let head = block_on(client.locate(When::Head)).unwrap();
        // The first learns the head; the others sit beside it.
        let mut waiters = (0..WAITERS).map(|_| client.wait_past(head.clone())).collect::<Vec<_>>();
        for waiter in &mut waiters {
            assert!(pin!(waiter).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        // Half of them go away.
        waiters.truncate(WAITERS / 2);
        let appended = block_on(client.append(batch("a-1", round))).unwrap();
        for waiter in waiters {
            assert!(block_on(waiter).unwrap().covers(appended.places[0].position));
        }
        sizes.push(resident_bytes());
    }
    assert!(probe.waits.most() <= 17, "{} waits at once", probe.waits.most());
    // A single size is that of a moment: the allocator returns memory to the system when it likes.
    let (first, last) = (sizes[..3].iter().max().unwrap(), sizes[5..].iter().min().unwrap());
    let growth = last.saturating_sub(*first);
    assert!(growth < 4 << 20, "memory grows by {growth} bytes: {sizes:?}");
}

/// The memory of this process that is in use, in bytes.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

#[test]
fn waiters_at_the_head_share_one_request_and_others_ask_alone() {
    let probe = Probe::new(1);
    let server = Running::start(probe.clone());
    let client = RemoteStore::connect(&server.url(), &ClientOptions::default()).unwrap();
    let start = block_on(client.locate(When::Start)).unwrap();
    let appended = block_on(client.append(batch("a-1", 1))).unwrap();
    assert_eq!(block_on(client.wait_past(start)), Ok(appended.checkpoint.clone()));
    let ahead = appended.checkpoint.clone().with(0, 9);
    let refused = block_on(client.wait_past(ahead.clone()));
    assert!(matches!(refused, Err(ReadError::CheckpointAhead { checkpoint, .. }) if checkpoint == ahead));
    // The refusals and the passed places have told the head. Nobody needs to ask for it any more.
    let mut waiting = (0..100).map(|_| client.wait_past(appended.checkpoint.clone())).collect::<Vec<_>>();
    let noop = &mut Context::from_waker(Waker::noop());
    assert!(waiting.iter_mut().all(|waiter| waiter.as_mut().poll(noop) == Poll::Pending));
    block_on(client.append(batch("a-1", 2))).unwrap();
    assert!(waiting.into_iter().all(|waiter| block_on(waiter).is_ok()));
    assert!(probe.waits.all() <= 5, "{} waits", probe.waits.all());
}

#[test]
fn a_subscription_goes_on_after_its_server_was_killed() {
    let probe = Probe::new(1);
    let server = Running::start(probe.clone());
    let client = std::sync::Arc::new(RemoteStore::connect(&server.url(), &ClientOptions::default()).unwrap());
    let address = server.address;
    let (told, pages) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let store = client.clone();
        scope.spawn(move || {
            let query = gesta_core::Query::All;
            let mut subscription =
                block_on(gesta_core::Subscription::new(store, query, gesta_core::Place::Start)).unwrap();
            let mut events = 0;
            while events < 5 {
                match block_on(subscription.next()) {
                    Ok(page) => events += page.events.len(),
                    Err(error) => assert_eq!(error.retry(), gesta_core::Retry::AfterPause, "{error}"),
                }
                told.send(events).unwrap();
            }
        });
        let mut server = server;
        for number in 0..5 {
            block_on(client.append(batch("a-1", number))).unwrap();
            server.kill();
            server = Running::start_at(address, probe.clone());
        }
        assert_eq!(pages.iter().last(), Some(5));
    });
}
