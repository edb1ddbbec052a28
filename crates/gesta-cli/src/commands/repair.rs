//! `gesta repair`: repairs that recovery must not decide by itself. Without a flag, it only shows what it would do.

use std::path::Path;

use gesta_log::{Repair, RepairError};

use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::target::{IfInUse, LogFolder, cannot_open};

#[derive(clap::Args)]
pub(crate) struct RepairLog {
    #[command(flatten)]
    log: LogFolder,
    /// Rebuild a missing, damaged or stale manifest from the segments.
    #[arg(long, conflicts_with = "drop_tail")]
    manifest: bool,
    /// Move the bytes at the end of the log to `quarantine/`, if they are neither a torn write nor known to be acknowledged events.
    #[arg(long)]
    drop_tail: bool,
}

impl RepairLog {
    pub(crate) fn run(self) -> Outcome {
        let folder = &self.log.existing()?;
        let asked = match (self.manifest, self.drop_tail) {
            (true, _) => Repair::Manifest,
            (false, true) => Repair::DropTail,
            (false, false) => return plan(folder),
        };
        let done = gesta_log::repair(folder, asked).map_err(|error| failure(folder, error))?;
        print("found", &done.found)?;
        print("done", &done.steps)?;
        say(&format!("the report is in `{}`; check the log with `gesta verify`", done.report.display()))?;
        Ok(())
    }
}

fn plan(folder: &Path) -> Outcome {
    let plan = gesta_log::plan_repair(folder).map_err(|error| failure(folder, error))?;
    let Some(repair) = plan.repair else {
        return nothing_to_repair(folder, &plan.found);
    };
    print("found", &plan.found)?;
    print("to do", &plan.steps)?;
    let flag = match repair {
        Repair::Manifest => "--manifest",
        Repair::DropTail => "--drop-tail",
    };
    say(&format!("nothing was changed; to do it, run `gesta repair {flag} --dir {}`", folder.display()))?;
    Ok(())
}

/// Fails if something is wrong that a repair cannot change.
fn nothing_to_repair(folder: &Path, found: &[String]) -> Outcome {
    let name = folder.display();
    if found.is_empty() {
        say("nothing to repair; `gesta verify` checks every byte")?;
        return Ok(());
    }
    let failure = Failure::new(format!("a repair cannot help the log in `{name}`"));
    let failure = found.iter().fold(failure, Failure::cause);
    Err(failure.help("restore the log from a backup with `gesta restore`"))
}

fn print(what: &str, lines: &[String]) -> Outcome {
    for line in lines {
        say(&format!("{what}: {line}"))?;
    }
    Ok(())
}

fn failure(folder: &Path, error: RepairError) -> Failure {
    match error {
        RepairError::Open(error) => cannot_open(folder, &error, IfInUse::Stop),
        error => Failure::new(format!("cannot repair the log in `{}`", folder.display())).because(&error),
    }
}
