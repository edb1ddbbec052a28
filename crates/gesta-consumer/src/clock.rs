//! The time that consumers and groups use: the system's, or one that a test moves.
//!
//! *Choice: two readings, not one.* Wall time can jump, so pauses, leases and heartbeats use [`Clock::elapsed`]. Only
//! what is recorded, or due at a date, uses [`Clock::now`].

mod manual;
mod system;
mod waits;

use std::time::Duration;

use gesta_core::{BoxFuture, Timestamp};

pub use manual::TestClock;
pub use system::SystemClock;

/// A source of time.
pub trait Clock: Send + Sync {
    /// Returns the wall time. It may jump, forward and back.
    fn now(&self) -> Timestamp;

    /// Returns the time since a fixed moment in the past. It never goes back.
    fn elapsed(&self) -> Duration;

    /// Waits until [`Self::elapsed`] has reached `until`. The future needs no runtime.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait and frees its place.
    fn wait(&self, until: Duration) -> BoxFuture<'static, ()>;
}
