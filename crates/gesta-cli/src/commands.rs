//! The commands, one file each.

mod append;
mod backup;
mod demo;
mod export;
mod import;
mod read;
mod repair;
mod restore;
mod scrub;
mod serve;
mod stat;
mod state;
mod streams;
mod verify;
mod view;

use clap::Subcommand;

use crate::Context;
use crate::failure::Outcome;

/// The commands of the plain binary.
#[derive(Subcommand)]
pub(crate) enum PlainCommand {
    /// Serve an example bank to try things out.
    Demo(demo::Demo),
    #[command(flatten)]
    Other(Command),
}

impl PlainCommand {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        match self {
            Self::Demo(command) => command.run(),
            Self::Other(command) => command.run(context),
        }
    }
}

/// The commands of every program.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve a log over HTTP.
    Serve(serve::Serve),
    /// Append the events of a file of CloudEvents, one JSON object per line. If it stops, run it again: it continues.
    Import(import::Import),
    /// Write events to a file of CloudEvents, which `import` can read.
    Export(export::Export),
    /// Print events.
    Read(read::ReadEvents),
    /// Append one event.
    Append(append::AppendEvent),
    /// List streams.
    Streams(streams::ListStreams),
    /// Print the state of an entity, now or at an earlier point.
    State(state::PrintState),
    /// Check every byte of a log or of a backup.
    Verify(verify::Verify),
    /// Take a backup of a log, or add new events to a backup.
    Backup(backup::TakeBackup),
    /// Make a log from a backup. The log is a new store with the events of the old one.
    Restore(restore::RestoreBackup),
    /// Check the sealed segments of a log, at a limited rate.
    Scrub(scrub::ScrubLog),
    /// Show what can be repaired in a log, and repair it if asked.
    Repair(repair::RepairLog),
    /// Show the segments, sizes, positions and times of a log.
    Stat(stat::StatLog),
    /// Query a view in SQL and print the rows as comma-separated values.
    View(view::QueryView),
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        match self {
            Self::Serve(command) => command.run(context),
            Self::Import(command) => command.run(),
            Self::Export(command) => command.run(),
            Self::Read(command) => command.run(),
            Self::Append(command) => command.run(),
            Self::Streams(command) => command.run(),
            Self::State(command) => command.run(context),
            Self::Verify(command) => command.run(),
            Self::Backup(command) => command.run(),
            Self::Restore(command) => command.run(),
            Self::Scrub(command) => command.run(),
            Self::Repair(command) => command.run(),
            Self::Stat(command) => command.run(),
            Self::View(command) => command.run(),
        }
    }
}
