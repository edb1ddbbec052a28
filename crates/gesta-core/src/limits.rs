//! The limits of the contract, each with its unit and reason. A store may lower those in [`Limits`](crate::Limits).

/// Bytes in the name of a stream. Two names and a command key fit one HTTP header line.
pub const STREAM_NAME_BYTES_MAX: usize = 512;
/// Bytes in an event type, because one byte stores its length.
pub const EVENT_TYPE_BYTES_MAX: usize = 255;
/// Bytes in a tag, `key:value` together, because one byte stores its length.
pub const TAG_BYTES_MAX: usize = 255;
/// Tags on one event. Each is an index entry, so this bounds the cost of an event.
pub const TAGS_MAX: usize = 64;
/// Bytes in a command key.
pub const COMMAND_KEY_BYTES_MAX: usize = 256;
/// Bytes of metadata on one event. Three bytes store the length.
pub const METADATA_BYTES_MAX: usize = 64 * 1024;
/// Bytes of data on one event.
pub const DATA_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Events in one batch.
pub const BATCH_EVENTS_MAX: usize = 10_000;
/// Expectations in one batch.
pub const BATCH_EXPECTATIONS_MAX: usize = 10_000;
/// Conditions in one batch.
pub const BATCH_CONDITIONS_MAX: usize = 128;
/// Bytes of all events in one batch, in canonical form.
pub const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Items in one query.
pub const QUERY_ITEMS_MAX: usize = 128;
/// Streams, categories, types, ids and tags in one query, counted over all its items.
pub const QUERY_TERMS_MAX: usize = 1_024;
/// Partitions of one store. Partitions consist of whole lanes.
pub const PARTITIONS_MAX: u16 = 1_024;
