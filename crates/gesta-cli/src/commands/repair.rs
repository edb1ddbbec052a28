//! `gesta repair`: puts right what recovery must not decide on its own. Without a flag it says what it would do.

use std::path::Path;

use gesta_log::{Repair, RepairError};

use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::target::{IfInUse, LogFolder, cannot_open};

#[derive(clap::Args)]
pub(crate) struct RepairLog {
    #[command(flatten)]
    log: LogFolder,
    /// Make a missing, damaged or stale manifest anew from what the segments say.
    #[arg(long, conflicts_with = "drop_tail")]
    manifest: bool,
    /// Move bytes at the end that are neither torn nor proven to be acknowledged to `quarantine/`, and go on before them.
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
        say(&format!("this is written in `{}`; `gesta verify` proves the log now", done.report.display()))?;
        Ok(())
    }
}

fn plan(folder: &Path) -> Outcome {
    let plan = gesta_log::plan_repair(folder).map_err(|error| failure(folder, error))?;
    let Some(repair) = plan.repair else {
        say("there is nothing that a repair could do; `gesta verify` proves every byte")?;
        return Ok(());
    };
    print("found", &plan.found)?;
    print("to do", &plan.steps)?;
    let flag = match repair {
        Repair::Manifest => "--manifest",
        Repair::DropTail => "--drop-tail",
    };
    say(&format!("nothing was changed; `gesta repair {flag} --dir {}` does it", folder.display()))?;
    Ok(())
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
