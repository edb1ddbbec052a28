//! The protocol of one partition in one process: append, doubt and catch-up, without input or output.
//!
//! [`Machine::input`] is told what happened and when, and returns what to do, in order. [`Machine::wake`] says when to tell it the time.
//!
//! *Append.* A group waits (`Begin`). The machine asks for its decision (`Decide`), encodes it after the tip of the copy, reads the message
//! as every copy will, and publishes it with the number of the tip as the expectation. Before, the leader is asked if it has the tip's digest,
//! unless it acknowledged the tip a moment ago. An acknowledgement means that it is the next message, so the copy applies it and the group is
//! `Written`. Another message in its place means that it never is: the group is decided again.
//!
//! *Doubt.* A publish without an answer may have been written. The same message is published again, with the same expectation: at most one
//! of them is ever accepted. What the next message is, decides: by an acknowledgement, or by a delivery.
//!
//! *Unknown digests.* The leader may have the right message, and be unable to tell its digest. That is a refusal, too. So a new consumer
//! compares the message that the copy ends with. If the stream still has it, the group is published with the number alone, and is written
//! only once a consumer that was made after that has delivered both messages.
//!
//! *Catch-up.* Each consumer begins with the last message that the copy has, so a new one also checks that the stream still has it.
//! Each message is compared: its number, the digest of the one before, its positions. After an election a new consumer begins further back
//! (`audit`).
//!
//! *Clock.* The first message of a process is an empty group. The server's time of it is compared with the writer's clock. A clock that is
//! ahead would hold the times of all later events there.
//!
//! *Invariants:*
//! - The copy has message *n* only if it was acknowledged to this process, or delivered after message *n − 1* of the copy.
//! - `undelivered` has one entry for each of the last messages of the copy, in order; the consumer has delivered none of them.
//! - A group is settled once for each `Begin`.
//! - `Apply` is the last output of a step. Its answer is the next input.

mod audit;
mod flight;
mod follow;
mod halt;
mod interface;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::bugs::{Bug, planted};
use crate::limits::{ANSWER_TIME, FRESH_TIME, LOSS_PAUSE_MAX, LOSSES_BEFORE_PAUSE, SETTLE_TIME};
use crate::message::{Draft, Message, Place, Tip};
use audit::Audit;
use flight::{Flight, Step};
use follow::Follower;
pub use halt::Halt;
pub use interface::{Input, NotWritten, Output, Publish, Refusal, Settled};

/// The protocol of one partition in one process.
#[derive(Debug)]
pub struct Machine {
    partition: u16,
    now: Duration,
    tip: Tip,
    /// The last position of the copy when it was opened. Its events may be newer than its tip.
    position_at_open: u64,
    follower: Follower,
    audit: Audit,
    clock: Clock,
    group: Option<Group>,
    work: Work,
    /// The message that the copy is told to apply.
    applying: Option<Applying>,
    sendings: u64,
    /// When the latest one was made.
    sent_at: Duration,
    /// The last message that was acknowledged, and when it was sent.
    acknowledged: Option<(u64, Duration)>,
    halted: Option<Halt>,
    random: u64,
    outputs: Vec<Output>,
}

/// How the writer's clock compares with the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    Unknown,
    Right,
    Ahead(Duration),
}

/// The group that waits.
#[derive(Debug, Clone, Copy)]
struct Group {
    begun: Duration,
    /// Races it has lost.
    losses: u32,
}

/// What the machine is about to do for the waiting group.
#[derive(Debug)]
enum Work {
    Idle,
    /// The copy has events that the machine has not seen delivered again.
    Replaying,
    /// It lost races, and lets the others go on.
    Pausing {
        until: Duration,
    },
    Deciding(Purpose),
    Sending(Purpose, Box<Flight>),
    /// The empty group is written, and the server's time of it is not known yet.
    ReadingClock {
        until: Duration,
    },
}

/// A message that the copy is told to apply.
#[derive(Debug, Clone, Copy)]
struct Applying {
    /// The tip before it.
    before: Tip,
    then: Then,
}

/// What the machine does once the copy has a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    /// The message in flight is written.
    Written(Purpose),
    /// The message in flight is not.
    LoseRace,
}

/// What a message is published for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Clock,
    Group,
}

impl Machine {
    /// Creates the machine of a partition whose copy is at a place of the stream, and ends at a position.
    ///
    /// `random` differs between processes. Call [`Machine::start`] next.
    #[must_use]
    pub fn new(partition: u16, place: Place, position: u64, random: u64) -> Self {
        Self {
            partition,
            now: Duration::ZERO,
            tip: place.tip,
            position_at_open: position,
            follower: Follower::new(),
            audit: Audit::new(place.proven),
            clock: Clock::Unknown,
            group: None,
            work: Work::Idle,
            applying: None,
            sendings: 0,
            sent_at: Duration::ZERO,
            acknowledged: None,
            halted: None,
            random,
            outputs: Vec::new(),
        }
    }

    /// Begins to follow the stream.
    pub fn start(&mut self, now: Duration) -> Vec<Output> {
        self.now = now;
        self.follow();
        std::mem::take(&mut self.outputs)
    }

    /// Takes what happened, and returns what to do, in order. `now` is the time since any fixed moment.
    ///
    /// # Panics
    /// If a group begins before the one before was settled, or if something else happens before the answer to [`Output::Apply`].
    pub fn input(&mut self, now: Duration, input: Input) -> Vec<Output> {
        self.now = now;
        let is_answer = matches!(input, Input::Applied | Input::NotApplied { .. });
        assert_eq!(self.applying.is_some(), is_answer, "the answer to `Apply` is the next input");
        match input {
            Input::Applied => self.applied(),
            Input::NotApplied { reason } => self.not_applied(reason),
            Input::Begin => self.begin(),
            Input::Decided { at, draft } => self.decided(at, draft),
            Input::Acknowledged { sending, number } => self.acknowledged(sending, number),
            Input::Refused { sending, refusal } => self.refused(sending, refusal),
            Input::ConnectionLost => self.connection_lost(),
            Input::Delivered { consumer, number, bytes, stored_at } => {
                self.delivered(consumer, number, &bytes, stored_at);
            }
            Input::LeaderAt { last, term, asked_at } => self.leader_at(last, term, asked_at),
            Input::Tick => {}
        }
        if self.applying.is_none() {
            self.tick();
        }
        std::mem::take(&mut self.outputs)
    }

    /// Returns the time at which the machine has something to do if nothing happens before.
    #[must_use]
    pub fn wake(&self) -> Option<Duration> {
        let group = self.group?;
        let step = match &self.work {
            Work::Idle | Work::Deciding(_) => return None,
            Work::Replaying => group.begun + SETTLE_TIME,
            Work::Pausing { until } | Work::ReadingClock { until } => *until,
            Work::Sending(_, flight) => flight.until(),
        };
        Some(step.min(group.begun + SETTLE_TIME))
    }

    /// Returns the last message that the copy has applied.
    #[must_use]
    pub const fn tip(&self) -> &Tip {
        &self.tip
    }

    /// Returns true if the copy has a message and all before it, and a consumer has delivered the copy's last one, and before it what was
    /// not compared yet: the stream has all that the copy has.
    #[must_use]
    pub fn has_caught_up(&self, last: u64) -> bool {
        let has_compared = self.tip.number == 0 || self.follower.delivered() == Some(self.tip.number);
        self.tip.number >= last && has_compared && !self.audit.is_open()
    }

    /// Returns why nothing can be written, if that is so.
    #[must_use]
    pub fn read_only(&self) -> Option<String> {
        match (&self.halted, self.clock) {
            (Some(halt), _) => Some(halt.to_string()),
            (None, Clock::Ahead(by)) => Some(format!(
                "the clock of this process is {} s ahead of the cluster's: set it right",
                by.as_secs()
            )),
            (None, _) => None,
        }
    }

    /// Returns why the machine has halted, if it has.
    #[must_use]
    pub const fn halted(&self) -> Option<&Halt> {
        self.halted.as_ref()
    }

    fn begin(&mut self) {
        assert!(self.group.is_none(), "the group before was settled");
        self.group = Some(Group { begun: self.now, losses: 0 });
        self.prepare();
    }

    /// Takes the waiting group up: a clock that is not known to be right is read first.
    fn prepare(&mut self) {
        let is_known = self.clock == Clock::Right || planted(Bug::ClockUnchecked);
        if self.halted.is_some() || is_known && !self.is_replaying() {
            return self.ask_for_decision();
        }
        if self.is_replaying() {
            self.work = Work::Replaying;
        } else {
            self.work = Work::Deciding(Purpose::Clock);
            self.outputs.push(Output::Probe);
        }
    }

    fn ask_for_decision(&mut self) {
        self.work = Work::Deciding(Purpose::Group);
        self.outputs.push(Output::Decide { may_write: self.read_only().is_none() });
    }

    /// True while the copy has events of messages that the machine has not been given.
    const fn is_replaying(&self) -> bool {
        self.tip.position < self.position_at_open
    }

    fn decided(&mut self, at: u64, draft: Option<Draft>) {
        let Work::Deciding(purpose) = self.work else { return };
        let Some(draft) = draft else { return self.settle(Settled::NothingToWrite) };
        if self.halted.is_some() {
            return self.settle(Settled::NotWritten(NotWritten::Halted));
        }
        if at != self.tip.number {
            // A delivery came in between.
            return self.prepare();
        }
        let (bytes, message) = match draft.message_after(&self.tip, self.partition) {
            Ok(checked) => checked,
            // Every copy would stop at it.
            Err(error) => return self.settle(Settled::NotWritten(NotWritten::Malformed(error))),
        };
        if purpose == Purpose::Clock {
            self.clock = Clock::Unknown;
        }
        let flight = Flight::new((bytes, message), self.tip, self.sendings + 1);
        self.work = Work::Sending(purpose, Box::new(flight));
        self.send();
    }

    fn send(&mut self) {
        let Work::Sending(_, flight) = &mut self.work else { return };
        let acknowledged = self.acknowledged.filter(|(_, at)| self.now < *at + FRESH_TIME);
        let is_fresh = acknowledged.is_some_and(|(number, _)| number == flight.after.number);
        (self.sendings, self.sent_at) = (self.sendings + 1, self.now);
        self.outputs.push(Output::Publish(flight.send(self.sendings, self.now, is_fresh)));
    }

    fn acknowledged(&mut self, sending: u64, number: u64) {
        if sending == self.sendings {
            self.acknowledged = Some((number, self.sent_at));
        }
        let Work::Sending(_, flight) = &mut self.work else { return };
        if !flight.owns(sending) && !planted(Bug::LateAckCounts) {
            return;
        }
        let expected = flight.after.number + 1;
        if number != expected && !planted(Bug::LateAckCounts) {
            return self.halt(Halt::Moved { number, expected });
        }
        if !flight.is_proven_by_answer() {
            return self.prove();
        }
        let message = flight.message().clone();
        self.is_written(message);
    }

    /// The message in flight is in the stream. A new consumer delivers it, and before it the one that the copy ends with, to compare it.
    fn prove(&mut self) {
        let Work::Sending(_, flight) = &mut self.work else { return };
        if flight.prove_by(self.follower.consumer() + 1, self.now) {
            self.follow();
        }
    }

    /// The message in flight is the next one of the stream.
    fn is_written(&mut self, message: Message) {
        let Work::Sending(purpose, _) = self.work else { return };
        if planted(Bug::AnswerBeforeCopy) && purpose == Purpose::Group {
            self.settle(Settled::Written);
            self.apply(message, true, Then::Nothing);
            return;
        }
        self.apply(message, true, Then::Written(purpose));
    }

    /// The copy has the message.
    fn applied(&mut self) {
        let Some(Applying { then, .. }) = self.applying.take() else { return };
        match then {
            Then::Nothing => {}
            Then::LoseRace => self.lose_race(),
            Then::Written(Purpose::Group) => self.settle(Settled::Written),
            // It may have been delivered before.
            Then::Written(Purpose::Clock) if self.clock != Clock::Unknown => self.ask_for_decision(),
            Then::Written(Purpose::Clock) => {
                self.work = Work::ReadingClock { until: self.now + ANSWER_TIME };
            }
        }
    }

    /// The copy lacks a message of the stream, so it decides nothing any more.
    fn not_applied(&mut self, reason: String) {
        if planted(Bug::FailedApplyForgotten) {
            return self.applied();
        }
        let Some(Applying { before, then }) = self.applying.take() else { return };
        self.tip = before;
        if then == Then::Written(Purpose::Group) {
            self.settle(Settled::InDoubt);
        }
        self.halt(Halt::Copy { number: before.number + 1, reason });
    }

    /// Another message has the place of the one in flight, which can never be accepted any more.
    fn lose_race(&mut self) {
        let Some(group) = &mut self.group else { return };
        group.losses += 1;
        let further = group.losses.saturating_sub(LOSSES_BEFORE_PAUSE);
        let pause = LOSS_PAUSE_MAX.saturating_mul(further);
        if pause.is_zero() {
            return self.prepare();
        }
        self.random = next_random(self.random);
        let nanos = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        self.work = Work::Pausing { until: self.now + Duration::from_nanos(self.random % nanos) };
    }

    fn refused(&mut self, sending: u64, refusal: Refusal) {
        let Work::Sending(_, flight) = &mut self.work else { return };
        if !flight.is_refused(sending) {
            return;
        }
        match refusal {
            Refusal::Full => self.give_up(NotWritten::Full),
            Refusal::Never(reason) => self.give_up(NotWritten::Refused(reason)),
            refusal => {
                flight.pause(&refusal, self.now);
                if flight.step() == Step::Compare {
                    // The stream may have another message than the copy, or the leader could not tell: a consumer delivers it.
                    let after = flight.after.number;
                    self.follow_to(after);
                }
            }
        }
    }

    fn connection_lost(&mut self) {
        if let Work::Sending(_, flight) = &mut self.work {
            flight.doubt(self.now);
        }
    }

    fn tick(&mut self) {
        let Some(group) = self.group else { return };
        let is_over = self.now >= group.begun + SETTLE_TIME;
        match &self.work {
            Work::Idle | Work::Deciding(_) => {}
            _ if is_over => self.give_up(NotWritten::Unavailable),
            Work::Replaying if !self.is_replaying() => self.prepare(),
            Work::Pausing { until } if *until <= self.now => self.prepare(),
            Work::ReadingClock { until } if *until <= self.now => {
                self.work = Work::ReadingClock { until: self.now + ANSWER_TIME };
                self.follow_to(self.tip.number);
            }
            Work::Sending(_, flight) if flight.until() <= self.now => {
                let after = flight.after.number;
                match flight.step() {
                    Step::AwaitNext => self.follow_to(after + 1),
                    Step::Compare => self.follow_to(after),
                    _ => {}
                }
                self.send();
            }
            _ => {}
        }
    }

    /// Ends a group that is not known to be written.
    fn give_up(&mut self, why: NotWritten) {
        let is_in_doubt =
            matches!(&self.work, Work::Sending(Purpose::Group, flight) if flight.may_be_written());
        self.settle(if is_in_doubt { Settled::InDoubt } else { Settled::NotWritten(why) });
    }

    fn settle(&mut self, settled: Settled) {
        self.work = Work::Idle;
        if self.group.take().is_some() {
            self.outputs.push(Output::Settled(settled));
        }
    }

    /// Applies the next message to the copy. Returns false if it does not follow.
    fn apply(&mut self, message: Message, is_own: bool, then: Then) -> bool {
        let number = self.tip.number + 1;
        let tip = match message.follow(&self.tip, number) {
            Ok(tip) => tip,
            Err(_) if planted(Bug::ChainIgnored) => match message.go_on(&self.tip) {
                Ok(tip) => tip,
                Err(error) => return self.halt_false(Halt::Broken(error)),
            },
            Err(error) => return self.halt_false(Halt::Broken(error)),
        };
        let is_replaying = tip.position < self.position_at_open;
        self.follower.applied(&message, is_own, is_replaying, self.now);
        self.applying = Some(Applying { before: self.tip, then });
        self.tip = tip;
        self.outputs.push(Output::Apply(message, Place { tip, proven: self.audit.proven() }));
        true
    }

    fn halt_false(&mut self, halt: Halt) -> bool {
        self.halt(halt);
        false
    }

    fn halt(&mut self, halt: Halt) {
        if self.halted.is_some() {
            return;
        }
        self.halted = Some(halt.clone());
        self.outputs.push(Output::Halted(halt));
        // A decision that was asked for is on its way, and settles the group.
        if !matches!(self.work, Work::Idle | Work::Deciding(_)) {
            self.give_up(NotWritten::Halted);
        }
    }
}

/// The next number of SplitMix64.
pub(crate) const fn next_random(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
