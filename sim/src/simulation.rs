//! One simulation: everything that a seed says happens to one log, beside a model of it.

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

/// One step in so many is watched by a reader in the midst of it.
const STEPS_PER_WATCH: u64 = 4;
/// Groups that a log takes in after a betrayal, so that what was betrayed is known to be durable.
const GROUPS_AFTER_BETRAYAL: u64 = 3;
/// Attempts to open a log while its disk fails; after that the disk works.
const FAULTY_OPENS_MAX: u64 = 4;
/// Opens that an index may need to heal: each meets some of the harm.
const HEALING_OPENS_MAX: u64 = 12;
/// One append in so many is preceded by what was looked up a while ago.
const APPENDS_PER_LATE: u64 = 6;

/// Simulates what a seed says.
///
/// # Errors
/// [`Violation`], of whatever promise was broken first; a panic of the log counts as one.
pub fn simulate(seed: u64) -> Result<Outcome, Violation> {
    simulate_one(seed, None)
}

/// Simulates what a seed says, with one thing that it is to do.
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

/// Simulates one seed after the other, from the first on, until so many operations were done.
///
/// # Errors
/// [`Violation`], the first.
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
    /// Batches that were looked up and do not stand in line yet, with their numbers.
    looked_up: Vec<(usize, LookedUp)>,
    /// The files as an earlier power cut left them.
    earlier: Snapshot,
    earlier_index: Snapshot,
    /// Up to where runs were shown when the process before ended.
    indexed_to: u64,
    /// The size of the disk, where it has an end.
    disk_bytes: u64,
    /// Faults before the log was opened.
    faults_before: u64,
    outcome: Outcome,
    /// The log is left to an operator.
    ended: bool,
    /// The log was put back to an earlier time, and has gone on with events that the model does not know.
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
            Step::Keep => self.watched(|log| log.keep_inline()),
            Step::OpenTwice => self.open_twice(),
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
        let is_disk_full = self.profile.disk_bytes.is_some() && !self.machine.is_stopped();
        if !self.is_faulty() || is_disk_full {
            return Err(format!("the log is read-only without a fault: {:?}", self.log().read_only()));
        }
        if !self.machine.is_stopped() {
            // What is shown after a fault is what was acknowledged, and nobody hears of anything else.
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

    /// Looks a batch up that stands in line later: the index changes behind its back. Half of them are sent at once, too.
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

    /// Sends fresh batches, and now and then those that were looked up a while ago, and commits them as one group; or some of them are
    /// decided while the others are written.
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
            // A group that rolls is published in two parts.
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

    /// Commits what is in line. So many fresh batches come while it is written, and follow as a group of their own.
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
        // Nothing was written where nothing was accepted.
        enqueue();
        log.commit_inline();
        line
    }

    /// Sends a batch again of which the outcome is known.
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

    /// The key of a command stands for its request alone.
    fn reuse(&self, number: usize) -> Result<(), Wrong> {
        let Some(batch) = self.model.reuse_of(number) else { return Ok(()) };
        match self.log().append_blocking(batch) {
            Err(AppendError::KeyReused) => Ok(()),
            Err(AppendError::Unavailable { .. }) if self.is_faulty() => Ok(()),
            other => Err(format!("the command key of batch {number} was used again: {other:?}")),
        }
    }

    /// Sends the last batch again that is in doubt, to a log that takes no more writes.
    fn send_doubtful(&mut self) -> Result<(), Wrong> {
        let Some(number) = self.model.last_in_doubt() else { return Ok(()) };
        let answer = self.log().append_blocking(self.model.sent[number].batch.clone());
        self.model.answered(number, &answer, true)
    }

    /// Lets the log do something that shows nothing new before it is done; a reader looks on now and then.
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

    /// Nobody opens a log that is open.
    fn open_twice(&mut self) -> Result<(), Wrong> {
        self.outcome.second_opens += 1;
        match sim::open(&self.machine, &options()) {
            Err(OpenError::Locked { .. }) => Ok(()),
            Err(_) if self.is_faulty() => Ok(()),
            Err(error) => {
                Err(format!("a second opener is told something else than that the log is in use: {error:?}"))
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
                    return Err(format!("the log does not open, without a fault: {error:?}"));
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

    /// Opens the log. Where its index is built anew, it is looked at before that is there.
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
        // Whoever looked something up is gone with its process.
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
                // Stopped while it closed.
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
                self.check_opens(&reason)?;
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

    /// Closes the log, and harms it where the seed says so.
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
        let harm = match self.profile.ending {
            Ending::Plain => return self.reopen(Between::CutPower),
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
                // The last group was synced, and nothing on the disk says so yet.
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

    /// Lets the disk lie about a sector, goes on until that is known to be durable, and closes the log.
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

    /// Appends, unless the index has been harmed.
    fn append_past_index(&mut self) -> Result<(), Wrong> {
        match self.append(1) {
            Err(wrong) if is_index_damage(&wrong) => Ok(()),
            appended => appended,
        }
    }

    /// Takes the name of a segment away while the log reads and writes it.
    fn unlink(&mut self) -> Result<Option<Harm>, Wrong> {
        let now = snapshot(&self.machine);
        let segments = now.keys().filter(|path| is_segment(path)).cloned().collect::<Vec<_>>();
        let path = segments[index(&mut self.random, segments.len())].clone();
        self.machine.unlink(&path);
        check_shown(self.log(), &self.model, 0)?;
        self.append(1)?;
        self.log.take().iter().for_each(|log| log.close());
        self.machine.cut_power();
        // A spare may have become the last one since.
        let used = used_segments(&now);
        let is_last = used.last() == Some(&path) || !used.contains(&path);
        let end = if is_last { End::Unknown { from: 0 } } else { End::Known };
        Ok(Some(Harm { files: vec![path], end, is_gone: true, ..Harm::default() }))
    }

    /// An index that was harmed heals by opening the log again, once the harm was met.
    fn meet_until_healed(&mut self, harm: &Harm) -> Result<(), Wrong> {
        for _ in 0..HEALING_OPENS_MAX {
            let met = self.meet(harm);
            match met {
                Err(wrong) if harm.hits_index() && is_index_damage(&wrong) => {
                    self.log.take().iter().for_each(|log| log.close());
                    if wrong.contains("read_only: Some") {
                        // Its segments are damaged as well, so it writes no index: it says that whoever keeps it has to delete that.
                        self.delete_index();
                    }
                }
                met => return met,
            }
        }
        Err("an index that was harmed does not heal".to_owned())
    }

    fn delete_index(&self) {
        let runs = self.machine.paths().into_iter().filter(|path| is_run(path));
        runs.for_each(|path| self.machine.unlink(&path));
    }

    /// Verifies and opens a log that was harmed: what is shown is what was acknowledged, what is not shown is reported.
    fn meet(&mut self, harm: &Harm) -> Result<(), Wrong> {
        self.outcome.harms += 1;
        let is_sound = sim::verify(&self.machine).is_ok_and(|report| report.is_sound());
        self.faults_before = self.faults();
        let log = match sim::open(&self.machine, &options()) {
            Ok(_) if harm.hits_manifest() && self.profile.ending == Ending::Rot => {
                return Err("a manifest that rotted is believed".to_owned());
            }
            Ok(log) => Arc::new(log),
            Err(OpenError::ManifestDamaged { .. }) if harm.hits_manifest() => return Ok(()),
            Err(error) => return Err(format!("the log does not open: {error:?}")),
        };
        let shown = check_harmed(&log, &self.model, harm)
            .map_err(|wrong| format!("{wrong}; recovery said {:?}", log.recovery()))?;
        if is_sound && !shown.is_all_known {
            return Err("a log that lost events is called sound".to_owned());
        }
        if harm.is_harmless && (log.read_only().is_some() || !shown.is_all) {
            return Err(format!("nothing is lost, and the log says: {:?}", log.recovery()));
        }
        let is_foreign = self.profile.ending == Ending::Foreign;
        if is_foreign && harm.files.iter().any(|path| !is_segment(path)) {
            let is_there = harm.files.iter().all(|path| self.machine.content(path).is_some());
            if log.read_only().is_some() || !is_there {
                return Err("a foreign file is not left alone".to_owned());
            }
        }
        let goes_on = log.read_only().is_none() && shown.is_all;
        self.log = Some(log);
        if goes_on {
            self.append(1)?;
            self.check_shown()?;
        }
        Ok(())
    }

    /// The log's options: its clock is the machine's, and whoever asks it for the time may be looked at.
    fn options(&self) -> Options {
        let (observer, machine) = (Arc::clone(&self.observer), self.machine.clone());
        let clock = move || {
            observer.look();
            machine.now()
        };
        let Profile { index_run_bytes, index_cache_bytes, .. } = self.profile;
        Options { clock: Some(Arc::new(clock)), index_run_bytes, index_cache_bytes, ..options() }
    }

    /// Adds something that happened to the trace.
    fn note(&mut self, what: u64) {
        let facts = [what, self.machine.trace(), self.model.log.len() as u64];
        for fact in facts {
            self.outcome.trace = (self.outcome.trace ^ fact).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
    }
}

/// The name that a file has once it is in its place.
fn own_name(path: &std::path::Path) -> std::ffi::OsString {
    let name = path.file_name().unwrap_or_default();
    if name == "manifest.tmp" { "manifest".into() } else { name.to_owned() }
}

pub(crate) fn options() -> Options {
    Options { segment_size_bytes: 64 << 10, ..Options::default() }
}
