//! Reads, listings and their pages.

use std::num::{NonZeroU32, NonZeroU64};

use crate::checkpoint::{Checkpoint, Version};
use crate::event::RecordedEvent;
use crate::lane::Lanes;
use crate::name::{Category, StreamName};
use crate::query::Query;
use crate::time::Timestamp;

/// What to read, in which direction, and how much at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Which events.
    pub select: Select,
    /// In which order.
    pub direction: Direction,
    /// Where to end: forward the last place that is read (beyond the head is refused), backward the place above which
    /// events are read.
    pub until: Option<Checkpoint>,
    /// How much one page may cost.
    pub limit: Limit,
}

/// Which events to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Select {
    /// The events of one stream, in the order of their versions.
    Stream {
        /// The stream.
        name: StreamName,
        /// The first version to give, in both directions; `None` means the end that the direction starts at.
        from: Option<Version>,
    },
    /// The events of the log that match.
    Log {
        /// Which events.
        query: Query,
        /// Where to start.
        from: Place,
        /// Only streams of these lanes.
        lanes: Option<Lanes>,
    },
}

/// A place to start reading the log at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Before the first event.
    Start,
    /// After the last event that is durable now.
    End,
    /// Forward: the events after it. Backward: the events up to it.
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

/// How much one page may cost. Every page gets on by at least one batch, so a page may exceed its limit by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Events in the page.
    pub events: NonZeroU32,
    /// Bytes of the events in the page, in their canonical form.
    pub bytes: NonZeroU64,
    /// What the store looks at for the page, in its own unit (an event in memory, an index entry or an event in the
    /// embedded log).
    pub examined: NonZeroU64,
}

impl Limit {
    /// At most `events` events; the other limits have their defaults.
    #[must_use]
    pub fn events(events: NonZeroU32) -> Self {
        Self { events, ..Self::default() }
    }
}

impl Default for Limit {
    /// 1,000 events, 4 MiB, 100,000 examined.
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
    /// A stream from its first event on.
    #[must_use]
    pub fn stream(name: StreamName) -> Self {
        Select::Stream { name, from: None }.into()
    }

    /// The events of the log that match, from its start on.
    #[must_use]
    pub fn log(query: Query) -> Self {
        Select::Log { query, from: Place::Start, lanes: None }.into()
    }

    /// The events of the log that match, from a place on.
    #[must_use]
    pub fn log_from(query: Query, from: Place) -> Self {
        Select::Log { query, from, lanes: None }.into()
    }

    /// The same read, newest first.
    #[must_use]
    pub fn backward(mut self) -> Self {
        self.direction = Direction::Backward;
        self
    }

    /// The same read, up to a place.
    #[must_use]
    pub fn until(mut self, until: Checkpoint) -> Self {
        self.until = Some(until);
        self
    }

    /// The places that the read names: where it starts, and where it ends.
    pub fn checkpoints(&self) -> impl Iterator<Item = &Checkpoint> {
        let from = match &self.select {
            Select::Log { from: Place::At(from), .. } => Some(from),
            _ => None,
        };
        from.into_iter().chain(&self.until)
    }

    /// The same read with another limit.
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

/// What one read returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The events, in the order asked for.
    pub events: Vec<RecordedEvent>,
    /// How far the read got, whether anything matched or not.
    ///
    /// Forward: the place to go on from, never before the place it started at, and, of all places, the only one a condition may
    /// look after. Never inside a batch for reads of the log, unless the caller's own `until` is. That of a stream's page speaks
    /// of that stream alone. Backward: what to pass as [`Place::At`] next.
    pub scanned_to: Checkpoint,
    /// A lower bound of where the log ends, to measure lag by.
    pub head: Checkpoint,
    /// For reads of a stream: the version of its last event at `head`; `None` if it has no event, or damage may hide its last.
    pub last_version: Option<Version>,
    /// Nothing more matches within `until`, or, without it, up to `head`.
    pub end: bool,
}

/// Which streams to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Only streams of this category.
    pub category: Option<Category>,
    /// Go on where an earlier page ended.
    pub after: Option<ListToken>,
    /// The largest number of streams in a page.
    pub limit: NonZeroU32,
}

/// Where a page of streams ended. Means something only to the store that gave it, with the same category.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListToken(pub Box<str>);

/// One page of streams. No order is promised; every stream that exists throughout a listing is in it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPage {
    /// The streams.
    pub streams: Vec<StreamInfo>,
    /// How to go on; `None` at the end.
    pub next: Option<ListToken>,
}

/// What a store knows about a stream that has events. Made with [`StreamInfo::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// The stream.
    pub name: StreamName,
    /// The version of its last event.
    pub version: Version,
}

impl StreamInfo {
    /// The stream of that name, whose last event has that version.
    #[must_use]
    pub const fn new(name: StreamName, version: Version) -> Self {
        Self { name, version }
    }
}

/// A place in the log, by name or time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum When {
    /// Before the first event.
    Start,
    /// After the last event that is durable now.
    Head,
    /// The end of the last batch in each partition that was recorded at that time or earlier. Final only once the
    /// head's `recorded_at` is later.
    RecordedUpTo(Timestamp),
}
