//! Waiters and the shared poll over a simulated server, decided by a seed.
//!
//! The server's log grows in two partitions, and sometimes loses its newest events. Reports may arrive late and the poll
//! may fail. At the end every waiter whose place the log has passed must be answered, and every answer must be true.

use gesta_core::{Checkpoint, Diverged, Position, ReadError, StoreId};

use super::{Answer, Moment, Seat, Waiting, is_past};
use crate::random::Random;

/// A mistake that a client could make. Each must be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    /// A waiter sits down anywhere below the head.
    SitsAnywhere,
    /// A waiter that sits stays, also beyond the head and in a lost history.
    SitsThroughLosses,
    /// The refusal of the poll's place is given to all waiters.
    SharesRefusals,
    /// Only higher heads are taken from reports.
    OnlyRises,
    /// A late report of a lower head counts as a loss.
    LateReportsCount,
    /// Waiters are not answered when a page raises the head.
    PagesWakeNobody,
    /// A failure of the poll reaches nobody.
    DropsFailures,
}

struct Waiter {
    after: Checkpoint,
    state: State,
    asks: u32,
}

enum State {
    Asks,
    /// The request is on its way.
    Asked(Moment),
    /// The server answered; the answer is on its way.
    Told(Result<Checkpoint, ReadError>, Moment),
    Sits(Seat),
    Answered,
}

struct World {
    random: Random,
    mistake: Option<Mistake>,
    /// For each partition, the mark of each event.
    log: [Vec<u32>; 2],
    next_mark: u32,
    waiting: Waiting,
    waiters: Vec<Waiter>,
    /// The place of the poll under way.
    poll: Option<(Checkpoint, Moment)>,
    /// The answer to the poll, on its way.
    polled: Option<Result<Checkpoint, ReadError>>,
    /// Heads that readers have seen, in any history.
    seen: Vec<Checkpoint>,
    /// Every second log loses events.
    may_lose: bool,
    has_lost: bool,
    is_settling: bool,
}

type Found = Result<(), String>;

fn simulate(seed: u64, mistake: Option<Mistake>) -> Found {
    let mut world = World {
        random: Random::new(seed),
        mistake,
        log: [vec![1], vec![2]],
        next_mark: 3,
        waiting: Waiting::default(),
        waiters: Vec::new(),
        poll: None,
        polled: None,
        seen: Vec::new(),
        may_lose: seed.is_multiple_of(2),
        has_lost: false,
        is_settling: false,
    };
    world.seen.push(world.head());
    for _ in 0..10 + world.random.below(60) {
        world.step()?;
    }
    world.settle()
}

impl World {
    fn head(&self) -> Checkpoint {
        let start = Checkpoint::start(StoreId::from_bytes([1; 16]), 2);
        (0..2).fold(start, |head, partition| {
            let log = &self.log[usize::from(partition)];
            match log.last() {
                None => head,
                Some(mark) => head.with_mark(Position { partition, sequence: log.len() as u64 }, *mark),
            }
        })
    }

    /// The server's answer to `past=<after>&wait=0`.
    fn ask(&self, after: &Checkpoint) -> Result<Checkpoint, ReadError> {
        let head = self.head();
        if !head.at_least(after) {
            return Err(ReadError::CheckpointAhead { checkpoint: after.clone(), head });
        }
        let is_lost = |(at, mark): (Position, u32)| {
            self.log[usize::from(at.partition)][usize::try_from(at.sequence - 1).unwrap()] != mark
        };
        if after.marks().any(is_lost) {
            return Err(Diverged { checkpoint: after.clone(), found: head }.into());
        }
        Ok(head)
    }

    fn step(&mut self) -> Found {
        match self.random.below(12) {
            0 | 1 => self.append(),
            2 if self.may_lose && self.random.one_in(2) => self.lose(),
            3 => self.seen.push(self.head()),
            4 | 8 => {
                let head = self.random.below(self.seen.len() as u64);
                let head = self.seen[usize::try_from(head).unwrap()].clone();
                self.page(&head)?;
            }
            5 | 6 => self.arrive(),
            7 => self.drop_one(),
            _ => self.move_on()?,
        }
        Ok(())
    }

    fn append(&mut self) {
        let partition = usize::try_from(self.random.below(2)).unwrap();
        self.log[partition].push(self.next_mark);
        self.next_mark += 1;
    }

    fn lose(&mut self) {
        let partition = usize::try_from(self.random.below(2)).unwrap();
        for _ in 0..=self.random.below(3) {
            self.has_lost |= self.log[partition].pop().is_some();
        }
    }

    /// A page arrives. Its head may be old, but it is of the current history.
    fn page(&mut self, head: &Checkpoint) -> Found {
        if self.ask(head).is_ok() {
            let is_news = self.waiting.raise(head);
            if is_news && self.mistake != Some(Mistake::PagesWakeNobody) {
                self.wake()?;
            }
        }
        Ok(())
    }

    /// A waiter arrives, mostly at the newest place that a reader has seen.
    fn arrive(&mut self) {
        let newest = self.seen.len() as u64 - 1;
        let at = if self.random.one_in(3) { self.random.below(newest + 1) } else { newest };
        let mut after = self.seen[usize::try_from(at).unwrap()].clone();
        if self.random.one_in(4) {
            after = Checkpoint::new(after.store(), after.sequences());
        }
        let state = self.sit(&after).map_or(State::Asks, State::Sits);
        self.waiters.push(Waiter { after, state, asks: 0 });
    }

    fn sit(&mut self, after: &Checkpoint) -> Option<Seat> {
        let may = match self.mistake {
            Some(Mistake::SitsAnywhere) => self.waiting.head.is_some(),
            _ => return self.waiting.sit(after),
        };
        may.then(|| {
            self.waiting.sitting += 1;
            Seat { failures: self.waiting.failures }
        })
    }

    fn drop_one(&mut self) {
        if self.waiters.is_empty() {
            return;
        }
        let at = usize::try_from(self.random.below(self.waiters.len() as u64)).unwrap();
        if let State::Sits(_) = self.waiters.swap_remove(at).state {
            self.waiting.rise();
        }
    }

    /// A message of the client or the server moves on.
    fn move_on(&mut self) -> Found {
        if self.waiters.is_empty() || self.random.one_in(4) {
            return self.move_poll();
        }
        let at = usize::try_from(self.random.below(self.waiters.len() as u64)).unwrap();
        // Often all of one waiter's messages arrive before any other.
        let moves = 1 + self.random.below(3);
        (0..moves).try_for_each(|_| self.move_waiter(at))
    }

    fn move_waiter(&mut self, at: usize) -> Found {
        let after = self.waiters[at].after.clone();
        match std::mem::replace(&mut self.waiters[at].state, State::Answered) {
            State::Asks => {
                self.waiters[at].state = State::Asked(self.waiting.moment());
                self.waiters[at].asks += 1;
                if !self.has_lost && self.waiters[at].asks > 2 {
                    return Err(format!("a waiter at {after} asks a third time"));
                }
            }
            State::Asked(moment) => self.waiters[at].state = State::Told(self.ask(&after), moment),
            State::Told(Ok(head), moment) => {
                self.report(&head, moment)?;
                if is_past(&head, &after) {
                    return Ok(());
                }
                self.waiters[at].state = self.sit(&after).map_or(State::Asks, State::Sits);
            }
            state => self.waiters[at].state = state,
        }
        Ok(())
    }

    fn report(&mut self, head: &Checkpoint, asked: Moment) -> Found {
        match self.mistake {
            Some(Mistake::OnlyRises) => drop(self.waiting.raise(head)),
            Some(Mistake::LateReportsCount) => self.waiting.report(head, self.waiting.moment()),
            _ => self.waiting.report(head, asked),
        }
        self.wake()
    }

    fn move_poll(&mut self) -> Found {
        match (self.polled.take(), self.poll.clone()) {
            (Some(Ok(head)), Some((_, moment))) => {
                self.poll = None;
                return self.report(&head, moment);
            }
            (Some(Err(error)), _) => {
                self.poll = None;
                self.fail(error);
                return self.wake();
            }
            (_, None) if !self.is_settling && self.random.below(4) > 0 => {}
            (_, None) => {
                let from = self.waiting.poll_from().cloned();
                self.poll = from.map(|from| (from, self.waiting.moment()));
            }
            (None, Some((from, _))) if !self.is_settling && self.random.one_in(5) => {
                let reason = from.to_string();
                self.polled = Some(Err(ReadError::Unavailable { reason }));
            }
            (None, Some((from, _))) => {
                let answer = self.ask(&from);
                // A poll at the head waits. Before the end, its time may pass.
                let waits = answer.as_ref().is_ok_and(|head| !is_past(head, &from));
                if !waits || (!self.is_settling && self.random.one_in(3)) {
                    self.polled = Some(answer);
                }
            }
        }
        Ok(())
    }

    fn fail(&mut self, error: ReadError) {
        match self.mistake {
            Some(Mistake::SharesRefusals) => {
                self.waiting.head = None;
                self.waiting.failures += 1;
                self.waiting.failure = Some(error);
            }
            Some(Mistake::DropsFailures) => {
                let failures = self.waiting.failures;
                self.waiting.fail(error);
                self.waiting.failures = failures;
            }
            _ => self.waiting.fail(error),
        }
    }

    /// Every waiter that sits looks.
    fn wake(&mut self) -> Found {
        for at in 0..self.waiters.len() {
            let State::Sits(seat) = &self.waiters[at].state else { continue };
            let after = self.waiters[at].after.clone();
            let Some(answer) = self.waiting.look(seat, &after) else { continue };
            let next = match answer {
                Answer::Ask if !self.has_lost => {
                    return Err(format!("a waiter at {after} must ask, and nothing was lost"));
                }
                Answer::Ask
                    if self.mistake == Some(Mistake::SitsThroughLosses)
                        && self.waiting.failures == seat.failures =>
                {
                    continue;
                }
                Answer::Past(head) if !is_past(&head, &after) => {
                    return Err(format!("{head} is not past {after}"));
                }
                Answer::Failed(error @ (ReadError::CheckpointAhead { .. } | ReadError::Diverged { .. })) => {
                    return Err(format!("a waiter at {after} got the error of the poll: {error}"));
                }
                Answer::Past(_) | Answer::Failed(_) => State::Answered,
                Answer::Ask => State::Asks,
            };
            if let State::Sits(_) = std::mem::replace(&mut self.waiters[at].state, next) {
                self.waiting.rise();
            }
        }
        Ok(())
    }

    /// Nothing more is appended. Every message arrives, and no poll is lost.
    fn settle(&mut self) -> Found {
        self.is_settling = true;
        for _ in 0..100 {
            for at in 0..self.waiters.len() {
                self.move_waiter(at)?;
            }
            self.move_poll()?;
        }
        let head = self.head();
        for waiter in &self.waiters {
            match &waiter.state {
                State::Sits(_) if is_past(&head, &waiter.after) => {
                    return Err(format!("a waiter at {} sits, and the head is {head}", waiter.after));
                }
                State::Sits(_) if self.ask(&waiter.after).is_err() => {
                    return Err(format!("a waiter sits at {}, which the server refuses", waiter.after));
                }
                State::Asks => return Err(format!("a waiter at {} asks without end", waiter.after)),
                _ => {}
            }
        }
        let sitting = self.waiters.iter().filter(|waiter| matches!(waiter.state, State::Sits(_))).count();
        if sitting != self.waiting.sitting {
            return Err(format!("{sitting} waiters sit, and {} are counted", self.waiting.sitting));
        }
        Ok(())
    }
}

#[test]
fn every_waiter_is_answered_once_the_log_has_passed_its_place() {
    for seed in 0..3_000 {
        assert_eq!(simulate(seed, None), Ok(()), "seed {seed}");
    }
}

#[test]
fn every_planted_mistake_of_waiting_is_found() {
    for mistake in [
        Mistake::SitsAnywhere,
        Mistake::SitsThroughLosses,
        Mistake::SharesRefusals,
        Mistake::OnlyRises,
        Mistake::LateReportsCount,
        Mistake::PagesWakeNobody,
        Mistake::DropsFailures,
    ] {
        let found = (0..10_000).find(|seed| simulate(*seed, Some(mistake)).is_err());
        assert!(found.is_some(), "{mistake:?} was not found");
    }
}
