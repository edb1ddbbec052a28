//! A member of a group that works off deliveries: a state machine without threads, I/O or a clock.
//!
//! It is told what happened ([`Input`]) and returns what to do ([`Output`]). It has at most two calls open: a *poll*, which
//! takes deliveries and may wait long, and a *report*, which settles and renews, and is answered at once.
//!
//! *Invariants*
//! - A delivery is in hand from the answer that brought it until a call that settles it was answered, or the group refused it.
//! - A poll lists all that is in hand and that it does not settle itself, also what a report settles at the same time. So the
//!   group never takes a delivery for lost that is not.
//! - What is in hand is renewed every third of the time to acknowledge it.
//! - At most as many deliveries run as there are workers.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::planted::{Bug, planted};
use crate::back_off::BackOff;
use crate::group::{Delivery, DeliveryId, MemberName, RefusedWhy, Settlement, Take, TakeError, Taken, Then};
use crate::limits::{DRAIN_TIME, EVENTS_PER_WORKER_MAX, POLL_WAIT, QUEUED_TIME_MAX};

/// What happened.
#[derive(Debug)]
pub(super) enum Input {
    /// A poll was answered.
    Polled(Result<Taken, TakeError>),
    /// A report was answered.
    Reported(Result<Taken, TakeError>),
    /// A worker has finished with a delivery.
    Finished(Settlement),
    /// The member shall give back what it has, and end.
    Stop,
    /// Time has passed.
    Tick,
}

/// What to do.
#[derive(Debug)]
pub(super) enum Output {
    /// Send a call, whose answer is [`Input::Polled`].
    Poll(Take),
    /// Drop the open poll: its answer is not wanted any more.
    DropPoll,
    /// Send a call, whose answer is [`Input::Reported`].
    Report(Take),
    /// Give a delivery to a worker that is free. Its end is [`Input::Finished`].
    Start(Delivery),
    /// Let a worker leave a delivery. There is no [`Input::Finished`] for it any more.
    Abandon(DeliveryId),
    /// The group does not answer, or answers again (`None`).
    Waits(Option<TakeError>),
    /// The member has ended.
    End(Ended),
}

/// Why a member has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was asked to.
    Stopped,
    /// The groups were closed, or do not take its calls.
    Refused(TakeError),
}

/// A delivery in hand.
#[derive(Debug)]
struct Hand {
    events: usize,
    state: HandState,
}

#[derive(Debug, PartialEq, Eq)]
enum HandState {
    /// Waits in the queue for a worker.
    Queued,
    Running,
    /// Its settlement waits for a call.
    Finished(Settlement),
    /// A call with its settlement is open.
    Settling(Settlement, Call),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Poll,
    Report,
}

/// The machine.
pub(super) struct Member {
    name: MemberName,
    workers: usize,
    in_hand: BTreeMap<DeliveryId, Hand>,
    /// Deliveries that wait for a worker, each with the time at which it came.
    queue: VecDeque<(Delivery, Duration)>,
    running: usize,
    /// When the open call was sent.
    poll: Option<Duration>,
    report: Option<Duration>,
    /// Events to ask for: as many as the workers handle in a short time, so that others get their share.
    ask: usize,
    /// The shortest time to acknowledge among the deliveries in hand.
    ack_time: Option<Duration>,
    /// When the last call that surely arrived was sent: it renewed all that is in hand.
    renewed_at: Duration,
    /// No call begins before this.
    calls_from: Duration,
    back_off: BackOff,
    waits_for: Option<TakeError>,
    /// When a stop gives up on what still runs.
    stop_at: Option<Duration>,
    ended: bool,
    now: Duration,
    out: Vec<Output>,
}

impl Member {
    pub(super) fn new(name: MemberName, workers: usize, salt: u64, elapsed: Duration) -> Self {
        assert!(workers > 0, "a member has a worker");
        Self {
            name,
            workers,
            in_hand: BTreeMap::new(),
            queue: VecDeque::new(),
            running: 0,
            poll: None,
            report: None,
            ask: workers,
            ack_time: None,
            renewed_at: elapsed,
            calls_from: elapsed,
            back_off: BackOff::new(salt),
            waits_for: None,
            stop_at: None,
            ended: false,
            now: elapsed,
            out: Vec::new(),
        }
    }

    /// Takes what happened, and returns what to do, in order. `elapsed` never goes back.
    pub(super) fn step(&mut self, input: Input, elapsed: Duration) -> Vec<Output> {
        self.now = self.now.max(elapsed);
        if !self.ended {
            self.take_in(input);
        }
        if !self.ended {
            self.go_on();
        }
        assert!(self.running <= self.workers, "each running delivery has a worker");
        std::mem::take(&mut self.out)
    }

    /// When it must be stepped with [`Input::Tick`], if nothing happens before.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        if self.ended {
            return None;
        }
        let renewal = self.renewal().filter(|_| self.report.is_none()).map(|at| at.max(self.calls_from));
        let (stop, give_up) = (self.stop_at, self.stop_at.map(|at| at + DRAIN_TIME));
        let times = [Some(self.calls_from), renewal, stop, give_up].into_iter().flatten();
        times.filter(|at| *at > self.now).min()
    }

    fn take_in(&mut self, input: Input) {
        match input {
            Input::Polled(answer) => {
                let sent_at = self.poll.take().expect("an answer belongs to a call");
                self.answered(Call::Poll, sent_at, answer);
            }
            Input::Reported(answer) => {
                let sent_at = self.report.take().expect("an answer belongs to a call");
                self.answered(Call::Report, sent_at, answer);
            }
            Input::Finished(settlement) => self.finished(settlement),
            Input::Stop => {
                self.stop_at.get_or_insert(self.now + DRAIN_TIME);
            }
            Input::Tick => {}
        }
    }

    /// A call was answered. Its settlements count, or wait for the next call.
    fn answered(&mut self, call: Call, sent_at: Duration, answer: Result<Taken, TakeError>) {
        // After a failure the earlier renewal counts again.
        if matches!(answer, Ok(_) | Err(TakeError::Stopped { .. })) || planted(Bug::LostRenews) {
            self.renewed_at = self.renewed_at.max(sent_at);
        }
        match answer {
            Ok(taken) => {
                self.settled(call);
                self.is_answered();
                for refused in &taken.refused {
                    // A settlement counts events of its delivery, so it never counts too many.
                    debug_assert_ne!(refused.why, RefusedWhy::TooMany);
                    self.forget(refused.id);
                }
                self.delivered(taken.deliveries);
            }
            // The settlements count all the same.
            Err(error @ TakeError::Stopped { .. }) => {
                self.settled(call);
                self.wait_for(error);
            }
            Err(error @ TakeError::Unavailable { .. }) => {
                self.unsettled(call);
                self.wait_for(error);
            }
            Err(error @ TakeError::NoGroup { .. }) => {
                self.forget_all();
                self.wait_for(error);
            }
            Err(error) => {
                self.forget_all();
                self.end(Ended::Refused(error));
            }
        }
    }

    fn is_answered(&mut self) {
        self.back_off.reset();
        if self.waits_for.take().is_some() {
            self.out.push(Output::Waits(None));
        }
    }

    /// Pauses before the next call.
    fn wait_for(&mut self, error: TakeError) {
        self.calls_from = self.now + self.back_off.next();
        if self.waits_for.as_ref() != Some(&error) {
            self.out.push(Output::Waits(Some(error.clone())));
            self.waits_for = Some(error);
        }
    }

    /// The settlements of an answered call have arrived.
    fn settled(&mut self, call: Call) {
        self.in_hand.retain(|_, hand| !matches!(&hand.state, HandState::Settling(_, of) if *of == call));
    }

    /// The settlements of a call that was not answered are sent again.
    fn unsettled(&mut self, call: Call) {
        if planted(Bug::SettlementLost) {
            return self.settled(call);
        }
        for hand in self.in_hand.values_mut() {
            if let HandState::Settling(settlement, of) = &hand.state
                && *of == call
            {
                hand.state = HandState::Finished(settlement.clone());
            }
        }
    }

    fn delivered(&mut self, deliveries: Vec<Delivery>) {
        if deliveries.is_empty() {
            return;
        }
        // The workers had nothing to do while the answer came: ask for more.
        if self.running == 0 && self.queue.is_empty() {
            self.ask = (self.ask * 2).min(self.workers.saturating_mul(EVENTS_PER_WORKER_MAX));
        }
        // The time of each delivery began with the answer. If others are in hand, their last renewal counts for all.
        if self.in_hand.is_empty() {
            (self.ack_time, self.renewed_at) = (None, self.now);
        }
        for delivery in deliveries {
            let shortest = self.ack_time.map_or(delivery.ack_time, |time| time.min(delivery.ack_time));
            self.ack_time = Some(shortest);
            let hand = Hand { events: delivery.events.len(), state: HandState::Queued };
            let before = self.in_hand.insert(delivery.id, hand);
            assert!(before.is_none(), "no id is given twice");
            self.queue.push_back((delivery, self.now));
        }
    }

    fn finished(&mut self, settlement: Settlement) {
        let Some(hand) = self.in_hand.get_mut(&settlement.id) else { return };
        assert_eq!(hand.state, HandState::Running, "only what runs finishes");
        debug_assert!(settlement.handled.is_none_or(|handled| handled <= hand.events));
        hand.state = HandState::Finished(settlement);
        self.running -= 1;
    }

    /// The group has taken a delivery away: work on it must stop.
    fn forget(&mut self, id: DeliveryId) {
        let Some(hand) = self.in_hand.remove(&id) else { return };
        match hand.state {
            HandState::Running => {
                self.running -= 1;
                if !planted(Bug::NotAbandoned) {
                    self.out.push(Output::Abandon(id));
                }
            }
            HandState::Queued => self.queue.retain(|(delivery, _)| delivery.id != id),
            HandState::Finished(_) | HandState::Settling(..) => {}
        }
    }

    fn forget_all(&mut self) {
        for id in self.in_hand.keys().copied().collect::<Vec<_>>() {
            self.forget(id);
        }
    }

    fn end(&mut self, ended: Ended) {
        self.ended = true;
        self.out.push(Output::End(ended));
    }

    /// Does everything that can be done now.
    fn go_on(&mut self) {
        if self.stop_at.is_some() {
            self.give_back();
            if self.in_hand.is_empty() && self.report.is_none() {
                return self.end(Ended::Stopped);
            }
        } else {
            self.start();
            self.poll();
        }
        self.report();
    }

    /// Gives queued deliveries to free workers.
    fn start(&mut self) {
        while self.running < self.workers {
            let Some((delivery, since)) = self.queue.pop_front() else { return };
            // It waited long: others could have had it. Ask for less.
            if self.now.saturating_sub(since) > QUEUED_TIME_MAX {
                self.ask = (self.ask / 2).max(self.workers);
            }
            self.in_hand.get_mut(&delivery.id).expect("what is queued is in hand").state = HandState::Running;
            self.running += 1;
            self.out.push(Output::Start(delivery));
        }
    }

    /// Asks for deliveries, unless the workers have enough to do.
    fn poll(&mut self) {
        let events = self.in_hand.values().filter(|hand| hand.is_undone()).map(|hand| hand.events).sum();
        let room = self.ask.saturating_sub(events);
        if self.poll.is_some() || self.now < self.calls_from || self.queue.len() >= self.workers || room == 0
        {
            return;
        }
        let settle = self.hand_in(Call::Poll);
        let is_settled_here = |hand: &Hand| matches!(hand.state, HandState::Settling(_, Call::Poll));
        let is_listed = |hand: &Hand| {
            !(is_settled_here(hand)
                || planted(Bug::ReportedNotListed) && matches!(hand.state, HandState::Settling(..)))
        };
        let holds = self.in_hand.iter().filter(|(_, hand)| is_listed(hand)).map(|(id, _)| *id).collect();
        self.poll = Some(self.now);
        self.out.push(Output::Poll(Take {
            member: self.name.clone(),
            max: u32::try_from(room).unwrap_or(u32::MAX),
            wait: POLL_WAIT,
            holds: Some(holds),
            settle,
        }));
    }

    /// Settles and renews while no poll does.
    fn report(&mut self) {
        if self.report.is_some() || self.now < self.calls_from {
            return;
        }
        let is_due = self.renewal().is_some_and(|at| at <= self.now);
        let is_finished = |hand: &Hand| matches!(hand.state, HandState::Finished(_));
        if !is_due && !self.in_hand.values().any(is_finished) {
            return;
        }
        let settle = self.hand_in(Call::Report);
        self.report = Some(self.now);
        self.out.push(Output::Report(Take {
            member: self.name.clone(),
            max: 0,
            wait: Duration::ZERO,
            holds: None,
            settle,
        }));
    }

    /// Takes the settlements that wait into a call.
    fn hand_in(&mut self, call: Call) -> Vec<Settlement> {
        let mut settle = Vec::new();
        for hand in self.in_hand.values_mut() {
            if let HandState::Finished(settlement) = &hand.state {
                settle.push(settlement.clone());
                hand.state = HandState::Settling(settlement.clone(), call);
            }
        }
        settle
    }

    /// When all that is in hand must be renewed.
    fn renewal(&self) -> Option<Duration> {
        let ack_time = self.ack_time.filter(|_| !self.in_hand.is_empty())?;
        // A poll that waits has most likely arrived.
        let renewed_at = self.poll.map_or(self.renewed_at, |sent_at| sent_at.max(self.renewed_at));
        (!planted(Bug::NotRenewed)).then(|| renewed_at + ack_time / 3)
    }

    /// Stopping: nothing new is asked for, what waits is given back, and at last what runs.
    fn give_back(&mut self) {
        if self.poll.take().is_some() {
            self.out.push(Output::DropPoll);
            self.unsettled(Call::Poll);
        }
        let is_over = self.stop_at.is_some_and(|at| at <= self.now);
        self.queue.clear();
        if planted(Bug::QueueKept) {
            self.in_hand.retain(|_, hand| hand.state != HandState::Queued);
        }
        for (id, hand) in &mut self.in_hand {
            let is_running = hand.state == HandState::Running;
            if hand.state == HandState::Queued || is_running && is_over {
                if is_running {
                    self.running -= 1;
                    self.out.push(Output::Abandon(*id));
                }
                let then = Then::Release { after: Some(Duration::ZERO) };
                hand.state = HandState::Finished(Settlement::then(*id, 0, then));
            }
        }
        // A group that does not answer gets the deliveries back when their time is over.
        if self.stop_at.is_some_and(|at| at + DRAIN_TIME <= self.now) {
            self.forget_all();
            self.report = None;
        }
    }
}

impl Hand {
    /// Whether its events are still to be handled.
    const fn is_undone(&self) -> bool {
        matches!(self.state, HandState::Queued | HandState::Running)
    }
}
