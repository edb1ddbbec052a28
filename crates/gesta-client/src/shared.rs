//! What the callers and the thread of a client share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_listener::Event;
use gesta_core::{Checkpoint, ReadError};
use tokio::sync::{Notify, Semaphore};

use crate::address::Address;
use crate::exchange::Exchange;
use crate::identity::Identity;
use crate::limits::TAKES_MAX;
use crate::options::ClientOptions;
use crate::pool::Pool;
use crate::waiting::{Answer, Moment, Seat, Waiting};

/// What the callers and the thread of a client share.
pub(crate) struct Shared {
    pub(crate) options: ClientOptions,
    pub(crate) identity: Arc<Identity>,
    /// For all requests but the shared poll.
    pub(crate) exchange: Exchange,
    /// For the shared poll, which has a connection of its own.
    pub(crate) polling: Exchange,
    /// For members of groups. Each call that waits has a connection of its own.
    pub(crate) taking: Exchange,
    waiting: Mutex<Waiting>,
    /// Tells the waiters that there may be an answer.
    on_news: Event,
    /// Tells the poll that a waiter sits.
    on_waiter: Notify,
}

impl Shared {
    pub(crate) fn new(address: Address, options: ClientOptions) -> Self {
        let (address, identity) = (Arc::new(address), Arc::new(Identity::default()));
        let budget = Arc::new(Semaphore::new(options.answers_bytes_max.clamp(1, Semaphore::MAX_PERMITS)));
        let exchange = |connections| Exchange {
            address: Arc::clone(&address),
            pool: Arc::new(Pool::new(Arc::clone(&address), options.connect_time, connections)),
            identity: Arc::clone(&identity),
            budget: Arc::clone(&budget),
            answers_bytes_max: options.answers_bytes_max,
        };
        let (exchange, polling, taking) =
            (exchange(options.connections_max), exchange(1), exchange(TAKES_MAX));
        Self {
            options,
            identity,
            exchange,
            polling,
            taking,
            waiting: Mutex::default(),
            on_news: Event::new(),
            on_waiter: Notify::new(),
        }
    }

    /// The moment at which a request for the head is sent.
    pub(crate) fn moment(&self) -> Moment {
        self.lock().moment()
    }

    /// Records a head that the server reported to a request that was sent at `asked`.
    pub(crate) fn report(&self, head: &Checkpoint, asked: Moment) {
        self.lock().report(head, asked);
        self.on_news.notify(usize::MAX);
    }

    /// Records the head of a page.
    pub(crate) fn raise(&self, head: &Checkpoint) {
        if self.lock().raise(head) {
            self.on_news.notify(usize::MAX);
        }
    }

    /// Records that the shared poll failed.
    pub(crate) fn fail(&self, error: ReadError) {
        self.lock().fail(error);
        self.on_news.notify(usize::MAX);
    }

    /// Waits until a waiter sits, and returns the place to poll from.
    pub(crate) async fn poll_from(&self) -> (Checkpoint, Moment) {
        loop {
            {
                let waiting = self.lock();
                if let Some(from) = waiting.poll_from() {
                    return (from.clone(), waiting.moment());
                }
            }
            self.on_waiter.notified().await;
        }
    }

    /// Sits down to wait past `after`, if it is the known head.
    pub(crate) fn sit<'a>(&'a self, after: &'a Checkpoint) -> Option<Sitting<'a>> {
        let seat = self.lock().sit(after)?;
        self.on_waiter.notify_one();
        Some(Sitting { shared: self, seat, after })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A waiter that sits, until it is dropped.
pub(crate) struct Sitting<'a> {
    shared: &'a Shared,
    seat: Seat,
    after: &'a Checkpoint,
}

impl Sitting<'_> {
    /// Waits for the answer.
    pub(crate) async fn answer(self) -> Answer {
        loop {
            let listener = self.shared.on_news.listen();
            let answer = self.shared.lock().look(&self.seat, self.after);
            match answer {
                Some(answer) => return answer,
                None => listener.await,
            }
        }
    }
}

impl Drop for Sitting<'_> {
    fn drop(&mut self) {
        self.shared.lock().rise();
    }
}
