//! The messages that a consumer delivers, and whether the stream still has what the copy has.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use gesta_core::Timestamp;

use super::flight::Step;
use super::{Clock, Halt, Machine, Output, Then, Work};
use crate::bugs::{Bug, planted};
use crate::limits::{ANSWER_TIME, BEHIND_TIME, CLOCK_AHEAD_MAX, GAPS_MAX};
use crate::message::{Message, MessageDigest};

/// The state of the consumer.
#[derive(Debug)]
pub(super) struct Follower {
    /// The number of the consumer. What others deliver is ignored.
    consumer: u64,
    /// The last message that it delivered, or the one before its first.
    delivered: u64,
    /// The digest of that message, if it delivered one.
    digest: Option<MessageDigest>,
    /// The last messages of the copy, in order. It has delivered none of them.
    undelivered: VecDeque<Known>,
    /// The last message of the copy.
    last: Option<Known>,
    /// When the consumer delivered its last message, or was made. Messages that this process wrote say nothing about the consumer.
    delivered_at: Duration,
    /// When the copy got its last message.
    applied_at: Duration,
    /// The message that was left out last, and how often since it was delivered.
    gap: (u64, u32),
    /// Since when the leader has ended before the copy, which has got nothing since but empty messages.
    behind: Option<Duration>,
}

/// A message of the copy.
#[derive(Debug, Clone, Copy)]
struct Known {
    digest: MessageDigest,
    /// The writer's clock, if this process wrote it.
    written_at: Option<Timestamp>,
}

impl Follower {
    pub(super) const fn new() -> Self {
        Self {
            consumer: 0,
            delivered: 0,
            digest: None,
            undelivered: VecDeque::new(),
            last: None,
            delivered_at: Duration::ZERO,
            applied_at: Duration::ZERO,
            gap: (0, 0),
            behind: None,
        }
    }

    pub(super) const fn consumer(&self) -> u64 {
        self.consumer
    }

    /// The last message that the consumer has delivered.
    pub(super) const fn delivered(&self) -> Option<u64> {
        if self.digest.is_some() { Some(self.delivered) } else { None }
    }

    /// Notes that the copy has a message. `is_replaying` if it still has events that no message has brought again.
    pub(super) fn applied(&mut self, message: &Message, is_own: bool, is_replaying: bool, now: Duration) {
        let known = Known { digest: message.digest(), written_at: is_own.then_some(message.written_at()) };
        self.undelivered.push_back(known);
        self.last = Some(known);
        self.applied_at = now;
        // Others write empty messages, and the events may be lost all the same.
        if !is_replaying || !message.batches().is_empty() {
            self.behind = None;
        }
    }
}

impl Machine {
    /// Makes the consumer anew. It begins with the last message of the copy, to compare it, and further back after an election.
    pub(super) fn follow(&mut self) {
        let (number, digest) = (self.tip.number, self.tip.digest);
        let from = self.audit.begin(number).max(1);
        let follower = &mut self.follower;
        follower.consumer += 1;
        (follower.delivered, follower.digest) = (from - 1, None);
        follower.delivered_at = self.now;
        let last = follower.last.unwrap_or(Known { digest, written_at: None });
        follower.undelivered = (number > 0).then_some(last).into_iter().collect();
        self.outputs.push(Output::Follow { consumer: follower.consumer, from });
    }

    /// Makes the consumer anew, unless it is on its way to a message.
    pub(super) fn follow_to(&mut self, number: u64) {
        let is_on_its_way = self.follower.delivered < number && !self.stands_still();
        if !is_on_its_way {
            self.follow();
        }
    }

    /// Whether the consumer has delivered nothing for longer than an answer takes.
    fn stands_still(&self) -> bool {
        self.now >= self.follower.delivered_at + ANSWER_TIME
    }

    pub(super) fn delivered(&mut self, consumer: u64, number: u64, bytes: &Bytes, stored_at: Timestamp) {
        let next = self.follower.delivered + 1;
        if self.halted.is_some() || consumer != self.follower.consumer || number < next {
            return;
        }
        if number > next && !planted(Bug::GapIgnored) {
            return self.leave_out(number, next);
        }
        if self.follower.gap.0 == number {
            self.follower.gap = (0, 0);
        }
        self.follower.delivered = number;
        self.follower.delivered_at = self.now;
        if number > self.tip.number && !self.take(number, bytes) {
            return;
        }
        if !self.compare(number, bytes, stored_at) {
            return;
        }
        self.audit.compared_up_to(number);
        self.compared(number);
    }

    /// Compares a message with the copy, and the one before with the digest that it names. Returns false if one is another.
    fn compare(&mut self, number: u64, bytes: &Bytes, stored_at: Timestamp) -> bool {
        let digest = MessageDigest::of(bytes);
        let before = self.follower.digest.replace(digest);
        let is_linked = before.is_none_or(|before| MessageDigest::named_by(bytes) == Some(before));
        if !is_linked && !planted(Bug::ChainIgnored) {
            return self.halt_false(Halt::Changed { number: number - 1 });
        }
        let undelivered = &mut self.follower.undelivered;
        let is_older = number + (undelivered.len() as u64) <= self.tip.number;
        let Some(known) = (!is_older).then(|| undelivered.pop_front()).flatten() else { return true };
        if known.digest != digest && !planted(Bug::ChainIgnored) {
            return self.halt_false(Halt::Changed { number });
        }
        if let Some(written_at) = known.written_at {
            self.compare_clock(written_at, stored_at);
        }
        true
    }

    /// The stream has a message as the copy has it. If the leader did not say so before, the number alone is named from now on.
    fn compared(&mut self, number: u64) {
        let Work::Sending(_, flight) = &mut self.work else { return };
        let is_unknown = flight.step() == Step::Compare && number == flight.after.number;
        if is_unknown && !planted(Bug::MuteLeaderStops) {
            flight.go_by_number();
            self.send();
        }
    }

    /// A message is missing between two deliveries: made anew, the consumer delivers it, unless it is gone.
    fn leave_out(&mut self, number: u64, expected: u64) {
        let (last, times) = self.follower.gap;
        let times = if last == expected { times + 1 } else { 1 };
        self.follower.gap = (expected, times);
        if times >= GAPS_MAX {
            return self.halt(Halt::Gap { number, expected });
        }
        self.follow();
    }

    /// Takes a message that the copy does not have. Returns false if it is not the next one.
    fn take(&mut self, number: u64, bytes: &Bytes) -> bool {
        let message = match Message::decode(bytes, self.partition) {
            Ok(message) => message,
            Err(error) => {
                self.halt(Halt::Damaged { number, error });
                return false;
            }
        };
        let Work::Sending(_, flight) = &self.work else { return self.apply(message, false, Then::Nothing) };
        if flight.digest() == message.digest() || planted(Bug::AnyMessageIsOurs) {
            if flight.is_unproven(self.follower.consumer) {
                self.prove();
                return false;
            }
            let before = self.tip.number;
            self.is_written(message);
            return self.tip.number > before;
        }
        self.apply(message, false, Then::LoseRace)
    }

    /// Compares the writer's clock with the server's, at a message of this process.
    fn compare_clock(&mut self, written_at: Timestamp, stored_at: Timestamp) {
        let ahead = written_at.as_nanos().saturating_sub(stored_at.as_nanos());
        let ahead = Duration::from_nanos(u64::try_from(ahead).unwrap_or(0));
        self.clock = if ahead > CLOCK_AHEAD_MAX { Clock::Ahead(ahead) } else { Clock::Right };
        if matches!(self.work, Work::ReadingClock { .. }) {
            self.ask_for_decision();
        }
    }

    /// Compares the copy and the consumer with the last message of the leader. It may be an old answer, so only a long time counts.
    pub(super) fn leader_at(&mut self, last: u64, term: u64, asked_at: Duration) {
        if self.halted.is_some() {
            return;
        }
        self.note_behind(last, asked_at);
        let must_compare = self.audit.leader_told(term, asked_at, self.now, self.follower.delivered());
        let has_stopped =
            last > self.follower.delivered && self.stands_still() && !planted(Bug::ConsumerForEver);
        if self.halted.is_none() && (must_compare || has_stopped) {
            self.follow();
        }
    }

    fn note_behind(&mut self, last: u64, asked_at: Duration) {
        let is_behind = last < self.tip.number || (last == self.tip.number && self.is_replaying());
        if !is_behind || planted(Bug::BehindIgnored) {
            self.follower.behind = None;
            return;
        }
        let asked_at = if planted(Bug::LateLeaderCounts) { self.now } else { asked_at };
        match self.follower.behind {
            // The leader did not have it yet, or nobody had.
            _ if asked_at < self.follower.applied_at => {}
            Some(since) if asked_at >= since + BEHIND_TIME => {
                self.halt(Halt::Behind { last, copy: self.tip.number });
            }
            Some(_) => {}
            None => self.follower.behind = Some(asked_at),
        }
    }
}
