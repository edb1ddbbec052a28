//! Bounds that belong to the contract itself, each with its unit and reason. What a store may set lower is in
//! [`Limits`](crate::Limits).

/// Bytes in the name of a stream. Two of them and a command key still fit one HTTP header line.
pub const STREAM_NAME_BYTES_MAX: usize = 512;
/// Bytes in an event type: its length is stored in one byte.
pub const EVENT_TYPE_BYTES_MAX: usize = 255;
/// Bytes in a tag, `key:value` together: its length is stored in one byte.
pub const TAG_BYTES_MAX: usize = 255;
/// Tags on one event: each is an entry in the index, so this bounds what one event can cost.
pub const TAGS_MAX: usize = 64;
/// Bytes in a command key.
pub const COMMAND_KEY_BYTES_MAX: usize = 256;
/// Bytes of metadata on one event (its length is stored in three bytes).
pub const METADATA_BYTES_MAX: usize = 64 * 1024;
/// Bytes of data on one event.
pub const DATA_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Events in one batch.
pub const BATCH_EVENTS_MAX: usize = 10_000;
/// Expectations in one batch.
pub const BATCH_EXPECTATIONS_MAX: usize = 10_000;
/// Conditions in one batch.
pub const BATCH_CONDITIONS_MAX: usize = 128;
/// Bytes of all events of one batch in their canonical form.
pub const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Items in one query.
pub const QUERY_ITEMS_MAX: usize = 128;
/// Streams, categories, types, ids and tags in one query, counted over all its items.
pub const QUERY_TERMS_MAX: usize = 1_024;
/// Partitions of one store: partitions are made of whole lanes.
pub const PARTITIONS_MAX: u16 = 1_024;
