//! Appends over a simulated network that loses and delays requests and answers, decided by a seed.
//!
//! Clients append to shared streams of a store in memory. The network may deliver a request long after its sender gave
//! up on it. At the end, every answer must have been true: what was acknowledged is in the store, what was refused is
//! not and never will be, and nothing is in doubt that could have been settled. Planted mistakes must be found.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use gesta_core::{
    AppendError, Appended, Batch, EventId, Expected, MemoryStore, NewEvent, Retry, StoreId, StreamName,
    Timestamp, Version,
};

use super::{Next, Outcome, Settling};
use crate::random::Random;

const CLIENTS: usize = 3;
const CALLS: usize = 24;
const STREAMS: [&str; 2] = ["a-1", "a-2"];
const SETTLE_TIME: Duration = Duration::from_secs(5);

/// A mistake that a client could make. Each must be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    /// A connection that cannot be made is `Unavailable`, also in doubt.
    UnsentInDoubt,
    /// A lost answer is `Unavailable`.
    LostIsUnavailable,
    /// Any error of the server ends a doubt.
    ErrorEndsDoubt,
    /// A conflict with a stream that is behind ends a doubt.
    BehindEndsDoubt,
    /// A closed store ends a doubt with `Closed`.
    ClosedEndsDoubt,
    /// A doubt is reported at once.
    NoSettling,
    /// A doubt is never reported.
    NoEnd,
    /// A doubt that the server reports is passed on as a refusal.
    ServersDoubtIsRefusal,
    /// Events get new ids when they are sent again.
    NewIds,
}

/// A call of a client, from its first sending to its answer.
struct Call {
    batch: Batch,
    settling: Settling,
    /// The time of the first sending without an answer.
    in_doubt_since: Option<Duration>,
    /// True if the newest outcome was a closed store.
    is_closed: bool,
    sendings: u32,
}

/// What happens next to a call.
enum Happening {
    /// A client starts a call.
    Start { client: usize },
    /// The bytes are sent.
    Send { call: usize },
    /// A copy reaches the server. `answer_after` is absent if the answer is lost.
    Arrive { call: usize, batch: Batch, answer_after: Option<Duration> },
    /// The client learns the outcome of a sending.
    End { call: usize, outcome: Outcome },
}

struct World {
    random: Random,
    mistake: Option<Mistake>,
    store: MemoryStore,
    now: Duration,
    queue: BinaryHeap<Reverse<(Duration, usize)>>,
    happenings: HashMap<usize, Happening>,
    calls: Vec<Call>,
    client_of: Vec<usize>,
    answers: Vec<Option<Result<Appended, AppendError>>>,
}

/// The violation of a rule, if one is found.
type Found = Result<(), String>;

fn simulate(seed: u64, mistake: Option<Mistake>) -> Found {
    let mut world = World {
        random: Random::new(seed),
        mistake,
        store: MemoryStore::new(StoreId::from_bytes([1; 16]), 1, || Timestamp::from_nanos(1)),
        now: Duration::ZERO,
        queue: BinaryHeap::new(),
        happenings: HashMap::new(),
        calls: Vec::new(),
        client_of: Vec::new(),
        answers: Vec::new(),
    };
    for client in 0..CLIENTS {
        world.push(Duration::ZERO, Happening::Start { client });
    }
    while let Some(Reverse((now, key))) = world.queue.pop() {
        world.now = now;
        let happening = world.happenings.remove(&key).unwrap();
        world.happen(happening)?;
    }
    world.check_all()
}

impl World {
    fn push(&mut self, after: Duration, happening: Happening) {
        let key = self.happenings.keys().max().map_or(0, |last| last + 1);
        self.happenings.insert(key, happening);
        self.queue.push(Reverse((self.now + after, key)));
    }

    fn happen(&mut self, happening: Happening) -> Found {
        match happening {
            Happening::Start { client } => self.start(client),
            Happening::Send { call } => self.send(call),
            Happening::Arrive { call, batch, answer_after } => self.arrive(call, batch, answer_after),
            Happening::End { call, outcome } => return self.end(call, outcome),
        }
        Ok(())
    }

    fn start(&mut self, client: usize) {
        if self.calls.len() == CALLS {
            return;
        }
        let call = self.calls.len();
        let batch = self.a_batch(call);
        let settling = Settling::new(SETTLE_TIME);
        self.calls.push(Call { batch, settling, in_doubt_since: None, is_closed: false, sendings: 0 });
        self.client_of.push(client);
        self.answers.push(None);
        self.push(Duration::ZERO, Happening::Send { call });
    }

    /// One or two events. Expectations often hold, and are sometimes ahead of the stream.
    fn a_batch(&mut self, call: usize) -> Batch {
        let stream = name(self.random.pick(&STREAMS));
        let events = (0..=self.random.below(2)).map(|at| event(&stream, call as u128 * 100 + u128::from(at)));
        let batch = Batch::new(events.collect::<Vec<_>>());
        let next = self.version_of(&stream).map_or(0, |version| version.get() + 1);
        match self.random.below(4) {
            0 => batch,
            1 if next > 0 => batch.expect(stream, Expected::Exactly(Version::new(next - 1))),
            2 => batch.expect(stream, Expected::Exactly(Version::new(next + self.random.below(2)))),
            _ => batch.expect(stream, Expected::None),
        }
    }

    fn send(&mut self, call: usize) {
        let mut batch = self.calls[call].batch.clone();
        if self.mistake == Some(Mistake::NewIds) {
            let added = u128::from(self.calls[call].sendings) * 1_000_000;
            let new = |id: EventId| EventId::from_u128(u128::from_be_bytes(*id.as_bytes()) + added);
            batch.events.iter_mut().for_each(|event| event.id = new(event.id));
        }
        self.calls[call].sendings += 1;
        let [short, long] = [300, 20_000].map(|most| Duration::from_millis(self.random.below(most)));
        let lost = || Outcome::Lost { reason: "lost".to_owned() };
        match self.random.below(10) {
            0 => {
                let outcome = Outcome::Unsent { reason: "refused".to_owned() };
                self.push(Duration::ZERO, Happening::End { call, outcome });
            }
            1 => self.push(short, Happening::End { call, outcome: lost() }),
            2 => {
                self.push(short, Happening::End { call, outcome: lost() });
                self.push(long, Happening::Arrive { call, batch, answer_after: None });
            }
            3 => {
                self.push(short, Happening::Arrive { call, batch, answer_after: None });
                self.push(short * 2, Happening::End { call, outcome: lost() });
            }
            _ => self.push(short, Happening::Arrive { call, batch, answer_after: Some(short) }),
        }
    }

    fn arrive(&mut self, call: usize, batch: Batch, answer_after: Option<Duration>) {
        let reason = || "reason".to_owned();
        let answer = match self.random.below(12) {
            0 => Err(AppendError::Overloaded),
            1 => Err(AppendError::Unavailable { reason: reason() }),
            2 => Err(AppendError::ReadOnly { reason: reason() }),
            3 => Err(AppendError::InDoubt { reason: reason() }),
            4 => {
                // It is written, and the server does not know.
                drop(self.store.append_now(batch));
                Err(AppendError::InDoubt { reason: reason() })
            }
            5 if self.random.one_in(3) => Err(AppendError::Closed),
            _ => self.store.append_now(batch),
        };
        if let Some(after) = answer_after {
            self.push(after, Happening::End { call, outcome: Outcome::Answered(answer) });
        }
    }

    fn end(&mut self, at: usize, outcome: Outcome) -> Found {
        let (now, call) = (self.now, &mut self.calls[at]);
        let doubts =
            matches!(outcome, Outcome::Lost { .. } | Outcome::Answered(Err(AppendError::InDoubt { .. })));
        if doubts {
            call.in_doubt_since.get_or_insert(now);
        }
        call.is_closed = outcome == Outcome::Answered(Err(AppendError::Closed));
        match step(call, outcome, now, self.mistake) {
            Next::Again { at: when, until } => {
                if when < now || until <= when {
                    return Err(format!("it is sent at {when:?} until {until:?}, which is at {now:?}"));
                }
                self.check_end(at)?;
                self.push(when - now, Happening::Send { call: at });
            }
            Next::Answer(answer) => {
                self.check_answer(at, &answer)?;
                self.answers[at] = Some(answer);
                let (pause, client) = (self.random.below(2_000), self.client_of[at]);
                self.push(Duration::from_millis(pause), Happening::Start { client });
            }
        }
        Ok(())
    }

    /// A call must not be sent again after the time for settling.
    fn check_end(&self, call: usize) -> Found {
        let since = self.calls[call].in_doubt_since.ok_or("a call without a doubt is sent again")?;
        if self.now > since + SETTLE_TIME {
            return Err(format!("call {call} is in doubt since {since:?} and still sent at {:?}", self.now));
        }
        Ok(())
    }

    fn check_answer(&self, at: usize, answer: &Result<Appended, AppendError>) -> Found {
        let call = &self.calls[at];
        match answer {
            Ok(appended) => {
                let found = self.places_of(&call.batch);
                if found != appended.places.iter().map(|place| Some(place.version)).collect::<Vec<_>>() {
                    return Err(format!("call {at} was acknowledged, but the store has {found:?}"));
                }
            }
            Err(AppendError::InDoubt { .. }) => {
                let since = call.in_doubt_since.ok_or(format!("call {at} was never in doubt"))?;
                let tried = self.now + crate::limits::RESEND_PAUSE_MAX >= since + SETTLE_TIME;
                if !tried && !call.is_closed {
                    return Err(format!("call {at} could still have been settled"));
                }
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// After the last copy has arrived: nothing that was refused is written, nothing is written that no call sent.
    fn check_all(&self) -> Found {
        for (at, answer) in self.answers.iter().enumerate() {
            let Some(answer) = answer else { return Err(format!("call {at} was never answered")) };
            let written = self.places_of(&self.calls[at].batch).iter().any(Option::is_some);
            match answer {
                Err(AppendError::InDoubt { .. }) => {}
                Err(error) if written => return Err(format!("call {at} was written after `{error}`")),
                _ => {}
            }
        }
        let sent = self.calls.iter().flat_map(|call| &call.batch.events).map(|event| event.id);
        let sent = sent.collect::<Vec<_>>();
        match self.ids().into_iter().find(|id| !sent.contains(id)) {
            Some(id) => Err(format!("event {id} was written, and no call sent it")),
            None => Ok(()),
        }
    }

    fn ids(&self) -> Vec<EventId> {
        STREAMS.iter().flat_map(|stream| self.stream(&name(stream))).map(|(id, _)| id).collect()
    }

    fn places_of(&self, batch: &Batch) -> Vec<Option<Version>> {
        let place = |event: &NewEvent| {
            self.stream(&event.stream).into_iter().find(|(id, _)| *id == event.id).map(|(_, version)| version)
        };
        batch.events.iter().map(place).collect()
    }

    fn version_of(&self, stream: &StreamName) -> Option<Version> {
        self.stream(stream).last().map(|(_, version)| *version)
    }

    fn stream(&self, stream: &StreamName) -> Vec<(EventId, Version)> {
        use gesta_core::EventStore as _;
        let read = self.store.read(gesta_core::Read::stream(stream.clone()));
        let page = pollster::block_on(read).unwrap();
        page.events.iter().map(|event| (event.id(), event.version())).collect()
    }
}

/// The step of the client, or of one that makes a mistake.
fn step(call: &mut Call, outcome: Outcome, now: Duration, mistake: Option<Mistake>) -> Next {
    let in_doubt = call.settling.is_in_doubt();
    let unavailable =
        |reason: &str| Next::Answer(Err(AppendError::Unavailable { reason: reason.to_owned() }));
    match (mistake, &outcome) {
        (Some(Mistake::UnsentInDoubt), Outcome::Unsent { reason })
        | (Some(Mistake::LostIsUnavailable), Outcome::Lost { reason }) => return unavailable(reason),
        (Some(Mistake::ErrorEndsDoubt), Outcome::Answered(Err(error))) => {
            return Next::Answer(Err(error.clone()));
        }
        (Some(Mistake::BehindEndsDoubt), Outcome::Answered(Err(error @ AppendError::Conflict { .. })))
            if error.retry() == Retry::AfterPause =>
        {
            return Next::Answer(Err(error.clone()));
        }
        (Some(Mistake::ClosedEndsDoubt), Outcome::Answered(Err(AppendError::Closed))) if in_doubt => {
            return Next::Answer(Err(AppendError::Closed));
        }
        (Some(Mistake::NoSettling), Outcome::Lost { reason }) => {
            return Next::Answer(Err(AppendError::InDoubt { reason: reason.clone() }));
        }
        (Some(Mistake::ServersDoubtIsRefusal), Outcome::Answered(Err(AppendError::InDoubt { reason }))) => {
            return unavailable(reason);
        }
        _ => {}
    }
    match call.settling.step(outcome, now) {
        Next::Answer(Err(AppendError::InDoubt { .. })) if mistake == Some(Mistake::NoEnd) => {
            Next::Again { at: now + Duration::from_secs(1), until: now + Duration::from_secs(2) }
        }
        next => next,
    }
}

fn name(text: &str) -> StreamName {
    text.parse().unwrap()
}

fn event(stream: &StreamName, id: u128) -> NewEvent {
    let id = EventId::from_u128(id + 1);
    NewEvent::json(id, stream.clone(), "a.b".parse().unwrap(), Timestamp::from_nanos(0), "{}")
}

#[test]
fn every_answer_over_a_network_that_loses_and_delays_is_true() {
    for seed in 0..1_000 {
        let found = simulate(seed, None);
        assert_eq!(found, Ok(()), "seed {seed}");
    }
}

#[test]
fn every_planted_mistake_is_found() {
    for mistake in [
        Mistake::UnsentInDoubt,
        Mistake::LostIsUnavailable,
        Mistake::ErrorEndsDoubt,
        Mistake::BehindEndsDoubt,
        Mistake::ClosedEndsDoubt,
        Mistake::NoSettling,
        Mistake::NoEnd,
        Mistake::ServersDoubtIsRefusal,
        Mistake::NewIds,
    ] {
        let found = (0..500).find(|seed| simulate(*seed, Some(mistake)).is_err());
        assert!(found.is_some(), "{mistake:?} was not found");
    }
}
