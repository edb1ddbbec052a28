//! A group: frames that are written and synced together, and the answers that wait for the sync.

use std::sync::Arc;

use gesta_core::{AppendError, Placed};

use super::queue::Answer;
use crate::format::Prepared;
use crate::segment::SegmentFile;
use crate::shared::Head;

/// Memory for an answer besides its places, in bytes.
const ANSWER_BYTES: usize = 128;

/// Sealed frames that are not written yet, and the answers that wait for them.
#[derive(Default)]
pub(crate) struct Group {
    /// The segment's START, if this group is the first in its segment.
    pub(crate) start: Vec<u8>,
    pub(crate) frames: Vec<Prepared>,
    pub(crate) bytes: usize,
    /// Answers that wait for the group's sync: to accepted batches, and to batches whose answer is based on them.
    pub(crate) answers: Vec<(oneshot::Sender<Answer>, Answer)>,
    /// The approximate memory of the answers.
    pub(crate) answers_bytes: usize,
}

impl Group {
    /// Answers all callers after a failed write: their batches are in doubt.
    pub(crate) fn answer_in_doubt(self) {
        for (reply, _) in self.answers {
            deliver(reply, Err(AppendError::InDoubt { reason: "the write to the log failed".to_owned() }));
        }
    }

    /// Holds an answer until the group is synced.
    pub(crate) fn answer_later(&mut self, reply: oneshot::Sender<Answer>, answer: Answer) {
        let places = answer.as_ref().map_or(0, |appended| appended.places.len());
        self.answers_bytes += ANSWER_BYTES + places * size_of::<Placed>();
        self.answers.push((reply, answer));
    }
}

/// A group to write, its place in the segment, and what is durable after its sync.
pub(crate) struct Taken {
    pub(crate) group: Group,
    pub(crate) segment: Arc<SegmentFile>,
    pub(crate) offset: u64,
    /// The offset up to which the segment is filled with zeros.
    pub(crate) zeros_to: u64,
    /// True if little room is left after the group. Only a planted bug uses it.
    pub(crate) is_last: bool,
    /// The last event of the group.
    pub(crate) head: Head,
    /// The number of the last frame, and the checksum of its header.
    pub(crate) number: u64,
    pub(crate) checksum: u32,
    /// The last frame that the group's watermark covers.
    pub(crate) covers: u64,
}

/// Sends an answer to the caller, if it still waits.
pub(crate) fn deliver(reply: oneshot::Sender<Answer>, answer: Answer) {
    // An error means that the caller is gone; the decision stands.
    let _ = reply.send(answer);
}
