//! One simulation: executes the steps of a seed on one log and compares the log with a model.

mod disk;
mod ends;
mod index;

use std::sync::Arc;

use gesta_core::AppendError;
use gesta_log::sim::{self, Betrayal, Faults, LookedUp, Machine, Pending};
use gesta_log::{LogStore, OpenError, Options};

use crate::check::{
    check_harmed, check_index, check_kept, check_opened, check_shown, check_unindexed, is_index_damage,
};
use crate::harm::{End, Harm, Snapshot, harm, is_run, is_segment, snapshot, used_segments};
use crate::model::{Model, Wrong};
use crate::observer::Observer;
use crate::outcome::{Outcome, Violation, guarded};
use crate::plan::{Ending, Focus, Profile, Step, fresh_batch, index};
use crate::random::Random;

/// One step in `n` is watched by a reader while it runs.
const STEPS_PER_WATCH: u64 = 4;
/// Groups that a log writes after the disk lied, so that the lost write counts as durable.
const GROUPS_AFTER_BETRAYAL: u64 = 3;
/// Attempts to open a log on a failing disk. After them the disk works.
const FAULTY_OPENS_MAX: u64 = 4;
/// Opens until a harmed index is sound: each may find only a part of the harm.
const HEALING_OPENS_MAX: u64 = 12;
/// One append in `n` first sends batches that were looked up earlier.
const APPENDS_PER_LATE: u64 = 6;

/// Simulates the steps of a seed.
///
/// # Errors
/// [`Violation`]: the first promise that was broken. A panic of the log counts as one.
pub fn simulate(seed: u64) -> Result<Outcome, Violation> {
    simulate_one(seed, None)
}

/// Simulates the steps of a seed with a focus.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_focused(seed: u64, focus: Focus) -> Result<Outcome, Violation> {
    simulate_one(seed, Some(focus))
}

fn simulate_one(seed: u64, focus: Option<Focus>) -> Result<Outcome, Violation> {
    let simulation = Simulation::new(seed, focus);
    let options = format!("{:?}", simulation.profile);
    guarded(|| simulation.run()).map_err(|what| Violation { seed, options, focus, what })
}

/// Simulates the seeds in order until `operations` operations were done.
///
/// # Errors
/// The first [`Violation`].
pub fn simulate_many(
    seeds: impl IntoIterator<Item = u64>,
    operations: u64,
    focus: Option<Focus>,
) -> Result<Outcome, Violation> {
    let mut sum = Outcome::default();
    for seed in seeds {
        sum.add(&simulate_one(seed, focus)?);
        if sum.operations >= operations {
            break;
        }
    }
    Ok(sum)
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
    log: Option<Arc<LogStore>>,
    observer: Arc<Observer>,
    /// Batches that were looked up and not queued yet, with their numbers.
    looked_up: Vec<(usize, LookedUp)>,
    /// The files after an earlier power cut.
    earlier: Snapshot,
    earlier_index: Snapshot,
    /// The last position that runs covered when the previous process ended.
    indexed_to: u64,
    /// The size of the disk, if it is limited.
    disk_bytes: u64,
    /// The number of faults before the log was opened.
    faults_before: u64,
    outcome: Outcome,
    /// The log waits for an operator.
    ended: bool,
    /// The log was put back to an earlier time and then got events that the model does not know.
    has_outgrown: bool,
}

impl Simulation {
    fn new(seed: u64, focus: Option<Focus>) -> Self {
        let mut random = Random::new(seed);
        let profile = Profile::draw(&mut random, focus);
        let machine = Machine::new(random.next());
        machine.set_capacity(profile.disk_bytes);
        machine.set_open_files_max(profile.open_files_max);
        Self {
            disk_bytes: profile.disk_bytes.unwrap_or(0),
            observer: Observer::of(&machine),
            machine,
            looked_up: Vec::new(),
            earlier: Snapshot::new(),
            earlier_index: Snapshot::new(),
            indexed_to: 0,
            random,
            profile,
            model: Model::default(),
            log: None,
            faults_before: 0,
            outcome: Outcome::default(),
            ended: false,
            has_outgrown: false,
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
            Step::LookUp => self.look_up(),
            Step::Repeat => self.repeat(),
            Step::Read => self.read(),
            Step::Idle => self.watched(|log| log.rest_inline()),
            Step::CloseTime => self.close_time(),
            Step::Keep => self.watched(|log| log.keep_inline()),
            Step::OpenTwice => self.open_twice(),
            Step::Close => self.reopen(Between::Close),
            Step::Kill => self.reopen(Between::Kill),
            Step::CutPower => self.reopen(Between::CutPower),
        }
    }

    /// Starts another process after one was stopped, or if the log takes no more writes.
    fn recover_from_step(&mut self) -> Result<(), Wrong> {
        if self.ended || (!self.machine.is_stopped() && self.log().read_only().is_none()) {
            return Ok(());
        }
        let is_disk_full = self.profile.disk_bytes.is_some() && !self.machine.is_stopped();
        if !self.is_faulty() || is_disk_full {
            return Err(format!("the log is read-only without a fault: {:?}", self.log().read_only()));
        }
        if !self.machine.is_stopped() {
            // After a fault, readers see exactly the acknowledged events.
            self.check_shown()?;
            self.send_doubtful()?;
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
        counts.eio + counts.no_space + counts.short_writes + counts.read_only
    }

    fn is_faulty(&self) -> bool {
        self.machine.is_stopped() || self.faults() > self.faults_before
    }

    /// Looks up a batch that is queued later, after the index has changed. Half of these batches are also sent at
    /// once.
    fn look_up(&mut self) -> Result<(), Wrong> {
        let batch = fresh_batch(&mut self.random, self.model.sent.len(), &self.model);
        let number = self.model.send(batch.clone());
        let looked_up = self.log().look_up_inline(batch.clone());
        self.looked_up.push((number, looked_up));
        if self.random.below(2) == 0 {
            return Ok(());
        }
        let pending = self.log().enqueue_inline(batch);
        self.log().commit_inline();
        self.model.answered(number, &pending.answer(), self.is_faulty())
    }

    /// Sends new batches, and sometimes batches that were looked up earlier, and commits them as one group. Sometimes
    /// new batches arrive while others are written.
    fn append(&mut self, batches: u64) -> Result<(), Wrong> {
        let mut line = Vec::new();
        if self.random.below(APPENDS_PER_LATE) == 0 {
            if self.random.below(2) == 0 {
                self.log().keep_inline();
            }
            for (number, looked_up) in std::mem::take(&mut self.looked_up) {
                self.model.send_again(number);
                line.push((number, self.log().enqueue_looked_up(looked_up)));
            }
        }
        let is_lone = batches == 1 && line.is_empty();
        let late = if is_lone { 0 } else { self.random.below(batches) };
        for _ in 0..batches - late {
            let batch = fresh_batch(&mut self.random, self.model.sent.len(), &self.model);
            let number = self.model.send(batch.clone());
            line.push((number, self.log().enqueue_inline(batch)));
            if self.random.below(8) == 0 {
                // The same batch twice in one group.
                let batch = self.model.sent[number].batch.clone();
                line.push((number, self.log().enqueue_inline(batch)));
            }
        }
        if is_lone {
            self.watched(|log| log.commit_inline())?;
        } else {
            // A group that starts a new segment is published in two parts.
            line.extend(self.commit_with_late(late));
        }
        let (mut wrong, mut is_full) = (None, false);
        for (number, pending) in line {
            let answer = pending.answer();
            self.note(u64::from(answer.is_ok()));
            let checked = self.check_refused(&self.model.sent[number].batch, &answer);
            is_full |= matches!(answer, Err(AppendError::StorageFull { .. }));
            let checked = checked.and_then(|()| self.model.answered(number, &answer, self.is_faulty()));
            wrong = wrong.or(checked.err());
        }
        if wrong.is_none() && is_full && self.random.below(4) == 0 {
            self.free_space()?;
        }
        wrong.map_or(Ok(()), Err)
    }

    /// Commits the queue. `late` new batches arrive during the write and follow as a second group.
    fn commit_with_late(&mut self, late: u64) -> Vec<(usize, Pending)> {
        let mut draw = |_| {
            let batch = fresh_batch(&mut self.random, self.model.sent.len(), &self.model);
            (self.model.send(batch.clone()), batch)
        };
        let mut late = (0..late).map(&mut draw).collect::<Vec<_>>();
        let mut line = Vec::new();
        let log = self.log();
        let mut enqueue =
            || line.extend(late.drain(..).map(|(number, batch)| (number, log.enqueue_inline(batch))));
        log.commit_inline_while(&mut enqueue);
        // If no batch was accepted, nothing was written and the late batches were not queued.
        enqueue();
        log.commit_inline();
        line
    }

    /// Closes a time, beside a new batch from time to time: later events are recorded later.
    fn close_time(&mut self) -> Result<(), Wrong> {
        let time = self.machine.now();
        let closing = self.log().enqueue_closing(time);
        if self.random.below(2) == 0 {
            self.append(1)?;
        } else {
            self.watched(|log| log.commit_inline())?;
        }
        match closing.answer() {
            Ok(closed) => self.model.closed(time, closed.checkpoint.sequence(0)),
            Err(_) if self.is_faulty() => {}
            Err(AppendError::StorageFull { .. }) if self.profile.disk_bytes.is_some() => {}
            Err(error) => return Err(format!("the time {time} was not closed without a fault: {error}")),
        }
        Ok(())
    }

    /// Sends a batch with a known outcome again.
    fn repeat(&mut self) -> Result<(), Wrong> {
        if self.model.sent.is_empty() {
            return Ok(());
        }
        let number = index(&mut self.random, self.model.sent.len());
        self.model.send_again(number);
        let answer = self.log().append_blocking(self.model.sent[number].batch.clone());
        self.model.answered(number, &answer, self.is_faulty())?;
        self.reuse(number)
    }

    /// Checks that a command key cannot be used for another request.
    fn reuse(&self, number: usize) -> Result<(), Wrong> {
        let Some(batch) = self.model.reuse_of(number) else { return Ok(()) };
        match self.log().append_blocking(batch) {
            Err(AppendError::KeyReused) => Ok(()),
            Err(AppendError::Unavailable { .. }) if self.is_faulty() => Ok(()),
            other => Err(format!("the command key of batch {number} was used again: {other:?}")),
        }
    }

    /// Sends the last batch in doubt again, to a log that takes no more writes.
    fn send_doubtful(&mut self) -> Result<(), Wrong> {
        let Some(number) = self.model.last_in_doubt() else { return Ok(()) };
        let answer = self.log().append_blocking(self.model.sent[number].batch.clone());
        self.model.answered(number, &answer, true)
    }

    /// Runs work of the log that must not show new events. A reader watches it from time to time.
    fn watched(&mut self, work: impl FnOnce(&LogStore)) -> Result<(), Wrong> {
        let shown = self.model.log.len() as u64;
        let is_watched = self.random.below(STEPS_PER_WATCH) == 0;
        let observer = Arc::clone(&self.observer);
        if is_watched {
            return observer.during(shown, || work(self.log()));
        }
        work(self.log());
        Ok(())
    }

    /// Checks that an open log cannot be opened again.
    fn open_twice(&mut self) -> Result<(), Wrong> {
        self.outcome.second_opens += 1;
        match sim::open(&self.machine, &options()) {
            Err(OpenError::Locked { .. }) => Ok(()),
            Err(_) if self.is_faulty() => Ok(()),
            Err(error) => {
                Err(format!("a second open fails for another reason than that the log is in use: {error:?}"))
            }
            Ok(_) => Err("a log was opened twice".to_owned()),
        }
    }

    fn read(&mut self) -> Result<(), Wrong> {
        self.check_shown()?;
        self.check_index()
    }

    fn check_shown(&mut self) -> Result<(), Wrong> {
        let from = index(&mut self.random, self.model.log.len() + 1);
        let checked = check_shown(self.log(), &self.model, from);
        if self.machine.is_stopped() { Ok(()) } else { checked }
    }

    fn check_index(&mut self) -> Result<(), Wrong> {
        let mut random = Random::new(self.random.next());
        let checked = check_index(self.log(), &self.model, &mut random);
        if self.machine.is_stopped() { Ok(()) } else { checked }
    }

    /// Ends the process and starts another, which opens the log.
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
            let before = (self.random.below(4) == 0).then(|| snapshot(&self.machine));
            self.observer = Observer::of(&self.machine);
            let opened = self.open()?;
            self.note(u64::from(opened.is_ok()));
            match opened {
                Ok(log) => {
                    self.log = Some(Arc::new(log));
                    if self.accept_opened(before.as_ref())? {
                        break;
                    }
                    self.end_process(Between::Close)?;
                }
                Err(error) if !self.is_faulty() => {
                    return Err(format!("the log does not open without a fault: {error:?}"));
                }
                Err(error) => {
                    if !self.machine.is_stopped() {
                        self.check_opens(&error)?;
                        self.free_space()?;
                    }
                }
            }
            if self.machine.is_stopped() {
                let between = if self.random.below(2) == 0 { Between::Kill } else { Between::CutPower };
                self.end_process(between)?;
            }
        }
        self.machine.set_faults(self.profile.faults);
        Ok(())
    }

    /// Opens the log. If its index is being rebuilt, checks the log before the index is ready.
    fn open(&mut self) -> Result<Result<LogStore, OpenError>, Wrong> {
        let log = match sim::open_unindexed(&self.machine, &self.options()) {
            Ok(log) => log,
            Err(error) => return Ok(Err(error)),
        };
        if log.index_progress().is_some() {
            self.outcome.unindexed += 1;
            let checked = check_unindexed(&log, &self.model);
            if !self.is_faulty() {
                checked?;
            }
        }
        Ok(log.index_inline().map(|()| log))
    }

    fn end_process(&mut self, between: Between) -> Result<(), Wrong> {
        // Look-ups end with their process.
        self.looked_up.clear();
        self.remember_index();
        match between {
            Between::Close => {
                if let Some(log) = &self.log {
                    log.close();
                }
                self.remember_index();
                let quiet = !self.is_faulty();
                self.log = None;
                if quiet && self.outcome.opens > 0 && self.random.below(4) == 0 {
                    self.verify()?;
                }
                // The process was stopped during the close.
                if self.machine.is_stopped() {
                    self.machine.kill();
                }
            }
            Between::Kill => self.machine.kill(),
            Between::CutPower => {
                self.machine.cut_power();
                if self.random.below(4) == 0 {
                    self.earlier = snapshot(&self.machine);
                    self.remember_index_files();
                }
            }
        }
        // The handles belong to a process that has ended.
        self.log = None;
        Ok(())
    }

    /// Checks that a log that was closed without a fault passes a full verification.
    fn verify(&self) -> Result<(), Wrong> {
        match sim::verify(&self.machine) {
            Ok(report) if report.is_sound() && report.events == self.model.log.len() as u64 => Ok(()),
            Err(_) if self.is_faulty() => Ok(()),
            other => Err(format!("a closed log fails its verification: {other:?}")),
        }
    }

    /// Checks a log that was just opened. Returns `false` if it must be opened again.
    fn accept_opened(&mut self, before: Option<&Snapshot>) -> Result<bool, Wrong> {
        if self.machine.is_stopped() {
            return Ok(false);
        }
        self.machine.set_faults(Faults { torn: self.profile.faults.torn, ..Faults::default() });
        let log = self.log.as_ref().expect("it was opened just now");
        self.observer.watch(log);
        self.model.store = Some(log.id());
        let checked = check_opened(log, &mut self.model);
        if self.machine.is_stopped() {
            return Ok(false);
        }
        checked?;
        self.outcome.opens += 1;
        if let Some(reason) = log.read_only() {
            if self.faults() > self.faults_before {
                self.check_opens(&reason.reason)?;
                self.log.take().iter().for_each(|log| log.close());
                self.free_space()?;
                return Ok(false);
            }
            if self.profile.faults.torn > 0 && log.recovery().damage.is_empty() {
                (self.ended, self.outcome.unproven) = (true, 1);
                return Ok(true);
            }
            return Err(format!("a false alarm: {reason}; {:?}", log.recovery()));
        }
        if !log.recovery().flaws.is_empty() {
            return Err(format!("a false alarm: {:?}", log.recovery().flaws));
        }
        if let Some(before) = before.filter(|_| log.recovery().rescued_frames == 0) {
            check_kept(before, &self.machine)?;
        }
        self.check_runs_stay()?;
        self.model.settle_doubt();
        self.check_answers()?;
        Ok(!self.machine.is_stopped())
    }

    /// Checks that queries and repeats get the same answers as before.
    fn check_answers(&mut self) -> Result<(), Wrong> {
        for _ in 0..2 {
            self.check_index()?;
            let len = self.model.log.len();
            if len > 0 {
                // Mostly the newest batches: these are at risk.
                let back = index(&mut self.random, len.min(40));
                let number = self.model.log[len - 1 - back].sent;
                let answer = self.log().append_blocking(self.model.repeat_of(number));
                self.model.answered(number, &answer, self.machine.is_stopped())?;
            }
        }
        Ok(())
    }

    /// Closes the log and does the harm that the seed chose.
    fn finish(&mut self) -> Result<(), Wrong> {
        self.profile.faults = Faults::default();
        self.profile.stops = 0;
        self.machine.set_faults(Faults::default());
        self.reopen(Between::CutPower)?;
        if self.ended {
            return Ok(());
        }
        let mut covered = self.model.log.len() as u64;
        for _ in 0..self.random.below(8) {
            let before = self.model.log.len() as u64;
            self.append(1)?;
            covered = if self.model.log.len() as u64 > before { before } else { covered };
        }
        if self.profile.ending == Ending::Plain {
            return self.reopen(Between::CutPower);
        }
        // Where events are lost, a closed time may be lost with them.
        self.model.forget_closed();
        let harm = match self.profile.ending {
            Ending::Index(how) => {
                return match self.harm_index(how)? {
                    Some(harmed) => {
                        self.meet_harmed_index(&harmed).map_err(|wrong| format!("{wrong}; {harmed:?}"))
                    }
                    None => self.reopen(Between::CutPower),
                };
            }
            Ending::End(how, left) => return self.harm_end(how, left),
            Ending::Stale => self.betray(Betrayal::Stale)?,
            Ending::Misdirected => self.betray(Betrayal::Misdirected)?,
            Ending::Unlinked => self.unlink()?,
            Ending::RotOpen => {
                self.end_process(Between::Kill)?;
                // The last group was synced, but no watermark covers it yet.
                self.harm().map(|harm| Harm { end: End::Unknown { from: covered }, ..harm })
            }
            _ => {
                self.end_process(Between::Close)?;
                self.machine.cut_power();
                self.harm()
            }
        };
        match harm {
            Some(harm) => self.meet_until_healed(&harm).map_err(|wrong| format!("{wrong}; {harm:?}")),
            None => self.reopen(Between::CutPower),
        }
    }

    fn harm(&mut self) -> Option<Harm> {
        harm(&self.machine, self.profile.ending, &self.earlier, &mut self.random)
    }

    /// Makes the disk lie about a sector, appends until that sector counts as durable, and closes the log.
    fn betray(&mut self, how: Betrayal) -> Result<Option<Harm>, Wrong> {
        self.machine.betray_after(self.random.below(6), how);
        for _ in 0..12 {
            if self.machine.counts().betrayed_sectors == 0 {
                self.append_past_index()?;
            }
        }
        self.machine.betray_after(u64::MAX, how);
        for _ in 0..GROUPS_AFTER_BETRAYAL {
            self.append_past_index()?;
        }
        self.end_process(Between::Close)?;
        self.machine.cut_power();
        let files = self.machine.betrayed().into_iter().map(|path| path.with_file_name(own_name(&path)));
        let files = files.collect::<Vec<_>>();
        Ok((!files.is_empty()).then_some(Harm { files, ..Harm::default() }))
    }

    /// Appends, unless the index was harmed.
    fn append_past_index(&mut self) -> Result<(), Wrong> {
        match self.append(1) {
            Err(wrong) if is_index_damage(&wrong) => Ok(()),
            appended => appended,
        }
    }

    /// Unlinks a segment while the log uses it.
    fn unlink(&mut self) -> Result<Option<Harm>, Wrong> {
        let now = snapshot(&self.machine);
        let segments = now.keys().filter(|path| is_segment(path)).cloned().collect::<Vec<_>>();
        let path = segments[index(&mut self.random, segments.len())].clone();
        self.machine.unlink(&path);
        check_shown(self.log(), &self.model, 0)?;
        self.append(1)?;
        self.log.take().iter().for_each(|log| log.close());
        self.machine.cut_power();
        // A spare may have become the last segment in the meantime.
        let used = used_segments(&now);
        let is_last = used.last() == Some(&path) || !used.contains(&path);
        let end = if is_last { End::Unknown { from: 0 } } else { End::Known };
        Ok(Some(Harm { files: vec![path], end, is_gone: true, ..Harm::default() }))
    }

    /// Opens the log until a harmed index is repaired: the open after the damage was found repairs it.
    fn meet_until_healed(&mut self, harm: &Harm) -> Result<(), Wrong> {
        for _ in 0..HEALING_OPENS_MAX {
            let met = self.meet(harm);
            match met {
                Err(wrong) if harm.hits_index() && is_index_damage(&wrong) => {
                    let log = self.log.take();
                    log.iter().for_each(|log| log.close());
                    if log.is_some_and(|log| log.read_only().is_some()) {
                        // Segments are damaged too, so the log writes no index. Its message asks the operator to
                        // delete the index.
                        self.delete_index();
                    }
                }
                met => return met,
            }
        }
        Err("a harmed index is not repaired".to_owned())
    }

    fn delete_index(&self) {
        let runs = self.machine.paths().into_iter().filter(|path| is_run(path));
        runs.for_each(|path| self.machine.unlink(&path));
    }

    /// Verifies and opens a harmed log: events that are shown were acknowledged, and missing events are reported.
    fn meet(&mut self, harm: &Harm) -> Result<(), Wrong> {
        self.outcome.harms += 1;
        let is_sound = sim::verify(&self.machine).is_ok_and(|report| report.is_sound());
        self.faults_before = self.faults();
        let log = match sim::open(&self.machine, &options()) {
            Ok(_) if harm.hits_manifest() && self.profile.ending == Ending::Rot => {
                return Err("a damaged manifest is accepted".to_owned());
            }
            Ok(log) => Arc::new(log),
            Err(OpenError::ManifestDamaged { .. }) if harm.hits_manifest() => return Ok(()),
            Err(error) => return Err(format!("the log does not open: {error:?}")),
        };
        self.log = Some(Arc::clone(&log));
        let shown = check_harmed(&log, &self.model, harm)
            .map_err(|wrong| format!("{wrong}; recovery said {:?}", log.recovery()))?;
        if is_sound && !shown.is_all_known {
            return Err("the verification of a log that lost events found nothing".to_owned());
        }
        if harm.is_harmless && (log.read_only().is_some() || !shown.is_all) {
            return Err(format!("nothing is lost, and the log reports: {:?}", log.recovery()));
        }
        let is_foreign = self.profile.ending == Ending::Foreign;
        if is_foreign && harm.files.iter().any(|path| !is_segment(path)) {
            let is_there = harm.files.iter().all(|path| self.machine.content(path).is_some());
            if log.read_only().is_some() || !is_there {
                return Err("a foreign file was changed or removed".to_owned());
            }
        }
        let goes_on = log.read_only().is_none() && shown.is_all;
        if goes_on {
            self.append(1)?;
            self.check_shown()?;
        }
        Ok(())
    }

    /// The log's options. Its clock is the machine's clock, where an observer can run.
    fn options(&self) -> Options {
        let (observer, machine) = (Arc::clone(&self.observer), self.machine.clone());
        let clock = move || {
            observer.look();
            machine.now()
        };
        let Profile { index_run_bytes, index_cache_bytes, .. } = self.profile;
        Options { clock: Some(Arc::new(clock)), index_run_bytes, index_cache_bytes, ..options() }
    }

    /// Adds a value to the trace.
    fn note(&mut self, what: u64) {
        let facts = [what, self.machine.trace(), self.model.log.len() as u64];
        for fact in facts {
            self.outcome.trace = (self.outcome.trace ^ fact).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
    }
}

/// The final name of a file that is written under a temporary name.
fn own_name(path: &std::path::Path) -> std::ffi::OsString {
    let name = path.file_name().unwrap_or_default();
    if name == "manifest.tmp" { "manifest".into() } else { name.to_owned() }
}

pub(crate) fn options() -> Options {
    Options { segment_size_bytes: 64 << 10, ..Options::default() }
}
