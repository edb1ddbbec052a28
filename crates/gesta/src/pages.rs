//! The pages of a forward read. Each is begun before the one before it is folded, so the store reads while the caller folds.

use std::future::poll_fn;
use std::num::{NonZeroU32, NonZeroU64};
use std::pin::Pin;
use std::task::Poll;

use futures_util::FutureExt;
use futures_util::future::{MaybeDone, maybe_done};
use gesta_core::{BoxFuture, EventStore, Limit, Page, Place, Read, ReadError, Select, Version};

/// The limits of the first page of a fold. Large, since a fold needs all the events before it can go on.
pub(crate) const PAGE: Limit = Limit {
    events: NonZeroU32::new(5_000).unwrap(),
    bytes: NonZeroU64::new(8 << 20).unwrap(),
    examined: NonZeroU64::new(1_000_000).unwrap(),
};

/// The most events that a page grows to.
const EVENTS_MAX: NonZeroU32 = NonZeroU32::new(20_000).unwrap();

/// The pages of a read. Each has up to twice the events of the one before: a short history is read while it is folded, and a long one in few
/// reads.
pub(crate) struct Pages<'s> {
    store: &'s dyn EventStore,
    read: Read,
    /// The page that was begun; `None` before the first and after the last.
    begun: Option<MaybeDone<BoxFuture<'s, Result<Page, ReadError>>>>,
    /// The last version that is wanted.
    last: Option<Version>,
    is_over: bool,
}

impl<'s> Pages<'s> {
    pub(crate) fn new(store: &'s dyn EventStore, read: Read) -> Self {
        Self { store, read, begun: None, last: None, is_over: false }
    }

    /// The same, where the first page has been read.
    pub(crate) fn with_first(store: &'s dyn EventStore, read: Read, first: Option<Page>) -> Self {
        Self { begun: first.map(|page| MaybeDone::Done(Ok(page))), ..Self::new(store, read) }
    }

    /// Ends with the page that has this version of the stream.
    pub(crate) fn up_to(mut self, last: Option<Version>) -> Self {
        self.last = last;
        self
    }

    /// The next page; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Page>, ReadError> {
        if self.is_over {
            return Ok(None);
        }
        let mut begun = self.begun.take().unwrap_or_else(|| maybe_done(self.store.read(self.read.clone())));
        (&mut begun).await;
        let page = Pin::new(&mut begun).take_output().expect("it was awaited")?;
        let is_beyond = |last| page.events.last().is_some_and(|event| event.version() >= last);
        self.is_over = page.end || self.last.is_some_and(is_beyond);
        if !self.is_over {
            self.begin_after(&page).await;
        }
        Ok(Some(page))
    }

    /// Begins the read of the page after this one, and does not wait for it.
    async fn begin_after(&mut self, page: &Page) {
        match &mut self.read.select {
            Select::Log { from, .. } => *from = Place::At(page.scanned_to.clone()),
            Select::Stream { from, .. } => {
                *from = page.events.last().map(|event| event.version().next()).or(*from);
            }
        }
        let limit = &mut self.read.limit;
        limit.events = limit.events.saturating_mul(const { NonZeroU32::new(2).unwrap() }).min(EVENTS_MAX);
        let mut next = maybe_done(self.store.read(self.read.clone()));
        // Whether it is over already is asked with the next page.
        poll_fn(|context| Poll::Ready(next.poll_unpin(context).is_ready())).await;
        self.begun = Some(next);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use gesta_core::*;

    use super::*;

    /// A store that counts the reads that were begun, and fails from a number on.
    struct Counted {
        store: MemoryStore,
        begun: AtomicU64,
        fails_at: u64,
    }

    impl StoreLayer for Counted {
        fn inner(&self) -> &dyn EventStore {
            &self.store
        }

        fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
            Box::pin(async move {
                match self.begun.fetch_add(1, Ordering::SeqCst) + 1 {
                    begun if begun >= self.fails_at => {
                        Err(ReadError::Unavailable { reason: "asked to".to_owned() })
                    }
                    _ => self.store.read(read).await,
                }
            })
        }
    }

    /// Seven events in one stream, each in a batch of its own.
    fn seven(fails_at: u64) -> Counted {
        let store = MemoryStore::new(StoreId::from_bytes([7; 16]), 1, || Timestamp::from_nanos(1));
        for id in 1..=7 {
            let (stream, event_type) = ("a-1".parse().unwrap(), "x".parse().unwrap());
            let event =
                NewEvent::json(EventId::from_u128(id), stream, event_type, Timestamp::from_nanos(1), "{}");
            store.append_now(Batch::new([event])).unwrap();
        }
        Counted { store, begun: AtomicU64::new(0), fails_at }
    }

    fn in_twos(select: Select) -> Read {
        Read::from(select).limit(Limit { events: NonZeroU32::new(2).unwrap(), ..PAGE })
    }

    /// The positions of each page, and the reads that were begun when it was given.
    fn shown(store: &Counted, read: Read) -> Result<Vec<(Vec<u64>, u64)>, ReadError> {
        let (mut pages, mut shown) = (Pages::new(store, read), Vec::new());
        while let Some(page) = pollster::block_on(pages.next())? {
            let positions = page.events.iter().map(|event| event.position().sequence).collect();
            shown.push((positions, store.begun.load(Ordering::SeqCst)));
        }
        Ok(shown)
    }

    #[test]
    fn each_page_is_twice_as_large_and_begun_before_the_one_before_is_given() {
        let stream = Select::Stream { name: "a-1".parse().unwrap(), from: Some(Version::FIRST) };
        let log = Read::log(Query::All).select;
        for select in [stream, log] {
            let expected = [(vec![1, 2], 2), (vec![3, 4, 5, 6], 3), (vec![7], 3)];
            assert_eq!(shown(&seven(u64::MAX), in_twos(select)).unwrap(), expected);
        }
    }

    #[test]
    fn no_page_is_begun_beyond_the_version_that_is_wanted() {
        let store = seven(u64::MAX);
        let stream = Select::Stream { name: "a-1".parse().unwrap(), from: Some(Version::FIRST) };
        let mut pages = Pages::new(&store, in_twos(stream)).up_to(Some(Version::new(1)));
        assert_eq!(pollster::block_on(pages.next()).unwrap().unwrap().events.len(), 2);
        assert!(pollster::block_on(pages.next()).unwrap().is_none());
        assert_eq!(store.begun.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn an_error_comes_in_the_place_of_its_page() {
        let store = seven(2);
        let mut pages = Pages::new(&store, in_twos(Read::log(Query::All).select));
        let first = pollster::block_on(pages.next()).unwrap().unwrap();
        assert_eq!(first.events.len(), 2);
        assert!(pollster::block_on(pages.next()).is_err());
    }

    #[test]
    fn a_page_that_was_read_already_is_not_read_again() {
        let store = seven(u64::MAX);
        let read = in_twos(Read::log(Query::All).select);
        let first = pollster::block_on(store.store.read(read.clone())).unwrap();
        let mut pages = Pages::with_first(&store, read, Some(first));
        let mut seen = Vec::new();
        while let Some(page) = pollster::block_on(pages.next()).unwrap() {
            seen.extend(page.events.iter().map(|event| event.position().sequence));
        }
        assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(store.begun.load(Ordering::SeqCst), 2);
    }
}
