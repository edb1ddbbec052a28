//! What a store can do, said by the store itself. What it cannot, it refuses; it never gives a weaker guarantee.

use crate::limits;

/// What a store can do. Made with [`Capabilities::new`]: fields are added as stores learn more.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// How many partitions it has. With one, the log has a total order.
    pub partitions: u16,
    /// Sequences have no gaps within a partition.
    pub dense_positions: bool,
    /// What one batch may span.
    pub atomic_scope: AtomicScope,
    /// What it takes at the most.
    pub limits: Limits,
}

/// What one batch may span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AtomicScope {
    /// Any streams of the store, which has one partition.
    Store,
    /// Streams of one partition.
    Partition,
}

impl Capabilities {
    /// A store with dense sequences, that many partitions and these limits.
    #[must_use]
    pub const fn new(partitions: u16, atomic_scope: AtomicScope, limits: Limits) -> Self {
        Self { partitions, dense_positions: true, atomic_scope, limits }
    }

    /// Whether the log has one total order.
    #[must_use]
    pub const fn total_order(&self) -> bool {
        self.partitions == 1
    }
}

/// The most that a store takes, checked before anything is buffered. Never above the contract's own bounds.
/// Start from [`Limits::default`] and lower what the store lowers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Events in one batch.
    pub batch_events_max: usize,
    /// Bytes of all events of one batch in their canonical form.
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
    /// Names and ids in one query.
    pub query_terms_max: usize,
}

impl Default for Limits {
    /// The contract's own bounds.
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
