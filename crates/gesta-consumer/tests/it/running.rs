//! Running: every event once and in order, restarts, stops, lanes.

use std::sync::Arc;

use gesta_consumer::*;
use gesta_core::*;

use crate::support::*;

#[test]
fn every_event_is_handled_once_and_in_order_in_catch_up_and_live() {
    let (clock, target) = (clock(), Arc::default());
    let store = store_of(&clock, 1);
    append_numbers(&store, 0..25);
    let consumer = start(&store, settings(&clock), &target);
    wait_past(&consumer, &append_numbers(&store, 25..40));
    wait_past(&consumer, &append_numbers(&store, 40..60));
    assert_eq!(target.effects(), numbers(0..60));
    assert!(matches!(consumer.state(), ConsumerState::Live), "{:?}", consumer.state());
    assert_eq!(target.inner.lock().unwrap().heads, 1, "the head is reached for the first time once");
    assert_eq!((consumer.name(), consumer.kind()), ("noting", "test"));
}

#[test]
fn a_consumer_goes_on_from_the_place_that_its_handler_committed() {
    let (clock, target) = (clock(), Arc::default());
    let store = store_of(&clock, 1);
    for round in 0..4 {
        let consumer = start_with_pages(&store, settings(&clock), &target, 3);
        wait_past(&consumer, &append_numbers(&store, round * 10..round * 10 + 10));
    }
    assert_eq!(target.effects(), numbers(0..40));
    assert_eq!(target.inner.lock().unwrap().opened, 4);
}

#[test]
fn a_stop_interrupts_a_handler_that_blocks_and_keeps_nothing_of_its_page() {
    let (clock, target) = (clock(), Arc::<Target>::default());
    let store = store_of(&clock, 1);
    target.trouble([Trouble::Blocks]);
    let last = append_numbers(&store, 0..5);
    let consumer = start(&store, settings(&clock), &target);
    target.wait_until_blocking();
    consumer.request_stop();
    consumer.join();
    let why = wait_until_stopped(&consumer);
    assert!(matches!(why, Why::ShutDown), "{why}");
    assert_eq!(target.effects(), numbers([]));
    consumer.restart().unwrap();
    wait_past(&consumer, &last);
    assert_eq!(target.effects(), numbers(0..5));
}

#[test]
fn a_consumer_that_waits_for_events_stops_at_once() {
    let (clock, target) = (clock(), Arc::default());
    let store = store_of(&clock, 1);
    let consumer = start(&store, settings(&clock), &target);
    wait_for(&consumer, |state| matches!(state, ConsumerState::Live).then_some(()));
    drop(consumer);
    assert_eq!(Arc::strong_count(&target), 1, "its thread and its handler are gone");
}

#[test]
fn a_restart_of_a_running_consumer_does_nothing() {
    let (clock, target) = (clock(), Arc::default());
    let store = store_of(&clock, 1);
    let consumer = start(&store, settings(&clock), &target);
    wait_past(&consumer, &append_numbers(&store, 0..3));
    consumer.restart().unwrap();
    wait_past(&consumer, &append_numbers(&store, 3..6));
    assert_eq!(target.inner.lock().unwrap().opened, 1);
}

#[test]
fn several_partitions_are_handled_whole() {
    let (clock, target) = (clock(), Arc::<Target>::default());
    let store = store_of(&clock, 3);
    let streams = (0..30).map(|number| (format!("counter-{number}"), number.to_string()));
    let consumer = start(&store, settings(&clock), &target);
    let mut all = Checkpoint::start(StoreId::from_bytes([7; 16]), 3);
    for (stream, data) in streams {
        let at = store.append_now(Batch::new([event(&stream, &data)])).unwrap();
        let position = at.places[0].position;
        all = all.with(position.partition, position.sequence);
    }
    wait_past(&consumer, &all);
    let mut effects = target.effects();
    effects.sort_by_key(|number| number.parse::<u64>().unwrap());
    assert_eq!(effects, numbers(0..30));
}

/// Handles one lane of the log.
struct OneLane {
    target: Arc<Target>,
    lanes: Lanes,
}

impl Handler for OneLane {
    type Error = NotingError;

    fn open(&mut self, opening: &Opening<'_, NotingError>) -> Result<Start, NotingError> {
        let lanes = Some(self.lanes.clone());
        Ok(Start { lanes, ..Start::new(opening.start().clone(), Query::All) })
    }

    fn handle(&mut self, page: &Page, _: &Checkpoint, _: Reach, _: &Stop) -> Result<Handled, NotingError> {
        let streams = page.events.iter().map(|event| event.stream().to_owned());
        self.target.inner.lock().unwrap().effects.extend(streams);
        Ok(Handled::Committed)
    }
}

#[test]
fn a_handler_of_some_lanes_gets_their_streams_only() {
    let (clock, target) = (clock(), Arc::<Target>::default());
    let store = store_of(&clock, 1);
    let streams = (0..50).map(|number| format!("counter-{number}")).collect::<Vec<_>>();
    let mut last = Checkpoint::start(StoreId::from_bytes([7; 16]), 1);
    for stream in &streams {
        last = store.append_now(Batch::new([event(stream, "1")])).unwrap().checkpoint;
    }
    let mut lanes = Lanes::NONE;
    streams.iter().step_by(2).for_each(|stream| lanes.insert(Lane::of(stream)));
    let (its_target, its_lanes) = (Arc::clone(&target), lanes.clone());
    let make = move || OneLane { target: Arc::clone(&its_target), lanes: its_lanes.clone() };
    let consumer = Consumer::start(store, settings(&clock), make).unwrap();
    wait_past(&consumer, &last);
    let expected = streams.into_iter().filter(|stream| lanes.contains(Lane::of(stream)));
    assert_eq!(target.effects(), expected.collect::<Vec<_>>());
}
