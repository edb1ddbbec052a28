//! Closing a time: a frame without events raises the time that every later frame has at least.

use std::sync::atomic::Ordering;

use gesta_core::Appended;

use super::GroupBuilder;
use crate::bugs::{Bug, planted};
use crate::format::Prepared;
use crate::write::group::deliver;
use crate::write::queue::{Closing, Request};

impl GroupBuilder {
    /// Makes all later frames later than a time. The answer comes when that is durable.
    pub(super) fn take_closing(&mut self, closing: Closing, has_room: bool) {
        if self.tail.chain.recorded_at > closing.time {
            return self.answer_closed(closing);
        }
        if self.shared.poison.is_set() {
            return deliver(closing.reply, Err(self.shared.read_only()));
        }
        if !has_room {
            self.halted = true;
            self.stuck = Some(Request::Close(closing));
            return;
        }
        if !planted(Bug::ClosingIsNotWritten) {
            self.seal_floor(closing.time + 1);
        }
        self.answer_closed(closing);
    }

    /// Seals an idle frame with that time into the group.
    fn seal_floor(&mut self, recorded_at: i64) {
        self.learn_durable();
        self.begin_segment();
        let at = self.active.offset + self.group.bytes as u64;
        let mut bytes = Vec::new();
        self.seal_idle(&mut bytes, at, recorded_at);
        self.group.bytes += bytes.len();
        self.group.frames.push(Prepared::mark(bytes));
    }

    /// Answers as soon as everything up to here is durable and shown. A group is durable a moment before it is shown.
    fn answer_closed(&mut self, closing: Closing) {
        let checkpoint = self.shared.checkpoint_of(self.head());
        let closed = Appended { places: Vec::new(), checkpoint, repeated: false };
        let is_durable = self.durable.load(Ordering::Acquire) >= self.tail.chain.number;
        match is_durable && self.shared.published.position() >= self.tail.chain.position {
            true => deliver(closing.reply, Ok(closed)),
            false => self.group.answer_later(closing.reply, Ok(closed)),
        }
    }
}
