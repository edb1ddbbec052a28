//! The two things that are not pure: what time it is, and new event ids.

use std::time::{SystemTime, UNIX_EPOCH};

use gesta_core::{EventId, Timestamp};

/// Where the library asks for the time and for new ids. Tests give their own.
pub trait Environment: Send + Sync {
    /// The time that events get when nothing else is said.
    fn now(&self) -> Timestamp;

    /// A new event id, never given before.
    fn event_id(&self) -> EventId;
}

/// The system's clock, and UUIDv7 from the system's entropy.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEnvironment;

impl Environment for SystemEnvironment {
    fn now(&self) -> Timestamp {
        // A clock outside the years 1970 to 2262 is wrong in any case; the nearest time that can be stored will do.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    fn event_id(&self) -> EventId {
        EventId::from_bytes(*uuid::Uuid::now_v7().as_bytes())
    }
}
