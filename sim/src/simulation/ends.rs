//! Harm to the end of a simulated log, and the checks of the log and of an earlier backup after it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta_conformance::sample::{self, Sample as _};
use gesta_core::{AppendError, Batch, Checkpoint, Direction, Place, Query, Read, RecordedEvent};
use gesta_log::sim::{self, ROOT};
use gesta_log::{Backup, BackupError, BackupOptions, LogStore};

use super::{Between, Simulation, options};
use crate::check::{check_harmed, is_index_damage, read_all_events};
use crate::harm::{End, EndHarm, Harm, Left, OtherHistory, Past, Snapshot, harm_end, snapshot};
use crate::model::Wrong;
use crate::random::Random;

const BACKUP: &str = "/backup";
/// Steps between the remembered state and the end of the log.
const STEPS_AFTER_PAST: u64 = 24;
/// The first number of batches that the model does not know: those of a copy, and those of a log that was put back to
/// an earlier time.
const COPIED_FROM: u128 = 1 << 100;
const OUTGROWN_FROM: u128 = 1 << 101;
/// The most events that a log appends to become longer than its backup.
const OUTGROW_BATCHES: u128 = 400;

/// A backup that was taken before the harm.
#[derive(Debug, Clone, Copy)]
struct Kept {
    position: u64,
}

impl Simulation {
    /// Appends more, ends the process, harms the files, and checks the result.
    pub(super) fn harm_end(&mut self, how: EndHarm, left: Left) -> Result<(), Wrong> {
        let (past, kept) = self.live_on(how)?;
        match left {
            Left::Killed => self.end_process(Between::Kill)?,
            Left::Closed => {
                self.end_process(Between::Close)?;
                self.machine.cut_power();
            }
        }
        let mut random = Random::new(self.random.next());
        let Some(harm) = harm_end(&self.machine, how, left, &past, self.model.log.len() as u64, &mut random)
        else {
            return self.reopen(Between::CutPower);
        };
        let met = match how {
            EndHarm::ReadOnlyMount => self.meet_read_only_mount(left, &harm, kept),
            _ => self.meet_end(&harm, kept),
        };
        met.map_err(|wrong| format!("{wrong}; {harm:?}, {kept:?}"))
    }

    /// Appends, remembers the folder, and appends more. A backup is taken before or after that moment.
    fn live_on(&mut self, how: EndHarm) -> Result<(Past, Option<Kept>), Wrong> {
        let mut past = Past::default();
        self.step_on(&mut past)?;
        let mut kept = self.back_up_now_and_then()?;
        let between = if self.random.below(2) == 0 { Between::Close } else { Between::Kill };
        self.end_process(between)?;
        past.folder = snapshot(&self.machine);
        if how == EndHarm::OtherHistory {
            past.copy = self.copy_that_goes_on()?;
        }
        self.reopen(Between::Kill)?;
        self.step_on(&mut past)?;
        kept = self.back_up_now_and_then()?.or(kept);
        self.step_on(&mut past)?;
        Ok((past, kept))
    }

    fn step_on(&mut self, past: &mut Past) -> Result<(), Wrong> {
        for _ in 0..self.random.below(STEPS_AFTER_PAST / 2) {
            match self.random.below(8) {
                0 => self.log().keep_inline(),
                1 => self.log().rest_inline(),
                _ => self.append(1)?,
            }
            let manifest = self.machine.content(&Path::new(ROOT).join("manifest")).unwrap_or_default();
            if past.manifests.last() != Some(&manifest) {
                past.manifests.push(manifest);
            }
        }
        Ok(())
    }

    fn back_up_now_and_then(&mut self) -> Result<Option<Kept>, Wrong> {
        if self.random.below(3) == 0 {
            return Ok(None);
        }
        let taken = self.log().backup(BACKUP, &BackupOptions::default());
        let position = taken.map_err(|error| format!("a backup of an intact log fails: {error:?}"))?.position;
        match position == self.model.log.len() as u64 {
            true => Ok(Some(Kept { position })),
            false => Err(format!("a backup ends at {position} of {} events", self.model.log.len())),
        }
    }

    /// Copies the machine and appends other events there. Returns the files of the copy.
    fn copy_that_goes_on(&mut self) -> Result<Snapshot, Wrong> {
        let copy = self.machine.fork();
        copy.kill();
        let log = sim::open(&copy, &options()).map_err(|error| format!("a copy does not open: {error:?}"))?;
        for number in 0..1 + u128::from(self.random.below(6)) {
            log.append_blocking(strange_batch(COPIED_FROM + number))
                .map_err(|error| format!("appending to a copy fails: {error:?}"))?;
        }
        if self.random.below(2) == 0 {
            log.close();
        }
        copy.kill();
        Ok(snapshot(&copy))
    }

    /// Opens the log twice, and takes a backup over the existing one before the open and while the log is open.
    fn meet_end(&mut self, harm: &Harm, mut kept: Option<Kept>) -> Result<(), Wrong> {
        let End::Proven { to: proven } = harm.end else { unreachable!("the end is judged so") };
        if let Some(other) = harm.other_history.filter(|other| proven < other.from || !other.is_named) {
            return self.meet_unnamed(other, proven);
        }
        if self.random.below(2) == 0 {
            let taken = sim::backup(&self.machine, Path::new(BACKUP));
            self.check_backup(taken, harm, &mut kept)?;
        }
        for _ in 0..2 {
            self.meet_until_healed(harm)?;
            if let Some(log) = self.log.clone() {
                self.outgrow(&log, kept)?;
                let taken = log.backup(BACKUP, &BackupOptions::default());
                self.check_backup(taken, harm, &mut kept)?;
                self.log = None;
                log.close();
            }
            if self.has_outgrown {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Opens a log with frames of another history that no record contradicts. The log cannot detect them, but it must
    /// report the events that are missing after them.
    fn meet_unnamed(&mut self, other: OtherHistory, proven: u64) -> Result<(), Wrong> {
        self.outcome.undetectable += 1;
        let log = sim::open(&self.machine, &options());
        let log = log.map_err(|error| format!("the log does not open: {error:?}"))?;
        let damage = &log.recovery().damage;
        let is_reported =
            |position| damage.iter().any(|damage| (damage.from..=damage.to).contains(&position));
        for position in (other.to + 1..=proven).filter(|position| !is_reported(*position)) {
            let known = &self.model.log[usize::try_from(position - 1).expect("small")];
            if !event_at(&log, position)?.is_some_and(|event| known.is(&event)) {
                return Err(format!("position {position} is missing after another history: {damage:?}"));
            }
        }
        Ok(())
    }

    /// If a log cannot know what it lost, appends events until it is longer than its backup, so that a comparison of
    /// lengths would not show the loss.
    fn outgrow(&mut self, log: &Arc<LogStore>, kept: Option<Kept>) -> Result<(), Wrong> {
        if log.read_only().is_some() {
            return Ok(());
        }
        let mut head = head_of(log)?;
        if head >= self.model.log.len() as u64 {
            return Ok(());
        }
        self.has_outgrown = true;
        let to = kept.map_or(0, |kept| kept.position) + 2;
        for number in 0..OUTGROW_BATCHES {
            if head >= to {
                break;
            }
            match log.append_blocking(strange_batch(OUTGROWN_FROM + number)) {
                Ok(appended) => head += appended.places.len() as u64,
                Err(AppendError::Unavailable { reason }) if is_index_damage(&reason) => break,
                Err(error) => return Err(format!("appending to a log that was put back fails: {error:?}")),
            }
        }
        Ok(())
    }

    /// Checks that a backup over an existing one holds all events of the older backup and all recorded events, or is
    /// refused and leaves the older one unchanged.
    fn check_backup(
        &mut self,
        taken: Result<Backup, BackupError>,
        harm: &Harm,
        kept: &mut Option<Kept>,
    ) -> Result<(), Wrong> {
        let position = match (taken, *kept) {
            (Ok(backup), _) => backup.position,
            (Err(error), _) if harm.is_harmless => {
                return Err(format!("a backup of an intact log fails: {error:?}"));
            }
            (Err(_), Some(kept)) => kept.position,
            (Err(_), None) => return Ok(()),
        };
        if let Some(kept) = kept.filter(|kept| position < kept.position) {
            return Err(format!("a backup up to {} was replaced by one up to {position}", kept.position));
        }
        let certain = if self.has_outgrown { kept.map_or(0, |kept| kept.position) } else { position };
        *kept = Some(Kept { position });
        self.outcome.backups += 1;
        let folder = PathBuf::from(format!("/restored-{}", self.outcome.backups));
        let to_wrong = |error: &dyn std::fmt::Debug| format!("a backup cannot be restored: {error:?}");
        sim::restore(&self.machine, Path::new(BACKUP), &folder).map_err(|error| to_wrong(&error))?;
        let log = sim::open_at(&self.machine, &folder, &options()).map_err(|error| to_wrong(&error))?;
        let events = read_all_events(&log)?;
        if events.len() as u64 != position {
            return Err(format!("a backup up to {position} holds {} events", events.len()));
        }
        let certain = usize::try_from(certain).expect("small");
        let wrong =
            self.model.log.iter().zip(&events).take(certain).position(|(known, event)| !known.is(event));
        match wrong {
            Some(at) => Err(format!("a backup holds another event at {} than was acknowledged", at + 1)),
            None => Ok(()),
        }
    }

    /// Reads, verifies and backs up a log on a read-only mount, then on a writable one.
    fn meet_read_only_mount(&mut self, left: Left, harm: &Harm, mut kept: Option<Kept>) -> Result<(), Wrong> {
        self.machine.mount_read_only(Some(Path::new(ROOT)));
        let log = sim::open(&self.machine, &options());
        let log = log.map_err(|error| format!("a log on a read-only mount cannot be read: {error:?}"))?;
        let shown = check_harmed(&log, &self.model, harm)?;
        if left == Left::Closed && (!shown.is_all || !log.recovery().damage.is_empty()) {
            return Err(format!("on a read-only mount, the log reports {:?}", log.recovery()));
        }
        let (head, known) = (read_all_events(&log)?.len(), self.model.log.len());
        let left_out = log.recovery().left_out;
        if head < known && left_out != Some((head as u64 + 1, known as u64)) {
            return Err(format!(
                "on a read-only mount, {head} of {known} events are shown: {:?}",
                log.recovery()
            ));
        }
        match log.append_blocking(strange_batch(OUTGROWN_FROM)) {
            Err(AppendError::ReadOnly { .. }) => {}
            answer => return Err(format!("an append on a read-only mount got {answer:?}")),
        }
        drop(log);
        let report = sim::verify(&self.machine)
            .map_err(|error| format!("a log on a read-only mount cannot be verified: {error:?}"))?;
        if left == Left::Closed && report.events != self.model.log.len() as u64 {
            return Err(format!("on a read-only mount, a verification reports {report:?}"));
        }
        let taken = sim::backup(&self.machine, Path::new(BACKUP));
        self.check_backup(taken, harm, &mut kept)?;
        self.machine.mount_read_only(None);
        self.reopen(Between::Kill)
    }
}

/// The position of the last event that a log shows.
fn head_of(log: &LogStore) -> Result<u64, Wrong> {
    let page =
        log.read_blocking(&Read { direction: Direction::Backward, ..Read::log_from(Query::All, Place::End) });
    Ok(page.map_err(|error| format!("the head of a log cannot be read: {error:?}"))?.head.sequence(0))
}

/// The event at a position, if the log shows it.
fn event_at(log: &LogStore, position: u64) -> Result<Option<RecordedEvent>, Wrong> {
    let place = Place::At(Checkpoint::new(log.id(), [position - 1]));
    let page = log.read_blocking(&Read::log_from(Query::All, place));
    let page = page.map_err(|error| format!("position {position} cannot be read: {error:?}"))?;
    Ok(page.events.into_iter().find(|event| event.position().sequence == position))
}

/// A batch that the model does not know.
fn strange_batch(number: u128) -> Batch {
    let event = sample::event("s-0", number).of_type("sim.strange");
    Batch::new([event.with_data(format!("\"{number:>300}\""))])
}
