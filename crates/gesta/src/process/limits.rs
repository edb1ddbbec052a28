//! The limits of processes, each with its unit and reason.

use std::time::Duration;

use gesta_consumer::group::limits::GROUP_NAME_BYTES_MAX;

/// Effects in one chain: an effect, the effect that its outcome led to, and so on. A chain runs within one delivery, so a
/// process that answers each refusal with another try would hold its stream for ever. Such a process uses a timer.
pub(crate) const CHAIN_EFFECTS_MAX: usize = 64;
/// Timers of one process that are kept in memory: some 50 MB. The log is read again for those beyond.
pub(crate) const TIMERS_KEPT_MAX: usize = 1_000_000;
/// How near the first timer that was left out may come before the log is read again: long enough to read it, in any log.
pub(crate) const HORIZON_AHEAD: Duration = Duration::from_hours(1);
/// The longest sleep of the timers, since a jump of the wall clock wakes nobody.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// The pause between two puts of the place of timers: what is read again after a crash, against the cost of a put.
pub(crate) const PLACE_PAUSE: Duration = Duration::from_secs(5);
/// The first pause after a timer could not fire, doubling up to the longest one.
pub(crate) const FIRE_PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest pause after a timer could not fire.
pub(crate) const FIRE_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a timer is set aside that fails where others fire, so that it does not hold them up.
pub(crate) const FAILED_PAUSE: Duration = Duration::from_secs(30);
/// How long a timer is set aside whose stream grew each time that it was about to fire.
pub(crate) const CONTENDED_PAUSE: Duration = Duration::from_millis(100);
/// Timers that are fired side by side, so that a store with group commit syncs once for many of them.
pub(crate) const FIRE_AT_ONCE: usize = 64;
/// How often the stream is read again, after it grew, before other timers get their turn.
pub(crate) const FIRE_ATTEMPTS: u32 = 8;
/// Bytes in the name of a process: the name of its group is `process-NAME`.
pub(crate) const NAME_BYTES_MAX: usize = GROUP_NAME_BYTES_MAX - "process-".len();
