//! The two impure inputs: the time and new event ids.

use std::sync::{Arc, Mutex, PoisonError};

use gesta_consumer::{Clock, SystemClock};
use gesta_core::{EventId, Timestamp};
use uuid::{ContextV7, Uuid};

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
        SystemClock.now()
    }

    fn event_id(&self) -> EventId {
        EventId::from_bytes(*Uuid::now_v7().as_bytes())
    }
}

/// The time of a [`Clock`], and random UUIDv7 ids with that time in them.
///
/// A test gives the same [`TestClock`](gesta_consumer::TestClock) to this and to what waits, so that it has one clock.
pub struct ClockEnvironment {
    clock: Arc<dyn Clock>,
    /// Orders the ids of the same millisecond.
    ids: Mutex<ContextV7>,
}

impl ClockEnvironment {
    /// Creates an environment over a clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, ids: Mutex::new(ContextV7::new()) }
    }
}

impl Environment for ClockEnvironment {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn event_id(&self) -> EventId {
        // UUIDs hold no time before 1970: such a clock gets the first moment after it.
        let nanos = u64::try_from(self.now().as_nanos()).unwrap_or(0);
        let (seconds, subsec) = (nanos / NANOS_PER_SECOND, nanos % NANOS_PER_SECOND);
        let subsec = u32::try_from(subsec).expect("less than a second in nanoseconds fits 32 bits");
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let id = Uuid::new_v7(uuid::Timestamp::from_unix(&*ids, seconds, subsec));
        EventId::from_bytes(*id.as_bytes())
    }
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gesta_consumer::TestClock;

    use super::*;

    #[test]
    fn times_and_ids_come_from_the_clock() {
        let clock = TestClock::new(Timestamp::from_nanos(1_500_000_000));
        let environment = ClockEnvironment::new(Arc::new(clock.clone()));
        assert_eq!(environment.now(), Timestamp::from_nanos(1_500_000_000));
        let millis = |id: EventId| u64::from_be_bytes(id.as_bytes()[..8].try_into().unwrap()) >> 16;
        let (first, second) = (environment.event_id(), environment.event_id());
        assert_eq!((millis(first), millis(second)), (1_500, 1_500));
        assert_ne!(first, second);
        clock.advance(Duration::from_millis(7));
        assert_eq!(millis(environment.event_id()), 1_507);
        clock.jump_wall(Timestamp::MIN);
        environment.event_id();
    }
}
