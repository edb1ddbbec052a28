//! Turns: an append waits until it is the first of its streams, and lets the next one go when it ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gesta_core::StreamName;
use tokio::sync::oneshot;

use crate::order::{Lines, Number, Place};

/// The turns of all appends of a client.
#[derive(Default)]
pub(crate) struct Turns(Mutex<State>);

#[derive(Default)]
struct State {
    lines: Lines,
    /// Those that wait for their turn.
    waiting: HashMap<Number, oneshot::Sender<()>>,
}

/// The turn of one append. Dropped, it lets the next ones go.
pub(crate) struct Turn {
    turns: Arc<Turns>,
    number: Number,
    /// Ends when it is the append's turn; `None` if it is already.
    ready: Option<oneshot::Receiver<()>>,
}

impl Turns {
    /// Takes a place in the lines of these streams.
    pub(crate) fn join(self: &Arc<Self>, streams: Vec<StreamName>) -> Turn {
        let mut state = self.lock();
        let Place { number, is_first } = state.lines.join(streams);
        let ready = (!is_first).then(|| {
            let (go, ready) = oneshot::channel();
            state.waiting.insert(number, go);
            ready
        });
        Turn { turns: Arc::clone(self), number, ready }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Waits for the turn.
    pub(crate) async fn come(&mut self) {
        if let Some(ready) = &mut self.ready {
            ready.await.expect("the turns tell each waiting append");
            self.ready = None;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        state.waiting.remove(&self.number);
        for next in state.lines.leave(self.number) {
            let go = state.waiting.remove(&next).expect("an append that is not the first waits");
            // An append that ends at the same time has no receiver, and leaves next.
            let _ = go.send(());
        }
    }
}
