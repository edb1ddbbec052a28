//! The machine's clock.

use gesta_core::Timestamp;

/// The time of the machine's clock.
#[must_use]
pub fn now() -> Timestamp {
    let nanos = i64::try_from(jiff::Timestamp::now().as_nanosecond());
    Timestamp::from_nanos(nanos.expect("the clock is set to a time before 2262"))
}
