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
use failure::{Failure, Outcome};
use gesta_core::Timestamp;
use gesta_server::now;
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
    exit(check_clock(now()).and_then(|()| arguments.command.run(&Host::default())))
}

/// Runs the command line with what a program hosts, an application at least: `serve` accepts its commands, `state` folds the
/// states of its deciders. Help and version show the name of the program.
#[must_use]
pub fn main_with(host: impl Into<Host>) -> ExitCode {
    raise_open_files();
    let host = host.into();
    let matches = hosted(program_name()).get_matches();
    let arguments = Arguments::<HostCommand>::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    exit(check_clock(now()).and_then(|()| arguments.command.run(&host)))
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

/// Fewer open files than this leave a server hardly any for connections: the log, its views and the runtime have theirs open.
const OPEN_FILES_MIN: u64 = 128;

/// The connections that a server may have: half of the files that it may have open, at most `most`.
///
/// # Errors
/// The limit of open files is below [`OPEN_FILES_MIN`].
pub(crate) fn connections_max(most: usize) -> Outcome<usize> {
    connections_within(getrlimit(Resource::Nofile).current, most)
}

fn connections_within(open_files: Option<u64>, most: usize) -> Outcome<usize> {
    match open_files {
        None => Ok(most),
        Some(limit) if limit < OPEN_FILES_MIN => Err(Failure::new(format!(
            "this process may have {limit} files open: a server needs {OPEN_FILES_MIN}"
        ))
        .help("raise the limit, such as with `ulimit -n 4096`")),
        Some(limit) => Ok(usize::try_from(limit / 2).map_or(most, |half| half.min(most))),
    }
}

/// Refuses a clock that ids of events and dates of answers cannot have.
fn check_clock(now: Timestamp) -> Outcome {
    if now.as_nanos() >= 0 && now < Timestamp::MAX {
        return Ok(());
    }
    let when = if now.as_nanos() < 0 { "before 1970" } else { "after April 2262" };
    Err(Failure::new(format!("the clock of this machine shows a time {when}")).help("set the clock"))
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
    fn connections_leave_half_of_the_open_files_to_the_store() {
        assert_eq!(connections_within(None, 4_096).ok(), Some(4_096));
        assert_eq!(connections_within(Some(1 << 20), 4_096).ok(), Some(4_096));
        assert_eq!(connections_within(Some(1_024), 4_096).ok(), Some(512));
        assert_eq!(connections_within(Some(128), 4_096).ok(), Some(64));
        let refused = format!("{:?}", connections_within(Some(127), 4_096).unwrap_err());
        assert!(refused.contains("may have 127 files open") && refused.contains("ulimit -n"), "{refused}");
    }

    #[test]
    fn a_clock_that_ids_cannot_have_is_refused() {
        let said =
            |nanos| check_clock(Timestamp::from_nanos(nanos)).map_err(|failure| format!("{failure:?}"));
        assert!(said(-1).unwrap_err().contains("a time before 1970"));
        assert!(said(i64::MAX).unwrap_err().contains("a time after April 2262"));
        assert!(said(0).is_ok() && said(i64::MAX - 1).is_ok());
    }

    #[test]
    fn the_command_line_is_consistent() {
        plain().debug_assert();
        hosted("shop").debug_assert();
    }
}
