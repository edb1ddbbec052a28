//! Points in time as the log stores them.

use std::fmt;

use crate::error::ReadError;

/// Nanoseconds since 1970-01-01T00:00:00 UTC, negative for earlier times; from the year 1677 to 2262.
///
/// It is an integer and stored as one. A database that keeps microseconds would alter it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest point in time, in the year 1677.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest point in time, in the year 2262.
    pub const MAX: Self = Self(i64::MAX);

    /// Creates a point in time from nanoseconds since 1970 UTC.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The nanosecond after; `None` after the latest point in time.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(nanos) => Some(Self(nanos)),
            None => None,
        }
    }

    /// Returns the time that later events have at least once this time is closed, if the clock has passed it.
    ///
    /// # Errors
    /// [`ReadError::NotYet`].
    pub fn floor_after(self, now: Self) -> Result<Self, ReadError> {
        self.next().filter(|next| *next <= now).ok_or(ReadError::NotYet { now })
    }

    /// Returns nanoseconds since 1970 UTC.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ns", self.0)
    }
}
