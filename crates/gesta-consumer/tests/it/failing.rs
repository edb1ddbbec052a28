//! Failures: what is tried again, what stops, and what never happens: an event that is skipped.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gesta_consumer::*;
use gesta_core::*;

use crate::support::*;

#[test]
fn an_error_that_may_pass_is_tried_again_with_growing_pauses() {
    let (clock, target) = (clock(), Arc::<Target>::default());
    let store = store_of(&clock, 1);
    target.trouble([Trouble::Fails(Retry::AfterPause); 4]);
    let last = append_numbers(&store, 0..5);
    let consumer = start(&store, settings(&clock), &target);
    for attempt in 1..=4 {
        let (error, found, next) = wait_for(&consumer, |state| match state {
            ConsumerState::Retrying { error, attempt: found, next } if found == attempt => {
                Some((error.to_string(), found, next))
            }
            _ => None,
        });
        assert_eq!((error.as_str(), found), ("the target is in trouble", attempt));
        let plain = 10_000_000 * (1 << (attempt - 1));
        let pause = next.as_nanos() - clock.now().as_nanos();
        assert!((plain * 4 / 5..=plain * 6 / 5).contains(&pause), "{pause} after try {attempt}");
        assert_eq!(target.effects(), numbers([]));
        // Nothing happens before the pause is over.
        clock.advance(Duration::from_nanos(u64::try_from(pause).unwrap() - 1));
        assert_eq!(target.inner.lock().unwrap().opened, attempt);
        clock.advance(Duration::from_nanos(1));
    }
    wait_past(&consumer, &last);
    assert_eq!(target.effects(), numbers(0..5));
    assert_eq!(target.inner.lock().unwrap().opened, 5, "each try opens the handler again");
}

#[test]
fn a_page_that_succeeds_ends_the_count_of_failures() {
    let (clock, target) = (clock(), Arc::<Target>::default());
    let store = store_of(&clock, 1);
    let consumer = start(&store, ConsumerSettings { retries_max: Some(1), ..settings(&clock) }, &target);
    for round in 0..5 {
        target.trouble([Trouble::Fails(Retry::Now)]);
        let last = append_numbers(&store, [round]);
        assert_eq!(wait_until_retrying(&consumer).1, 1);
        clock.advance(Duration::from_secs(1));
        wait_past(&consumer, &last);
    }
    target.trouble([Trouble::Fails(Retry::Now); 2]);
    append_numbers(&store, [5]);
    wait_until_retrying(&consumer);
    clock.advance(Duration::from_secs(1));
    let why = wait_until_stopped(&consumer);
    assert!(matches!(&why, Why::Failed(Failure::Handler(_))), "{why:?}");
    assert_eq!(target.effects(), numbers(0..5));
}

#[test]
fn an_error_that_does_not_pass_stops_the_consumer_where_it_stands() {
    for retry in [Retry::Never, Retry::Unknown] {
        let (clock, target) = (clock(), Arc::<Target>::default());
        let store = store_of(&clock, 1);
        let consumer = start(&store, settings(&clock), &target);
        let good = append_numbers(&store, 0..5);
        wait_past(&consumer, &good);
        target.trouble([Trouble::Fails(retry)]);
        let last = append_numbers(&store, 5..9);
        assert_eq!(wait_until_stopped(&consumer).to_string(), "the target is in trouble");
        consumer.restart().unwrap();
        wait_past(&consumer, &last);
        assert_eq!(target.effects(), numbers(0..9));
    }
}

#[test]
fn an_error_at_open_is_treated_as_one_of_a_page() {
    let (clock, target) = (clock(), Arc::<Target>::default());
    let store = store_of(&clock, 1);
    let last = append_numbers(&store, 0..5);
    let troubles = [Trouble::Fails(Retry::AfterPause), Trouble::Fails(Retry::Never)];
    target.inner.lock().unwrap().open_troubles.extend(troubles);
    let consumer = start(&store, settings(&clock), &target);
    wait_until_retrying(&consumer);
    clock.advance(Duration::from_secs(1));
    assert!(matches!(wait_until_stopped(&consumer), Why::Failed(_)));
    assert_eq!(consumer.checkpoint(), None);
    consumer.restart().unwrap();
    wait_past(&consumer, &last);
}

#[test]
fn an_event_that_cannot_be_handled_stops_the_consumer_right_before_its_batch() {
    let (clock, target) = (clock(), Arc::<Target>::default());
    let store = store_of(&clock, 1);
    let good = append_numbers(&store, 0..4);
    append(&store, &["4", "poison", "6"]);
    append_numbers(&store, 7..9);
    let consumer = start(&store, settings(&clock), &target);
    let why = wait_until_stopped(&consumer);
    assert_eq!(why.to_string(), "the event at 6 is poison");
    assert_eq!(target.effects(), numbers(0..4), "no batch is handled in part, and none is skipped");
    assert_eq!(consumer.checkpoint(), Some(good.clone()));
    // It stays there, however often it is restarted.
    consumer.restart().unwrap();
    wait_until_stopped(&consumer);
    assert_eq!((target.effects(), consumer.checkpoint()), (numbers(0..4), Some(good)));
}

#[test]
fn pages_are_whole_again_after_the_one_whose_batches_came_one_by_one() {
    let (clock, target) = (clock(), Arc::<Target>::default());
    let store = store_of(&clock, 1);
    let last = append_numbers(&store, 0..30);
    // The first page blames an event, for once.
    struct Blames(Noting, bool);
    impl Handler for Blames {
        type Error = NotingError;
        fn open(&mut self, opening: &Opening<'_, NotingError>) -> Result<Start, NotingError> {
            Handler::open(&mut self.0, opening)
        }
        fn handle(
            &mut self,
            page: &Page,
            at: &Checkpoint,
            reach: Reach,
            stop: &Stop,
        ) -> Result<Handled, NotingError> {
            if std::mem::take(&mut self.1) {
                return Err(NotingError::Poison(page.events[0].position()));
            }
            self.0.handle(page, at, reach, stop)
        }
    }
    let its_target = Arc::clone(&target);
    let make = move || Blames(Noting { target: Arc::clone(&its_target), page_events: 10 }, true);
    let consumer = Consumer::start(store, settings(&clock), make).unwrap();
    wait_past(&consumer, &last);
    assert_eq!(target.effects(), numbers(0..30));
    assert_eq!(target.inner.lock().unwrap().pages, 10 + 2);
}

#[test]
fn a_panic_stops_the_consumer_and_a_restart_goes_on() {
    let (clock, target) = (clock(), Arc::<Target>::default());
    let store = store_of(&clock, 1);
    target.trouble([Trouble::Panics]);
    let last = append_numbers(&store, 0..5);
    let consumer = start(&store, settings(&clock), &target);
    let why = wait_until_stopped(&consumer);
    assert_eq!(why.to_string(), "the consumer failed unexpectedly: the handler fell over");
    // The panic has poisoned the target's lock, as a panic does.
    target.inner.clear_poison();
    consumer.restart().unwrap();
    wait_past(&consumer, &last);
    assert_eq!(target.effects(), numbers(0..5));
}

#[test]
fn a_store_that_does_not_answer_is_asked_as_often_as_it_takes() {
    let (clock, target) = (clock(), Arc::<Target>::default());
    let inner = store_of(&clock, 1);
    let last = append_numbers(&inner, 0..5);
    let store = Faulty::new(&inner, vec![Some(ReadError::Overloaded); 30]);
    let consumer = start(&store, ConsumerSettings { retries_max: Some(1), ..settings(&clock) }, &target);
    for attempt in 1..=30 {
        wait_for(&consumer, |state| match state {
            ConsumerState::Retrying { error: Failure::Read(_), attempt: found, .. } => {
                (found == attempt).then_some(())
            }
            _ => None,
        });
        clock.advance(Duration::from_secs(7));
    }
    wait_past(&consumer, &last);
    assert_eq!(target.inner.lock().unwrap().opened, 1, "the handler stays open meanwhile");
}

#[test]
fn a_log_that_cannot_be_read_stops_the_consumer() {
    let (clock, target) = (clock(), Arc::<Target>::default());
    let inner = store_of(&clock, 1);
    let last = append_numbers(&inner, 0..25);
    let store = Faulty::new(&inner, [None, None, Some(ReadError::Closed)]);
    let consumer = start(&store, settings(&clock), &target);
    let why = wait_until_stopped(&consumer);
    assert_eq!(why.to_string(), "cannot read the log: the store is closed");
    assert_eq!(target.effects(), numbers(0..20));
    consumer.restart().unwrap();
    wait_past(&consumer, &last);
    assert_eq!(target.effects(), numbers(0..25));
    assert!(store.reads.load(Ordering::SeqCst) >= 4);
}

#[test]
fn a_place_of_a_lost_history_stops_the_consumer() {
    let (clock, target) = (clock(), Arc::<Target>::default());
    let store = store_of(&clock, 1);
    append_numbers(&store, 0..5);
    let copy = Arc::new(store.copy());
    wait_past(&start(&store, settings(&clock), &target), &append_numbers(&store, 5..9));
    append_numbers(&copy, 100..120);
    let consumer = start(&copy, settings(&clock), &target);
    let why = wait_until_stopped(&consumer);
    assert!(
        matches!(&why, Why::Failed(Failure::Read(error)) if matches!(**error, ReadError::Diverged { .. })),
        "{why}"
    );
    assert_eq!(target.effects(), numbers(0..9));
}

/// Starts anew when it is opened again, as a handler does whose target is damaged.
struct Anew(Noting);

impl Opener for Anew {
    type Error = NotingError;
    type Session<'o> = &'o mut Noting;

    fn open<'o>(
        &'o mut self,
        opening: &Opening<'_, NotingError>,
    ) -> Result<Option<(Start, &'o mut Noting)>, NotingError> {
        opening.begin_anew();
        let mut inner = self.0.target.inner.lock().unwrap();
        inner.at = None;
        inner.effects.clear();
        drop(inner);
        // For the test, which calls `reopen`.
        STOP.lock().unwrap().replace(opening.stop().clone());
        Opener::open(&mut self.0, opening)
    }
}

static STOP: std::sync::Mutex<Option<Stop>> = std::sync::Mutex::new(None);

#[test]
fn a_handler_that_was_found_unusable_is_opened_again_at_once() {
    let (clock, target) = (clock(), Arc::<Target>::default());
    let store = store_of(&clock, 1);
    let last = append_numbers(&store, 0..5);
    let its_target = Arc::clone(&target);
    let make = move || Anew(Noting { target: Arc::clone(&its_target), page_events: 2 });
    let consumer = Consumer::start(store.clone(), settings(&clock), make).unwrap();
    wait_past(&consumer, &last);
    // Once while it waits, and once while it handles a page.
    STOP.lock().unwrap().as_ref().unwrap().reopen();
    wait_for(&consumer, |_| (target.inner.lock().unwrap().opened == 2).then_some(()));
    wait_past(&consumer, &last);
    target.trouble([Trouble::Blocks]);
    let last = append_numbers(&store, [5]);
    target.wait_until_blocking();
    STOP.lock().unwrap().as_ref().unwrap().reopen();
    target.let_go();
    wait_for(&consumer, |_| (target.inner.lock().unwrap().opened == 3).then_some(()));
    wait_past(&consumer, &last);
    assert_eq!(target.effects(), numbers(0..6));
}
