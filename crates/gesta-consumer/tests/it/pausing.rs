//! Pauses: after the page under way, over restarts, while something fails.

use std::sync::Arc;
use std::time::Duration;

use gesta_consumer::*;
use gesta_core::*;

use crate::support::*;

fn wait_until_paused(consumer: &TestConsumer) -> Paused {
    wait_for(consumer, |state| match state {
        ConsumerState::Paused(paused) => Some(paused),
        _ => None,
    })
}

#[test]
fn a_pause_takes_effect_after_the_page_under_way() {
    let (clock, target) = (clock(), Arc::<Target>::default());
    let store = store_of(&clock, 1);
    target.trouble([Trouble::Blocks]);
    let last = append_numbers(&store, 0..25);
    let consumer = start(&store, settings(&clock), &target);
    target.wait_until_blocking();
    clock.advance(Duration::from_secs(3));
    consumer.pause("ann");
    consumer.pause("bob");
    assert!(matches!(consumer.state(), ConsumerState::CatchingUp));
    assert_eq!(status(&consumer).paused.unwrap().by.as_ref(), "ann");
    target.let_go();
    let paused = wait_until_paused(&consumer);
    assert_eq!((paused.by.as_ref(), paused.since), ("ann", Timestamp::from_nanos(3_000_000_000)));
    assert_eq!(target.effects(), numbers(0..10), "the page is whole, and the last one");
    append_numbers(&store, [25]);
    consumer.resume();
    wait_past(&consumer, &last);
    assert!(status(&consumer).paused.is_none());
    assert_eq!(target.inner.lock().unwrap().opened, 1);
}

#[test]
fn a_consumer_that_waits_for_events_pauses_at_once() {
    let (clock, target) = (clock(), Arc::default());
    let store = store_of(&clock, 1);
    let consumer = start(&store, settings(&clock), &target);
    wait_past(&consumer, &append_numbers(&store, 0..5));
    consumer.pause("ann");
    wait_until_paused(&consumer);
    let last = append_numbers(&store, 5..9);
    assert_eq!(status(&consumer).lag_events, Some(4));
    assert_eq!(target.effects(), numbers(0..5));
    consumer.resume();
    consumer.resume();
    wait_past(&consumer, &last);
    assert_eq!(target.effects(), numbers(0..9));
}

#[test]
fn a_restart_does_not_undo_a_pause() {
    let (clock, target) = (clock(), Arc::<Target>::default());
    let store = store_of(&clock, 1);
    target.trouble([Trouble::Fails(Retry::Never)]);
    let last = append_numbers(&store, 0..5);
    let consumer = start(&store, settings(&clock), &target);
    wait_until_stopped(&consumer);
    consumer.pause("ann");
    assert!(consumer.state().is_stopped(), "a pause does not hide why it has stopped");
    consumer.restart().unwrap();
    wait_until_paused(&consumer);
    consumer.restart().unwrap();
    assert_eq!(target.effects(), numbers([]));
    consumer.resume();
    wait_past(&consumer, &last);
}

#[test]
fn a_consumer_can_start_paused_and_stop_paused() {
    let (clock, target) = (clock(), Arc::<Target>::default());
    let store = store_of(&clock, 1);
    append_numbers(&store, 0..5);
    let paused = Paused { by: "ann".into(), since: Timestamp::from_nanos(1) };
    let settings = ConsumerSettings { paused: Some(paused.clone()), ..settings(&clock) };
    let consumer = start(&store, settings, &target);
    assert_eq!(wait_until_paused(&consumer), paused);
    consumer.request_stop();
    consumer.join();
    assert!(matches!(wait_until_stopped(&consumer), Why::ShutDown));
    assert_eq!(target.inner.lock().unwrap().opened, 0, "nothing is opened before the pause is over");
}

#[test]
fn a_pause_shows_while_the_handler_or_the_store_fails() {
    let (clock, target) = (clock(), Arc::<Target>::default());
    let inner = store_of(&clock, 1);
    let last = append_numbers(&inner, 0..5);
    let store = Faulty::new(&inner, [Some(ReadError::Overloaded)]);
    target.trouble([Trouble::Fails(Retry::AfterPause)]);
    let consumer = start(&store, settings(&clock), &target);
    for _ in 0..2 {
        wait_until_retrying(&consumer);
        consumer.pause("ann");
        wait_until_paused(&consumer);
        // The clock stands still: the end of the pause is the next try.
        consumer.resume();
    }
    wait_past(&consumer, &last);
    assert_eq!(target.effects(), numbers(0..5));
}

#[test]
fn a_page_that_is_read_while_a_pause_comes_waits_for_its_end() {
    let (clock, target) = (clock(), Arc::<Target>::default());
    let inner = store_of(&clock, 1);
    let store = Faulty::new(&inner, []);
    let consumer = Arc::new(start(&store, settings(&clock), &target));
    wait_past(&consumer, &append_numbers(&inner, 0..3));
    let pausing = Arc::clone(&consumer);
    *store.in_read.lock().unwrap() = Some(Box::new(move || pausing.pause("ann")));
    let last = append_numbers(&inner, 3..5);
    wait_until_paused(&consumer);
    assert_eq!(target.effects(), numbers(0..3));
    consumer.resume();
    wait_past(&consumer, &last);
    assert_eq!(target.effects(), numbers(0..5));
}
