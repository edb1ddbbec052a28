//! Runners of one version against a model of its database: processes die and fall silent, answers and whole transactions are
//! lost. Each seed is one order of events. Planted mistakes show that the checks find them.

use super::{Claim, Owner, claim};

const RUNNERS: usize = 3;
const STEPS: u32 = 400;
const HEAD: u64 = 60;

/// A way to break the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    /// A page commits without a look at place and fence.
    NoCompare,
    /// Rows and place are two transactions.
    RowsApart,
    /// After a lost answer the runner goes on from the place that it remembers.
    OwnPlace,
    /// A runner takes over from an owner that is alive.
    NoStandby,
}

/// The version's row and its rows: what is committed.
#[derive(Debug, Clone, Default)]
struct Database {
    owner: Option<usize>,
    fence: u64,
    at: u64,
    /// The events whose rows are there, in the order of their commits.
    rows: Vec<u64>,
}

#[derive(Debug, Clone, Default)]
struct Runner {
    is_silent: bool,
    /// Place and fence, while the version is open.
    open: Option<(u64, u64)>,
    /// The place after its last page, which a reconnect must not trust.
    remembered: Option<u64>,
}

struct Simulation {
    random: u64,
    mistake: Option<Mistake>,
    database: Database,
    /// What a crash of the server may fall back to: a commit is not durable at once.
    durable: Database,
    runners: [Runner; RUNNERS],
}

impl Simulation {
    fn new(seed: u64, mistake: Option<Mistake>) -> Self {
        let (database, durable) = (Database::default(), Database::default());
        Self { random: seed, mistake, database, durable, runners: Default::default() }
    }

    /// splitmix64.
    fn next(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    fn is(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn open(&mut self, runner: usize) -> Result<(), String> {
        let is_alive = self.database.owner.is_some_and(|owner| !self.runners[owner].is_silent);
        let owner = Owner { runner: self.database.owner.map(|owner| owner.to_string()), is_alive };
        let claimed = claim(&owner, &runner.to_string(), false, true);
        if claimed == Claim::StandBy && !self.is(Mistake::NoStandby) {
            return Ok(());
        }
        let other = self.database.owner.filter(|owner| *owner != runner);
        if let Some(other) = other.filter(|_| is_alive) {
            return Err(format!("{runner} took over from {other}, which is alive"));
        }
        (self.database.owner, self.database.fence) = (Some(runner), self.database.fence + 1);
        let place = match self.runners[runner].remembered {
            Some(remembered) if self.is(Mistake::OwnPlace) => remembered,
            _ => self.database.at,
        };
        self.runners[runner].open = Some((place, self.database.fence));
        Ok(())
    }

    /// One page, and what may go wrong with its commit.
    fn page(&mut self, runner: usize) {
        let Some((from, fence)) = self.runners[runner].open else { return };
        let to = (from + 1 + self.next(4)).min(HEAD);
        if to <= from {
            return;
        }
        let outcome = self.next(8);
        if outcome == 0 && !self.is(Mistake::RowsApart) {
            // The connection broke before the commit.
            self.runners[runner].open = None;
            return;
        }
        let fits = (self.database.at, self.database.fence) == (from, fence);
        if !fits && !self.is(Mistake::NoCompare) {
            // Fenced, or the server lost the last commits: open again.
            self.runners[runner].open = None;
            return;
        }
        self.database.rows.extend(from..to);
        if outcome == 0 {
            self.runners[runner].open = None;
            return;
        }
        self.database.at = to;
        if outcome == 1 {
            // Committed, but the answer was lost.
            self.runners[runner].remembered = Some(from);
            self.runners[runner].open = None;
            return;
        }
        self.runners[runner].remembered = Some(to);
        self.runners[runner].open = Some((to, fence));
    }

    fn step(&mut self) -> Result<(), String> {
        let runner = usize::try_from(self.next(RUNNERS as u64)).expect("small");
        match self.next(20) {
            0 => self.runners[runner] = Runner { is_silent: true, ..Runner::default() },
            1 => self.runners[runner].is_silent = true,
            2 | 3 => self.runners[runner].is_silent = false,
            4 => self.durable = self.database.clone(),
            5 => {
                // The server crashes: commits that were not durable are gone, rows and place together.
                self.database = self.durable.clone();
                self.runners.iter_mut().for_each(|runner| runner.open = None);
            }
            // A process that is stopped for a while still acts on what it knew.
            6..=9 if !self.runners[runner].is_silent && self.runners[runner].open.is_none() => {
                self.open(runner)?
            }
            _ => self.page(runner),
        }
        self.check()
    }

    /// Each event up to the place counts once, in order.
    fn check(&self) -> Result<(), String> {
        let expected = (0..self.database.at).collect::<Vec<_>>();
        match self.database.rows == expected {
            true => Ok(()),
            false => Err(format!("the rows at {} are {:?}", self.database.at, self.database.rows)),
        }
    }

    /// Runs a seed. At the end one runner is left, which must reach the head.
    fn run(mut self) -> Result<(), String> {
        for _ in 0..STEPS {
            self.step()?;
        }
        self.runners[1..].fill(Runner { is_silent: true, ..Runner::default() });
        self.runners[0].is_silent = false;
        for _ in 0..STEPS {
            if self.runners[0].open.is_none() {
                self.open(0)?;
            }
            self.page(0);
            self.check()?;
        }
        match self.database.at {
            HEAD => Ok(()),
            at => Err(format!("it never left {at}")),
        }
    }
}

#[test]
fn every_event_counts_once_whatever_dies_or_is_lost() {
    for seed in 0..3_000 {
        let outcome = Simulation::new(seed, None).run();
        assert_eq!(outcome, Ok(()), "seed {seed}");
    }
}

#[test]
fn planted_mistakes_are_found() {
    for mistake in [Mistake::NoCompare, Mistake::RowsApart, Mistake::OwnPlace, Mistake::NoStandby] {
        let found = (0..200).any(|seed| Simulation::new(seed, Some(mistake)).run().is_err());
        assert!(found, "{mistake:?}");
    }
}
