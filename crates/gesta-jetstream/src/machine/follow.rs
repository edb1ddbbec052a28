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
    /// The last message that it delivered.
    delivered: u64,
    /// The messages of the copy after that one, in order.
    undelivered: VecDeque<Known>,
    /// The last message of the copy.
    last: Option<Known>,
    /// When the consumer delivered its last message, or was made. Messages that this process wrote say nothing about the consumer.
    delivered_at: Duration,
    /// When the copy got its last message.
    applied_at: Duration,
    /// Consumers that left out a message since the copy got one.
    gaps: u32,
    /// Since when the leader has ended before the copy, which has got nothing since.
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
            undelivered: VecDeque::new(),
            last: None,
            delivered_at: Duration::ZERO,
            applied_at: Duration::ZERO,
            gaps: 0,
            behind: None,
        }
    }

    pub(super) const fn consumer(&self) -> u64 {
        self.consumer
    }

    /// True if the consumer has delivered all messages of the copy.
    pub(super) fn has_delivered_all(&self) -> bool {
        self.undelivered.is_empty()
    }

    /// Notes that the copy has a message.
    pub(super) fn applied(&mut self, message: &Message, is_own: bool, now: Duration) {
        let known = Known { digest: message.digest(), written_at: is_own.then_some(message.written_at()) };
        self.undelivered.push_back(known);
        self.last = Some(known);
        self.applied_at = now;
        self.gaps = 0;
        self.behind = None;
    }
}

impl Machine {
    /// Makes the consumer anew. It begins with the last message of the copy, to compare it.
    pub(super) fn follow(&mut self) {
        let (number, digest) = (self.tip.number, self.tip.digest);
        let follower = &mut self.follower;
        follower.consumer += 1;
        follower.delivered = number.saturating_sub(1);
        follower.delivered_at = self.now;
        let last = follower.last.unwrap_or(Known { digest, written_at: None });
        follower.undelivered = (number > 0).then_some(last).into_iter().collect();
        self.outputs.push(Output::Follow { consumer: follower.consumer, from: number.max(1) });
    }

    pub(super) fn delivered(&mut self, consumer: u64, number: u64, bytes: &Bytes, stored_at: Timestamp) {
        let next = self.follower.delivered + 1;
        if self.halted.is_some() || consumer != self.follower.consumer || number < next {
            return;
        }
        if number > next && !planted(Bug::GapIgnored) {
            return self.leave_out(number, next);
        }
        self.follower.delivered = number;
        self.follower.delivered_at = self.now;
        if self.follower.undelivered.is_empty() && !self.take(number, bytes) {
            return;
        }
        let Some(known) = self.follower.undelivered.pop_front() else { return };
        if known.digest != MessageDigest::of(bytes) && !planted(Bug::ChainIgnored) {
            return self.halt(Halt::Changed { number });
        }
        if let Some(written_at) = known.written_at {
            self.compare_clock(written_at, stored_at);
        }
        self.compared(number);
    }

    /// The stream has a message as the copy has it. If the leader did not say so before, the number alone is named from now on.
    fn compared(&mut self, number: u64) {
        let Work::Sending(_, flight) = &mut self.work else { return };
        let is_unknown = flight.step() == Step::Compare && number == flight.after.number;
        if is_unknown && !planted(Bug::ForgottenIdStops) {
            flight.go_by_number();
            self.send();
        }
    }

    /// A message is missing between two deliveries: made anew, the consumer delivers it, unless it is gone.
    fn leave_out(&mut self, number: u64, expected: u64) {
        self.follower.gaps += 1;
        if self.follower.gaps >= GAPS_MAX {
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
    pub(super) fn leader_at(&mut self, last: u64, asked_at: Duration) {
        if self.halted.is_some() {
            return;
        }
        self.note_behind(last, asked_at);
        let stands_still = self.now >= self.follower.delivered_at + ANSWER_TIME;
        if last > self.follower.delivered && stands_still && !planted(Bug::ConsumerForEver) {
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
