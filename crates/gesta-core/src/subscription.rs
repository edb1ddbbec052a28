//! Subscriptions on any store: they read from a checkpoint to the head, then new events live.

use std::sync::Arc;

use crate::checkpoint::Checkpoint;
use crate::error::ReadError;
use crate::lane::Lanes;
use crate::query::Query;
use crate::read::{Direction, Limit, Page, Place, Read, Select, When};
use crate::store::EventStore;

/// A read without end: every matching event after a place, each once, in the log's order.
///
/// There is no gap between catching up and reading live. A subscription is not registered with the store and costs
/// nothing between two calls. To resume after a crash, start from the last [`Page::scanned_to`] that you kept.
pub struct Subscription {
    store: Arc<dyn EventStore>,
    query: Query,
    lanes: Option<Lanes>,
    limit: Limit,
    at: Checkpoint,
    /// True if the last read reached the head: until the next append there is nothing to read.
    is_at_head: bool,
}

impl Subscription {
    /// Starts at a place. [`Place::End`] means only events that are appended from now on.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot locate its start or its head. The first [`Self::next`] refuses a checkpoint
    /// of another store.
    pub async fn new(store: Arc<dyn EventStore>, query: Query, from: Place) -> Result<Self, ReadError> {
        let at = match from {
            Place::Start => store.locate(When::Start).await?,
            Place::End => store.locate(When::Head).await?,
            Place::At(checkpoint) => checkpoint,
        };
        Ok(Self { store, query, lanes: None, limit: Limit::default(), at, is_at_head: false })
    }

    /// Restricts the subscription to streams in these lanes.
    #[must_use]
    pub fn lanes(mut self, lanes: Lanes) -> Self {
        self.lanes = Some(lanes);
        self
    }

    /// Sets the limit of a page.
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.limit = limit;
        self
    }

    /// Returns the place that the subscription has reached. All earlier matching events were returned.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.at
    }

    /// Returns the next page. Waits while there is nothing new.
    ///
    /// A page may have no events, because the log grew and nothing matched. Keep its `scanned_to` too, so that a
    /// reader of rare events does not resume far back.
    ///
    /// # Errors
    /// [`ReadError`]. The subscription does not move, so the call may be repeated.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the subscription moves only with a page that was returned.
    pub async fn next(&mut self) -> Result<Page, ReadError> {
        loop {
            if self.is_at_head {
                self.store.wait_past(self.at.clone()).await?;
            }
            let page = self.store.read(self.next_read()).await?;
            let has_moved = page.scanned_to != self.at;
            debug_assert!(has_moved || page.end, "a page moves on or has reached the end");
            self.is_at_head = !has_moved || page.scanned_to == page.head;
            if has_moved {
                self.at = page.scanned_to.clone();
                return Ok(page);
            }
        }
    }

    fn next_read(&self) -> Read {
        Read {
            select: Select::Log {
                query: self.query.clone(),
                from: Place::At(self.at.clone()),
                lanes: self.lanes.clone(),
            },
            direction: Direction::Forward,
            until: None,
            limit: self.limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Mutex;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::{Batch, BoxFuture, EventId, MemoryStore, NewEvent, StoreId, StoreLayer, Timestamp};

    /// An in-memory store that records the calls of its readers.
    struct Noted {
        store: MemoryStore,
        calls: Mutex<Vec<&'static str>>,
    }

    impl Noted {
        fn take(&self) -> Vec<&'static str> {
            std::mem::take(&mut self.calls.lock().unwrap())
        }

        fn append(&self, number: u128) {
            let (stream, kind) = ("a-1".parse().unwrap(), "a.b".parse().unwrap());
            let id = EventId::from_u128(number);
            let event = NewEvent::json(id, stream, kind, Timestamp::from_nanos(0), "{}");
            self.store.append_now(Batch::new([event])).unwrap();
        }
    }

    impl StoreLayer for Noted {
        fn inner(&self) -> &dyn EventStore {
            &self.store
        }

        fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
            self.calls.lock().unwrap().push("read");
            self.store.read(read)
        }

        fn wait_past(&self, after: Checkpoint) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
            self.calls.lock().unwrap().push("wait");
            self.store.wait_past(after)
        }
    }

    fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_subscription_at_the_head_reads_once_after_each_append() {
        let store = MemoryStore::new(StoreId::from_bytes([1; 16]), 1, || Timestamp::from_nanos(1));
        let noted = Arc::new(Noted { store, calls: Mutex::default() });
        noted.append(1);
        let subscription = Subscription::new(noted.clone(), Query::All, Place::Start);
        let Poll::Ready(Ok(mut subscription)) = poll(subscription) else { panic!("it is in memory") };
        assert!(poll(subscription.next()).is_ready());
        assert_eq!(noted.take(), ["read"]);
        assert!(poll(subscription.next()).is_pending());
        assert_eq!(noted.take(), ["wait"], "the subscription knows that nothing is new");
        noted.append(2);
        let Poll::Ready(Ok(page)) = poll(subscription.next()) else { panic!("there is an event") };
        assert_eq!(page.events.len(), 1);
        assert_eq!(noted.take(), ["wait", "read"]);
        assert!(poll(subscription.next()).is_pending());
        assert_eq!(noted.take(), ["wait"]);
    }

    #[test]
    fn a_subscription_before_the_head_does_not_wait() {
        let store = MemoryStore::new(StoreId::from_bytes([1; 16]), 1, || Timestamp::from_nanos(1));
        let noted = Arc::new(Noted { store, calls: Mutex::default() });
        (1..=3).for_each(|number| noted.append(number));
        let subscription = Subscription::new(noted.clone(), Query::All, Place::Start);
        let Poll::Ready(Ok(subscription)) = poll(subscription) else { panic!("it is in memory") };
        let mut subscription = subscription.limit(Limit::events(1.try_into().unwrap()));
        (1..=3).for_each(|_| assert!(poll(subscription.next()).is_ready()));
        assert_eq!(noted.take(), ["read"; 3]);
    }
}
