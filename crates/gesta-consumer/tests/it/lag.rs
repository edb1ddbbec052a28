//! Lag: in events and in time, measured against the head at that moment.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gesta_consumer::*;
use gesta_core::*;

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);

/// The lag in events and in time.
fn lag(consumer: &TestConsumer) -> (u64, Duration) {
    let status = status(consumer);
    (status.lag_events.unwrap(), status.lag.unwrap())
}

/// A consumer that stands still after `handled` numbers.
fn paused_after(store: &Arc<MemoryStore>, clock: &TestClock, handled: u64) -> TestConsumer {
    let consumer = start(store, settings(clock), &Arc::default());
    wait_past(&consumer, &append_numbers(store, 0..handled));
    consumer.pause("ann");
    wait_for(&consumer, |state| matches!(state, ConsumerState::Paused(_)).then_some(()));
    consumer
}

#[test]
fn a_consumer_at_the_head_has_no_lag_however_old_the_last_event_is() {
    let clock = clock();
    let consumer = paused_after(&store_of(&clock, 1), &clock, 3);
    clock.advance(SECOND * 3_600);
    assert_eq!(lag(&consumer), (0, Duration::ZERO));
}

#[test]
fn the_lag_of_a_consumer_that_stands_still_grows() {
    let clock = clock();
    let store = store_of(&clock, 1);
    let consumer = paused_after(&store, &clock, 3);
    clock.advance(SECOND * 10);
    append_numbers(&store, 3..5);
    assert_eq!(lag(&consumer), (2, Duration::ZERO));
    clock.advance(SECOND * 5);
    append_numbers(&store, 5..6);
    assert_eq!(lag(&consumer), (3, SECOND * 5), "the first event that it has not handled counts");
    clock.advance(SECOND * 60);
    assert_eq!(lag(&consumer), (3, SECOND * 65));
    // A wall clock that goes back gives no lag below zero.
    clock.jump_wall(Timestamp::from_nanos(0));
    assert_eq!(lag(&consumer), (3, Duration::ZERO));
    consumer.resume();
    wait_for(&consumer, |_| (status(&consumer).lag_events == Some(0)).then_some(()));
    assert_eq!(lag(&consumer), (0, Duration::ZERO));
}

#[test]
fn the_oldest_event_of_all_partitions_counts() {
    let clock = clock();
    let store = store_of(&clock, 3);
    let consumer = start(&store, settings(&clock), &Arc::default());
    wait_for(&consumer, |state| matches!(state, ConsumerState::Live).then_some(()));
    consumer.pause("ann");
    wait_for(&consumer, |state| matches!(state, ConsumerState::Paused(_)).then_some(()));
    // One stream in each partition, a second apart.
    let mut seen = [false; 3];
    for number in 0.. {
        let stream = format!("counter-{number}").parse::<StreamName>().unwrap();
        let partition = usize::from(Lane::of(stream.as_str()).partition(3));
        if std::mem::replace(&mut seen[partition], true) {
            continue;
        }
        clock.advance(SECOND);
        store.append_now(Batch::new([event(stream.as_str(), "1")])).unwrap();
        if seen == [true; 3] {
            break;
        }
    }
    clock.advance(SECOND * 7);
    assert_eq!(lag(&consumer), (3, SECOND * 9));
}

#[test]
fn the_log_is_read_for_the_lag_at_most_once_a_second() {
    let clock = clock();
    let inner = store_of(&clock, 1);
    append_numbers(&inner, 0..20);
    let store = Faulty::new(&inner, []);
    let target = Arc::<Target>::default();
    // It stands after the first page.
    target.trouble([Trouble::Blocks, Trouble::Blocks]);
    let consumer = start(&store, settings(&clock), &target);
    let lags = || {
        for _ in 0..100 {
            lag(&consumer);
        }
    };
    target.wait_until_blocking();
    let before = store.reads.load(Ordering::SeqCst);
    lags();
    assert_eq!(store.reads.load(Ordering::SeqCst), before + 1);
    clock.advance(SECOND * 100);
    lags();
    assert_eq!(store.reads.load(Ordering::SeqCst), before + 1, "the place is the same");
    target.let_go();
    wait_for(&consumer, |_| consumer.checkpoint().filter(|at| at.sequence(0) == 10));
    target.wait_until_blocking();
    let before = store.reads.load(Ordering::SeqCst);
    lags();
    assert_eq!(store.reads.load(Ordering::SeqCst), before + 1);
}

#[test]
fn a_status_counts_the_events_of_the_last_seconds() {
    let clock = clock();
    let store = store_of(&clock, 1);
    let consumer = start(&store, settings(&clock), &Arc::default());
    clock.advance(SECOND * 2);
    wait_past(&consumer, &append_numbers(&store, 0..30));
    let rate = status(&consumer).events_per_second;
    assert!((rate - 15.0).abs() < 1e-9, "{rate}");
    clock.advance(SECOND * 60);
    assert_eq!(status(&consumer).events_per_second, 0.0);
}

#[test]
fn a_store_that_does_not_answer_leaves_the_lag_open() {
    let clock = clock();
    let inner = store_of(&clock, 1);
    append_numbers(&inner, 0..20);
    let store = Faulty::new(&inner, [None, Some(ReadError::Closed)]);
    let consumer = start(&store, settings(&clock), &Arc::default());
    wait_until_stopped(&consumer);
    store.faults.lock().unwrap().push_back(Some(ReadError::Overloaded));
    let now = status(&consumer);
    assert_eq!((now.lag_events, now.lag), (Some(10), None));
}
