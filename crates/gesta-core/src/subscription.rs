//! The one subscription, for every store: catch-up from a checkpoint, then live.

use std::sync::Arc;

use crate::checkpoint::Checkpoint;
use crate::error::ReadError;
use crate::lane::Lanes;
use crate::query::Query;
use crate::read::{Direction, Limit, Page, Place, Read, Select, When};
use crate::store::EventStore;

/// A read that does not end: every matching event after a place, each once, in the log's order, without a gap where
/// history ends and the present begins.
///
/// It is a reader, not a registration: it costs the store nothing between two calls, and is resumed after a crash
/// from the last [`Page::scanned_to`] that its owner kept.
pub struct Subscription {
    store: Arc<dyn EventStore>,
    query: Query,
    lanes: Option<Lanes>,
    limit: Limit,
    at: Checkpoint,
}

impl Subscription {
    /// Starts at a place; [`Place::End`] means only what is appended from now on.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot say where it begins or ends. A checkpoint that is not one of this store is refused by
    /// the first [`Self::next`].
    pub async fn new(store: Arc<dyn EventStore>, query: Query, from: Place) -> Result<Self, ReadError> {
        let at = match from {
            Place::Start => store.locate(When::Start).await?,
            Place::End => store.locate(When::Head).await?,
            Place::At(checkpoint) => checkpoint,
        };
        Ok(Self { store, query, lanes: None, limit: Limit::default(), at })
    }

    /// The same subscription, to streams of these lanes only.
    #[must_use]
    pub fn lanes(mut self, lanes: Lanes) -> Self {
        self.lanes = Some(lanes);
        self
    }

    /// The same subscription with other limits for a page.
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.limit = limit;
        self
    }

    /// Where it stands: everything before was given.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.at
    }

    /// The next page, waiting while there is nothing new.
    ///
    /// A page without events says that the log went on and nothing matched: its `scanned_to` is worth keeping, so that
    /// a reader of rare events does not start far back.
    ///
    /// # Errors
    /// [`ReadError`]. After one the subscription stands where it stood, and the call may be repeated.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the subscription moves on only with a page that was returned.
    pub async fn next(&mut self) -> Result<Page, ReadError> {
        loop {
            let page = self.store.read(self.next_read()).await?;
            if page.scanned_to == self.at {
                debug_assert!(page.end, "a page gets on or has reached the end");
                self.store.wait_past(self.at.clone()).await?;
                continue;
            }
            self.at = page.scanned_to.clone();
            return Ok(page);
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
