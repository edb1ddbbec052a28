//! The start of a dealer: read the row, put it with a new epoch, only then deal.
//!
//! A put in doubt is never taken for written here. The dealer reads the row again and puts it with the next epoch. So two dealers never
//! have the same epoch.

use std::time::Duration;

use gesta_core::{Checkpoint, Entry, KeyValueError, Revision};

use super::Config;
use super::deadlines::{Deadlines, Due};
use super::message::{CallId, Change, Changed, Ended, Input, Output};
use super::row::Row;
use crate::back_off::pause_after;
use crate::bugs::{Bug, planted};
use crate::group::error::{ChangeError, PutError, TakeError};
use crate::group::groups::Reset;

/// A start under way.
#[derive(Debug)]
pub(super) struct Start {
    state: StartState,
    pub(super) reset: Option<Resetting>,
    /// What came before the group deals. The wait of a call is the time at which it ends.
    pub(super) kept: Vec<Input>,
    failures: u32,
    pub(super) deadlines: Deadlines,
}

/// How far a start is.
#[derive(Debug)]
pub(super) enum StartState {
    /// The row of a reset is being put. Whatever becomes of it, the row is read next.
    Resetting,
    /// The row is being read.
    Reading,
    /// The row is being put.
    Putting(Box<Row>),
    /// Something failed. The row is read again at this time.
    Pausing(Duration),
}

/// A reset whose row was put, or is in doubt.
#[derive(Debug)]
pub(super) struct Resetting {
    pub(super) call: CallId,
    /// The epoch before the reset. The row of the reset has the next one.
    pub(super) epoch: u64,
    /// The number of its put.
    pub(super) put: u64,
    pub(super) at: Checkpoint,
    pub(super) were_parked: u32,
    pub(super) is_done: bool,
}

impl Resetting {
    /// Returns the answer to the operator. The row that was read since then is the dealer's, so nothing of an earlier put can follow.
    pub(super) fn answer(self) -> Output {
        let answer = match self.is_done {
            true => Ok(Changed::Reset(Reset { at: self.at, were_parked: self.were_parked })),
            false => {
                Err(ChangeError::Unavailable { reason: "the row of the reset could not be put".to_owned() })
            }
        };
        Output::Changed(self.call, answer)
    }
}

/// The next step of a start.
#[derive(Debug)]
pub(super) enum Next {
    /// Wait for an answer.
    Wait,
    /// The group deals.
    Live(Box<Row>, Revision),
    /// There is nothing to deal.
    End(Ended),
}

impl Start {
    pub(super) const fn new(deadlines: Deadlines, state: StartState) -> Self {
        Self { state, reset: None, kept: Vec::new(), failures: 0, deadlines }
    }

    /// Takes the row. Puts it with a new epoch.
    pub(super) fn got(
        &mut self,
        result: Result<Option<Entry>, KeyValueError>,
        config: &Config,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Next {
        if !matches!(self.state, StartState::Reading) {
            return Next::Wait;
        }
        let entry = match result {
            Ok(Some(entry)) => entry,
            Ok(None) => return Next::End(Ended::Removed),
            Err(_) => return self.pause(now, out),
        };
        let Ok(mut row) = Row::decode(&entry.value) else { return self.pause(now, out) };
        if let Some(reset) = &mut self.reset {
            reset.is_done |= row.epoch == reset.epoch + 1 && row.put == reset.put;
            if row.epoch != reset.epoch && !reset.is_done {
                return Next::End(Ended::TakenOver);
            }
        }
        let boot_epoch = if planted(Bug::BootIgnored) { 0 } else { config.boot_epoch };
        row.epoch = match &self.reset {
            Some(reset) if planted(Bug::ResetKeepsEpoch) => reset.epoch,
            _ => next_epoch(&row, entry.revision, boot_epoch),
        };
        // Each attempt has a number of its own: that of a reset whose row is not there is not used again.
        row.put = self.reset.as_ref().map_or(row.put, |reset| row.put.max(reset.put)) + 1;
        row.is_running = true;
        out.push(Output::Put { value: row.encode(), expect: entry.revision });
        self.state = StartState::Putting(Box::new(row));
        Next::Wait
    }

    /// Takes the answer to a put.
    pub(super) fn put_done(
        &mut self,
        result: Result<Revision, KeyValueError>,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Next {
        match (&self.state, result) {
            (StartState::Putting(row), Ok(revision)) => Next::Live(row.clone(), revision),
            (StartState::Putting(row), Err(KeyValueError::InDoubt { .. }))
                if planted(Bug::StartTrustsDoubt) =>
            {
                Next::Live(row.clone(), Revision::new(0))
            }
            (StartState::Resetting, _)
            | (StartState::Putting(_), Err(KeyValueError::Changed { .. } | KeyValueError::InDoubt { .. })) => {
                self.state = StartState::Reading;
                out.push(Output::Get);
                Next::Wait
            }
            (StartState::Putting(_), Err(_)) => self.pause(now, out),
            (StartState::Reading | StartState::Pausing(_), _) => Next::Wait,
        }
    }

    /// Keeps what has to wait until the group deals. An operator's change is refused while the row cannot be read: nobody expects it to be made hours
    /// later.
    pub(super) fn keep(&mut self, mut input: Input, now: Duration, out: &mut Vec<Output>) -> Next {
        match &mut input {
            Input::Change(call, change) if self.failures > 0 && !matches!(change, Change::Host { .. }) => {
                out.push(refused(*call, change));
                return Next::Wait;
            }
            Input::Cancel(call) => {
                self.kept.retain(|kept| !matches!(kept, Input::Take(waiting, _) if waiting == call));
                return Next::Wait;
            }
            Input::Take(call, take) => {
                take.wait += now;
                self.deadlines.add(take.wait, Due::Call(*call));
            }
            _ => {}
        }
        self.kept.push(input);
        Next::Wait
    }

    /// Ends calls that have waited long enough, and reads the row again after a pause.
    pub(super) fn tick(&mut self, now: Duration, out: &mut Vec<Output>) -> Next {
        while let Some(due) = self.deadlines.next_due(now) {
            if let Due::Call(call) = due {
                let kept = self.kept.len();
                self.kept.retain(|kept| !matches!(kept, Input::Take(waiting, _) if *waiting == call));
                if self.kept.len() < kept {
                    let reason = "the group is starting".to_owned();
                    out.push(Output::Taken(call, Err(TakeError::Unavailable { reason })));
                }
            }
        }
        if matches!(self.state, StartState::Pausing(until) if until <= now) {
            self.state = StartState::Reading;
            out.push(Output::Get);
        }
        Next::Wait
    }

    /// Tries again after a pause. Operators are not kept waiting.
    fn pause(&mut self, now: Duration, out: &mut Vec<Output>) -> Next {
        self.failures += 1;
        self.kept.retain(|kept| match kept {
            Input::Change(call, change) if !matches!(change, Change::Host { .. }) => {
                out.push(refused(*call, change));
                false
            }
            _ => true,
        });
        let until = now + pause_after(self.failures);
        self.state = StartState::Pausing(until);
        self.deadlines.add(until, Due::Put);
        Next::Wait
    }
}

/// The answer to a change that was not made.
fn refused(call: CallId, change: &Change) -> Output {
    let reason = "the row of the group cannot be read or written now".to_owned();
    match change {
        Change::Settings { .. } => Output::SettingsPut(call, Err(PutError::Unavailable { reason })),
        _ => Output::Changed(call, Err(ChangeError::Unavailable { reason })),
    }
}

/// The bits of an epoch below the number of the boot. At 100 puts a second, 40 bits of revisions last for three centuries.
const BOOT_SHIFT: u32 = 40;

/// Returns the epoch of a start: higher than that of every earlier one of a group of this name.
///
/// - A row that is there has the last epoch.
/// - A group that was removed and made again has a new row. The revision of the row is higher than all that the earlier row had, and an
///   epoch is never raised without a put.
/// - A key-value store that was lost begins its revisions anew, but the log was opened again since then.
fn next_epoch(row: &Row, revision: Revision, boot_epoch: u64) -> u64 {
    let boot = boot_epoch.min(u64::MAX >> (BOOT_SHIFT + 1)) << BOOT_SHIFT;
    (row.epoch + 1).max(boot.saturating_add(revision.get()))
}
