//! `gesta audit`: hands events to an auditor, in a file that can be checked without the log.

mod between;
mod check;
mod compare;
mod export;
mod line;
mod redact;

use crate::failure::Outcome;

#[derive(clap::Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Write events with their digests to a file, and a manifest as its last line.
    Export(export::ExportForAudit),
    /// Check such a file: every digest, the order, the count and the sum. With a log, also that the log holds the same events.
    Check(check::CheckAudit),
}

impl Audit {
    pub(crate) fn run(self) -> Outcome {
        match self.action {
            Action::Export(command) => command.run(),
            Action::Check(command) => command.run(),
        }
    }
}
