//! Members and a small group by seeds: calls that get lost, answers that get lost, workers that fail, stops.
//!
//! The group follows the rules of [`Take`] and nothing else: no log, no progress. Without lost answers a correct member
//! handles every event exactly once; with them it repeats at most what it had in hand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gesta_core::{EventId, NewEvent, Position, RecordedEvent, StoreId, Timestamp, Version};

use super::member::{Ended, Input, Member, Output};
use super::planted::{Bug, plant};
use crate::group::{
    Delivery, DeliveryId, MemberName, Refused, RefusedWhy, Settlement, Take, TakeError, Taken, Then,
};

const ACK_TIME: Duration = Duration::from_secs(30);
const STREAMS: usize = 12;
const SEEDS: u64 = 300;

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ (value >> 31)) % limit
    }

    fn millis(&mut self, limit: u64) -> Duration {
        Duration::from_millis(self.below(limit))
    }
}

/// What can go wrong between members and the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Faults {
    None,
    /// One call in five does not arrive.
    Calls,
    /// One answer in five does not arrive, and now and then a member is cut off for longer than its deliveries last.
    Answers,
}

/// One stream of the group.
#[derive(Default)]
struct Stream {
    events: u64,
    /// The first event that is not settled.
    next: u64,
    in_flight: Option<DeliveryId>,
    waits_until: Duration,
    parked: bool,
}

struct Held {
    member: usize,
    stream: usize,
    events: u64,
    expires: Duration,
}

/// A group that deals by the rules.
#[derive(Default)]
struct Group {
    streams: Vec<Stream>,
    held: BTreeMap<DeliveryId, Held>,
    /// The open call of a member: its number, events and end.
    waiting: BTreeMap<usize, (u64, u32, Duration)>,
    count: u64,
    /// Deliveries that were taken away from a member, because it let them expire or did not list them.
    taken_away: u64,
}

impl Group {
    fn call(&mut self, member: usize, number: u64, take: &Take, now: Duration) -> Vec<(u64, Taken)> {
        take.check().unwrap();
        let mut answers = Vec::new();
        if let Some((older, _, _)) = self.waiting.remove(&member) {
            answers.push((older, Taken::default()));
        }
        let mut refused = Vec::new();
        for settlement in &take.settle {
            if !self.settle(member, settlement, now) {
                refused.push(Refused { id: settlement.id, why: RefusedWhy::Stale });
            }
        }
        let of_member = |held: &Held| held.member == member;
        match &take.holds {
            None => self.held.values_mut().filter(|held| of_member(held)).for_each(|held| {
                held.expires = now + ACK_TIME;
            }),
            Some(holds) => {
                for id in holds {
                    match self.held.get_mut(id).filter(|held| of_member(held)) {
                        Some(held) => held.expires = now + ACK_TIME,
                        None => refused.push(Refused { id: *id, why: RefusedWhy::Stale }),
                    }
                }
                let lost = self.held.iter().filter(|(id, held)| of_member(held) && !holds.contains(id));
                for id in lost.map(|(id, _)| *id).collect::<Vec<_>>() {
                    self.take_away(id);
                }
            }
        }
        if take.max == 0 {
            answers.push((number, Taken { deliveries: Vec::new(), refused }));
        } else if !refused.is_empty() {
            // As a dealer may, it answers at once if there is something to say.
            let deliveries = self.deal(member, take.max, now);
            answers.push((number, Taken { deliveries, refused }));
        } else {
            self.waiting.insert(member, (number, take.max, now + take.wait));
        }
        answers
    }

    fn settle(&mut self, member: usize, settlement: &Settlement, now: Duration) -> bool {
        let Some(held) = self.held.get(&settlement.id).filter(|held| held.member == member) else {
            return false;
        };
        let stream = &mut self.streams[held.stream];
        let handled = settlement.handled.map_or(held.events, |handled| handled as u64);
        assert!(handled <= held.events);
        stream.next += handled;
        stream.in_flight = None;
        match settlement.then {
            Some(Then::Retry { after } | Then::Release { after }) => {
                stream.waits_until = now + after.unwrap_or(Duration::from_secs(1));
            }
            Some(Then::Park) => stream.parked = true,
            _ => {}
        }
        self.held.remove(&settlement.id);
        true
    }

    fn take_away(&mut self, id: DeliveryId) {
        let held = self.held.remove(&id).unwrap();
        self.streams[held.stream].in_flight = None;
        self.taken_away += 1;
    }

    fn deal(&mut self, member: usize, max: u32, now: Duration) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        let mut room = u64::from(max);
        for (number, stream) in self.streams.iter_mut().enumerate() {
            let ready = stream.events - stream.next;
            let is_ready = ready > 0 && stream.in_flight.is_none() && !stream.parked;
            if room == 0 || !is_ready || stream.waits_until > now {
                continue;
            }
            let events = ready.min(room).min(4);
            room -= events;
            self.count += 1;
            let id = DeliveryId::new(StoreId::from_bytes([1; 16]), 1, self.count);
            stream.in_flight = Some(id);
            self.held.insert(id, Held { member, stream: number, events, expires: now + ACK_TIME });
            let events = (stream.next..stream.next + events).map(|version| event(number, version)).collect();
            deliveries.push(Delivery { id, attempt: 1, ack_time: ACK_TIME, events });
        }
        deliveries
    }

    /// Expires, ends waits, and serves the calls that wait.
    fn pass(&mut self, now: Duration) -> Vec<(u64, Taken)> {
        let expired = self.held.iter().filter(|(_, held)| held.expires <= now).map(|(id, _)| *id);
        for id in expired.collect::<Vec<_>>() {
            self.take_away(id);
        }
        let mut answers = Vec::new();
        for (member, (number, max, until)) in self.waiting.clone() {
            let deliveries = self.deal(member, max, now);
            if !deliveries.is_empty() || until <= now {
                self.waiting.remove(&member);
                answers.push((number, Taken { deliveries, refused: Vec::new() }));
            }
        }
        answers
    }
}

fn event(stream: usize, version: u64) -> RecordedEvent {
    let (name, kind) = (format!("s-{stream}").parse().unwrap(), "a.b".parse().unwrap());
    let new = NewEvent::json(EventId::from_u128(version.into()), name, kind, Timestamp::from_nanos(0), "{}");
    let position = Position { partition: 0, sequence: version + 1 };
    RecordedEvent::new(position, Version::new(version), Timestamp::from_nanos(0), new.to_bytes())
}

/// What is on its way, with the time at which it arrives.
enum Way {
    Call { member: usize, number: u64, take: Take },
    Answer { member: usize, number: u64, answer: Result<Taken, TakeError> },
    Finished { member: usize, settlement: Settlement },
    Tick,
}

struct Seat {
    member: Member,
    /// The numbers of the open calls.
    poll: Option<u64>,
    report: Option<u64>,
    running: BTreeSet<DeliveryId>,
    cut_off_until: Duration,
    ended: Option<Ended>,
}

/// Members, a group, and what lies between them.
struct World {
    chance: Chance,
    faults: Faults,
    workers: usize,
    now: Duration,
    group: Group,
    seats: Vec<Seat>,
    ways: BTreeMap<(Duration, u64), Way>,
    calls: u64,
    entries: u64,
    /// How often each event was handled to its end.
    handled: BTreeMap<(usize, u64), u32>,
    /// How far the target has seen each stream.
    seen: Vec<u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let faults = [Faults::None, Faults::Calls, Faults::Answers][usize::try_from(seed % 3).unwrap()];
        let workers = 1 + usize::try_from(chance.below(4)).unwrap();
        let members = 1 + chance.below(3);
        let seat = |number: u64| {
            let name = MemberName::new(format!("m-{number}")).unwrap();
            let member = Member::new(name, workers, number, Duration::ZERO);
            Seat {
                member,
                poll: None,
                report: None,
                running: BTreeSet::new(),
                cut_off_until: Duration::ZERO,
                ended: None,
            }
        };
        let seats = (0..members).map(seat).collect();
        let mut group = Group::default();
        group.streams.resize_with(STREAMS, Stream::default);
        let (ways, handled, seen) = (BTreeMap::new(), BTreeMap::new(), vec![0; STREAMS]);
        let now = Duration::ZERO;
        Self { chance, faults, workers, now, group, seats, ways, calls: 0, entries: 0, handled, seen }
    }

    fn send(&mut self, after: Duration, way: Way) {
        self.entries += 1;
        self.ways.insert((self.now + after, self.entries), way);
    }

    fn step(&mut self, seat: usize, input: Input) -> Result<(), String> {
        let outputs = self.seats[seat].member.step(input, self.now);
        for output in outputs {
            self.put_out(seat, output)?;
        }
        Ok(())
    }

    fn put_out(&mut self, seat: usize, output: Output) -> Result<(), String> {
        match output {
            Output::Poll(take) => {
                self.calls += 1;
                let before = self.seats[seat].poll.replace(self.calls);
                assert!(before.is_none(), "one poll is open");
                self.call(seat, take);
            }
            Output::Report(take) => {
                self.calls += 1;
                let before = self.seats[seat].report.replace(self.calls);
                assert!(before.is_none(), "one report is open");
                self.call(seat, take);
            }
            // A group notices: what it had dealt to the call is free again.
            Output::DropPoll => {
                let number = self.seats[seat].poll.take();
                self.ways
                    .retain(|_, way| !matches!(way, Way::Call { number: of, .. } if Some(*of) == number));
                self.group.waiting.retain(|_, (waiting, _, _)| Some(*waiting) != number);
                let lost = |way: &Way| match way {
                    Way::Answer { number: lost, answer: Ok(taken), .. } if Some(*lost) == number => {
                        taken.deliveries.iter().map(|delivery| delivery.id).collect()
                    }
                    _ => Vec::new(),
                };
                let ids = self.ways.values().flat_map(lost).collect::<Vec<_>>();
                for id in ids {
                    let held = self.group.held.remove(&id).unwrap();
                    self.group.streams[held.stream].in_flight = None;
                }
            }
            Output::Start(delivery) => return self.start(seat, &delivery),
            Output::Abandon(id) => {
                assert!(self.seats[seat].running.remove(&id), "only what runs is abandoned");
                let is_of =
                    |way: &Way| matches!(way, Way::Finished { settlement, .. } if settlement.id == id);
                self.ways.retain(|_, way| !is_of(way));
            }
            Output::Waits(_) => {}
            Output::End(ended) => self.seats[seat].ended = Some(ended),
        }
        Ok(())
    }

    fn call(&mut self, member: usize, take: Take) {
        let number = self.calls;
        let after = self.chance.millis(40);
        let seat = &mut self.seats[member];
        if self.faults == Faults::Answers && self.chance.below(60) == 0 {
            seat.cut_off_until = self.now + ACK_TIME + Duration::from_secs(10);
        }
        let is_cut_off = self.now < seat.cut_off_until;
        if is_cut_off || self.faults == Faults::Calls && self.chance.below(5) == 0 {
            let answer = Err(TakeError::Unavailable { reason: "lost".to_owned() });
            return self.send(after, Way::Answer { member, number, answer });
        }
        self.send(after, Way::Call { member, number, take });
    }

    fn answer(&mut self, answers: Vec<(u64, Taken)>) {
        for (number, taken) in answers {
            let member = self.seats.iter().position(|seat| [seat.poll, seat.report].contains(&Some(number)));
            // The member has dropped the call meanwhile.
            let Some(member) = member else { continue };
            let is_lost = self.faults == Faults::Answers && self.chance.below(5) == 0;
            let answer = match is_lost {
                true => Err(TakeError::Unavailable { reason: "lost".to_owned() }),
                false => Ok(taken),
            };
            let after = self.chance.millis(40);
            self.send(after, Way::Answer { member, number, answer });
        }
    }

    /// A worker begins. Its effects happen at its end, which is late now and then.
    fn start(&mut self, seat: usize, delivery: &Delivery) -> Result<(), String> {
        self.seats[seat].running.insert(delivery.id);
        if self.seats[seat].running.len() > self.workers {
            return Err("more deliveries run than there are workers".to_owned());
        }
        let all = delivery.events.len();
        let settlement = match self.chance.below(8) {
            0 => {
                let handled = usize::try_from(self.chance.below(all as u64)).unwrap();
                let then = [
                    Then::Retry { after: None },
                    Then::Release { after: Some(Duration::from_millis(300)) },
                    Then::Park,
                ];
                let then = then[usize::try_from(self.chance.below(3)).unwrap()].clone();
                Settlement::then(delivery.id, handled, then)
            }
            _ => Settlement::handled(delivery.id),
        };
        let stream = delivery.events[0].stream()[2..].parse::<usize>().unwrap();
        let first = delivery.events[0].version().get();
        for version in first..first + settlement.handled.unwrap_or(all) as u64 {
            // The target has seen everything before: the order of the stream.
            if self.seen[stream] < version {
                return Err(format!("event {version} of stream {stream} comes too early"));
            }
            self.seen[stream] = self.seen[stream].max(version + 1);
            *self.handled.entry((stream, version)).or_default() += 1;
        }
        let after = match self.chance.below(30) {
            0 => Duration::from_secs(70),
            1..=4 => self.chance.millis(3_000),
            _ => self.chance.millis(30),
        };
        self.send(after, Way::Finished { member: seat, settlement });
        Ok(())
    }

    /// Lets the next thing happen.
    fn go_on(&mut self) -> Result<(), String> {
        let passed = self.group.pass(self.now);
        self.answer(passed);
        let wake = self.seats.iter().filter_map(|seat| seat.member.wake_at()).min();
        let expiry = self.group.held.values().map(|held| held.expires);
        let ready = self.group.streams.iter().map(|stream| stream.waits_until).filter(|at| *at > self.now);
        let waits = self.group.waiting.values().map(|(_, _, until)| *until);
        let next = self.ways.keys().next().map(|(at, _)| *at);
        let at = expiry.chain(ready).chain(waits).chain(wake).chain(next).min();
        let Some(at) = at else { return Ok(()) };
        self.now = self.now.max(at);
        let way = match self.ways.first_entry() {
            Some(entry) if entry.key().0 <= self.now => entry.remove(),
            _ => Way::Tick,
        };
        match way {
            Way::Call { member, number, take } => {
                let answers = self.group.call(member, number, &take, self.now);
                self.answer(answers);
            }
            Way::Answer { member, number, answer } => {
                let seat = &mut self.seats[member];
                let input = if seat.poll == Some(number) {
                    seat.poll = None;
                    Input::Polled(answer)
                } else if seat.report == Some(number) {
                    seat.report = None;
                    Input::Reported(answer)
                } else {
                    return Ok(());
                };
                return self.step(member, input);
            }
            Way::Finished { member, settlement } => {
                self.seats[member].running.remove(&settlement.id);
                return self.step(member, Input::Finished(settlement));
            }
            Way::Tick => {}
        }
        (0..self.seats.len()).try_for_each(|seat| self.step(seat, Input::Tick))
    }

    fn is_done(&self) -> bool {
        self.group.streams.iter().all(|stream| stream.next == stream.events || stream.parked)
    }

    /// Appends for a while, works everything off, then stops.
    fn run(&mut self) -> Result<(), String> {
        (0..self.seats.len()).try_for_each(|seat| self.step(seat, Input::Tick))?;
        for _ in 0..300 {
            if self.chance.below(3) == 0 {
                let stream = usize::try_from(self.chance.below(STREAMS as u64)).unwrap();
                self.group.streams[stream].events += 1 + self.chance.below(6);
            }
            self.go_on()?;
        }
        let mut left = 20_000;
        while !self.is_done() {
            self.go_on()?;
            left -= 1;
            if left == 0 {
                return Err("the work does not end".to_owned());
            }
        }
        let events = self.group.streams.iter().enumerate();
        let all = events.flat_map(|(number, stream)| (0..stream.next).map(move |version| (number, version)));
        if let Some(missing) = all.into_iter().find(|event| !self.handled.contains_key(event)) {
            return Err(format!("event {missing:?} was settled and not handled"));
        }
        if self.faults != Faults::Answers {
            if self.group.taken_away > 0 {
                return Err("a member lost a delivery".to_owned());
            }
            if let Some(twice) = self.handled.iter().find(|(_, times)| **times > 1) {
                return Err(format!("event {twice:?} was handled more than once"));
            }
        }
        self.stop()
    }

    /// Stops in the middle of new work: all of it goes back.
    fn stop(&mut self) -> Result<(), String> {
        self.group.streams.iter_mut().for_each(|stream| stream.events += 3);
        for _ in 0..self.chance.below(30) {
            self.go_on()?;
        }
        (0..self.seats.len()).try_for_each(|seat| self.step(seat, Input::Stop))?;
        let stopped_at = self.now;
        while self.seats.iter().any(|seat| seat.ended.is_none()) {
            self.go_on()?;
            if self.now > stopped_at + Duration::from_secs(11) {
                return Err("a member does not stop".to_owned());
            }
        }
        let is_clean = self.group.held.is_empty() && self.group.taken_away == 0;
        if self.faults == Faults::None && !is_clean {
            return Err("a member that stopped left deliveries behind".to_owned());
        }
        Ok(())
    }
}

fn simulate(seed: u64) -> Result<(), String> {
    World::new(seed).run().map_err(|error| format!("seed {seed}: {error}"))
}

#[test]
fn members_handle_every_event_once_unless_answers_get_lost() {
    for seed in 0..SEEDS {
        simulate(seed).unwrap();
    }
}

#[test]
fn every_planted_mistake_is_found() {
    for bug in Bug::ALL {
        plant(Some(*bug));
        let found = (0..SEEDS).find_map(|seed| {
            std::panic::catch_unwind(|| simulate(seed)).unwrap_or_else(|_| Err("a panic".to_owned())).err()
        });
        plant(None);
        assert!(found.is_some(), "{bug:?} is not found");
    }
}

#[test]
fn a_stop_before_anything_came_ends_at_once() {
    let mut member = Member::new(MemberName::new("m").unwrap(), 2, 1, Duration::ZERO);
    let began = member.step(Input::Tick, Duration::ZERO);
    assert!(matches!(began[..], [Output::Poll(_)]), "{began:?}");
    let ended = member.step(Input::Stop, Duration::ZERO);
    assert!(matches!(ended[..], [Output::DropPoll, Output::End(Ended::Stopped)]), "{ended:?}");
}
