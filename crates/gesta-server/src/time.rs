//! The machine's clock.

use gesta_core::Timestamp;

/// The time of the machine's clock, within the times that a log stores.
#[must_use]
pub fn now() -> Timestamp {
    let nanos = jiff::Timestamp::now().as_nanosecond();
    let in_range = nanos.clamp(i64::MIN.into(), i64::MAX.into());
    Timestamp::from_nanos(i64::try_from(in_range).expect("it is clamped"))
}
