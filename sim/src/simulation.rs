//! One simulation: everything that a seed says happens to one log, beside a model of it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use gesta_log::sim::{self, Counts, Faults, Machine};
use gesta_log::{LogStore, OpenError, Options};

use crate::check::{check_damaged, check_index, check_opened, check_shown};
use crate::model::{Model, Wrong};
use crate::plan::{Ending, Profile, Step, fresh_batch, index};
use crate::random::Random;

/// Attempts to open a log while its disk fails; after that the disk works.
const FAULTY_OPENS_MAX: u64 = 4;

/// What a simulation did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Appends, reads and other calls, opens included.
    pub operations: u64,
    /// Opens that were checked against the model.
    pub opens: u64,
    /// Opens that a torn sector left read-only, for an operator to decide.
    pub unproven: u64,
    /// What the machine did.
    pub counts: Counts,
    /// A hash over everything that happened: the same for the same seed.
    pub trace: u64,
}

/// A promise that the log broke, and the seed that shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The seed.
    pub seed: u64,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nrepeat it with: cargo xtask sim --seed {}", self.what, self.seed)
    }
}

impl std::error::Error for Violation {}

/// Simulates what a seed says.
///
/// # Errors
/// [`Violation`], of whatever promise was broken first; a panic of the log counts as one.
pub fn simulate(seed: u64) -> Result<Outcome, Violation> {
    let run = || Simulation::new(seed).run();
    let violation = |what| Violation { seed, what };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(outcome) => outcome.map_err(violation),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(violation(format!("the log panicked: {}", said.unwrap_or("without a word"))))
        }
    }
}

/// Simulates one seed after the other, from the first on, until so many operations were done.
///
/// # Errors
/// [`Violation`], the first.
pub fn simulate_many(seeds: impl IntoIterator<Item = u64>, operations: u64) -> Result<Outcome, Violation> {
    let mut sum = Outcome::default();
    for seed in seeds {
        sum.add(&simulate(seed)?);
        if sum.operations >= operations {
            break;
        }
    }
    Ok(sum)
}

impl Outcome {
    /// Adds what another simulation did.
    pub fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.opens += other.opens;
        self.unproven += other.unproven;
        self.trace = self.trace.rotate_left(1) ^ other.trace;
        let (own, other) = (&mut self.counts, &other.counts);
        own.file_operations += other.file_operations;
        own.power_cuts += other.power_cuts;
        own.kills += other.kills;
        own.eio += other.eio;
        own.no_space += other.no_space;
        own.dropped_sectors += other.dropped_sectors;
        own.torn_sectors += other.torn_sectors;
        own.rots += other.rots;
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operations, opens, unproven, counts, trace } = self;
        writeln!(f, "{operations} operations, {opens} opens checked, {unproven} left to an operator")?;
        writeln!(
            f,
            "{} power cuts, {} kills, {} EIO, {} ENOSPC, {} rots",
            counts.power_cuts, counts.kills, counts.eio, counts.no_space, counts.rots
        )?;
        writeln!(
            f,
            "{} sectors dropped, {} torn, {} file operations",
            counts.dropped_sectors, counts.torn_sectors, counts.file_operations
        )?;
        write!(f, "trace {trace:016x}")
    }
}

/// How one process ends and the next begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    Close,
    Kill,
    CutPower,
}

struct Simulation {
    random: Random,
    profile: Profile,
    machine: Machine,
    model: Model,
    log: Option<LogStore>,
    /// Faults before the log was opened.
    faults_before: u64,
    outcome: Outcome,
    /// The log is left to an operator.
    ended: bool,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let profile = Profile::draw(&mut random);
        Self {
            machine: Machine::new(random.next()),
            random,
            profile,
            model: Model::default(),
            log: None,
            faults_before: 0,
            outcome: Outcome::default(),
            ended: false,
        }
    }

    fn run(mut self) -> Result<Outcome, Wrong> {
        self.reopen(Between::CutPower)?;
        for _ in 0..self.profile.steps {
            if self.ended {
                break;
            }
            let step = Step::draw(&mut self.random);
            if self.profile.stops > 0 && self.random.below(self.profile.stops) == 0 {
                self.machine.stop_after(self.random.below(12));
            }
            self.step(step)?;
            self.recover_from_step()?;
            self.note(step as u64);
        }
        if !self.ended {
            self.finish()?;
        }
        self.outcome.counts = self.machine.counts();
        Ok(self.outcome)
    }

    fn step(&mut self, step: Step) -> Result<(), Wrong> {
        self.outcome.operations += 1;
        match step {
            Step::Append => self.append(1),
            Step::Group => {
                let batches = 2 + self.random.below(6);
                self.outcome.operations += batches - 1;
                self.append(batches)
            }
            Step::Repeat => self.repeat(),
            Step::Read => self.read(),
            Step::Idle => {
                self.log().rest_inline();
                Ok(())
            }
            Step::Keep => {
                self.log().keep_inline();
                Ok(())
            }
            Step::Close => self.reopen(Between::Close),
            Step::Kill => self.reopen(Between::Kill),
            Step::CutPower => self.reopen(Between::CutPower),
        }
    }

    /// A process that was stopped is followed by another, and so is a log that takes no more writes.
    fn recover_from_step(&mut self) -> Result<(), Wrong> {
        if self.ended || (!self.machine.is_stopped() && self.log().read_only().is_none()) {
            return Ok(());
        }
        if !self.is_faulty() {
            return Err(format!("the log is read-only without a fault: {:?}", self.log().read_only()));
        }
        if !self.machine.is_stopped() {
            // What is shown after a fault is what was acknowledged.
            self.check_shown()?;
        }
        let between = match self.random.below(3) {
            0 if !self.machine.is_stopped() => Between::Close,
            1 => Between::Kill,
            _ => Between::CutPower,
        };
        self.reopen(between)
    }

    fn log(&self) -> &LogStore {
        self.log.as_ref().expect("a log is open between steps")
    }

    fn faults(&self) -> u64 {
        let counts = self.machine.counts();
        counts.eio + counts.no_space
    }

    fn is_faulty(&self) -> bool {
        self.machine.is_stopped() || self.faults() > self.faults_before
    }

    /// Sends fresh batches, and commits them as one group.
    fn append(&mut self, batches: u64) -> Result<(), Wrong> {
        let mut line = Vec::new();
        for _ in 0..batches {
            let batch = fresh_batch(&mut self.random, self.model.sent.len(), &self.model);
            let number = self.model.send(batch.clone());
            line.push((number, self.log().enqueue_inline(batch)));
            if self.random.below(8) == 0 {
                // The same batch twice in one group.
                let batch = self.model.sent[number].batch.clone();
                line.push((number, self.log().enqueue_inline(batch)));
            }
        }
        self.log().commit_inline();
        for (number, pending) in line {
            let answer = pending.answer();
            self.note(u64::from(answer.is_ok()));
            self.model.answered(number, &answer, self.is_faulty())?;
        }
        Ok(())
    }

    /// Sends a batch again of which the outcome is known.
    fn repeat(&mut self) -> Result<(), Wrong> {
        if self.model.sent.is_empty() {
            return Ok(());
        }
        let number = index(&mut self.random, self.model.sent.len());
        self.model.send_again(number);
        let answer = self.log().append_blocking(self.model.sent[number].batch.clone());
        self.model.answered(number, &answer, self.is_faulty())
    }

    fn read(&mut self) -> Result<(), Wrong> {
        self.check_shown()?;
        self.check_index()
    }

    fn check_shown(&mut self) -> Result<(), Wrong> {
        let mut random = Random::new(self.random.next());
        let checked = check_shown(self.log(), &self.model, &mut random);
        if self.machine.is_stopped() { Ok(()) } else { checked }
    }

    fn check_index(&mut self) -> Result<(), Wrong> {
        let mut random = Random::new(self.random.next());
        let checked = check_index(self.log(), &self.model, &mut random);
        if self.machine.is_stopped() { Ok(()) } else { checked }
    }

    /// Ends the process, and begins another that opens the log.
    fn reopen(&mut self, between: Between) -> Result<(), Wrong> {
        self.end_process(between)?;
        for attempt in 0.. {
            let works = attempt >= FAULTY_OPENS_MAX;
            self.machine.set_faults(if works {
                Faults { torn: self.profile.faults.torn, ..Faults::default() }
            } else {
                self.profile.faults
            });
            if !works && self.profile.stops > 0 && self.random.below(4) == 0 {
                self.machine.stop_after(self.random.below(60));
            }
            self.faults_before = self.faults();
            self.outcome.operations += 1;
            let opened = sim::open(&self.machine, &options());
            self.note(u64::from(opened.is_ok()));
            match opened {
                Ok(log) => {
                    self.log = Some(log);
                    if self.accept_opened()? {
                        break;
                    }
                    self.end_process(Between::Close)?;
                }
                Err(error) if !self.is_faulty() => {
                    return Err(format!("the log does not open, without a fault: {error:?}"));
                }
                Err(_) => {}
            }
            if self.machine.is_stopped() {
                let between = if self.random.below(2) == 0 { Between::Kill } else { Between::CutPower };
                self.end_process(between)?;
            }
        }
        self.machine.set_faults(self.profile.faults);
        Ok(())
    }

    fn end_process(&mut self, between: Between) -> Result<(), Wrong> {
        match between {
            Between::Close => {
                if let Some(log) = &self.log {
                    log.close();
                }
                let quiet = !self.is_faulty();
                self.log = None;
                if quiet && self.outcome.opens > 0 && self.random.below(4) == 0 {
                    self.verify()?;
                }
                // Stopped while it closed.
                if self.machine.is_stopped() {
                    self.machine.kill();
                }
            }
            Between::Kill => self.machine.kill(),
            Between::CutPower => self.machine.cut_power(),
        }
        // Its handles are those of a process that is no more.
        self.log = None;
        Ok(())
    }

    /// A log that was closed without a fault proves itself.
    fn verify(&self) -> Result<(), Wrong> {
        match sim::verify(&self.machine) {
            Ok(report) if report.is_sound() && report.events == self.model.log.len() as u64 => Ok(()),
            Err(_) if self.is_faulty() => Ok(()),
            other => Err(format!("a log that was closed is not sound: {other:?}")),
        }
    }

    /// Checks a log that was opened just now. `false` if it has to be opened again.
    fn accept_opened(&mut self) -> Result<bool, Wrong> {
        if self.machine.is_stopped() {
            return Ok(false);
        }
        self.machine.set_faults(Faults { torn: self.profile.faults.torn, ..Faults::default() });
        let log = self.log.as_ref().expect("it was opened just now");
        self.model.store = Some(log.id());
        let checked = check_opened(log, &mut self.model);
        if self.machine.is_stopped() {
            return Ok(false);
        }
        checked?;
        self.outcome.opens += 1;
        if let Some(reason) = log.read_only() {
            if self.faults() > self.faults_before {
                return Ok(false);
            }
            if self.profile.faults.torn > 0 && log.recovery().damage.is_empty() {
                (self.ended, self.outcome.unproven) = (true, 1);
                return Ok(true);
            }
            return Err(format!("a false alarm: {reason}; {:?}", log.recovery()));
        }
        self.model.settle_doubt();
        self.check_answers()?;
        Ok(!self.machine.is_stopped())
    }

    /// The index and the first answers are what they were.
    fn check_answers(&mut self) -> Result<(), Wrong> {
        for _ in 0..2 {
            self.check_index()?;
            let len = self.model.log.len();
            if len > 0 {
                // The newest ones most of the time: those are at risk.
                let back = index(&mut self.random, len.min(40));
                let number = self.model.log[len - 1 - back].sent;
                let answer = self.log().append_blocking(self.model.repeat_of(number));
                self.model.answered(number, &answer, self.machine.is_stopped())?;
            }
        }
        Ok(())
    }

    /// Closes the log, and lets its bytes rot where the seed says so.
    fn finish(&mut self) -> Result<(), Wrong> {
        self.profile.faults = Faults::default();
        self.profile.stops = 0;
        self.machine.set_faults(Faults::default());
        self.reopen(Between::CutPower)?;
        if self.ended {
            return Ok(());
        }
        for _ in 0..self.random.below(8) {
            self.append(1)?;
        }
        self.end_process(Between::Close)?;
        self.machine.cut_power();
        let damaged = match self.profile.ending {
            Ending::Plain => return self.reopen(Between::CutPower),
            Ending::Rot => self.machine.rot().map(|(path, _)| path),
            Ending::LostSegment => self.machine.lose_segment(),
        };
        let Some(path) = damaged else { return Ok(()) };
        match sim::open(&self.machine, &options()) {
            Ok(log) => self.check_damaged(log, &path),
            Err(OpenError::ManifestDamaged { .. }) if path.ends_with("manifest") => Ok(()),
            Err(error) => {
                Err(format!("after damage to {}, the log does not open: {error:?}", path.display()))
            }
        }
    }

    /// What is lost is reported, by reads and by a check of the whole log.
    fn check_damaged(&self, log: LogStore, path: &Path) -> Result<(), Wrong> {
        let checked = check_damaged(&log, &self.model, self.profile.ending);
        let any_lost = checked.map_err(|wrong| format!("{wrong}; {}", path.display()))?;
        drop(log);
        match sim::verify(&self.machine) {
            Ok(report) if any_lost && report.is_sound() => {
                Err(format!("events are lost, and a check of the log finds it sound; {}", path.display()))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(format!("a damaged log cannot be checked: {error:?}")),
        }
    }

    /// Adds something that happened to the trace.
    fn note(&mut self, what: u64) {
        let facts = [what, self.machine.counts().file_operations, self.model.log.len() as u64];
        for fact in facts {
            self.outcome.trace = (self.outcome.trace ^ fact).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
    }
}

fn options() -> Options {
    Options { segment_size_bytes: 64 << 10, index_run_bytes: 1 << 10, ..Options::default() }
}
