//! The limits of consumer groups, each with its unit and reason.

use std::time::Duration;

/// Bytes in the name of a group. A key of the key-value store, 255 bytes long, holds it beside the hash of a stream and a version.
pub const GROUP_NAME_BYTES_MAX: usize = 100;
/// Bytes in the name of a member: the name of a host, a process id and a random part.
pub const MEMBER_NAME_BYTES_MAX: usize = 128;
/// Bytes of an error, a reason or a name of an operator that a caller gives. Longer texts are cut, since people read them in a list.
pub const WORDS_BYTES_MAX: usize = 2_048;
/// Groups of one store. Each has a row, a window and a scan of its own.
pub const GROUPS_MAX: usize = 256;

/// Deliveries that one `take` may name in `holds`, and settlements in `settle`. A member with more work settles in several calls.
pub const NAMED_DELIVERIES_MAX: usize = 10_000;
/// The longest wait of one `take`. A connection that is idle for longer may be cut on its way.
pub const TAKE_WAIT_MAX: Duration = Duration::from_secs(60);

/// The shortest and longest `ack_time`. A shorter one expires during a collection of garbage; a longer one hides a dead member.
pub const ACK_TIME_MIN: Duration = Duration::from_millis(100);
/// See [`ACK_TIME_MIN`].
pub const ACK_TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest pause before another attempt, also of one that a member asks for.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Events in one delivery. A delivery is acknowledged within `ack_time`, so a longer run belongs into several.
pub const RUN_MAX: u32 = 1_000;
/// Events in flight in one group. All of them lie in its window.
pub const IN_FLIGHT_MAX: u32 = 4_096;

/// Events of one group in memory. At 100,000 events a second it is read again within 40 ms.
pub const WINDOW_EVENTS_MAX: usize = 4_096;
/// Bytes of these events, one event more at most.
pub const WINDOW_BYTES_MAX: u64 = 16 << 20;
/// Bytes of the events of all groups of a process.
pub const WINDOWS_BYTES_MAX: u64 = 256 << 20;
/// Events of one stream in memory. What comes after is read from the log again, so one long stream does not hold up the others.
pub const STREAM_EVENTS_MAX: usize = 64;
/// Streams with nothing in memory that are read from the log before the scan goes on.
pub const HUNGRY_STREAMS_MAX: usize = 1_024;
/// Reads of streams at the same time.
pub const REFILLS_MAX: usize = 8;
/// Events in one page of the scan.
pub const PAGE_EVENTS_MAX: usize = 1_000;
/// Bytes of the events in one answer to a member. A single larger event is answered alone.
pub const REPLY_BYTES_MAX: u64 = 4 << 20;
/// Members of one group. Each takes part of a kilobyte.
pub const MEMBERS_MAX: usize = 10_000;

/// Parked streams of one group. More at the same time are an outage that has to stop the group.
pub const PARKED_STREAMS_MAX: usize = 1_024;
/// Other streams with a place of their own in one group's row.
pub const APART_STREAMS_MAX: usize = 256;
/// Bytes of a row's entries of such streams.
pub const APART_BYTES_MAX: usize = 384 << 10;
/// Bytes of a row's query and its places. With 64 partitions and 1,024 terms of ordinary length it takes less.
pub const QUERY_BYTES_MAX: usize = 96 << 10;
/// Bytes of a row. Each put writes all of them.
pub const ROW_BYTES_MAX: usize = 512 << 10;
/// Streams that failed since the last success, from which on a failure counts no attempt: a target is down.
pub const OUTAGE_STREAMS: usize = 16;

/// Acknowledged events after which progress is put.
pub const ACKNOWLEDGED_MAX: u32 = 1_000;
/// The time after which progress is put. As much is repeated after a crash.
pub const PUT_PAUSE: Duration = Duration::from_millis(100);
/// The time after which the place of the scan is put, if nothing else changed.
pub const SCANNED_PAUSE: Duration = Duration::from_secs(5);
/// The delay of a put after which nothing is delivered until it succeeds.
pub const PUT_LATE: Duration = Duration::from_secs(5);
/// The longest time between two steps of a dealer with deadlines. A longer one is a stall.
pub const HEARTBEAT: Duration = Duration::from_millis(500);
/// The time without a step from which on all deadlines are moved.
pub const STALL_MIN: Duration = Duration::from_secs(1);

/// Requests that wait for the thread of the groups. Each belongs to one caller.
pub const MESSAGES_MAX: usize = 65_536;
/// Writes of words at the same time. Further words are dropped: nothing but people reads them.
pub const WORDS_ON_WAY_MAX: usize = 64;
/// Groups in one page of a listing. Their rows are in it, so it stays small.
pub const GROUPS_PAGE: u32 = 16;
/// Parked streams in one page of a listing. Each takes a read of its words.
pub const PARKED_PAGE_MAX: usize = 100;
