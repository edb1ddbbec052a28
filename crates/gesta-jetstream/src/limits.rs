//! Limits and times of the protocol, each with its reason.

use std::time::Duration;

/// Bytes of one message. A cluster must take 8 MiB (`max_payload`); the rest is for headers.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024 - 64 * 1024;
/// Batches of one message: what a writer gathers while the group before is on its way.
pub const MESSAGE_BATCHES_MAX: usize = 1_024;

/// How long an acknowledgement, or a message that must exist, is waited for. An append takes milliseconds.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(2);
/// How long a group is tried. The election of a leader takes 4 to 9 s.
pub(crate) const SETTLE_TIME: Duration = Duration::from_secs(15);
/// How long the cluster may end before the copy. A server that has just started may say so for a moment.
pub(crate) const BEHIND_TIME: Duration = Duration::from_secs(15);
/// Clocks of machines that are kept by NTP differ by far less.
pub(crate) const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(5);
/// Publishes of one message that the leader may refuse as too early, before it is taken as lost to another writer.
pub(crate) const BUSY_TRIES: u32 = 5;
/// The pause after such a refusal.
pub(crate) const BUSY_PAUSE: Duration = Duration::from_millis(1);
/// The first pause after a publish that reached no leader; it doubles up to the second.
pub(crate) const UNREACHED_PAUSE: Duration = Duration::from_millis(50);
pub(crate) const UNREACHED_PAUSE_MAX: Duration = Duration::from_millis(500);
/// Races that a writer loses before it pauses. Without pauses, one process in eight got 45 of 511 turns.
pub(crate) const LOSSES_BEFORE_PAUSE: u32 = 2;
/// The longest pause after that many losses. It grows with each further one.
pub(crate) const LOSS_PAUSE_MAX: Duration = Duration::from_millis(4);
/// Consumers that may leave out a message, one after the other, before the message counts as gone.
pub(crate) const GAPS_MAX: u32 = 3;
/// Messages that were acknowledged and not delivered yet. A consumer that is further behind is made anew.
pub(crate) const UNDELIVERED_MAX: usize = 4_096;
