//! A message that was published and is not known to be in the stream.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;

use super::{Publish, Refusal};
use crate::bugs::{Bug, planted};
use crate::limits::{ANSWER_TIME, BUSY_PAUSE, BUSY_TRIES, UNREACHED_PAUSE, UNREACHED_PAUSE_MAX};
use crate::message::{Message, MessageDigest, Tip};

/// A message that was published and is not known to be in the stream.
#[derive(Debug)]
pub(super) struct Flight {
    bytes: Bytes,
    message: Message,
    /// The tip that it follows.
    pub(super) after: Tip,
    /// Its first sending. Those of messages before have lower numbers.
    first: u64,
    latest: u64,
    /// Sendings without an answer: they may be written.
    unanswered: HashSet<u64>,
    /// True if the client may have sent it once more than it was told to.
    may_be_sent_again: bool,
    /// False once a consumer has shown that the stream has the message before, and the leader did not say so.
    asks_for_digest: bool,
    /// The first consumer that was made after the message was known to be in the stream, if it did not name the digest.
    proven_by: Option<u64>,
    busy: u32,
    unreached_pause: Duration,
    step: Step,
    until: Duration,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The answer to the latest sending.
    AwaitAnswer,
    /// The delivery of the next message: the stream says that there is one.
    AwaitNext,
    /// The delivery of the message before, once more: the server knows another digest, or none.
    Compare,
    /// The time of the next sending.
    Pause,
}

impl Flight {
    /// A message before its first sending.
    pub(super) fn new((bytes, message): (Bytes, Message), after: Tip, first: u64) -> Self {
        Self {
            bytes,
            message,
            after,
            first,
            latest: first,
            unanswered: HashSet::new(),
            may_be_sent_again: false,
            asks_for_digest: after.number > 0,
            proven_by: None,
            busy: 0,
            unreached_pause: UNREACHED_PAUSE,
            step: Step::Pause,
            until: Duration::ZERO,
        }
    }

    pub(super) const fn message(&self) -> &Message {
        &self.message
    }

    pub(super) const fn digest(&self) -> MessageDigest {
        self.message.digest()
    }

    /// Publishes it, once more or for the first time, always with the same expectation. `is_fresh` if the leader acknowledged the message before
    /// a moment ago.
    pub(super) fn send(&mut self, sending: u64, now: Duration, is_fresh: bool) -> Publish {
        self.latest = sending;
        self.unanswered.insert(sending);
        (self.step, self.until) = (Step::AwaitAnswer, now + ANSWER_TIME);
        let asks_for_digest = self.asks_for_digest && !is_fresh && !planted(Bug::NumberIsIdentity);
        Publish {
            sending,
            bytes: self.bytes.clone(),
            digest: self.digest(),
            after: self.after.number,
            after_digest: asks_for_digest.then_some(self.after.digest),
        }
    }

    /// The stream has the message before, though the leader did not say so. From now on the number alone is named.
    pub(super) const fn go_by_number(&mut self) {
        self.asks_for_digest = false;
    }

    /// True if an acknowledgement counts: the leader said that it has the message before, or acknowledged that a moment ago.
    pub(super) fn is_proven_by_answer(&self) -> bool {
        self.asks_for_digest || self.after.number == 0 || planted(Bug::NumberIsIdentity)
    }

    /// True if the delivery of the message by this consumer proves no more than an acknowledgement, and that is no proof.
    pub(super) fn is_unproven(&self, consumer: u64) -> bool {
        !self.is_proven_by_answer() && self.proven_by.is_none_or(|first| consumer < first)
    }

    /// Waits for the deliveries of a consumer, which is to be made. Returns false if one was made before.
    pub(super) fn prove_by(&mut self, consumer: u64, now: Duration) -> bool {
        (self.step, self.until) = (Step::AwaitNext, now + ANSWER_TIME);
        let is_first = self.proven_by.is_none();
        self.proven_by.get_or_insert(consumer);
        is_first
    }

    /// True if a sending was one of this message.
    pub(super) const fn owns(&self, sending: u64) -> bool {
        self.first <= sending && sending <= self.latest
    }

    /// Notes that a sending was not written. Returns true if it is the latest one.
    pub(super) fn is_refused(&mut self, sending: u64) -> bool {
        if planted(Bug::RefusalEndsDoubt) && sending == self.latest {
            self.unanswered.clear();
        }
        self.unanswered.remove(&sending);
        sending == self.latest
    }

    /// Waits after a refusal of the latest sending.
    pub(super) fn pause(&mut self, refusal: &Refusal, now: Duration) {
        let is_early = matches!(refusal, Refusal::Busy | Refusal::OtherDigest);
        (self.step, self.until) = match refusal {
            Refusal::Unreached => {
                let pause = self.unreached_pause;
                self.unreached_pause = (pause * 2).min(UNREACHED_PAUSE_MAX);
                (Step::Pause, now + pause)
            }
            _ if is_early && self.busy < BUSY_TRIES => {
                self.busy += 1;
                (Step::Pause, now + BUSY_PAUSE * self.busy)
            }
            Refusal::OtherDigest => (Step::Compare, now + ANSWER_TIME),
            _ => (Step::AwaitNext, now + ANSWER_TIME),
        };
    }

    pub(super) const fn step(&self) -> Step {
        self.step
    }

    pub(super) const fn until(&self) -> Duration {
        self.until
    }

    /// The connection was lost, and with it the answer. The message is sent again soon.
    pub(super) fn doubt(&mut self, now: Duration) {
        self.may_be_sent_again = true;
        if self.step == Step::AwaitAnswer {
            self.until = self.until.min(now + UNREACHED_PAUSE);
        }
    }

    /// False if every sending was refused.
    pub(super) fn may_be_written(&self) -> bool {
        if planted(Bug::TimeoutIsRefusal) {
            return false;
        }
        self.may_be_sent_again || !self.unanswered.is_empty()
    }
}
