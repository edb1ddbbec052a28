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
/// Bytes in a key of a key-value store, because one byte can store the length. JetStream's subjects hold it.
pub const KEY_BYTES_MAX: usize = 255;
/// Bytes in a value of a key-value store. With its key and headers it fits JetStream's message of 1 MiB.
pub const VALUE_BYTES_MAX: usize = 960 * 1024;
/// Bytes of values in one page of a list of keys, at which the page is cut.
pub const LIST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes in the state of a snapshot. A larger state is not an entity any more.
pub const SNAPSHOT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Requests that may wait for a thread of a snapshot store. A load gives up on its own after some milliseconds.
pub(crate) const SNAPSHOT_QUEUE_REQUESTS_MAX: usize = 4_096;
/// Bytes of states that may wait for the thread that writes snapshots.
pub(crate) const SNAPSHOT_QUEUE_BYTES_MAX: usize = 128 * 1024 * 1024;

const _: () =
    assert!(SNAPSHOT_QUEUE_BYTES_MAX >= SNAPSHOT_BYTES_MAX, "the queue takes at least one snapshot");
