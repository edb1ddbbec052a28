//! Fixed scripts, and a fault at every operation of each: once, from there on, a kill, a power cut that keeps every subset of
//! what was not durable.
//!
//! Where [`simulate`](crate::simulate) draws, this counts: nothing that a script does is left out.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta_core::{Batch, CommandKey, EventId, NewEvent, Query, Timestamp};
use gesta_log::sim::{self, Failure, Machine, Operation, PlannedFault};
use gesta_log::{LogStore, Options};

use crate::check::{check_opened, check_shown};
use crate::model::{Model, Wrong};
use crate::outcome::guarded;
use crate::simulation::options;

/// Things that are not durable at a power cut, up to which every subset of them is kept once: 2^10 cuts, or, in a build without
/// optimization, 2^5.
const SUBSETS_OF_MAX: usize = if cfg!(debug_assertions) { 5 } else { 10 };
/// Subsets that are kept where there are more.
const SUBSETS_SAMPLED: u64 = 16;

/// One thing that a script does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Do {
    Open,
    /// So many batches as one group, each one event with so many bytes of data.
    Append(usize, usize),
    /// So many batches, one after the other, each of which becomes a run where tables are small.
    NewRuns(usize),
    Idle,
    Keep,
    Close,
    /// A group of which a part reaches the page cache, by a process that is killed within its write.
    Tear,
    /// Remembers the manifest as it is.
    RememberManifest,
    /// Puts the manifest back that was remembered.
    PutManifestBack,
}

/// The size of tables where a script is not about runs, and where each batch of [`RUN_DATA`] bytes becomes a run.
const NO_RUNS: u64 = 64 << 20;
const SMALL_RUNS: u64 = 1 << 10;
/// Data of an event that fills a table.
const RUN_DATA: usize = 900;
/// A batch that becomes a run.
const NEW_RUN: [Do; 2] = [NEW_TABLE, Do::Keep];
/// A batch that fills a table, which waits to become a run.
const NEW_TABLE: Do = Do::Append(1, RUN_DATA);

/// A script: what happens before, without faults, and what happens under them.
#[derive(Debug)]
pub struct Script {
    name: &'static str,
    index_run_bytes: u64,
    before: &'static [Do],
    under_faults: &'static [Do],
}

/// Every script.
pub const SCRIPTS: &[Script] = &[
    Script {
        name: "a first open",
        index_run_bytes: NO_RUNS,
        before: &[],
        under_faults: &[
            Do::Open,
            Do::Append(1, 40),
            Do::Append(2, 40),
            Do::Idle,
            Do::Append(1, 700),
            Do::Close,
        ],
    },
    Script {
        name: "appends over a roll",
        index_run_bytes: NO_RUNS,
        before: &[Do::Open, Do::Append(11, 2_300), Do::Close],
        under_faults: &[
            Do::Open,
            Do::Append(1, 2_300),
            Do::Append(1, 40),
            Do::Keep,
            Do::Append(7, 2_300),
            Do::Append(4, 2_300),
            Do::Append(2, 2_300),
            Do::Append(1, 40),
            Do::Append(1, 2_300),
            Do::Keep,
            Do::Append(1, 40),
            Do::Close,
        ],
    },
    Script {
        name: "a torn tail behind frames in doubt",
        index_run_bytes: NO_RUNS,
        before: &[Do::Open, Do::Append(1, 40), Do::Append(1, 900), Do::Append(2, 40), Do::Tear],
        under_faults: &[Do::Open, Do::Append(1, 40), Do::Close],
    },
    Script {
        name: "a close and a reopen",
        index_run_bytes: NO_RUNS,
        before: &[Do::Open, Do::Append(3, 40), Do::Close],
        under_faults: &[
            Do::Open,
            Do::Append(1, 40),
            Do::Close,
            Do::Open,
            Do::Append(1, 40),
            Do::Idle,
            Do::Close,
        ],
    },
    Script {
        name: "runs that are merged",
        index_run_bytes: SMALL_RUNS,
        before: &[Do::Open, Do::NewRuns(6), Do::Close],
        under_faults: &[Do::Open, Do::NewRuns(2), NEW_TABLE, Do::Close],
    },
    Script {
        name: "runs behind a manifest that is old",
        index_run_bytes: SMALL_RUNS,
        before: &[
            Do::Open,
            Do::NewRuns(3),
            Do::Idle,
            Do::RememberManifest,
            Do::NewRuns(5),
            Do::Close,
            Do::PutManifestBack,
        ],
        under_faults: &[Do::Open, Do::NewRuns(1), Do::Close],
    },
];

/// How many fault points of a script were visited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Visits {
    /// Operations of the script without a fault.
    pub operations: u64,
    /// Operations that failed with EIO, once each.
    pub eio: u64,
    /// Operations that found no space, once each.
    pub no_space: u64,
    /// Operations from which on every one failed, of whatever kind.
    pub lasting: u64,
    /// Operations within which the process was stopped.
    pub stops: u64,
    /// Power cuts there, one for each subset of what was not durable.
    pub power_cuts: u64,
    /// Operations with so much that is not durable that its subsets were sampled.
    pub sampled: u64,
}

impl Visits {
    /// Every visit.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.eio + self.no_space + self.lasting + self.stops + self.power_cuts
    }
}

impl fmt::Display for Visits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operations, eio, no_space, lasting, stops, power_cuts, sampled } = self;
        write!(
            f,
            "{} fault points over {operations} operations: {eio} EIO, {no_space} ENOSPC, {lasting} lasting, {stops} kills, \
             {power_cuts} power cuts ({sampled} operations sampled)",
            self.total()
        )
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Script {
    /// What the file system is asked for, from first to last and of which file or folder, where nothing fails.
    ///
    /// # Errors
    /// What is wrong without any fault.
    pub fn operations(&self) -> Result<Vec<(Operation, PathBuf)>, String> {
        let run = self.prepare()?;
        run.machine.record();
        let machine = run.machine.clone();
        run.finish(self.under_faults)?;
        Ok(machine.recorded())
    }

    /// Visits every fault point.
    ///
    /// # Errors
    /// The first promise that the log breaks, and at which fault.
    pub fn visit(&self) -> Result<Visits, String> {
        let prepared = self.prepare()?;
        let mut visits = Visits { operations: self.operations()?.len() as u64, ..Visits::default() };
        for after in 0..visits.operations {
            for (failure, lasts) in [
                (Failure::Eio, false),
                (Failure::NoSpace, false),
                (Failure::Eio, true),
                (Failure::NoSpace, true),
                (Failure::ReadOnly, true),
            ] {
                let fault = PlannedFault { after, failure, lasts };
                let fired = guarded(|| self.visit_failure(&prepared, fault));
                let fired = fired.map_err(|wrong| format!("{wrong}; `{self}` with {fault:?}"))?;
                let count = match (failure, lasts) {
                    (_, true) => &mut visits.lasting,
                    (Failure::NoSpace, false) => &mut visits.no_space,
                    (_, false) => &mut visits.eio,
                };
                *count += u64::from(fired);
            }
            guarded(|| self.visit_stop(&prepared, after, &mut visits))
                .map_err(|wrong| format!("{wrong}; `{self}` stopped after {after} operations"))?;
        }
        Ok(visits)
    }

    /// Everything up to the faults.
    fn prepare(&self) -> Result<Run, Wrong> {
        let mut run = Run::prepared(self.before, self.index_run_bytes)?;
        run.index_is_sound = run.index_errors().is_empty();
        Ok(run)
    }

    /// Runs the script with one fault, then ends the process in each of three ways. `false` if nothing failed.
    fn visit_failure(&self, prepared: &Run, fault: PlannedFault) -> Result<bool, Wrong> {
        let mut fired = false;
        for ending in [Ending::Kill, Ending::DropAll, Ending::ByChance] {
            let mut run = prepared.fork();
            run.machine.plan_fault(Some(fault));
            run.perform(self.under_faults)?;
            fired |= run.machine.fired() > 0;
            if !fired {
                return Ok(false);
            }
            run.machine.plan_fault(None);
            if let Some(log) = &run.log {
                check_shown(log, &run.model, 0)?;
            }
            run.end(ending);
            run.finish(&[])?;
        }
        Ok(fired)
    }

    /// Stops the process within an operation, then kills it, and cuts the power with every subset kept.
    fn visit_stop(&self, prepared: &Run, after: u64, visits: &mut Visits) -> Result<(), Wrong> {
        let mut stopped = prepared.fork();
        stopped.machine.stop_after(after);
        stopped.perform(self.under_faults)?;
        assert!(stopped.machine.is_stopped(), "every operation of the script comes");
        stopped.log = None;
        let mut killed = stopped.fork();
        killed.end(Ending::Kill);
        killed.finish(&[])?;
        visits.stops += 1;
        let pending = stopped.machine.pending();
        let is_small = pending <= SUBSETS_OF_MAX;
        visits.sampled += u64::from(!is_small);
        let subsets = if is_small { 1 << pending } else { SUBSETS_SAMPLED };
        for kept in 0..subsets {
            let mut cut = stopped.fork();
            cut.end(if is_small || kept == 0 { Ending::Keep(kept) } else { Ending::ByChance });
            // Each by another chance.
            let _ = stopped.machine.now();
            cut.finish(&[]).map_err(|wrong| format!("{wrong}; the power cut kept {kept:#b} of {pending}"))?;
            visits.power_cuts += 1;
        }
        Ok(())
    }
}

/// How a process ends.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Kill,
    DropAll,
    ByChance,
    Keep(u64),
}

/// A log that is driven by a script, beside its model.
pub(crate) struct Run {
    pub(crate) machine: Machine,
    pub(crate) model: Model,
    pub(crate) log: Option<Arc<LogStore>>,
    index_run_bytes: u64,
    /// Whether a check of the index finds nothing, and so must find nothing after a crash.
    index_is_sound: bool,
    /// A manifest that was remembered.
    manifest: Option<Vec<u8>>,
}

impl Run {
    /// A log that a script has written, and that no process has open.
    pub(crate) fn prepared(script: &[Do], index_run_bytes: u64) -> Result<Self, Wrong> {
        let (machine, model) = (Machine::new(7), Model::default());
        let mut run =
            Self { machine, model, log: None, index_run_bytes, index_is_sound: false, manifest: None };
        run.perform(script)?;
        // Nothing is done at the end that the script does not say.
        run.end(Ending::Kill);
        Ok(run)
    }

    pub(crate) fn fork(&self) -> Self {
        let (machine, model) = (self.machine.fork(), self.model.clone());
        Self { machine, model, log: None, manifest: None, ..*self }
    }

    pub(crate) fn options(&self) -> Options {
        Options { index_run_bytes: self.index_run_bytes, ..options() }
    }

    /// What a check of the log says of its index; nothing where there is no log yet.
    fn index_errors(&self) -> Vec<String> {
        sim::verify(&self.machine.fork()).map(|report| report.index_errors).unwrap_or_default()
    }

    /// Does one thing after the other, until the process is stopped or the log does not open.
    fn perform(&mut self, script: &[Do]) -> Result<(), Wrong> {
        for step in script {
            if self.machine.is_stopped() {
                break;
            }
            match (step, &self.log) {
                (Do::Open, _) => {
                    self.log = None;
                    if !self.open()? {
                        break;
                    }
                }
                (Do::Append(batches, size), Some(log)) => {
                    let log = Arc::clone(log);
                    self.append(&log, *batches, *size)?;
                }
                (Do::NewRuns(count), Some(_)) => {
                    (0..*count).try_for_each(|_| self.perform(&NEW_RUN))?;
                }
                (Do::Idle, Some(log)) => log.rest_inline(),
                (Do::Keep, Some(log)) => log.keep_inline(),
                (Do::Close, Some(log)) => {
                    log.close();
                    self.log = None;
                }
                (Do::Tear, Some(log)) => {
                    let log = Arc::clone(log);
                    self.machine.stop_after(0);
                    self.append(&log, 6, 400)?;
                    self.end(Ending::Kill);
                }
                (Do::RememberManifest, _) => self.manifest = self.machine.content(&manifest()),
                (Do::PutManifestBack, _) => {
                    let old = self.manifest.take().expect("it was remembered");
                    self.machine.put(&manifest(), old);
                }
                (_, None) => break,
            }
        }
        Ok(())
    }

    fn is_faulty(&self) -> bool {
        self.machine.is_stopped() || self.machine.fired() > 0
    }

    /// Opens the log. `false` if it did not open, for a fault.
    fn open(&mut self) -> Result<bool, Wrong> {
        let before = self.machine.fired();
        let log = match sim::open(&self.machine, &self.options()) {
            Ok(log) => Arc::new(log),
            Err(_) if self.machine.is_stopped() || self.machine.fired() > before => return Ok(false),
            Err(error) => return Err(format!("the log does not open: {error:?}")),
        };
        // A fault that happens once may have hit the first look.
        let mut opened = check_opened(&log, &mut self.model);
        let is_faulty = self.machine.is_stopped() || self.machine.fired() > before;
        if opened.is_err() && is_faulty {
            opened = check_opened(&log, &mut self.model);
        }
        match opened {
            Err(_) if is_faulty => return Ok(false),
            opened => opened?,
        }
        match log.read_only() {
            None => self.model.settle_doubt(),
            Some(reason) if is_faulty && reason.contains("disk is full") => {}
            Some(_) => return Err(format!("a false alarm: {:?}", log.recovery())),
        }
        if !log.recovery().flaws.is_empty() {
            return Err(format!("a false alarm: {:?}", log.recovery().flaws));
        }
        self.log = Some(log);
        Ok(true)
    }

    fn append(&mut self, log: &LogStore, batches: usize, size: usize) -> Result<(), Wrong> {
        let mut line = Vec::new();
        for _ in 0..batches {
            let number = self.model.send(batch(self.model.sent.len(), size));
            line.push((number, log.enqueue_inline(self.model.sent[number].batch.clone())));
        }
        log.commit_inline();
        let is_faulty = self.is_faulty();
        line.into_iter()
            .try_for_each(|(number, pending)| self.model.answered(number, &pending.answer(), is_faulty))
    }

    fn end(&mut self, ending: Ending) {
        match ending {
            Ending::Kill => self.machine.kill(),
            Ending::DropAll => self.machine.cut_power_with(0),
            Ending::ByChance => self.machine.cut_power(),
            Ending::Keep(kept) => self.machine.cut_power_with(kept),
        }
        self.log = None;
    }

    /// Does what is left of a script without a fault, then proves that the log is whole, goes on, and stays whole.
    fn finish(mut self, script: &[Do]) -> Result<(), Wrong> {
        self.perform(script)?;
        self.log = None;
        // Faults that are over excuse nothing.
        let machine = self.machine.fork();
        let mut run = Self { machine, ..self };
        run.machine.forget_fired();
        let errors = run.index_errors();
        if run.index_is_sound && !errors.is_empty() {
            return Err(format!("a crash alone has harmed the index: {errors:?}"));
        }
        run.open()?;
        let log = run.log.clone().ok_or("the log does not open after the fault")?;
        for number in 0..run.model.sent.len() {
            run.model.send_again(number);
            let answer = log.append_blocking(run.model.sent[number].batch.clone());
            run.model.answered(number, &answer, false)?;
        }
        run.append(&log, 1, 40)?;
        log.close();
        drop(log);
        run.end(Ending::DropAll);
        run.open()?;
        let log = run.log.take().ok_or("a log that was closed does not open")?;
        check_shown(&log, &run.model, 0)?;
        log.close();
        drop(log);
        let report = sim::verify(&run.machine).map_err(|error| format!("{error:?}"))?;
        if report.is_sound() && report.events == run.model.log.len() as u64 {
            return Ok(());
        }
        Err(format!("a log that was closed is not sound: {report:?}"))
    }
}

fn manifest() -> PathBuf {
    Path::new(sim::ROOT).join("manifest")
}

/// A batch of one event.
fn batch(number: usize, size: usize) -> Batch {
    let id = EventId::from_u128(number as u128 + 1);
    let (stream, kind) = (format!("s-{}", number % 3), "sim.happened");
    let (stream, kind) = (stream.parse().expect("a name"), kind.parse().expect("a type"));
    let data = format!("\"{number:>size$}\"");
    let mut batch = Batch::new([NewEvent::json(id, stream, kind, Timestamp::from_nanos(1), data)]);
    if number.is_multiple_of(2) {
        batch = batch.with_command(CommandKey { key: format!("key-{number}").into(), request: [7; 32] });
    } else {
        // A condition that holds, so that deciding is a part of the script.
        batch = batch.fail_if(Query::stream("nobody-1".parse().expect("a name")), None);
    }
    batch
}
