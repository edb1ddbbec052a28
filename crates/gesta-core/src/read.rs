//! Reads, listings and their pages.

use std::num::{NonZeroU32, NonZeroU64};

use crate::checkpoint::{Checkpoint, Version};
use crate::event::RecordedEvent;
use crate::lane::Lanes;
use crate::name::{Category, StreamName};
use crate::query::Query;
use crate::time::Timestamp;

/// A request for one page of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The events to read.
    pub select: Select,
    /// The order of the events.
    pub direction: Direction,
    /// The place to end at.
    ///
    /// Forward, it is the last place that is read; one beyond the head is refused. Backward, only events after it are
    /// read.
    pub until: Option<Checkpoint>,
    /// The largest size and cost of the page.
    pub limit: Limit,
}

/// The events to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Select {
    /// The events of one stream, in the order of their versions.
    Stream {
        /// The stream.
        name: StreamName,
        /// The first version to return, in both directions.
        ///
        /// `None` means the first version for a forward read, and the last for a backward read.
        from: Option<Version>,
    },
    /// The events of the log that match a query.
    Log {
        /// The query.
        query: Query,
        /// The place to start at.
        from: Place,
        /// Only events of streams in these lanes; `None` means all lanes.
        lanes: Option<Lanes>,
    },
}

/// A place in the log at which a read starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Before the first event.
    Start,
    /// After the last event that is durable now.
    End,
    /// A checkpoint. A forward read returns the events after it, a backward read those up to it.
    At(Checkpoint),
}

/// The order of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Oldest first.
    #[default]
    Forward,
    /// Newest first.
    Backward,
}

/// The largest size and cost of one page.
///
/// Every page makes progress. A forward read of the log moves by whole batches, so its page may exceed the limit by
/// one batch. All other pages move by single events, so they may exceed the limit of bytes by one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Events in the page.
    pub events: NonZeroU32,
    /// Bytes of the page's events, in canonical form.
    pub bytes: NonZeroU64,
    /// Entries that the store examines for the page, in a unit of the store.
    ///
    /// The in-memory store counts events; the embedded log counts matches in the index.
    pub examined: NonZeroU64,
}

impl Limit {
    /// Limits a page to `events` events; the other limits have their defaults.
    #[must_use]
    pub fn events(events: NonZeroU32) -> Self {
        Self { events, ..Self::default() }
    }
}

impl Default for Limit {
    /// Returns 1,000 events, 4 MiB, 100,000 examined.
    fn default() -> Self {
        const {
            Self {
                events: NonZeroU32::new(1_000).unwrap(),
                bytes: NonZeroU64::new(4 << 20).unwrap(),
                examined: NonZeroU64::new(100_000).unwrap(),
            }
        }
    }
}

impl Read {
    /// Reads a stream forward from its first event.
    #[must_use]
    pub fn stream(name: StreamName) -> Self {
        Select::Stream { name, from: None }.into()
    }

    /// Reads the events of the log that match, forward from its start.
    #[must_use]
    pub fn log(query: Query) -> Self {
        Select::Log { query, from: Place::Start, lanes: None }.into()
    }

    /// Reads the events of the log that match, forward from a place.
    #[must_use]
    pub fn log_from(query: Query, from: Place) -> Self {
        Select::Log { query, from, lanes: None }.into()
    }

    /// Reverses the direction: newest first.
    #[must_use]
    pub fn backward(mut self) -> Self {
        self.direction = Direction::Backward;
        self
    }

    /// Sets the place to end at. See the field `until`.
    #[must_use]
    pub fn until(mut self, until: Checkpoint) -> Self {
        self.until = Some(until);
        self
    }

    /// Returns the checkpoints in the read: its start and its end, as far as given.
    pub fn checkpoints(&self) -> impl Iterator<Item = &Checkpoint> {
        let from = match &self.select {
            Select::Log { from: Place::At(from), .. } => Some(from),
            _ => None,
        };
        from.into_iter().chain(&self.until)
    }

    /// Sets the limit of the page.
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.limit = limit;
        self
    }
}

impl From<Select> for Read {
    fn from(select: Select) -> Self {
        Self { select, direction: Direction::Forward, until: None, limit: Limit::default() }
    }
}

/// The result of one read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The events, in the requested order.
    pub events: Vec<RecordedEvent>,
    /// The place up to which the read examined the log, even if no event matched.
    ///
    /// Forward: read on from here. It never lies before the start of the read. It is the only place to use as the
    /// `after` of a [`Condition`](crate::Condition). In reads of the log it never lies inside a batch, unless the
    /// caller's `until` does. In reads of a stream it covers that stream only.
    ///
    /// Backward: pass it as [`Place::At`] to read on.
    pub scanned_to: Checkpoint,
    /// A lower bound of the log's end, to measure lag by.
    pub head: Checkpoint,
    /// For reads of a stream: the version of its last event at `head`.
    ///
    /// `None` if the stream has no event, or if damage may hide its last one.
    pub last_version: Option<Version>,
    /// True if nothing more matches within `until`, or up to `head` if there is no `until`.
    pub end: bool,
}

/// A request for one page of streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Only streams of this category; `None` means all.
    pub category: Option<Category>,
    /// The end of an earlier page, to continue after; `None` starts a listing.
    pub after: Option<ListToken>,
    /// The largest number of streams in the page.
    pub limit: NonZeroU32,
}

/// The end of a page of streams.
///
/// It is valid only in the store that gave it, with the same category.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListToken(pub Box<str>);

/// One page of streams, in no particular order.
///
/// A stream that exists throughout a listing is in it exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPage {
    /// The streams.
    pub streams: Vec<StreamInfo>,
    /// The token of the next page; `None` at the end.
    pub next: Option<ListToken>,
}

/// A stream that has events, and its last version. Create it with [`StreamInfo::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// The stream.
    pub name: StreamName,
    /// The version of its last event.
    pub version: Version,
}

impl StreamInfo {
    /// Creates the information on a stream from its name and the version of its last event.
    #[must_use]
    pub const fn new(name: StreamName, version: Version) -> Self {
        Self { name, version }
    }
}

/// A place in the log, by name or by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum When {
    /// Before the first event.
    Start,
    /// After the last event that is durable now.
    Head,
    /// In each partition, the end of the last batch that was recorded at this time or earlier.
    ///
    /// The answer is final only once the newest event of each partition was recorded later.
    RecordedUpTo(Timestamp),
    /// The place of [`Self::RecordedUpTo`], once no event can be recorded at this time or earlier any more, in any partition.
    ///
    /// The answer is final, also if the clock of the store goes back later. Unless the head is later than the time, the store writes
    /// down that all later events get a later time. So ask for it only where a final answer is needed.
    ///
    /// Its own errors, unless the head is later in every partition: [`ReadError::NotYet`](crate::ReadError::NotYet) while the store's
    /// clock has not passed the time; [`ReadError::Unsupported`](crate::ReadError::Unsupported) if the store was opened read-only, and
    /// [`ReadError::Unavailable`](crate::ReadError::Unavailable) if it has stopped taking writes.
    ClosedAt(Timestamp),
}
