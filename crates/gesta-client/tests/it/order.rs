//! The order of appends of one client.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use gesta_client::{ClientOptions, RemoteStore};
use gesta_core::{BoxFuture, EventStore};
use pollster::block_on;

use crate::probe::{Conduct, Probe, batch, id};
use crate::server::Running;

/// Polls once, with a waker that does nothing.
fn poll<T>(future: &mut Pin<Box<dyn Future<Output = T> + Send + '_>>) -> Poll<T> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn appends_that_share_a_stream_arrive_one_after_the_other_in_the_order_of_their_first_polls() {
    let probe = Probe::new(1);
    let server = Running::start(probe.clone());
    let client = RemoteStore::connect(&server.url(), &ClientOptions::default()).unwrap();
    probe.set(Conduct::Hold);
    let mut appends = (0..50).map(|number| client.append(batch("a-1", number))).collect::<Vec<_>>();
    // Polled in another order than they were made, and awaited in a third one.
    appends.reverse();
    assert!(appends.iter_mut().all(|append| poll(append).is_pending()));
    appends.reverse();
    probe.set(Conduct::Answer);
    appends.into_iter().for_each(|append| drop(block_on(append).unwrap()));
    assert_eq!(probe.arrived(), (0..50).rev().map(id).collect::<Vec<_>>());
    assert_eq!(probe.most_appends(), 1);
}

#[test]
fn appends_that_share_no_stream_go_side_by_side() {
    let probe = Probe::new(1);
    let server = Running::start(probe.clone());
    let client = RemoteStore::connect(&server.url(), &ClientOptions::default()).unwrap();
    probe.set(Conduct::Hold);
    let mut appends: Vec<BoxFuture<'_, _>> =
        (0..8).map(|number| client.append(batch(&format!("a-{number}"), number))).collect();
    assert!(appends.iter_mut().all(|append| poll(append).is_pending()));
    probe.wait_for_appends(8);
    probe.set(Conduct::Answer);
    appends.into_iter().for_each(|append| drop(block_on(append).unwrap()));
    assert_eq!(probe.most_appends(), 8);
}

#[test]
fn a_dropped_append_lets_the_next_one_go() {
    let probe = Probe::new(1);
    let server = Running::start(probe.clone());
    let client = RemoteStore::connect(&server.url(), &ClientOptions::default()).unwrap();
    probe.set(Conduct::Hold);
    let [mut first, mut second, mut third] = [1, 2, 3].map(|number| client.append(batch("a-1", number)));
    assert!([&mut first, &mut second, &mut third].into_iter().all(|append| poll(append).is_pending()));
    probe.wait_for_appends(1);
    // The second goes first: otherwise it gets its turn when the first is dropped.
    drop((second, first));
    probe.wait_for_appends(2);
    probe.set(Conduct::Answer);
    assert!(!block_on(third).unwrap().repeated);
    assert_eq!(probe.arrived(), [id(1), id(3)], "the second was dropped before its turn");
}
