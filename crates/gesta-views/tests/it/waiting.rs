//! Waits for a view, and waits that would never end.

use std::future::Future;
use std::task::{Context, Poll, Waker};

use gesta_core::*;
use gesta_views::*;

use crate::support::*;

#[test]
fn a_writer_reads_its_own_write() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let views = open(&store, folder.path());
    for number in 1..=100 {
        let written = append(&store, [deposited(1, 1)]);
        wait(&views, &written);
        assert_eq!(rows(&views, "select amount from balances"), integers(&[number]));
    }
}

#[test]
fn waiting_ends_when_the_view_stops() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let views = open(&store, folder.path());
    let bad = append(&store, [deposited(1, 1), event("account-1", "deposited", "{}")]);
    let error = pollster::block_on(views.wait_for("balances", &bad)).unwrap_err();
    assert!(matches!(error, WaitError::Stopped { .. }), "{error}");
    let start = Checkpoint::start(bad.store(), 1);
    assert_eq!(
        pollster::block_on(views.wait_for("balances", &start)).unwrap(),
        start,
        "a place that is already shown needs no wait"
    );
}

#[test]
fn a_wait_that_may_never_end_is_refused_at_once() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let views = open(&store, folder.path());
    let head = append(&store, [deposited(1, 1)]);
    let wait = |name: &str, checkpoint: &Checkpoint| {
        pollster::block_on(views.wait_for(name, checkpoint)).unwrap_err()
    };
    assert!(matches!(wait("balances", &head.clone().with(0, 2)), WaitError::CheckpointAhead { .. }));
    let foreign = Checkpoint::start(StoreId::from_bytes([1; 16]), 1);
    assert!(matches!(wait("balances", &foreign), WaitError::ForeignCheckpoint { .. }));
    assert!(matches!(wait("nothing", &head), WaitError::UnknownView(_)));
}

#[test]
fn a_wait_that_is_dropped_has_no_effect() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    // The view stops before it reads anything, so the wait is pending until then.
    let failing = Failing::after(&store, 0, 1, Fault::Closed);
    let views = open_as(failing, folder.path(), BALANCES);
    let head = append(&store, [deposited(1, 1)]);
    {
        let mut waiting = Box::pin(views.wait_for("balances", &head));
        let polled = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(!matches!(polled, Poll::Ready(Ok(_))));
    }
    stopped(&views, &head);
    views.restart("balances").unwrap();
    wait(&views, &head);
}
