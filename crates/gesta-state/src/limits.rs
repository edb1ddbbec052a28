//! The limits of the store, each with its unit and reason.

use std::time::Duration;

use gesta_core::VALUE_BYTES_MAX;

/// Requests that may wait for the store's thread. Each is a caller that waits, so more means that the disk stands
/// still.
pub(crate) const QUEUE_REQUESTS_MAX: usize = 4_096;
/// Bytes of values that may wait for the store's thread.
pub(crate) const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Writes in one transaction: they are held in memory until it is synced, and all fail with it.
pub(crate) const TRANSACTION_WRITES_MAX: usize = 256;
/// Bytes of values in one transaction, so that the first of its callers does not wait for a long one.
pub(crate) const TRANSACTION_BYTES_MAX: usize = 8 << 20;
/// How long an open waits for a process that is just closing the file.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// Pages of the write-ahead log after which they are written to the file: 4 MiB, some large values.
pub(crate) const WAL_CHECKPOINT_PAGES: u32 = 1_024;
/// Bytes of the write-ahead log that stay on the disk when it is empty, so that it is not made anew each time.
pub(crate) const WAL_BYTES_KEPT: u32 = 8 << 20;
/// Memory for pages, in KiB. Groups read their row once.
pub(crate) const CACHE_KIB: u32 = 4 << 10;
/// Memory for pages of snapshots in KiB, for each connection. The rest is the page cache's.
pub(crate) const SNAPSHOT_CACHE_KIB: u32 = 2 << 10;

const _: () = assert!(TRANSACTION_BYTES_MAX > VALUE_BYTES_MAX, "a transaction takes at least one value");
const _: () = assert!(QUEUE_BYTES_MAX > TRANSACTION_BYTES_MAX, "the queue fills a transaction");
