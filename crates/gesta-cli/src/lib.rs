//! The `gesta` command line, as a library too: [`main_with`] makes a service author's own `main` the whole of it, with their
//! deciders and decisions hosted.
//!
//! # Example
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     gesta_cli::main_with(gesta::App::new("bank"))
//! }
//! ```

mod commands;
mod failure;
mod filter;
mod import;
mod output;
mod progress;
mod rate;
mod remote;
mod target;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use gesta::App;

use commands::{Command, PlainCommand};
use failure::Outcome;

/// An event store and everything around it: stores, serves, imports, exports and views events.
#[derive(Parser)]
#[command(name = "gesta", version, after_help = AFTER_HELP)]
struct Arguments<C: Subcommand> {
    #[command(subcommand)]
    command: C,
}

const AFTER_HELP: &str = "\
Commands on data take --dir, the folder of a log that no server has open, or --url, the address of a server.
Without either they take GESTA_URL or GESTA_DIR from the environment. GESTA_LOG sets what is logged: info, debug, …

Exit codes: 0 done, 1 failed, 2 wrong usage.";

/// What the commands share.
struct Context {
    app: Option<Arc<App>>,
}

/// Runs the command line, hosting nothing.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::<PlainCommand>::parse();
    exit(arguments.command.run(&Context { app: None }))
}

/// Runs the command line, hosting an application: `serve` takes its commands, `state` folds its deciders. It goes by the name that
/// the program was called by.
#[must_use]
pub fn main_with(app: App) -> ExitCode {
    let matches = hosted(program_name()).get_matches();
    let arguments = Arguments::<Command>::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    exit(arguments.command.run(&Context { app: Some(Arc::new(app)) }))
}

/// The command line of a program that hosts an application.
fn hosted(name: &'static str) -> clap::Command {
    Arguments::<Command>::command().name(name).version(concat!("on gesta ", env!("CARGO_PKG_VERSION")))
}

/// What the program was called by. It is asked for once, and lives as long as the process.
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
    fn a_program_that_hosts_an_application_has_its_own_name_and_no_demo() {
        let mut hosted = hosted("shop");
        assert!(hosted.render_version().starts_with("shop on gesta "));
        let help = hosted.render_help().to_string();
        assert!(help.contains("Usage: shop ") && !help.contains("demo"), "{help}");
        let plain = Arguments::<PlainCommand>::command().render_help().to_string();
        assert!(plain.contains("Usage: gesta ") && plain.contains("  demo "), "{plain}");
    }
}
