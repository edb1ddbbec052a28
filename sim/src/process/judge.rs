//! What a process may answer when calls fail under it, and what has to be there afterwards.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use gesta_log::{LogStore, OpenError};

use super::driver::Ended;
use super::said::{Answer, Said};
use super::strace::Call;
use super::witness::Witness;
use crate::model::Wrong;
use crate::workload::options;

/// How a run is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judge {
    /// It was killed: only the log counts.
    Killed,
    /// A call failed: what the process answered counts too.
    Failed,
    /// A write was lost, and nobody was told: the log has to find out.
    Lied,
}

/// A process that has ended, and the folder of its log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ran<'a> {
    pub(super) ended: &'a Ended,
    pub(super) root: &'a Path,
}

impl Ran<'_> {
    /// It was killed: the log is as it was said to be.
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

    /// A call failed: the process answered as it should, and the log is as it said.
    pub(super) fn judge_failed(&self, calls: &[Call], witness: &mut Witness) -> Result<String, Wrong> {
        let injected = calls.iter().any(Call::is_injected);
        let happened = self.judge_answers(witness)?;
        if !injected && happened != "unnoticed" {
            return Err(format!("no call failed, and yet: {happened}"));
        }
        judge_syncs(calls, &happened)?;
        let fell_short = calls
            .iter()
            .any(|call| call.is_injected() && call.name == "fallocate" && call.line.contains("ENOSPC"));
        let other = |said: &Said| matches!(said, Said::NotAcknowledged { answer, .. } if *answer != Answer::StorageFull);
        if fell_short && let Some(said) = self.ended.said.iter().find(|said| other(said)) {
            return Err(format!("a full disk is answered with `{said}`"));
        }
        self.check(witness)?;
        Ok(if injected { happened } else { "ended before".to_owned() })
    }

    /// What the process answered, in a word; wrong, if it may not answer so.
    pub(super) fn judge_answers(&self, witness: &mut Witness) -> Result<String, Wrong> {
        witness.hear(&self.ended.said)?;
        // A limit may keep the program from starting at all.
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
                        return Err(format!("after a batch in doubt another is answered `{said}`"));
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

    /// Checks the log, now that the fault is gone. What was refused and never in doubt was surely not written.
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

    /// A log whose write was lost is whole for another reason, or says what is damaged, and serves nothing that is wrong.
    pub(super) fn judge_lied(&self, witness: &mut Witness) -> Result<String, Wrong> {
        witness.hear(&self.ended.said)?;
        let log = match LogStore::open(self.root, &options()) {
            Ok(log) => log,
            Err(OpenError::ManifestDamaged { .. }) => {
                return Ok("the manifest is found to be damaged".to_owned());
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
            Err(wrong) if is_found && wrong.contains("damaged") => Ok("the damage is found".to_owned()),
            Err(wrong) => Err(wrong),
        }
    }
}

/// After a failed sync nobody is told that anything is durable, whatever a later sync says: the file is given up.
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
        // After its last word the process closes the log: what was acknowledged is safe, and nobody is there to be told.
        let is_closing = !calls[at + 1..].iter().any(|call| call.name == "write");
        if path.ends_with(".seg") && !removed && !is_closing && happened == "unnoticed" {
            return Err(format!("nobody was told of `{}`", failed.line));
        }
    }
    Ok(())
}
