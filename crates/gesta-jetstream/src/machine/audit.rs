//! The comparison of the copy with the stream after each election.
//!
//! A cluster loses messages only with an election. A process whose copy has a lost message may still publish the next one: the leader compares
//! numbers, and another message may have the number of the lost one by then. The stream and the copy then end with the same message, and differ
//! before it. So after each election a new consumer begins with the last message that was proven in the term before. Each message that it
//! delivers names the one before. If all links hold up to the tip of the copy, the stream has what the copy has.
//!
//! *Invariant:* the stream had the message `proven`, as the copy has it, in the last term in which all was compared.

use std::time::Duration;

use crate::bugs::{Bug, planted};

/// The comparison of the copy with the stream.
#[derive(Debug)]
pub(super) struct Audit {
    /// The term of the leader, once it told it.
    term: Option<u64>,
    /// When the newest question that was answered was asked.
    asked_at: Duration,
    /// The last message that the stream is proven to have.
    proven: u64,
    /// True at the start and from an election on, until everything after `proven` that the copy then had was compared.
    is_open: bool,
    /// The last message of the copy when the consumer was made.
    up_to: u64,
    /// A later message that was compared in this term, and a time at which it had been.
    compared: Option<(Duration, u64)>,
}

impl Audit {
    pub(super) const fn new(proven: u64) -> Self {
        Self { term: None, asked_at: Duration::ZERO, proven, is_open: true, up_to: u64::MAX, compared: None }
    }

    pub(super) const fn proven(&self) -> u64 {
        self.proven
    }

    /// Whether some messages of the copy are not compared yet.
    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Begins the comparison of a new consumer, for a copy that ends with the message `tip`. Returns the message that it begins with.
    pub(super) fn begin(&mut self, tip: u64) -> u64 {
        self.up_to = tip;
        self.compared_up_to(0);
        if self.is_open { self.proven.min(tip) } else { tip }
    }

    /// Takes the term of the leader, and the last message that the consumer has delivered. Returns true if the messages after `proven` must be
    /// compared by a new consumer.
    pub(super) fn leader_told(
        &mut self,
        term: u64,
        asked_at: Duration,
        now: Duration,
        delivered: Option<u64>,
    ) -> bool {
        if asked_at < self.asked_at {
            return false;
        }
        self.asked_at = asked_at;
        if self.term != Some(term) && !planted(Bug::ElectionIgnored) {
            (self.term, self.is_open, self.compared) = (Some(term), true, None);
            return true;
        }
        if self.is_open {
            return false;
        }
        // It was compared within the term, which had begun before and goes on after.
        if let Some((_, number)) = self.compared.take_if(|(at, _)| *at <= asked_at) {
            self.proven = self.proven.max(number);
        }
        if self.compared.is_none() {
            self.compared = delivered.map(|number| (now, number));
        }
        false
    }

    /// Notes that all messages up to this one were compared. What the copy got since the consumer was made is compared one by one, so
    /// the comparison ends also while messages keep coming.
    pub(super) const fn compared_up_to(&mut self, number: u64) {
        if number >= self.up_to {
            self.is_open = false;
        }
    }
}
