//! Fixed scripts, with a fault at every operation: a single failure, lasting failure, a kill, and power cuts that
//! keep every subset of the changes that were not durable.
//!
//! [`simulate`](crate::simulate) takes random samples. Scripts are exhaustive: no operation of a script is left out.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta_conformance::sample::{self, Sample as _};
use gesta_core::{Batch, CommandKey, Query};
use gesta_log::sim::{self, Failure, Machine, Operation, PlannedFault};
use gesta_log::{LogStore, Options, ReadOnlyCause};

use crate::check::{check_opened, check_shown};
use crate::model::{Model, Wrong};
use crate::outcome::guarded;
use crate::simulation::options;

/// Up to this number of changes that are not durable, a power cut is tried with every subset of them: 2^10 cuts, or
/// 2^5 in a build without optimization.
const SUBSETS_OF_MAX: usize = if cfg!(debug_assertions) { 5 } else { 10 };
/// Random subsets that are tried if there are more changes.
const SUBSETS_SAMPLED: u64 = 16;

/// One step of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Do {
    Open,
    /// A group of `.0` batches, each one event with `.1` bytes of data.
    Append(usize, usize),
    /// `.0` batches in sequence. With small tables each of them becomes a run.
    NewRuns(usize),
    Idle,
    Keep,
    Close,
    /// A group that is partly in the page cache, since the process was killed during the write.
    Tear,
    /// Remembers the current manifest.
    RememberManifest,
    /// Restores the remembered manifest.
    PutManifestBack,
}

/// Size of tables in scripts that do not test runs, and in scripts where each batch of [`RUN_DATA`] bytes becomes a
/// run.
const NO_RUNS: u64 = 64 << 20;
const SMALL_RUNS: u64 = 1 << 10;
/// Bytes of data in an event that fills a table.
const RUN_DATA: usize = 900;
/// A batch that becomes a run.
const NEW_RUN: [Do; 2] = [NEW_TABLE, Do::Keep];
/// A batch that fills a table. The table waits to become a run.
const NEW_TABLE: Do = Do::Append(1, RUN_DATA);

/// A script: steps without faults, then steps with faults.
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
        name: "a torn tail after frames in doubt",
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
        name: "runs and an old manifest",
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

/// Counts of visited fault points of a script.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Visits {
    /// Operations of the script if nothing fails.
    pub operations: u64,
    /// Operations that failed once with EIO.
    pub eio: u64,
    /// Operations that failed once for want of space.
    pub no_space: u64,
    /// Operations from which on all operations failed, for each kind of error.
    pub lasting: u64,
    /// Operations during which the process was stopped.
    pub stops: u64,
    /// Power cuts at these operations, one for each subset of the changes that were not durable.
    pub power_cuts: u64,
    /// Operations with too many changes that were not durable, whose subsets were sampled.
    pub sampled: u64,
}

impl Visits {
    /// The number of all visits.
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
    /// The file operations of the script if nothing fails, in order, each with its file or folder.
    ///
    /// # Errors
    /// A check that fails without a fault.
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
    /// The first promise that the log breaks, with the fault.
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

    /// Runs the steps before the faults.
    fn prepare(&self) -> Result<Run, Wrong> {
        let mut run = Run::prepared(self.before, self.index_run_bytes)?;
        run.index_is_sound = run.index_errors().is_empty();
        Ok(run)
    }

    /// Runs the script with one fault and ends the process in each of three ways. Returns `false` if nothing failed.
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

    /// Stops the process during an operation, then kills it, and cuts the power with every subset kept.
    fn visit_stop(&self, prepared: &Run, after: u64, visits: &mut Visits) -> Result<(), Wrong> {
        let mut stopped = prepared.fork();
        stopped.machine.stop_after(after);
        stopped.perform(self.under_faults)?;
        assert!(stopped.machine.is_stopped(), "the script reaches every operation");
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
            // A different random choice for each cut.
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

/// A log driven by a script, with its model.
pub(crate) struct Run {
    pub(crate) machine: Machine,
    pub(crate) model: Model,
    pub(crate) log: Option<Arc<LogStore>>,
    index_run_bytes: u64,
    /// True if a verification of the index found nothing wrong. Then it must find nothing wrong after a crash.
    index_is_sound: bool,
    /// The remembered manifest.
    manifest: Option<Vec<u8>>,
}

impl Run {
    /// A log that a script has written and that is not open.
    pub(crate) fn prepared(script: &[Do], index_run_bytes: u64) -> Result<Self, Wrong> {
        let (machine, model) = (Machine::new(7), Model::default());
        let mut run =
            Self { machine, model, log: None, index_run_bytes, index_is_sound: false, manifest: None };
        run.perform(script)?;
        // The script alone decides how the process ends.
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

    /// The index errors that a verification reports; empty if there is no log yet.
    fn index_errors(&self) -> Vec<String> {
        sim::verify(&self.machine.fork()).map(|report| report.index_errors).unwrap_or_default()
    }

    /// Performs the steps until the process is stopped or the log does not open.
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

    /// Opens the log. Returns `false` if a fault prevented it.
    fn open(&mut self) -> Result<bool, Wrong> {
        let before = self.machine.fired();
        let log = match sim::open(&self.machine, &self.options()) {
            Ok(log) => Arc::new(log),
            Err(_) if self.machine.is_stopped() || self.machine.fired() > before => return Ok(false),
            Err(error) => return Err(format!("the log does not open: {error:?}")),
        };
        // A single fault may have hit the first check.
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
            Some(own) if is_faulty && own.cause == ReadOnlyCause::StorageFull => {}
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

    /// Runs the rest of a script without a fault, then checks that the log is whole, appends more, and checks again.
    fn finish(mut self, script: &[Do]) -> Result<(), Wrong> {
        self.perform(script)?;
        self.log = None;
        // Failures after the fault are not excused.
        let machine = self.machine.fork();
        let mut run = Self { machine, ..self };
        run.machine.forget_fired();
        let errors = run.index_errors();
        if run.index_is_sound && !errors.is_empty() {
            return Err(format!("a crash alone damaged the index: {errors:?}"));
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
        Err(format!("a closed log fails its verification: {report:?}"))
    }
}

fn manifest() -> PathBuf {
    Path::new(sim::ROOT).join("manifest")
}

/// A batch of one event.
fn batch(number: usize, size: usize) -> Batch {
    let event = sample::event(&format!("s-{}", number % 3), number as u128 + 1);
    let event = event.of_type("sim.happened").with_data(format!("\"{number:>size$}\""));
    let mut batch = Batch::new([event]);
    if number.is_multiple_of(2) {
        batch = batch.with_command(CommandKey { key: format!("key-{number}").into(), request: [7; 32] });
    } else {
        // A condition that holds, so that the script includes the check of conditions.
        batch = batch.fail_if(Query::stream("nobody-1".parse().expect("a name")), None);
    }
    batch
}
