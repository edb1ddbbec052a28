//! Consumers under troubles drawn by a seed: effects are the events, in order, once each.

use std::sync::Arc;
use std::time::Duration;

use gesta_consumer::*;
use gesta_core::*;

use crate::support::*;

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ (value >> 31)) % limit
    }

    fn of<T: Clone>(&mut self, choices: impl AsRef<[T]>) -> T {
        let choices = choices.as_ref();
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()].clone()
    }
}

/// One step of an operator, of the machine, or of time.
fn step(
    chance: &mut Chance,
    consumer: &TestConsumer,
    target: &Target,
    store: &Faulty,
    clock: &TestClock,
    next: &mut u64,
) {
    match chance.below(12) {
        0..=3 => {
            let batch = (0..=chance.below(4)).map(|more| (*next + more).to_string()).collect::<Vec<_>>();
            append(&store.inner, &batch.iter().map(String::as_str).collect::<Vec<_>>());
            *next += batch.len() as u64;
        }
        4 => {
            let retry = chance.of([Retry::AfterPause, Retry::Now, Retry::Never]);
            target.inner.lock().unwrap().troubles.push_back(Trouble::Fails(retry));
        }
        5 => {
            let error = chance.of([ReadError::Overloaded, ReadError::Closed]);
            let mut faults = store.faults.lock().unwrap();
            faults.extend((0..chance.below(3)).map(|_| None));
            faults.push_back(Some(error));
        }
        6 => consumer.pause("chance"),
        7 => consumer.resume(),
        8 => consumer.request_stop(),
        9 => consumer.restart().unwrap(),
        10 => clock.advance(Duration::from_millis(chance.below(8_000))),
        _ => drop(status(consumer)),
    }
}

fn simulate(seed: u64) {
    let mut chance = Chance(seed);
    let (clock, target) = (clock(), Arc::<Target>::default());
    let store = Faulty::new(&store_of(&clock, 1), []);
    let page_events = 1 + u32::try_from(chance.below(5)).unwrap();
    let consumer = start_with_pages(&store, settings(&clock), &target, page_events);
    let mut next = 0;
    for _ in 0..150 {
        step(&mut chance, &consumer, &target, &store, &clock, &mut next);
        if chance.below(4) == 0 {
            std::thread::yield_now();
        }
        let effects = target.effects();
        assert_eq!(effects, numbers(0..effects.len() as u64), "seed {seed}");
    }
    // The troubles are over: it gets to the end by itself, once it is started and not paused.
    target.inner.lock().unwrap().troubles.clear();
    store.faults.lock().unwrap().clear();
    consumer.resume();
    let head = pollster::block_on(store.inner.locate(When::Head)).unwrap();
    wait_for(&consumer, |state| {
        match state {
            ConsumerState::Stopped { .. } => consumer.restart().unwrap(),
            ConsumerState::Retrying { .. } => clock.advance(Duration::from_secs(6)),
            _ => {}
        }
        consumer.checkpoint().filter(|at| at.at_least(&head))
    });
    assert_eq!(target.effects(), numbers(0..next), "seed {seed}");
}

#[test]
fn effects_are_the_events_whatever_operators_and_the_machine_do() {
    (0..150).for_each(simulate);
}
