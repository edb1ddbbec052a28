//! A message that was published and is not known to be in the stream.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;

use super::{Publish, Refusal};
use crate::bugs::{Bug, planted};
use crate::limits::{ANSWER_TIME, BUSY_PAUSE, BUSY_TRIES, UNREACHED_PAUSE, UNREACHED_PAUSE_MAX};
use crate::message::{Encoded, MessageDigest, Tip};

/// A message that was published and is not known to be in the stream.
#[derive(Debug)]
pub(super) struct Flight {
    message: Encoded,
    /// The tip that it follows.
    pub(super) after: Tip,
    /// Its first sending. Those of messages before have lower numbers.
    first: u64,
    latest: u64,
    /// Sendings without an answer: they may be written.
    unanswered: HashSet<u64>,
    /// True if the client may have sent it once more than it was told to.
    may_be_sent_again: bool,
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
    /// The time of the next sending.
    Pause,
}

impl Flight {
    /// A message before its first sending.
    pub(super) fn new(message: Encoded, after: Tip, first: u64) -> Self {
        Self {
            message,
            after,
            first,
            latest: first,
            unanswered: HashSet::new(),
            may_be_sent_again: false,
            busy: 0,
            unreached_pause: UNREACHED_PAUSE,
            step: Step::Pause,
            until: Duration::ZERO,
        }
    }

    pub(super) fn bytes(&self) -> Bytes {
        self.message.bytes.clone()
    }

    pub(super) const fn digest(&self) -> MessageDigest {
        self.message.digest
    }

    /// Publishes it, once more or for the first time, always with the same expectation.
    pub(super) fn send(&mut self, sending: u64, now: Duration) -> Publish {
        self.latest = sending;
        self.unanswered.insert(sending);
        (self.step, self.until) = (Step::AwaitAnswer, now + ANSWER_TIME);
        let is_first = self.after.number == 0 || planted(Bug::NumberIsIdentity);
        Publish {
            sending,
            bytes: self.bytes(),
            digest: self.message.digest,
            after: self.after.number,
            after_digest: (!is_first).then_some(self.after.digest),
        }
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
            _ => (Step::AwaitNext, now + ANSWER_TIME),
        };
    }

    pub(super) const fn waits_for_next(&self) -> bool {
        matches!(self.step, Step::AwaitNext)
    }

    pub(super) const fn step(&self) -> Step {
        self.step
    }

    pub(super) const fn until(&self) -> Duration {
        self.until
    }

    pub(super) const fn doubt(&mut self) {
        self.may_be_sent_again = true;
    }

    /// False if every sending was refused.
    pub(super) fn may_be_written(&self) -> bool {
        if planted(Bug::TimeoutIsRefusal) {
            return false;
        }
        self.may_be_sent_again || !self.unanswered.is_empty()
    }
}
