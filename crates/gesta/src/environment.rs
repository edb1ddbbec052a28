//! The two impure inputs: the time and new event ids.

use std::time::{SystemTime, UNIX_EPOCH};

use gesta_core::{EventId, Timestamp};

/// The source of times and event ids. Tests use their own.
pub trait Environment: Send + Sync {
    /// The `time` of events that are recorded without one.
    fn now(&self) -> Timestamp;

    /// A new, unique event id.
    fn event_id(&self) -> EventId;
}

/// The system's clock, and random UUIDv7 ids.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEnvironment;

impl Environment for SystemEnvironment {
    fn now(&self) -> Timestamp {
        // A clock outside the years 1970 to 2262 is wrong: use the nearest time that can be stored.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    fn event_id(&self) -> EventId {
        EventId::from_bytes(*uuid::Uuid::now_v7().as_bytes())
    }
}
