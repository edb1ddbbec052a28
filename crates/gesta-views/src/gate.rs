//! The gate between two versions of a view: the old one stands still while the new one takes over, so that answers never go back.

use std::sync::{Mutex, MutexGuard, PoisonError};

use event_listener::Event;
use gesta_consumer::Stop;

/// The old version passes it with each page. The new one holds it from the moment it is near the head until it serves.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Event,
}

#[derive(Default)]
struct State {
    /// The old version commits a page.
    is_passing: bool,
    is_held: bool,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify(usize::MAX);
    }

    /// Waits until nobody holds the gate. `None`: the signal was raised.
    pub(crate) fn pass(&self, stop: &Stop) -> Option<Passing<'_>> {
        self.take(stop, |state| {
            let is_open = !state.is_held;
            state.is_passing |= is_open;
            is_open
        })?;
        Some(Passing { gate: self })
    }

    /// Holds the gate, and waits until nobody passes it. `None`: the signal was raised.
    pub(crate) fn hold(&self, stop: &Stop) -> Option<Held<'_>> {
        self.change(|state| state.is_held = true);
        let held = Held { gate: self };
        self.take(stop, |state| !state.is_passing)?;
        Some(held)
    }

    /// Waits until `take` is true.
    fn take(&self, stop: &Stop, take: impl Fn(&mut State) -> bool) -> Option<()> {
        stop.or(async {
            loop {
                // Listen first, look second: a change in between is not missed.
                let listener = self.changed.listen();
                if take(&mut self.state()) {
                    return;
                }
                listener.await;
            }
        })
    }
}

/// A page of the old version.
pub(crate) struct Passing<'g> {
    gate: &'g Gate,
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        self.gate.change(|state| state.is_passing = false);
    }
}

/// The old version stands still while this is held.
pub(crate) struct Held<'g> {
    gate: &'g Gate,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.gate.change(|state| state.is_held = false);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_page_ends_before_the_gate_is_held_and_the_next_one_waits() {
        let (gate, stop) = (Gate::default(), Stop::new());
        let page = gate.pass(&stop).unwrap();
        let (held, is_held) = channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let hold = gate.hold(&Stop::new()).unwrap();
                held.send(hold).unwrap();
            });
            while !gate.state().is_held {
                std::thread::yield_now();
            }
            assert!(is_held.try_recv().is_err(), "the page is under way");
            drop(page);
            let hold = is_held.recv().unwrap();
            let passed = scope.spawn(|| gate.pass(&stop).is_some());
            drop(hold);
            assert!(passed.join().unwrap());
        });
    }

    #[test]
    fn a_raised_signal_ends_both_waits() {
        let (gate, stop) = (Gate::default(), Stop::new());
        let page = gate.pass(&stop).unwrap();
        stop.reopen();
        assert!(gate.hold(&stop).is_none());
        drop(page);
        let hold = gate.hold(&Stop::new());
        assert!(gate.pass(&stop).is_none());
        drop(hold);
        assert!(gate.pass(&Stop::new()).is_some());
    }
}
