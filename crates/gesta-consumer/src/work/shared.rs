//! What a member's loop and its workers share: deliveries to begin, and what became of them.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use event_listener::Event;

use crate::group::{Delivery, DeliveryId, Settlement};

/// Deliveries between a member's loop and its workers.
#[derive(Default)]
pub(super) struct Shared {
    work: Mutex<Work>,
    /// Notified when a delivery may begin, and when there will be none any more.
    begun: Event,
    /// Notified when a worker has finished, and when the member shall stop.
    finished: Event,
    /// Notified when the member has ended.
    ended: Event,
}

#[derive(Default)]
struct Work {
    /// Deliveries that a free worker takes.
    ready: VecDeque<Delivery>,
    running: HashMap<DeliveryId, Arc<Event>>,
    /// What the loop has to hear.
    settlements: Vec<Settlement>,
    is_stopping: bool,
    has_ended: bool,
}

impl Shared {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a delivery to a free worker.
    pub(super) fn begin(&self, delivery: Delivery) {
        let mut work = self.work();
        work.running.insert(delivery.id, Arc::default());
        work.ready.push_back(delivery);
        drop(work);
        self.begun.notify(usize::MAX);
    }

    /// Calls a worker off. What it still reports is dropped.
    pub(super) fn abandon(&self, id: DeliveryId) {
        let mut work = self.work();
        work.ready.retain(|delivery| delivery.id != id);
        work.settlements.retain(|settlement| settlement.id != id);
        let called_off = work.running.remove(&id);
        drop(work);
        if let Some(called_off) = called_off {
            called_off.notify(usize::MAX);
        }
    }

    /// What workers have finished since the last call.
    pub(super) fn settlements(&self) -> Vec<Settlement> {
        std::mem::take(&mut self.work().settlements)
    }

    /// The next delivery for a worker; `None` when there will be none any more.
    pub(super) async fn next(&self) -> Option<Delivery> {
        loop {
            // Listen first, look second: a change in between is not missed.
            let listener = self.begun.listen();
            {
                let mut work = self.work();
                if let Some(delivery) = work.ready.pop_front() {
                    return Some(delivery);
                }
                if work.has_ended {
                    return None;
                }
            }
            listener.await;
        }
    }

    /// Runs the handling of a delivery, until it ends or is called off (`None`).
    pub(super) async fn unless_abandoned<T>(
        &self,
        id: DeliveryId,
        handling: impl Future<Output = T>,
    ) -> Option<T> {
        let called_off = self.work().running.get(&id).map(Arc::clone)?;
        let mut listener = pin!(called_off.listen());
        if !self.work().running.contains_key(&id) {
            return None;
        }
        let mut handling = pin!(handling);
        poll_fn(|context| {
            if listener.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            handling.as_mut().poll(context).map(Some)
        })
        .await
    }

    /// A worker has finished. Dropped if it was called off.
    pub(super) fn finish(&self, settlement: Settlement) {
        let mut work = self.work();
        if work.running.remove(&settlement.id).is_some() {
            work.settlements.push(settlement);
            drop(work);
            self.finished.notify(usize::MAX);
        }
    }

    pub(super) fn stop(&self) {
        self.work().is_stopping = true;
        self.finished.notify(usize::MAX);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.work().is_stopping
    }

    /// Notified when there is something for the loop: see [`Self::settlements`], [`Self::is_stopping`].
    pub(super) const fn finished(&self) -> &Event {
        &self.finished
    }

    /// The member has ended: the workers end too.
    pub(super) fn end(&self) {
        let mut work = self.work();
        work.has_ended = true;
        drop(work);
        self.begun.notify(usize::MAX);
        self.ended.notify(usize::MAX);
    }

    /// Ends when the member has ended.
    pub(super) async fn ended(&self) {
        loop {
            let listener = self.ended.listen();
            if self.work().has_ended {
                return;
            }
            listener.await;
        }
    }
}
