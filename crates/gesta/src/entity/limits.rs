//! The limits of the state cache and of the batches in flight, each with its unit and reason.

use std::time::Duration;

/// Batches of one entity that are in flight at once. 64 clients with a group commit need about 128: one group is
/// written while the next one gathers.
pub(super) const BATCHES_IN_FLIGHT_MAX: usize = 256;
/// Bytes of one entity's batches that are in flight at once. A store has a queue of its own behind it.
pub(super) const BYTES_IN_FLIGHT_MAX: usize = 4 << 20;
/// Commands of one handle and its clones that are not answered. Each holds a few kilobytes.
pub(super) const COMMANDS_WAITING_MAX: usize = 65_536;
/// Further sendings of a batch whose outcome is in doubt, before its caller gets the doubt.
pub(super) const RESENDS_MAX: u32 = 3;
/// The time without progress of its owner after which the next command opens a gate. The owner may be a future that
/// nobody polls.
pub(super) const GATE_AGE_MAX: Duration = Duration::from_secs(1);
/// Batches written without a conflict, after which a careful entity doubles the batches that it has in flight.
pub(super) const WRITTEN_TO_WIDEN: u32 = 8;
/// The pause of a command after its second lost race with other processes. Each further one doubles it: a little at
/// first, since most races are won the next time.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(1);
/// The longest of these pauses. The default of 32 attempts lasts about three seconds, a busy burst of another process.
pub(super) const PAUSE_MAX: Duration = Duration::from_millis(128);
/// Wrong answers to one command, found by verification, after which it decides at the gate.
pub(super) const WRONG_ANSWERS_MAX: u32 = 2;

/// Entities whose states are kept by default.
pub(super) const ENTITIES_MAX: usize = 10_000;
/// Bytes of kept states by default.
pub(super) const CACHE_BYTES_MAX: usize = 64 << 20;
/// Bytes of an entity in the cache beside its states: its name, its place in two maps, its line.
pub(super) const LINE_BYTES: usize = 400;
/// Entities that one command looks at when the cache is full. What is left over, the next command looks at.
pub(super) const SWEEP_LINES_MAX: usize = 64;
/// How long an unused entity may keep a batch in flight that nobody waits for.
pub(super) const UNSETTLED_IDLE_MAX: Duration = Duration::from_secs(60);
