//! The commands, one file each.

mod append;
mod audit;
mod backup;
mod bench;
mod consumers;
mod copy;
mod demo;
mod doctor;
mod excerpt;
mod export;
mod groups;
mod import;
mod inventory;
mod jetstream;
mod lock;
mod open_category;
mod openapi;
mod prove;
mod read;
mod repair;
mod restore;
mod scrub;
mod series;
mod serve;
mod snapshot;
mod stat;
mod state;
mod steps;
mod streams;
mod verify;
mod view;
mod view_parked;
mod view_past;
mod view_versions;
mod why;

use clap::Subcommand;

use crate::failure::Outcome;
use crate::host::Host;

/// The commands of the plain binary.
#[derive(Subcommand)]
pub(crate) enum PlainCommand {
    /// Serve an example bank to try things out.
    Demo(demo::Demo),
    /// Measure how many commands a store takes: clients deposit money in the accounts of the example bank.
    Bench(bench::Bench),
    #[command(flatten)]
    Other(Command),
}

impl PlainCommand {
    pub(crate) fn run(self, host: &Host) -> Outcome {
        match self {
            Self::Demo(command) => command.run(),
            Self::Bench(command) => command.run(),
            Self::Other(command) => command.run(host),
        }
    }
}

/// The commands of a program that hosts an application.
#[derive(Subcommand)]
pub(crate) enum HostCommand {
    /// Write the schemas of all released events to a file to commit, and samples of them.
    Lock(lock::LockEvents),
    /// Check that this program reads all released events: by the lock, by samples, on a log.
    Prove(prove::ProveEvents),
    #[command(flatten)]
    Other(Command),
}

impl HostCommand {
    pub(crate) fn run(self, host: &Host) -> Outcome {
        match self {
            Self::Lock(command) => command.run(host),
            Self::Prove(command) => command.run(host),
            Self::Other(command) => command.run(host),
        }
    }
}

/// The commands of every program.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve a log over HTTP.
    Serve(Box<serve::Serve>),
    /// Append the events of a file of CloudEvents, one JSON object per line. If it stops, run it again: it continues.
    Import(import::Import),
    /// Write events to a file of CloudEvents, which `import` can read.
    Export(export::Export),
    /// Take whole streams out of a store into a log of their own, to repeat a case in a test.
    Excerpt(excerpt::TakeExcerpt),
    /// Print events.
    Read(read::ReadEvents),
    /// Print what led to an event, and what it led to.
    Why(why::ExplainEvent),
    /// Hand events to an auditor, in a file that can be checked without the log.
    Audit(audit::Audit),
    /// Append one event.
    Append(append::AppendEvent),
    /// List streams.
    Streams(streams::ListStreams),
    /// Print the state of an entity: now, at an earlier point, at many moments, event by event, or as it would be with other events.
    State(Box<state::PrintState>),
    /// Check every byte of a log or of a backup.
    Verify(verify::Verify),
    /// Take a backup of a log, or add new events to a backup.
    Backup(backup::TakeBackup),
    /// Make a log from a backup. The log is a new store with the events of the old one.
    Restore(restore::RestoreBackup),
    /// Copy a store to another place, with places, times, command keys and the progress of groups. If it stops, run it again: it continues.
    Copy(copy::CopyStore),
    /// Examine the cluster of a store on NATS JetStream: what its servers and streams guarantee.
    Doctor(doctor::ExamineStore),
    /// Repair a store on NATS JetStream.
    #[command(name = "jetstream")]
    JetStream(jetstream::ManageJetStream),
    /// Check the sealed segments of a log, at a limited rate.
    Scrub(scrub::ScrubLog),
    /// Show what can be repaired in a log, and repair it if asked.
    Repair(repair::RepairLog),
    /// Show the segments, sizes, positions and times of a log.
    Stat(stat::StatLog),
    /// Query a view in SQL and print the rows as comma-separated values.
    View(Box<view::QueryView>),
    /// Print how many events of each type and schema version a log has, and where. A server must be started with `--inventory`.
    Inventory(inventory::PrintInventory),
    /// Show what snapshots save, list them, or remove them.
    Snapshot(snapshot::ManageSnapshots),
    /// List the consumers of a server, and pause, resume or restart one.
    Consumers(consumers::ManageConsumers),
    /// Show consumer groups and operate them, on the server that has them.
    Groups(groups::ManageGroups),
    /// Print the description of the HTTP routes of this program, in OpenAPI 3.1.
    Openapi(openapi::PrintOpenApi),
    /// Print the description of the messages that this program sends, in AsyncAPI 3.0: subscriptions, deliveries of groups, and all event types.
    Asyncapi(openapi::PrintAsyncApi),
}

impl Command {
    pub(crate) fn run(self, host: &Host) -> Outcome {
        match self {
            Self::Serve(command) => command.run(host),
            Self::Import(command) => command.run(),
            Self::Export(command) => command.run(),
            Self::Excerpt(command) => command.run(),
            Self::Read(command) => command.run(),
            Self::Why(command) => command.run(),
            Self::Audit(command) => command.run(),
            Self::Append(command) => command.run(),
            Self::Streams(command) => command.run(),
            Self::State(command) => command.run(host),
            Self::Verify(command) => command.run(),
            Self::Backup(command) => command.run(),
            Self::Restore(command) => command.run(),
            Self::Copy(command) => command.run(),
            Self::Doctor(command) => command.run(),
            Self::JetStream(command) => command.run(),
            Self::Scrub(command) => command.run(),
            Self::Repair(command) => command.run(),
            Self::Stat(command) => command.run(),
            Self::View(command) => command.run(host),
            Self::Inventory(command) => command.run(),
            Self::Snapshot(command) => command.run(host),
            Self::Consumers(command) => command.run(),
            Self::Groups(command) => command.run(),
            Self::Openapi(command) => command.run(host),
            Self::Asyncapi(command) => command.run(host),
        }
    }
}
