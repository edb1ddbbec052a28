//! The limits of the client, each with its unit and reason.

use std::time::Duration;

use gesta_core::{SNAPSHOT_BYTES_MAX, Snapshot};

/// Threads with a connection each that answer reads. A load waits for the network, so they are more than for a file.
pub(crate) const READERS: usize = 4;
/// How long a connection may take. Loads give up long before.
pub(crate) const CONNECT_TIME: Duration = Duration::from_secs(2);
/// How long the server may be silent within an answer. A server that is paused longer counts as down.
pub(crate) const SILENCE_TIME: Duration = Duration::from_secs(2);
/// Bytes in one string of an answer: the largest value.
pub(crate) const STRING_BYTES_MAX: usize = SNAPSHOT_BYTES_MAX + Snapshot::VALUE_HEADER_BYTES;
/// Elements in one answer. A hash has some 50 fields, a page of keys as many as were asked for.
pub(crate) const ELEMENTS_MAX: usize = 100_000;
/// Bytes in one line of an answer: a status, an error, or a length.
pub(crate) const LINE_BYTES_MAX: usize = 64 << 10;
/// Keys in one page of a listing.
pub(crate) const PAGE_KEYS_MAX: u32 = 1_000;
