//! The `gesta` command line, also as a library: [`main_with`] is the whole `main` of a service that hosts its deciders and
//! decisions.
//!
//! # Example
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     gesta_cli::main_with(gesta::App::new("bank"))
//! }
//! ```

mod advertise;
mod cluster;
mod commands;
mod copy;
mod failure;
mod filter;
mod host;
mod hosting;
mod import;
mod kept;
mod output;
mod progress;
mod rate;
pub mod store;
mod target;
mod unread;
mod views;
mod whole_file;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use commands::{HostCommand, PlainCommand};
use failure::Outcome;
pub use host::Host;

/// An event store in one binary: serve, append, read, import, export and query events.
#[derive(Parser)]
#[command(name = "gesta", version, after_help = AFTER_HELP)]
struct Arguments<C: Subcommand> {
    #[command(subcommand)]
    command: C,
}

const AFTER_HELP: &str = "\
Where the events are:
  --dir <FOLDER>  the folder of a log that no server has open; default: GESTA_DIR
  --url <URL>     the address of a running server; default: GESTA_URL
  --store <URL>   what `serve` serves: a folder, memory:, http://…, postgres://… or nats://…; default: GESTA_STORE

GESTA_LOG sets the log level: error, warn, info (default), debug.

Exit codes:
  0  done
  1  failed, or done on a log from which events are lost or may be lost
  2  wrong usage";

/// Runs the command line without an application.
#[must_use]
pub fn main() -> ExitCode {
    raise_open_files();
    let matches = plain().get_matches();
    let arguments =
        Arguments::<PlainCommand>::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    exit(arguments.command.run(&Host::default()))
}

/// Runs the command line with what a program hosts, an application at least: `serve` accepts its commands, `state` folds the
/// states of its deciders. Help and version show the name of the program.
#[must_use]
pub fn main_with(host: impl Into<Host>) -> ExitCode {
    raise_open_files();
    let host = host.into();
    let matches = hosted(program_name()).get_matches();
    let arguments = Arguments::<HostCommand>::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    exit(arguments.command.run(&host))
}

/// The version, the commit and the version of the file format. Called once; the text lives as long as the process.
fn version(before: &str) -> &'static str {
    let (version, commit) = (env!("CARGO_PKG_VERSION"), env!("GESTA_COMMIT"));
    format!("{before}{version} (commit {commit}, log format {})", gesta_log::FORMAT_VERSION).leak()
}

/// The command line of the plain binary.
fn plain() -> clap::Command {
    Arguments::<PlainCommand>::command().version(version(""))
}

/// Files that this program wants to have open at most: connections, and what the log and the views read.
const OPEN_FILES: u64 = 65_536;

/// Raises the soft limit of open files, as far as the hard one allows.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(OPEN_FILES, |hard| hard.min(OPEN_FILES));
    if limit.current.is_some_and(|soft| soft < wanted) {
        // Where it is refused, the program works with what it has.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    }
}

/// The command line of a program that hosts an application.
fn hosted(name: &'static str) -> clap::Command {
    Arguments::<HostCommand>::command().name(name).version(version("on gesta "))
}

/// The name the program was called by. Called once; the text lives as long as the process.
fn program_name() -> &'static str {
    let called = std::env::args_os().next().unwrap_or_default();
    match Path::new(&called).file_stem().map(|stem| stem.to_string_lossy().into_owned()) {
        Some(name) => name.leak(),
        None => "gesta",
    }
}

fn exit(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_an_application_has_its_own_name_and_no_demo() {
        let mut hosted = hosted("shop");
        assert!(hosted.render_version().starts_with("shop on gesta "));
        let help = hosted.render_help().to_string();
        assert!(help.contains("Usage: shop ") && !help.contains("demo"), "{help}");
        let plain = plain().render_help().to_string();
        assert!(plain.contains("Usage: gesta ") && plain.contains("  demo "), "{plain}");
    }

    #[test]
    fn the_version_names_the_commit_and_the_format() {
        let version = plain().render_version();
        assert!(version.starts_with(concat!("gesta ", env!("CARGO_PKG_VERSION"), " (commit ")), "{version}");
        assert!(version.contains(&format!("log format {}", gesta_log::FORMAT_VERSION)), "{version}");
    }

    #[test]
    fn the_command_line_is_consistent() {
        plain().debug_assert();
        hosted("shop").debug_assert();
    }
}
