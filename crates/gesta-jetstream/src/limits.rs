//! Limits and times of the protocol, each with its reason.

use std::time::Duration;

use gesta_core::{BATCH_EVENTS_MAX, Limits};

/// Bytes of one message. A server must take 8 MB (`max_payload`); the rest is for headers.
pub const MESSAGE_BYTES_MAX: usize = 8_000_000 - 64 * 1024;
/// Batches of one message: what a writer gathers while the group before is on its way.
pub const MESSAGE_BATCHES_MAX: usize = 1_024;

/// Partitions of one store. Clients over HTTP take as many.
pub(crate) const PARTITIONS_MAX: u16 = 64;

/// How long an acknowledgement, or a message that must exist, is waited for. An append takes milliseconds.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(2);
/// How often the client pings its server. After three pings without an answer it takes another one: a server that is cut off or paused does not
/// close the connection. A message of 8 MB has to pass within the shortest such time, 4 s, since only a whole message is a sign of life.
pub(crate) const PING_TIME: Duration = Duration::from_secs(2);
/// How long a group is tried. The election of a leader takes 4 to 9 s.
pub(crate) const SETTLE_TIME: Duration = Duration::from_secs(15);
/// How long the cluster may end before the copy. A server that has just started may say so for a moment.
pub(crate) const BEHIND_TIME: Duration = Duration::from_secs(15);
/// How long the cluster may deliver nothing while a copy catches up. An election and [`BEHIND_TIME`], which names a loss, end before.
pub(crate) const CATCH_UP_TIME: Duration = Duration::from_secs(45);
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

/// The oldest server that is taken: it syncs each Raft append once, and fences proposals by term.
pub(crate) const SERVER_VERSION_MIN: [u64; 3] = [2, 15, 1];
/// `max_payload` of a server.
pub(crate) const MAX_PAYLOAD_MIN: usize = 8_000_000;
/// Bytes of the data of one event.
const DATA_BYTES_MAX: usize = 7 * 1024 * 1024;
/// Bytes of the events of one batch: the largest data, with its names, tags and metadata.
const BATCH_BYTES_MAX: usize = DATA_BYTES_MAX + 128 * 1024;
/// Bytes of a message beside the events: 12 for each event, and the batch's own.
const FRAME_BYTES_MAX: usize = 12 * BATCH_EVENTS_MAX + 1_024;

const _: () = assert!(BATCH_BYTES_MAX + FRAME_BYTES_MAX <= MESSAGE_BYTES_MAX, "a batch fits in a message");
const _: () = assert!(MESSAGE_BYTES_MAX < MAX_PAYLOAD_MIN, "a message and its headers fit in a payload");
/// Bytes of the events of one group, unless it is one larger batch.
pub(crate) const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of batches that wait. Further appends are refused as overloaded.
pub(crate) const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Calls for the head of a partition that wait. Further ones are refused as overloaded.
pub(crate) const HEADS_MAX: usize = 16 * 1024;
/// Answers and deliveries that wait for the writer.
pub(crate) const INPUTS_MAX: usize = 256;
/// Streams of a new store that are asked for at once.
pub(crate) const STREAMS_AT_ONCE: usize = 8;
/// How long an acknowledged message counts as being in the stream. A loss takes an election, which is 4 s and more after a crash.
pub(crate) const FRESH_TIME: Duration = Duration::from_secs(1);
/// How often the leader is asked for its last message.
pub(crate) const STATUS_TIME: Duration = Duration::from_secs(5);

/// How long a request of the key-value store and of the snapshots is tried: most elections have ended then.
pub(crate) const BUCKET_TIME: Duration = Duration::from_secs(6);
/// Bytes of the state of a snapshot. The leader sends it in base64, in one message.
pub(crate) const SNAPSHOT_STATE_BYTES_MAX: usize = 5 * 1024 * 1024;
const _: () =
    assert!(SNAPSHOT_STATE_BYTES_MAX / 3 * 4 < MESSAGE_BYTES_MAX, "a state in base64 fits in a message");

/// The limits that the store declares.
pub(crate) fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.batch_bytes_max = BATCH_BYTES_MAX;
    limits.data_bytes_max = DATA_BYTES_MAX;
    limits
}
