//! The capabilities of a store. A store refuses what it cannot do; it never gives a weaker guarantee.

use crate::limits;

/// The capabilities and limits of a store.
///
/// Create it with [`Capabilities::new`], because later versions add fields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The number of partitions, 1 to 1,024. With one, the log has a total order.
    pub partitions: u16,
    /// True if sequences have no gaps within a partition.
    pub dense_positions: bool,
    /// The streams that one batch may span.
    pub atomic_scope: AtomicScope,
    /// The store's limits.
    pub limits: Limits,
}

/// The streams that one batch may span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AtomicScope {
    /// Any streams of the store. The store has one partition.
    Store,
    /// Streams of one partition.
    Partition,
}

impl Capabilities {
    /// Creates the capabilities of a store with dense sequences.
    #[must_use]
    pub const fn new(partitions: u16, atomic_scope: AtomicScope, limits: Limits) -> Self {
        Self { partitions, dense_positions: true, atomic_scope, limits }
    }

    /// Returns true if the log has one total order.
    #[must_use]
    pub const fn total_order(&self) -> bool {
        self.partitions == 1
    }
}

/// The limits of a store, checked before it buffers anything.
///
/// No limit is above the contract's. Start from [`Limits::default`] and lower what the store lowers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Events in one batch.
    pub batch_events_max: usize,
    /// Bytes of all events in one batch, in canonical form.
    pub batch_bytes_max: usize,
    /// Expectations in one batch.
    pub batch_expectations_max: usize,
    /// Conditions in one batch.
    pub batch_conditions_max: usize,
    /// Bytes of one event's data.
    pub data_bytes_max: usize,
    /// Bytes of one event's metadata.
    pub metadata_bytes_max: usize,
    /// Tags on one event.
    pub tags_max: usize,
    /// Items in one query.
    pub query_items_max: usize,
    /// Streams, categories, types, ids and tags in one query, counted over all its items.
    pub query_terms_max: usize,
}

impl Default for Limits {
    /// Returns the contract's limits, the largest that a store may have.
    fn default() -> Self {
        Self {
            batch_events_max: limits::BATCH_EVENTS_MAX,
            batch_bytes_max: limits::BATCH_BYTES_MAX,
            batch_expectations_max: limits::BATCH_EXPECTATIONS_MAX,
            batch_conditions_max: limits::BATCH_CONDITIONS_MAX,
            data_bytes_max: limits::DATA_BYTES_MAX,
            metadata_bytes_max: limits::METADATA_BYTES_MAX,
            tags_max: limits::TAGS_MAX,
            query_items_max: limits::QUERY_ITEMS_MAX,
            query_terms_max: limits::QUERY_TERMS_MAX,
        }
    }
}
