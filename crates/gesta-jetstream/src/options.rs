//! How a store is opened.

use std::sync::Arc;

use gesta_core::Timestamp;

/// The clock for `recorded_at`. If it goes back, events get the last recorded time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How a store is opened.
#[derive(Clone, Default)]
pub struct Options {
    /// The clock for `recorded_at`; by default the machine's clock, which is compared with the cluster's in any case.
    pub clock: Option<Clock>,
    /// Takes a server by itself, and keeps each message there once. For tests: a lost disk loses acknowledged events.
    pub takes_single_server: bool,
    /// Refuses a store that is not there. Otherwise it is made.
    pub only_existing: bool,
    /// How the copy of each partition is opened. Its clock is not used.
    pub copy: gesta_log::Options,
}
