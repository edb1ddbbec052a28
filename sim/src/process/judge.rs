//! The answers that a process may give when system calls fail, and the checks of its log afterwards.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use gesta_core::{Place, Query, Read, ReadError};
use gesta_log::{LogStore, OpenError};

use super::driver::Ended;
use super::said::{Answer, Said};
use super::strace::Call;
use super::witness::Witness;
use crate::model::Wrong;
use crate::workload::options;

/// The rules for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judge {
    /// The process was killed: only the log counts.
    Killed,
    /// A call failed: the answers of the process count too.
    Failed,
    /// A write was lost without an error: the log must detect it.
    Lied,
}

/// A process that has ended, and the folder of its log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ran<'a> {
    pub(super) ended: &'a Ended,
    pub(super) root: &'a Path,
}

impl Ran<'_> {
    /// Checks after a kill that the log holds what was acknowledged.
    pub(super) fn judge_killed(&self, witness: &mut Witness) -> Result<String, Wrong> {
        witness.hear(&self.ended.said)?;
        let checked = witness.check(self.root)?;
        if self.ended.status.signal() != Some(9) {
            return Ok("ended before".to_owned());
        }
        Ok(match (checked.settled_in_doubt, checked.rescued_frames) {
            (0, 0) => "as acknowledged",
            (0, _) => "rescued",
            _ => "with the batch in doubt",
        }
        .to_owned())
    }

    /// Checks after a failed call that the answers were right and that the log agrees with them.
    pub(super) fn judge_failed(&self, calls: &[Call], witness: &mut Witness) -> Result<String, Wrong> {
        let injected = calls.iter().any(Call::is_injected);
        let happened = self.judge_answers(witness)?;
        if !injected && happened != "unnoticed" {
            return Err(format!("no call failed, but: {happened}"));
        }
        judge_syncs(calls, &happened)?;
        let fell_short = calls
            .iter()
            .any(|call| call.is_injected() && call.name == "fallocate" && call.line.contains("ENOSPC"));
        let other = |said: &Said| matches!(said, Said::NotAcknowledged { answer, .. } if *answer != Answer::StorageFull);
        if fell_short && let Some(said) = self.ended.said.iter().find(|said| other(said)) {
            return Err(format!("an append on a full disk got `{said}`"));
        }
        self.check(witness)?;
        Ok(if injected { happened } else { "ended before".to_owned() })
    }

    /// Summarizes the answers of the process. Fails if one of them is not allowed.
    pub(super) fn judge_answers(&self, witness: &mut Witness) -> Result<String, Wrong> {
        witness.hear(&self.ended.said)?;
        // A limit may prevent the program from starting.
        if self.ended.said.is_empty() && self.ended.status.code() == Some(127) {
            return Ok("not started".to_owned());
        }
        if !self.ended.status.success() {
            return Err(format!(
                "the process ended with {} after {:?}",
                self.ended.status,
                self.ended.said.last()
            ));
        }
        match self.ended.said.first() {
            Some(Said::Failed(_)) => return Ok("not opened".to_owned()),
            Some(Said::Opened { .. }) => {}
            other => return Err(format!("the process began with {other:?}")),
        }
        let mut answers = Vec::new();
        let mut taken_after = false;
        for said in &self.ended.said {
            match said {
                Said::NotAcknowledged { answer, .. } => {
                    if answers.contains(&Answer::InDoubt) && *answer != Answer::ReadOnly {
                        return Err(format!("after a batch in doubt another one got `{said}`"));
                    }
                    answers.push(*answer);
                }
                Said::Acknowledged(_) => {
                    if answers.contains(&Answer::InDoubt) || answers.contains(&Answer::ReadOnly) {
                        return Err(format!("a log that takes no writes acknowledges: `{said}`"));
                    }
                    taken_after |= !answers.is_empty();
                }
                Said::Failed(why) => return Err(format!("after the fault: {why}")),
                _ => {}
            }
        }
        let shown = self.ended.said.iter().find_map(|said| match said {
            Said::Read(events) => Some(*events),
            _ => None,
        });
        if shown != Some(witness.events()) {
            return Err(format!("{shown:?} events are shown, {} were acknowledged", witness.events()));
        }
        answers.dedup();
        let names = answers.iter().map(|answer| answer.name());
        let names = names.chain(taken_after.then_some("taken again")).collect::<Vec<_>>();
        Ok(if names.is_empty() { "unnoticed".to_owned() } else { names.join(" then ") })
    }

    /// Checks the log after the fault has ended. A batch that was refused and never in doubt must not be in it.
    pub(super) fn check(&self, witness: &mut Witness) -> Result<(), Wrong> {
        let checked = witness.check(self.root)?;
        let is_refused = |said: &Said| matches!(said, Said::NotAcknowledged { .. });
        let was_refused =
            self.ended.said.iter().any(is_refused) && !self.ended.said.iter().any(Said::is_in_doubt);
        match checked.settled_in_doubt {
            1.. if was_refused => Err("a batch that was refused has been written".to_owned()),
            _ => Ok(()),
        }
    }

    /// Checks a log that lost a write without an error: it is whole for another reason, or reports the damage and
    /// returns no wrong data.
    pub(super) fn judge_lied(&self, witness: &mut Witness) -> Result<String, Wrong> {
        witness.hear(&self.ended.said)?;
        let log = match LogStore::open(self.root, &options()) {
            Ok(log) => log,
            Err(OpenError::ManifestDamaged { .. }) => {
                return Ok("the manifest is reported as damaged".to_owned());
            }
            Err(error) => return Err(format!("the log does not open: {error:?}")),
        };
        let recovery = log.recovery();
        let is_found = log.read_only().is_some() || !recovery.damage.is_empty() || !recovery.flaws.is_empty();
        match witness.check_shown(&log) {
            Ok(()) if !is_found => {
                drop(log);
                witness.check(self.root).map(|_| "nothing was lost".to_owned())
            }
            Ok(()) => Ok("found, nothing was lost".to_owned()),
            Err(_) if is_found && reports_loss(&log) => Ok("the damage is found".to_owned()),
            Err(wrong) => Err(wrong),
        }
    }
}

/// Whether a read of the whole log ends at lost events.
fn reports_loss(log: &LogStore) -> bool {
    let mut read = Read::log(Query::All);
    loop {
        match log.read_blocking(&read) {
            Ok(page) if page.end => return false,
            Ok(page) => read = Read::log_from(Query::All, Place::At(page.scanned_to)),
            Err(error) => return matches!(error, ReadError::DataLoss { .. }),
        }
    }
}

/// Checks that after a failed sync nothing is acknowledged, even if a later sync succeeds: the file is not used
/// again.
fn judge_syncs(calls: &[Call], happened: &str) -> Result<(), Wrong> {
    let is_sync = |call: &Call| call.name == "fdatasync" || call.name == "fsync";
    for (at, failed) in calls.iter().enumerate() {
        let Some(path) = failed.path.as_ref().filter(|_| failed.is_injected() && is_sync(failed)) else {
            continue;
        };
        let later = calls[at + 1..].iter().filter(|call| call.path.as_ref() == Some(path));
        let mut until_removed = later.take_while(|call| call.name != "unlink" || call.is_injected());
        if path.ends_with(".seg") || path.contains("manifest") {
            let again = until_removed.find(|call| is_sync(call) || call.name == "pwritev");
            if let Some(again) = again {
                return Err(format!("after `{}` the file is used again: `{}`", failed.line, again.line));
            }
        }
        let removed =
            calls[at + 1..].iter().any(|call| call.name == "unlink" && call.path.as_ref() == Some(path));
        // After its last output the process closes the log. All acknowledged events are safe and no client waits for
        // an answer.
        let is_closing = !calls[at + 1..].iter().any(|call| call.name == "write");
        if path.ends_with(".seg") && !removed && !is_closing && happened == "unnoticed" {
            return Err(format!("no client got an error for `{}`", failed.line));
        }
    }
    Ok(())
}
