//! How a store is opened.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gesta_core::Timestamp;

/// A clock for tests. The store reads it instead of the database's.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How a store is opened.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// Time in which a group that was not written, or is in doubt, is decided again. Default 15 s.
    pub settle_time: Duration,
    /// The clock of `recorded_at`; `None` means the database's, which is one for all processes.
    pub clock: Option<Clock>,
    /// Makes the store if the schema does not exist. Default true.
    pub makes_store: bool,
    /// Takes a server without `fsync`, which loses acknowledged events in a crash. For tests only.
    pub takes_unsafe_servers: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            settle_time: Duration::from_secs(15),
            clock: None,
            makes_store: true,
            takes_unsafe_servers: false,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("settle_time", &self.settle_time)
            .field("has_clock", &self.clock.is_some())
            .field("makes_store", &self.makes_store)
            .field("takes_unsafe_servers", &self.takes_unsafe_servers)
            .finish()
    }
}
