//! A process: a machine, its copy, its consumer, and the calls that wait for its writer.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use gesta_core::{AppendError, RecordedBatch, RecordedEvent, Timestamp};
use gesta_jetstream::{Decided, Draft, Machine, Outcome, Publish, Settled, decide};

use super::Wrong;
use super::cluster::server_time;
use super::copy::{Copy, Group};
use super::judge::{Answer, Operation};
use crate::random::Random;

/// One draft in `n` closes the time of the process.
const DRAFTS_PER_FLOOR: u64 = 8;
/// Calls that one group takes.
const GROUP_MAX: usize = 4;

/// A call that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    pub(super) client: usize,
    pub(super) call: Call,
    /// Messages that the cluster had when it began.
    pub(super) begun_at: u64,
    /// Events that the cluster had when it began.
    pub(super) position: u64,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    /// The append of an operation, by its number.
    Append(usize),
    /// A head that is no older than the call.
    Head,
}

/// What a consumer delivers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Consumer {
    pub(super) number: u64,
    /// The next message.
    pub(super) next: u64,
    /// True if it delivers nothing: its server is cut off.
    pub(super) is_dead: bool,
    /// How long a delivery may take, in milliseconds.
    pub(super) delay_max: u64,
}

/// A process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) boot: u64,
    pub(super) machine: Machine,
    pub(super) copy: Copy,
    pub(super) consumer: Consumer,
    /// When messages were acknowledged to it last, and when they were delivered.
    pub(super) heard: [HashMap<u64, Duration>; 2],
    /// How many of its consumers have left out a message.
    pub(super) left_out: HashMap<u64, u32>,
    pub(super) is_alive: bool,
    /// Until then it hears nothing, though it is heard.
    pub(super) deaf_until: Duration,
    /// True if the disk of its copy takes no more.
    pub(super) is_full: bool,
    /// How far its clock is ahead.
    pub(super) fast_by: Duration,
    waiting: VecDeque<Ticket>,
    group: Vec<Ticket>,
    outcomes: Vec<Outcome>,
    /// Decisions of the group.
    pub(super) decisions: u64,
    pub(super) wakes_at: Option<Duration>,
}

impl Process {
    pub(super) fn new(copy: Copy, fast_by: Duration, random: &mut Random) -> Self {
        Self {
            boot: 0,
            machine: Machine::new(0, copy.place(), copy.position(), random.next()),
            copy,
            consumer: Consumer::default(),
            heard: [HashMap::new(), HashMap::new()],
            left_out: HashMap::new(),
            is_alive: true,
            deaf_until: Duration::ZERO,
            is_full: false,
            fast_by,
            waiting: VecDeque::new(),
            group: Vec::new(),
            outcomes: Vec::new(),
            decisions: 0,
            wakes_at: None,
        }
    }

    /// Kills the process. Returns the calls that get no answer.
    pub(super) fn kill(&mut self) -> Vec<Ticket> {
        self.is_alive = false;
        self.boot += 1;
        self.group.drain(..).chain(self.waiting.drain(..)).collect()
    }

    /// Starts it again with what a kill has left of its copy.
    pub(super) fn start_again(&mut self, random: &mut Random) {
        let lost = |random: &mut Random| usize::try_from(random.below(4)).expect("a few");
        let copy = self.copy.after_kill(lost(random), lost(random));
        *self = Self { boot: self.boot, ..Self::new(copy, self.fast_by, random) };
    }

    /// Checks that a message which is published without a question follows one that the cluster had a moment ago: it was acknowledged within a
    /// second, or delivered since the group began.
    pub(super) fn check_unasked(&self, publish: &Publish, now: Duration) -> Result<(), Wrong> {
        let times = [Duration::from_secs(1), Duration::from_secs(15)];
        let is_known = |(heard, time): (&HashMap<u64, Duration>, Duration)| {
            heard.get(&publish.after).is_some_and(|at| now <= *at + time)
        };
        if publish.after > 0 && !self.heard.iter().zip(times).any(is_known) {
            return Err(format!("message {} is published without a question", publish.after + 1));
        }
        Ok(())
    }

    pub(super) fn queue(&mut self, ticket: Ticket) {
        self.waiting.push_back(ticket);
    }

    /// Takes the next group, if there is one and none is being written.
    pub(super) fn gather(&mut self) -> bool {
        if !self.group.is_empty() || self.waiting.is_empty() {
            return false;
        }
        let size = self.waiting.len().min(GROUP_MAX);
        self.group = self.waiting.drain(..size).collect();
        self.outcomes.clear();
        self.decisions = 0;
        true
    }

    fn clock(&self, now: Duration) -> Timestamp {
        // It ticks slowly, so that processes write at the same time.
        let now = Duration::from_secs(now.as_secs() / 2 * 2);
        server_time(now + self.fast_by)
    }

    /// An empty draft.
    pub(super) fn probe(&self, now: Duration, random: &mut Random) -> Draft {
        self.draft(Vec::new(), None, now, random)
    }

    fn draft(
        &self,
        batches: Vec<RecordedBatch>,
        floor: Option<Timestamp>,
        now: Duration,
        random: &mut Random,
    ) -> Draft {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&random.next().to_le_bytes());
        Draft { random: bytes, written_at: self.clock(now), batches, floor }
    }

    /// Decides the group against the copy.
    pub(super) fn decide(
        &mut self,
        operations: &[Operation],
        now: Duration,
        (may_write, is_malformed): (bool, bool),
        random: &mut Random,
    ) -> Option<Draft> {
        let appends = self.group.iter().filter_map(|ticket| match ticket.call {
            Call::Append(number) => Some(operations[number].batch.clone()),
            Call::Head => None,
        });
        let appends = appends.collect::<Vec<_>>();
        let mut group = Group { copy: self.copy.clone(), batches: &appends };
        let read_only = self.machine.read_only();
        let Decided { outcomes, batches, needs_proof } =
            decide(&appends, &mut group, self.clock(now), read_only.as_deref());
        self.decisions += 1;
        self.outcomes = outcomes;
        let asks_for_head = self.group.iter().any(|ticket| matches!(ticket.call, Call::Head));
        let is_sent = may_write && (!batches.is_empty() || needs_proof || asks_for_head);
        let batches = if is_malformed { malformed(batches, random) } else { batches };
        // A process closes a time only if its clock is right, as it writes events.
        let last = batches.last().map_or(self.copy.recorded_at(), RecordedBatch::recorded_at);
        let floor = last.max(self.clock(now)).next().filter(|_| random.below(DRAFTS_PER_FLOOR) == 0);
        is_sent.then(|| self.draft(batches, floor, now, random))
    }

    /// The answers to the group.
    pub(super) fn settle(&mut self, settled: &Settled) -> Vec<(Ticket, Answer)> {
        let mut outcomes = std::mem::take(&mut self.outcomes).into_iter();
        let (copy, group) = (&self.copy, std::mem::take(&mut self.group));
        let answers = group.into_iter().map(|ticket| {
            let answer = match ticket.call {
                Call::Head if *settled == Settled::Written => Answer::Head(copy.position()),
                Call::Head => Answer::Unavailable,
                Call::Append(_) => answer(outcomes.next(), settled),
            };
            (ticket, answer)
        });
        answers.collect()
    }
}

/// Batches with a gap, or with a time that goes back.
fn malformed(mut batches: Vec<RecordedBatch>, random: &mut Random) -> Vec<RecordedBatch> {
    if batches.len() > 1 && random.below(2) == 0 {
        batches.remove(0);
    } else if let Some(last) = batches.pop() {
        let before_all = Timestamp::from_nanos(-1);
        let event = |event: &RecordedEvent| {
            RecordedEvent::new(event.position(), event.version(), before_all, (**event).clone())
        };
        let events = last.events().iter().map(event).collect();
        batches.push(RecordedBatch::new(events, last.command().cloned()).expect("it has a time"));
    }
    batches
}

fn answer(outcome: Option<Outcome>, settled: &Settled) -> Answer {
    match (outcome, settled) {
        (Some(Outcome::Repeated(repeat)), _) => Answer::Appended(repeat),
        (Some(Outcome::Accepted(repeat) | Outcome::RepeatedInGroup(repeat)), Settled::Written) => {
            Answer::Appended(repeat)
        }
        (Some(Outcome::Accepted(_) | Outcome::RepeatedInGroup(_)), Settled::InDoubt) => Answer::InDoubt,
        (Some(Outcome::Refused(AppendError::ReadOnly { .. })), _) => Answer::ReadOnly,
        (Some(Outcome::Refused(error)), Settled::Written | Settled::NothingToWrite) => Answer::Refused(error),
        _ => Answer::Unavailable,
    }
}
