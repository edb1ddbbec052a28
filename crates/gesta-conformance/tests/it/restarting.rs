//! The harness that restarts stores under the laws.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};

use gesta_conformance::{Clock, Harness, Memory, Restarting};
use gesta_core::{EventStore, When};
use pollster::block_on;

/// Counts its restarts.
struct Counting {
    memory: Memory,
    restarts: Arc<AtomicUsize>,
}

impl Harness for Counting {
    fn store(&self) -> Arc<dyn EventStore> {
        self.memory.store()
    }

    fn clock(&self) -> &Clock {
        self.memory.clock()
    }

    fn restart(&self, store: Arc<dyn EventStore>) -> Arc<dyn EventStore> {
        assert_eq!(Arc::strong_count(&store), 1, "a restart holds the only reference to the store");
        self.restarts.fetch_add(1, Ordering::SeqCst);
        store
    }
}

fn counting(calls: u32) -> (Arc<dyn EventStore>, impl Fn() -> usize) {
    let restarts = Arc::new(AtomicUsize::new(0));
    let harness = Counting { memory: Memory::new(1), restarts: restarts.clone() };
    (Restarting::every(calls, harness).store(), move || restarts.load(Ordering::SeqCst))
}

#[test]
fn a_store_is_restarted_at_a_fixed_interval_of_calls() {
    for (every, expected) in [(1, 10), (2, 5), (3, 3), (11, 0)] {
        let (store, restarts) = counting(every);
        for _ in 0..10 {
            block_on(store.locate(When::Head)).unwrap();
        }
        assert_eq!(restarts(), expected, "before every {every} calls");
    }
}

#[test]
fn a_store_is_not_restarted_while_a_call_is_under_way() {
    let (store, restarts) = counting(1);
    let head = block_on(store.locate(When::Head)).unwrap();
    let mut waiting = store.wait_past(head);
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(restarts(), 2);
    block_on(store.locate(When::Head)).unwrap();
    assert_eq!(restarts(), 2);
    drop(waiting);
    block_on(store.locate(When::Head)).unwrap();
    assert_eq!(restarts(), 3);
}
