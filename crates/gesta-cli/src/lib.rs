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
mod remote;
mod target;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use gesta::App;

use commands::Command;

/// An event store and everything around it: stores, serves, imports, exports and views events.
#[derive(Parser)]
#[command(name = "gesta", version, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
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
    run(Context { app: None })
}

/// Runs the command line, hosting an application: `serve` takes its commands, `state` folds its deciders.
#[must_use]
pub fn main_with(app: App) -> ExitCode {
    run(Context { app: Some(Arc::new(app)) })
}

fn run(context: Context) -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command.run(&context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
