//! Every bound of this crate, with its unit and reason.

use std::time::Duration;

/// How long a wait sleeps between two looks at the clock while the system has no thread left to serve it. A wait is
/// then late by at most this.
pub(crate) const CLOCK_POLL_PAUSE: Duration = Duration::from_millis(1);

/// The longest sleep of the thread that serves waits. Sleep stands still while the machine is suspended, where the clock goes on: a wait that has
/// ended meanwhile is late by at most this.
pub(crate) const CLOCK_LOOK_PAUSE: Duration = Duration::from_secs(1);

/// The first pause before another try. Each further pause is twice as long.
pub(crate) const RETRY_PAUSE_MIN: Duration = Duration::from_millis(10);

/// The longest pause before another try, without its jitter: what healed is noticed soon enough for people.
pub(crate) const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// How far a pause may be from its length, in thousandths: consumers that failed together do not try together.
pub(crate) const RETRY_JITTER_PER_MILLE: u32 = 200;

/// How long a lag in seconds is kept before the log is read again, so that metrics cost little.
pub(crate) const LAG_KEPT: Duration = Duration::from_secs(1);

/// Seconds that the rate of a consumer is averaged over.
pub(crate) const RATE_SECONDS: u8 = 10;

/// How often a pause, or its end, is written again because another operator was faster.
pub(crate) const PAUSE_WRITES_MAX: u32 = 16;

/// How long a worker's call waits for deliveries. Short enough that a server which went away without a word is noticed.
pub(crate) const POLL_WAIT: Duration = Duration::from_secs(20);

/// Events in the hands of a member for each of its workers. Enough to keep a worker busy while an answer is on its way.
pub(crate) const EVENTS_PER_WORKER_MAX: usize = 256;

/// How long a delivery may wait for a worker before the member asks for less: others could have handled it.
pub(crate) const QUEUED_TIME_MAX: Duration = Duration::from_millis(500);

/// How long workers may go on with what runs when they are asked to stop, and how long they then try to give it back.
pub(crate) const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Deliveries that one member handles at the same time: each has a thread or a task.
pub(crate) const WORKERS_MAX: usize = 1_024;
