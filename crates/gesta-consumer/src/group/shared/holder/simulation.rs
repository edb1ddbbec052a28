//! Processes that share one row, by seeds: they die, stand still and come back; answers are late or lost; puts in doubt arrive much later
//! or never; clocks run apart. Planted mistakes show that the judges find them.

use std::time::Duration;

use gesta_core::Revision;

use super::{Holder, Put, Role, Row, Step, Times};

const PROCESSES: usize = 3;
/// Milliseconds in which things go wrong.
const TROUBLE: u64 = 120_000;
/// Milliseconds after which there is one holder again: a lease of a slow clock, a beat, and two slow answers.
const RECOVERY: u64 = 45_000;
/// The longest time of an answer. In the recovery it is a tenth.
const LATE: u64 = 9_000;

/// A way to break the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    /// Others take over after half the time for which a holder deals.
    ShortLease,
    /// A holder deals for two leases.
    LongHold,
    /// A put in doubt counts as accepted.
    DoubtIsAccepted,
    /// A put replaces whatever row is there.
    Unfenced,
    /// The time of a holder begins with the answer to its put.
    FromTheAnswer,
    /// A process follows a row though its own put may be newer.
    FollowsInDoubt,
    /// A process adds to queries though the one before at its address may still deal.
    WidensAtOnce,
}

/// A request on its way.
#[derive(Debug, Clone)]
struct Request {
    /// When it reaches the store; `None` once it has, or if it never does.
    arrives: Option<u64>,
    /// When the process has the answer.
    answered: u64,
    is_in_doubt: bool,
    kind: Kind,
    /// What the store said.
    row: Option<(Row, Revision)>,
    put: Option<Put>,
}

#[derive(Debug, Clone)]
enum Kind {
    Get,
    Put(Row, Option<Revision>),
}

struct Process {
    name: String,
    holder: Holder,
    address: String,
    /// Its clock runs with `rate` thousandths of the true speed.
    rate: u64,
    offset: u64,
    /// It stands still until then.
    stalled: u64,
    request: Option<Request>,
    /// When its next step is due, in true time.
    due: u64,
    /// What it followed before a put in doubt.
    before: Option<Row>,
    /// It has no address any more, and ends then.
    ends: Option<u64>,
}

impl Process {
    fn clock(&self, now: u64) -> Duration {
        Duration::from_millis(self.offset + now * self.rate / 1_000)
    }

    fn role(&self, now: u64, mistake: Option<Mistake>) -> Role {
        match (self.holder.role(self.clock(now)), &self.before) {
            (Role::Nobody, Some(row)) if mistake == Some(Mistake::FollowsInDoubt) => {
                Role::Follower(row.clone())
            }
            (role, _) => role,
        }
    }

    /// True if it deals, and adds to queries.
    fn widens(&self, now: u64, mistake: Option<Mistake>) -> bool {
        let is_alone = self.clock(now) >= self.holder.alone_from();
        self.role(now, mistake) == Role::Holder && (is_alone || mistake == Some(Mistake::WidensAtOnce))
    }
}

struct Simulation {
    random: u64,
    mistake: Option<Mistake>,
    now: u64,
    row: Option<(Row, Revision)>,
    revision: u64,
    /// The processes at the addresses, in their order, then those that lost their address and end.
    processes: Vec<Process>,
    /// Puts whose process knows no answer, still on their way.
    strays: Vec<Request>,
    made: u64,
}

impl Simulation {
    fn new(seed: u64, mistake: Option<Mistake>) -> Self {
        let mut simulation = Self {
            random: seed,
            mistake,
            now: 0,
            row: None,
            revision: 0,
            processes: Vec::new(),
            strays: Vec::new(),
            made: 0,
        };
        for at in 0..PROCESSES {
            let process = simulation.process(format!("http://{at}"));
            simulation.processes.push(process);
        }
        simulation
    }

    /// splitmix64.
    fn next(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    fn is_troubled(&self) -> bool {
        self.now < TROUBLE
    }

    fn process(&mut self, address: String) -> Process {
        let mut times = Times::USUAL;
        match self.mistake {
            Some(Mistake::ShortLease) => times.lease = times.give_up / 2,
            Some(Mistake::LongHold) => times.give_up = times.lease * 2,
            _ => {}
        }
        self.made += 1;
        let name = format!("process {}", self.made);
        let mut holder = Holder::new(name.clone(), String::new(), times);
        holder.announce(address.clone());
        let (rate, offset) = (900 + self.next(200), self.next(1_000_000));
        let (due, before) = (self.now + self.next(3_000), None);
        Process { name, holder, address, rate, offset, stalled: 0, request: None, due, before, ends: None }
    }

    /// Runs to the next moment at which something happens.
    fn run(&mut self) -> Result<(), String> {
        self.now += 1 + self.next(100);
        if self.is_troubled() && self.next(400) == 0 {
            self.harm();
        }
        self.arrive();
        for at in 0..self.processes.len() {
            if self.processes[at].stalled > self.now {
                continue;
            }
            self.answer(at);
            self.step(at);
        }
        self.end();
        self.judge()
    }

    /// Processes without an address end.
    fn end(&mut self) {
        let now = self.now;
        let is_over = |process: &mut Process| process.ends.is_some_and(|ends| ends <= now);
        for mut process in self.processes.extract_if(.., is_over) {
            self.strays.extend(process.request.take());
        }
    }

    /// A process dies, or only loses its address and ends slowly, and another one begins there; or it stands still.
    fn harm(&mut self) {
        let at = usize::try_from(self.next(PROCESSES as u64)).unwrap();
        if self.next(2) == 0 {
            self.processes[at].stalled = self.now + self.next(30_000);
            return;
        }
        let process = self.process(self.processes[at].address.clone());
        let mut before = std::mem::replace(&mut self.processes[at], process);
        // No process ends in the recovery.
        before.ends = Some((self.now + self.next(20_000)).min(TROUBLE));
        self.processes.push(before);
    }

    /// Requests reach the store.
    fn arrive(&mut self) {
        let (now, row, revision) = (self.now, &mut self.row, &mut self.revision);
        let own = self.processes.iter_mut().filter_map(|process| process.request.as_mut());
        for request in own.chain(&mut self.strays) {
            if request.arrives.is_none_or(|arrives| arrives > now) {
                continue;
            }
            request.arrives = None;
            match &request.kind {
                Kind::Get => request.row.clone_from(row),
                Kind::Put(new, expect) => {
                    let actual = row.as_ref().map(|(_, revision)| *revision);
                    request.put = Some(if actual == *expect || self.mistake == Some(Mistake::Unfenced) {
                        *revision += 1;
                        *row = Some((new.clone(), Revision::new(*revision)));
                        Put::Accepted(Revision::new(*revision))
                    } else {
                        Put::Refused
                    });
                }
            }
        }
        self.strays.retain(|stray| stray.arrives.is_some());
    }

    fn answer(&mut self, at: usize) {
        let (now, mistake, revision) = (self.now, self.mistake, self.revision);
        let process = &mut self.processes[at];
        let Some(request) = process.request.take_if(|request| request.answered <= now) else { return };
        let clock = process.clock(now);
        process.due = now;
        match (&request.kind, request.is_in_doubt) {
            (Kind::Get, true) => process.holder.get_failed(clock),
            (Kind::Get, false) => process.holder.got(clock, request.row),
            (Kind::Put(..), is_in_doubt) => {
                let put = match is_in_doubt {
                    false => request.put.expect("it has arrived"),
                    true if mistake == Some(Mistake::DoubtIsAccepted) => {
                        Put::Accepted(Revision::new(revision.max(1)))
                    }
                    true => Put::InDoubt,
                };
                if mistake == Some(Mistake::FromTheAnswer) {
                    process.holder.step(clock);
                }
                process.holder.put(clock, put);
                if is_in_doubt {
                    self.strays.push(request);
                } else {
                    process.before = None;
                }
            }
        }
    }

    fn step(&mut self, at: usize) {
        let process = &mut self.processes[at];
        if process.request.is_some() || process.due > self.now {
            return;
        }
        let clock = process.clock(self.now);
        if let Role::Follower(row) = process.holder.role(clock) {
            process.before = Some(row);
        }
        let kind = match process.holder.step(clock) {
            Step::Wait(until) => {
                let left = until.saturating_sub(clock).as_millis();
                process.due = self.now + u64::try_from(left).unwrap() * 1_000 / process.rate + 1;
                return;
            }
            Step::Get => Kind::Get,
            Step::Put(row, expect) => Kind::Put(row, expect),
        };
        let late = if self.is_troubled() && self.next(4) == 0 { LATE } else { LATE / 10 };
        let took = 1 + self.next(late);
        let (sent, answered) = (self.now, self.now + took);
        let is_in_doubt = self.is_troubled() && self.next(6) == 0;
        let arrives = match is_in_doubt {
            false => Some(sent + self.next(took)),
            true => (self.next(2) == 0).then(|| sent + self.next(3 * LATE)),
        };
        self.processes[at].request =
            Some(Request { arrives, answered, is_in_doubt, kind, row: None, put: None });
    }

    fn judge(&self) -> Result<(), String> {
        let roles = self.processes.iter().map(|process| process.role(self.now, self.mistake));
        let roles = roles.collect::<Vec<_>>();
        let deals = |at: &usize| roles[*at] == Role::Holder && self.processes[*at].stalled <= self.now;
        let all_dealers = (0..self.processes.len()).filter(deals).collect::<Vec<_>>();
        // If another process has the row by now, it has taken the rows of the groups. They refuse additions of this one.
        let has_row =
            |process: &Process| self.row.as_ref().is_some_and(|(row, _)| row.holder == process.name);
        let widens = |at: &usize| {
            let process = &self.processes[*at];
            process.ends.is_none() && has_row(process) && process.widens(self.now, self.mistake)
        };
        if all_dealers.len() > 1 && all_dealers.iter().any(widens) {
            return Err(format!("a process adds to queries while another one deals at {} ms", self.now));
        }
        // A process deals on for a moment after it has lost its address.
        let dealers = all_dealers.iter().filter(|at| **at < PROCESSES).count();
        if dealers > 1 {
            return Err(format!("{dealers} processes deal at {} ms", self.now));
        }
        for begin in 0..PROCESSES {
            let mut at = begin;
            for _ in 0..=PROCESSES {
                let Role::Follower(row) = &roles[at] else { break };
                let address = row.address.as_ref();
                let followed = self.processes.iter().position(|process| Some(&process.address) == address);
                at = followed.expect("an address is that of a process");
                // A call names the holder, so a later process at its address refuses it.
                if self.processes[at].name != row.holder {
                    break;
                }
                if at == begin {
                    return Err(format!("calls go in a circle at {} ms", self.now));
                }
            }
        }
        if self.now > TROUBLE + RECOVERY {
            let row = self.row.as_ref().map(|(row, _)| &row.holder);
            let followers = roles.iter().filter(|role| match role {
                Role::Follower(followed) => Some(&followed.holder) == row,
                _ => false,
            });
            if (dealers, followers.count()) != (1, PROCESSES - 1) {
                return Err(format!("not one holder with followers at {} ms: {roles:?}", self.now));
            }
        }
        Ok(())
    }
}

fn run(seed: u64, mistake: Option<Mistake>) -> Result<(), String> {
    let mut simulation = Simulation::new(seed, mistake);
    while simulation.now < TROUBLE + RECOVERY + 20_000 {
        simulation.run()?;
    }
    Ok(())
}

#[test]
fn at_most_one_process_deals_and_all_others_find_it() {
    let seeds = std::env::var("GESTA_HOLDER_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(500);
    for seed in 0..seeds {
        run(seed, None).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

#[test]
fn each_planted_mistake_is_found() {
    use Mistake::{
        DoubtIsAccepted, FollowsInDoubt, FromTheAnswer, LongHold, ShortLease, Unfenced, WidensAtOnce,
    };
    for mistake in
        [ShortLease, LongHold, DoubtIsAccepted, Unfenced, FromTheAnswer, FollowsInDoubt, WidensAtOnce]
    {
        let found = (0..500).find(|seed| run(*seed, Some(mistake)).is_err());
        assert!(found.is_some(), "{mistake:?} was not found");
    }
}
