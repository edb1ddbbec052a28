//! Every bound of this crate, with its unit and reason.

use std::time::Duration;

/// Events that a publisher has in flight at the same time, each of another stream, unless its file says otherwise.
pub(crate) const IN_FLIGHT_DEFAULT: u32 = 256;
/// The most events in flight: each has a task and a message in memory.
pub(crate) const IN_FLIGHT_MAX: u32 = 1_024;
/// Events in one delivery: few enough that those of all streams fit into the group's bound.
pub(crate) const RUN_MAX: u32 = 32;

/// The time for a confirmation, unless the file says otherwise. Brokers confirm within milliseconds unless they are overloaded.
pub(crate) const ANSWER_TIME_DEFAULT: Duration = Duration::from_secs(10);
/// The shortest and longest time for a confirmation that a file may ask for.
pub(crate) const ANSWER_TIME_MIN: Duration = Duration::from_millis(100);
/// See [`ANSWER_TIME_MIN`].
pub(crate) const ANSWER_TIME_MAX: Duration = Duration::from_secs(300);
/// The time for a connection, with its greetings and checks.
pub(crate) const CONNECT_TIME: Duration = Duration::from_secs(10);

/// The first pause before another try to connect. Each further pause is twice as long.
pub(crate) const CONNECT_PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause before another try to connect: a broker that is back is noticed within it.
pub(crate) const CONNECT_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a stream waits after a failure that is about the connection. The connection has a pause of its own.
pub(crate) const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// The pauses of a stream whose message the broker did not take for now: from the first, doubling, to the longest.
pub(crate) const BACK_OFF_MIN: Duration = Duration::from_millis(500);
/// See [`BACK_OFF_MIN`]. A target that is back gets all that waits within it.
pub(crate) const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// The time in which a publisher logs one fault: thousands of messages fail together.
pub(crate) const LOG_PAUSE: Duration = Duration::from_secs(10);

/// Bytes of a publishers' file: thousands of publishers fit.
pub(crate) const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Characters of a target's own words that an error repeats.
pub(crate) const WORDS_CHARACTERS_MAX: usize = 300;
