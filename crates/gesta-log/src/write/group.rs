//! A group: frames that are written and synced at once, and the answers that wait for that.

use std::sync::Arc;

use gesta_core::{AppendError, Placed};

use super::queue::Answer;
use crate::format::Prepared;
use crate::segment::SegmentFile;
use crate::shared::Head;

/// What an answer takes besides its places.
const ANSWER_BYTES: usize = 128;

/// Frames that are sealed and not yet written, and who waits for them.
#[derive(Default)]
pub(crate) struct Group {
    /// The segment's START, when this group is its first.
    pub(crate) start: Vec<u8>,
    pub(crate) frames: Vec<Prepared>,
    pub(crate) bytes: usize,
    /// Answers that wait for the group's sync, those to accepted batches and those that only speak of them.
    pub(crate) answers: Vec<(oneshot::Sender<Answer>, Answer)>,
    /// About how much memory they take.
    pub(crate) answers_bytes: usize,
}

impl Group {
    /// Answers everybody after a write that failed.
    pub(crate) fn answer_in_doubt(self) {
        for (reply, _) in self.answers {
            deliver(reply, Err(AppendError::InDoubt { reason: "the write to the log failed".to_owned() }));
        }
    }

    /// Keeps an answer until the group is synced.
    pub(crate) fn answer_later(&mut self, reply: oneshot::Sender<Answer>, answer: Answer) {
        let places = answer.as_ref().map_or(0, |appended| appended.places.len());
        self.answers_bytes += ANSWER_BYTES + places * size_of::<Placed>();
        self.answers.push((reply, answer));
    }
}

/// A group that is to be written, where to, and what is durable once it is synced.
pub(crate) struct Taken {
    pub(crate) group: Group,
    pub(crate) segment: Arc<SegmentFile>,
    pub(crate) offset: u64,
    /// Up to where its segment holds nothing but zeros.
    pub(crate) zeros_to: u64,
    /// Whether little room is left behind it. Of use to a bug that can be planted.
    pub(crate) is_last: bool,
    /// Its last event.
    pub(crate) head: Head,
    /// Its last frame, and the checksum of that frame's header.
    pub(crate) number: u64,
    pub(crate) checksum: u32,
    /// The last frame of which it says that it is synced.
    pub(crate) covers: u64,
}

/// Gives an answer to whoever still waits for it.
pub(crate) fn deliver(reply: oneshot::Sender<Answer>, answer: Answer) {
    // An error here says that the caller is gone; the batch stays as decided.
    let _ = reply.send(answer);
}
