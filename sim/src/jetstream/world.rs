//! The world of one simulation: time, the network, and clients.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use gesta_core::{Batch, CommandKey, EventId, Expected, Item, NewEvent, Query, StreamName, Timestamp};
use gesta_jetstream::{Draft, Input, Output, Refusal, Settled};

use super::cluster::{Arrived, Cluster, Taken, server_time};
use super::copy::Copy;
use super::judge::{Answer, Judge, Operation};
use super::plan::Plan;
use super::process::{Call, Consumer, Process, Ticket};
use super::{Clustered, Wrong};
use crate::random::Random;

/// When faults end.
const CALM: Duration = Duration::from_secs(60);
/// When each process is asked for its head once more.
const LAST_CALLS: Duration = Duration::from_secs(100);
const END: Duration = Duration::from_secs(160);
/// How often a process asks the leader for its last message.
const STATUS_TIME: Duration = Duration::from_secs(5);
const STREAMS: [&str; 3] = ["account-1", "account-2", "order-1"];

/// Command keys, which several operations share.
const KEYS: u64 = 6;

/// Something that happens at its time.
enum Happening {
    /// The leader is asked for the message before.
    Ask(Arrived),
    /// It has it, so the message is published.
    Publish(Arrived),
    Arrive(Arrived),
    Commit {
        term: u64,
    },
    Answer {
        process: usize,
        boot: u64,
        sending: u64,
        answer: Result<u64, Refusal>,
    },
    Pump {
        process: usize,
        boot: u64,
        consumer: u64,
    },
    Deliver {
        process: usize,
        boot: u64,
        consumer: u64,
        number: u64,
        bytes: Bytes,
        stored_at: Timestamp,
    },
    Decided {
        process: usize,
        boot: u64,
        at: u64,
        draft: Option<Draft>,
    },
    Wake {
        process: usize,
        boot: u64,
    },
    Status {
        process: usize,
        boot: u64,
    },
    LeaderAt {
        process: usize,
        boot: u64,
        last: u64,
        term: u64,
        asked_at: Duration,
    },
    Act {
        client: usize,
    },
    /// The leader ends with its next proposal.
    Shake,
    Lose,
    Cut {
        process: usize,
    },
    Silence {
        process: usize,
    },
    Kill {
        process: usize,
    },
    /// The disk of its copy is full.
    Fill {
        process: usize,
    },
    Start {
        process: usize,
    },
    Calm,
    LastCalls,
}

/// A client: it has one call at a time.
#[derive(Debug, Clone, Copy, Default)]
struct Client {
    calls: u64,
    /// The operation that has no final answer.
    pending: Option<usize>,
}

/// One simulation.
pub(super) struct World {
    plan: Plan,
    random: Random,
    now: Duration,
    happenings: BTreeMap<(Duration, u64), Happening>,
    order: u64,
    cluster: Cluster,
    is_shaken: bool,
    processes: Vec<Process>,
    clients: Vec<Client>,
    judge: Judge,
    /// Processes that have answered the last call.
    last_answers: usize,
    counts: Clustered,
}

impl World {
    pub(super) fn new(seed: u64, plan: Plan) -> Self {
        let mut random = Random::of(&[seed, 0x776f_726c]);
        let fast_by = |at: usize| {
            if plan.has_fast_clock && at == 0 { Duration::from_secs(3_600) } else { Duration::ZERO }
        };
        let processes = (0..plan.processes).map(|at| Process::new(Copy::default(), fast_by(at), &mut random));
        let processes = processes.collect();
        Self {
            plan,
            now: Duration::ZERO,
            happenings: BTreeMap::new(),
            order: 0,
            cluster: Cluster::new(&plan),
            is_shaken: false,
            processes,
            clients: vec![Client::default(); plan.clients],
            judge: Judge::default(),
            last_answers: 0,
            counts: Clustered { runs: 1, ..Clustered::default() },
            random,
        }
    }

    /// Runs it to its end.
    pub(super) fn run(mut self) -> Result<Clustered, Wrong> {
        self.begin()?;
        while let Some(((at, _), happening)) = self.happenings.pop_first() {
            if at > END {
                break;
            }
            self.now = at;
            self.happen(happening)?;
        }
        if let Some(client) = self.clients.iter().position(|client| client.pending.is_some()) {
            return Err(format!("client {client} has no answer at the end"));
        }
        if self.last_answers < self.processes.len() {
            return Err("a process has not answered the last call".to_owned());
        }
        self.counts.broken = u64::from(self.judge.judge(&self.cluster, &self.processes)?);
        self.counts.messages = self.cluster.last();
        let halts = self.processes.iter().filter(|process| process.machine.halted().is_some());
        self.counts.halts = halts.count() as u64;
        Ok(self.counts)
    }

    fn begin(&mut self) -> Result<(), Wrong> {
        for process in 0..self.processes.len() {
            self.start(process)?;
        }
        for client in 0..self.clients.len() {
            self.later(500, Happening::Act { client });
        }
        let Plan { elections, cuts, silences, kills, full_copies, loses, .. } = self.plan;
        let within = u64::try_from(CALM.as_millis()).expect("a minute");
        (0..elections).for_each(|_| self.later(within / 2, Happening::Shake));
        for _ in 0..cuts {
            let process = self.some_process();
            self.later(within / 2, Happening::Cut { process });
        }
        for _ in 0..silences {
            let process = self.some_process();
            self.later(within / 2, Happening::Silence { process });
        }
        for _ in 0..kills {
            let process = self.some_process();
            self.later(within / 2, Happening::Kill { process });
        }
        for _ in 0..full_copies {
            let process = self.some_process();
            self.later(within / 2, Happening::Fill { process });
        }
        if loses > 0 {
            self.later(5_000, Happening::Lose);
        }
        self.at(CALM, Happening::Calm);
        self.at(LAST_CALLS, Happening::LastCalls);
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Wrong> {
        match happening {
            Happening::Ask(arrived) => self.ask(arrived),
            Happening::Publish(arrived) => self.publish(arrived),
            Happening::Arrive(arrived) => self.arrive(arrived),
            Happening::Commit { term } => self.commit(term),
            Happening::Answer { process, boot, sending, answer } => {
                let input = match answer {
                    Ok(number) => Input::Acknowledged { sending, number },
                    Err(refusal) => Input::Refused { sending, refusal },
                };
                return self.input(process, boot, input);
            }
            Happening::Pump { process, boot, consumer } => self.pump(process, boot, consumer),
            Happening::Deliver { process, boot, consumer, number, bytes, stored_at } => {
                self.input(process, boot, Input::Delivered { consumer, number, bytes, stored_at })?;
            }
            Happening::Decided { process, boot, at, draft } => {
                self.input(process, boot, Input::Decided { at, draft })?;
            }
            Happening::Wake { process, boot } => self.input(process, boot, Input::Tick)?,
            Happening::Status { process, boot } => self.status(process, boot)?,
            Happening::LeaderAt { process, boot, last, term, asked_at } => {
                self.input(process, boot, Input::LeaderAt { last, term, asked_at })?;
            }
            Happening::Act { client } => self.act(client)?,
            Happening::Shake => self.is_shaken = true,
            Happening::Lose => {
                let lost = self.cluster.lose(self.plan.loses, self.now, &mut self.random);
                self.counts.lost += lost;
                self.judge.has_lost |= lost > 0;
            }
            Happening::Cut { process } => self.cut(process)?,
            Happening::Silence { process } => {
                let millis = self.random.below(25_000);
                self.processes[process].deaf_until = self.now + Duration::from_millis(millis);
            }
            Happening::Kill { process } => self.kill(process),
            Happening::Fill { process } => self.processes[process].is_full = true,
            Happening::Start { process } => {
                self.processes[process].start_again(&mut self.random);
                self.start(process)?;
            }
            Happening::Calm => {
                self.is_shaken = false;
                let Plan { lost_answers, dead_consumers, gaps, malformed, .. } = &mut self.plan;
                (*lost_answers, *dead_consumers, *gaps, *malformed) = (0, 0, 0, 0);
            }
            Happening::LastCalls => {
                for process in 0..self.processes.len() {
                    self.call(process, usize::MAX, Call::Head)?;
                }
            }
        }
        Ok(())
    }

    // Time and chance.

    fn at(&mut self, at: Duration, happening: Happening) {
        self.order += 1;
        self.happenings.insert((at, self.order), happening);
    }

    /// Something happens within some milliseconds.
    fn later(&mut self, millis_max: u64, happening: Happening) {
        let micros = self.random.below(millis_max * 1_000) + 100;
        self.at(self.now + Duration::from_micros(micros), happening);
    }

    fn chance(&mut self, in_thousand: u64) -> bool {
        self.random.below(1_000) < in_thousand
    }

    fn some_process(&mut self) -> usize {
        usize::try_from(self.random.below(self.processes.len() as u64)).expect("a few")
    }

    // The network.

    /// The leader is asked for the message before. Without an answer the message is not published.
    fn ask(&mut self, arrived: Arrived) {
        let Arrived { process, boot, publish } = &arrived;
        let (process, boot, sending) = (*process, *boot, publish.sending);
        let digest = publish.after_digest.expect("it was asked for");
        let has = self.cluster.has(publish.after, digest, self.now, &mut self.random);
        let is_lost = self.chance(self.plan.lost_answers) || self.now < self.processes[process].deaf_until;
        match has.filter(|_| !is_lost) {
            Some(true) => {
                let millis = if self.chance(100) { 2_000 } else { 3 };
                self.later(millis, Happening::Publish(arrived));
            }
            Some(false) => {
                let answer = Err(Refusal::OtherDigest);
                self.later(3, Happening::Answer { process, boot, sending, answer });
            }
            None => {
                let answer = Err(Refusal::OtherDigest);
                let at = self.now + Duration::from_secs(2);
                self.at(at, Happening::Answer { process, boot, sending, answer });
            }
        }
    }

    fn publish(&mut self, arrived: Arrived) {
        let Process { boot, is_alive, .. } = self.processes[arrived.process];
        if is_alive && boot == arrived.boot {
            self.later(2, Happening::Arrive(arrived));
        }
    }

    fn arrive(&mut self, arrived: Arrived) {
        let (process, boot, sending) = (arrived.process, arrived.boot, arrived.publish.sending);
        match self.cluster.arrive(arrived, self.now, &mut self.random) {
            Taken::Proposed => {
                if std::mem::take(&mut self.is_shaken) {
                    return self.elect();
                }
                let term = self.cluster.term;
                self.later(3, Happening::Commit { term });
            }
            Taken::Answered(answer) => self.answer(process, boot, sending, answer),
            Taken::Ignored => {}
        }
    }

    fn commit(&mut self, term: u64) {
        if term != self.cluster.term {
            return;
        }
        if let Some((arrived, number)) = self.cluster.commit(self.now, &mut self.random) {
            self.answer(arrived.process, arrived.boot, arrived.publish.sending, Ok(number));
            self.pump_all();
        }
    }

    fn answer(&mut self, process: usize, boot: u64, sending: u64, answer: Result<u64, Refusal>) {
        if self.chance(self.plan.lost_answers) || self.now < self.processes[process].deaf_until {
            return;
        }
        // Some answers are late.
        let millis = if self.chance(20) { 6_000 } else { 3 };
        self.later(millis, Happening::Answer { process, boot, sending, answer });
    }

    fn pump_all(&mut self) {
        for process in 0..self.processes.len() {
            let Process { boot, consumer: Consumer { number: consumer, delay_max, .. }, .. } =
                self.processes[process];
            self.later(delay_max, Happening::Pump { process, boot, consumer });
        }
    }

    /// A consumer delivers what comes next.
    fn pump(&mut self, process: usize, boot: u64, consumer: u64) {
        let leaves_out = self.chance(self.plan.gaps);
        let repeats = self.chance(20);
        let Process { boot: own, consumer: state, is_alive, deaf_until, left_out, .. } =
            &mut self.processes[process];
        if !*is_alive || *own != boot || state.number != consumer || state.is_dead {
            return;
        }
        let silent_until = self.cluster.leaderless_until.max(*deaf_until);
        if self.now < silent_until {
            return self.at(silent_until, Happening::Pump { process, boot, consumer });
        }
        // What three consumers leave out is gone.
        let left_out = left_out.entry(state.next).or_default();
        let leaves_out = leaves_out && *left_out < 2;
        *left_out += u32::from(leaves_out);
        let number = state.next + u64::from(leaves_out);
        let index = usize::try_from(number - 1).expect("a few");
        let Some(stored) = self.cluster.log.get(index).cloned() else { return };
        state.next = number + u64::from(!repeats);
        let (bytes, stored_at) = (stored.bytes, stored.stored_at);
        // In order: a delivery is at once.
        self.at(self.now, Happening::Deliver { process, boot, consumer, number, bytes, stored_at });
        self.later(2, Happening::Pump { process, boot, consumer });
    }

    fn status(&mut self, process: usize, boot: u64) -> Result<(), Wrong> {
        let state = &self.processes[process];
        let is_deaf = self.now < self.cluster.leaderless_until.max(state.deaf_until);
        if state.boot != boot {
            return Ok(());
        }
        self.at(self.now + STATUS_TIME, Happening::Status { process, boot });
        if is_deaf {
            return Ok(());
        }
        let (last, term, asked_at) = (self.cluster.last(), self.cluster.term, self.now);
        let answer = Happening::LeaderAt { process, boot, last, term, asked_at };
        self.at(self.now + Duration::from_millis(self.plan.late_status), answer);
        Ok(())
    }

    // Faults.

    fn elect(&mut self) {
        self.cluster.elect(self.now, &mut self.random);
        self.counts.elections += 1;
        for process in 0..self.processes.len() {
            let dies = self.chance(self.plan.dead_consumers);
            self.processes[process].consumer.is_dead |= dies;
        }
        self.pump_all();
    }

    /// The connection of a process is lost: its client may send again what is on its way.
    fn cut(&mut self, process: usize) -> Result<(), Wrong> {
        let boot = self.processes[process].boot;
        let mine = |happening: &&Happening| matches!(happening, Happening::Arrive(arrived) if arrived.process == process);
        let on_their_way = self.happenings.values().filter(mine);
        let again = on_their_way.filter_map(|happening| match happening {
            Happening::Arrive(arrived) => Some(arrived.clone()),
            _ => None,
        });
        for arrived in again.collect::<Vec<_>>() {
            self.later(4_000, Happening::Arrive(arrived));
        }
        self.input(process, boot, Input::ConnectionLost)
    }

    fn kill(&mut self, process: usize) {
        if !self.processes[process].is_alive {
            return;
        }
        self.counts.kills += 1;
        for ticket in self.processes[process].kill() {
            if let Call::Append(number) = ticket.call {
                self.judge.operations[number].may_be_written = true;
            }
            if ticket.client < self.clients.len() {
                self.later(1_000, Happening::Act { client: ticket.client });
            }
        }
        self.later(3_000, Happening::Start { process });
    }

    fn start(&mut self, process: usize) -> Result<(), Wrong> {
        let boot = self.processes[process].boot;
        let outputs = self.processes[process].machine.start(self.now);
        self.at(self.now + STATUS_TIME, Happening::Status { process, boot });
        self.obey(process, outputs)
    }

    // Processes.

    fn input(&mut self, process: usize, boot: u64, input: Input) -> Result<(), Wrong> {
        let Process { boot: own, is_alive, machine, heard, .. } = &mut self.processes[process];
        if *own != boot || !*is_alive {
            return Ok(());
        }
        match &input {
            Input::Acknowledged { number, .. } => _ = heard[0].insert(*number, self.now),
            Input::Delivered { number, .. } => _ = heard[1].insert(*number, self.now),
            _ => {}
        }
        let outputs = machine.input(self.now, input);
        self.obey(process, outputs)?;
        let Process { machine, wakes_at, .. } = &mut self.processes[process];
        let wake = machine.wake();
        if wake != *wakes_at {
            *wakes_at = wake;
            if let Some(at) = wake {
                self.at(at.max(self.now), Happening::Wake { process, boot });
            }
        }
        Ok(())
    }

    fn obey(&mut self, process: usize, outputs: Vec<Output>) -> Result<(), Wrong> {
        let mut decisions = VecDeque::new();
        for output in outputs {
            let state = &mut self.processes[process];
            let boot = state.boot;
            match output {
                Output::Probe => {
                    let draft = state.probe(self.now, &mut self.random);
                    decisions.push_back((state.machine.tip().number, Some(draft)));
                }
                Output::Decide { may_write } => {
                    let at = state.machine.tip().number;
                    let is_malformed = self.random.below(1_000) < self.plan.malformed;
                    let chosen = (may_write, is_malformed);
                    let draft = state.decide(&self.judge.operations, self.now, chosen, &mut self.random);
                    self.counts.decided_again += u64::from(state.decisions == 2);
                    decisions.push_back((at, draft));
                }
                Output::Publish(publish) => {
                    let is_asked_for = publish.after_digest.is_some();
                    if !is_asked_for {
                        state.check_unasked(&publish, self.now)?;
                    }
                    let arrived = Arrived { process, boot, publish };
                    let happening = if is_asked_for { Happening::Ask } else { Happening::Arrive };
                    self.later(2, happening(arrived));
                }
                Output::Apply(..) if state.is_full => {
                    self.input(process, boot, Input::NotApplied { reason: "no room".to_owned() })?;
                }
                Output::Apply(message, place) => {
                    let applied = match state.copy.apply(message.batches(), place) {
                        // It was killed, and has lost events that it is behind.
                        Err(wrong) if self.judge.has_lost => Input::NotApplied { reason: wrong },
                        applied => applied.map(|()| Input::Applied)?,
                    };
                    self.input(process, boot, applied)?;
                }
                Output::Settled(settled) => self.settle(process, &settled)?,
                Output::Follow { consumer, from } => {
                    let is_dead = self.random.below(1_000) < self.plan.dead_consumers;
                    let delay_max = if self.random.below(4) == 0 { 500 } else { 5 };
                    state.consumer = Consumer { number: consumer, next: from, is_dead, delay_max };
                    self.later(delay_max, Happening::Pump { process, boot, consumer });
                }
                Output::Halted(_) => {}
            }
        }
        let boot = self.processes[process].boot;
        for (at, draft) in decisions {
            // A decision takes its time.
            self.later(2, Happening::Decided { process, boot, at, draft });
        }
        Ok(())
    }

    fn settle(&mut self, process: usize, settled: &Settled) -> Result<(), Wrong> {
        for (ticket, answer) in self.processes[process].settle(settled) {
            self.told(process, ticket, &answer)?;
        }
        self.write_on(process)
    }

    /// Begins the next group, if one waits.
    fn write_on(&mut self, process: usize) -> Result<(), Wrong> {
        let state = &mut self.processes[process];
        let boot = state.boot;
        if state.gather() { self.input(process, boot, Input::Begin) } else { Ok(()) }
    }

    // Clients.

    fn told(&mut self, process: usize, ticket: Ticket, answer: &Answer) -> Result<(), Wrong> {
        if let Answer::Head(position) = answer
            && *position < ticket.position
            && !self.judge.has_lost
        {
            return Err(format!(
                "a head of {position} was told, though the cluster had {} before",
                ticket.position
            ));
        }
        if ticket.client == usize::MAX {
            self.last_answers += 1;
            let Process { machine, copy, .. } = &self.processes[process];
            // It waits for events that its copy has, and notices in 15 s that the cluster has lost them.
            let waits_for_lost = self.judge.has_lost && machine.tip().position < copy.position();
            let may_fail = machine.read_only().is_some() || waits_for_lost;
            if !matches!(answer, Answer::Head(_)) && !may_fail {
                return Err(format!("process {process} takes no writes at the end: {answer:?}"));
            }
        }
        if let Call::Append(number) = ticket.call {
            self.check_own_write(process, number, answer)?;
            self.judge.told(number, answer, process, (ticket.begun_at, self.cluster.last()))?;
            self.count(answer);
        }
        let Some(client) = self.clients.get_mut(ticket.client) else { return Ok(()) };
        if let Call::Append(number) = ticket.call {
            let operation = &self.judge.operations[number];
            let is_answered = operation.acknowledged_by.is_some() || operation.refused_by.is_some();
            // A client of a process that takes no writes gives up.
            let is_over = is_answered || *answer == Answer::ReadOnly;
            client.pending = (!is_over).then_some(number);
        }
        self.later(2_000, Happening::Act { client: ticket.client });
        Ok(())
    }

    /// A read after an append sees it, in the process that answered.
    fn check_own_write(&self, process: usize, number: usize, answer: &Answer) -> Result<(), Wrong> {
        let position = self.processes[process].copy.position();
        if matches!(answer, Answer::Appended(repeat) if repeat.end > position) {
            return Err(format!("operation {number} was acknowledged before the copy had it"));
        }
        let state = &self.processes[process];
        let may_refuse = state.machine.halted().is_some() || !state.fast_by.is_zero();
        if *answer == Answer::ReadOnly && !may_refuse {
            return Err(format!("process {process} takes no writes, without a reason"));
        }
        Ok(())
    }

    fn count(&mut self, answer: &Answer) {
        match answer {
            Answer::Appended(_) => self.counts.acknowledged += 1,
            Answer::Refused(_) => self.counts.refused += 1,
            Answer::InDoubt => self.counts.doubts += 1,
            _ => {}
        }
    }

    /// A client makes its next call, or sends again what is in doubt.
    fn act(&mut self, client: usize) -> Result<(), Wrong> {
        let process = self.some_process();
        if !self.processes[process].is_alive {
            self.later(1_000, Happening::Act { client });
            return Ok(());
        }
        if let Some(number) = self.clients[client].pending {
            return self.call(process, client, Call::Append(number));
        }
        if self.clients[client].calls == self.plan.calls {
            return Ok(());
        }
        self.clients[client].calls += 1;
        if self.chance(250) {
            return self.call(process, client, Call::Head);
        }
        let number = self.judge.operations.len();
        let batch = self.batch(number);
        let operation = Operation { batch, may_be_written: false, acknowledged_by: None, refused_by: None };
        self.judge.operations.push(operation);
        self.clients[client].pending = Some(number);
        self.call(process, client, Call::Append(number))
    }

    fn call(&mut self, process: usize, client: usize, call: Call) -> Result<(), Wrong> {
        let begun_at = self.cluster.last();
        let position = self.cluster_position();
        self.processes[process].queue(Ticket { client, call, begun_at, position });
        self.write_on(process)
    }

    /// Events that the cluster has.
    fn cluster_position(&self) -> u64 {
        let events = |stored: &super::cluster::Stored| {
            let message = gesta_jetstream::Message::decode(&stored.bytes, 0);
            message
                .map_or(0, |message| message.batches().iter().map(|batch| batch.events().len() as u64).sum())
        };
        self.cluster.log.iter().map(events).sum()
    }

    /// A batch that a client decides on what some process shows it.
    fn batch(&mut self, number: usize) -> Batch {
        let seen_at = self.some_process();
        let stream = |random: &mut Random| {
            let at = usize::try_from(random.below(STREAMS.len() as u64)).expect("three");
            STREAMS[at].parse::<StreamName>().expect("a name")
        };
        let (first, other) = (stream(&mut self.random), stream(&mut self.random));
        let copy = &self.processes[seen_at].copy;
        let (head, place) = (copy.head(first.as_str()), copy.checkpoint());
        let size = 1 + self.random.below(3);
        let event = |at: u64| {
            let id = EventId::from_u128(number as u128 * 16 + u128::from(at));
            let name = if at == 0 { first.clone() } else { other.clone() };
            NewEvent::json(id, name, "a.b".parse().expect("a type"), server_time(self.now), "{}")
        };
        let mut batch = Batch::new((0..size).map(event));
        if number > 0 && size > 1 && self.chance(150) {
            // The last event is one that another client sends too.
            let another = usize::try_from(self.random.below(number as u64)).expect("a few");
            batch.events.pop();
            batch.events.push(self.judge.operations[another].batch.events[0].clone());
        }
        if self.chance(300) {
            let key = self.random.below(KEYS).to_le_bytes().to_vec().into();
            let request = [u8::from(self.chance(200)); 32];
            batch = batch.with_command(CommandKey { key, request });
        }
        match self.random.below(6) {
            0 => batch,
            1 => batch.expect(first, Expected::Exists),
            2 => batch.fail_if(Query::All, Some(place)),
            3 => batch.fail_if(Item { stream: Some(first), ..Item::default() }.into(), Some(place)),
            _ => {
                let expected = head.map_or(Expected::None, |head| Expected::Exactly(head.version));
                batch.expect(first, expected)
            }
        }
    }
}
