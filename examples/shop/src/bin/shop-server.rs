//! The log that the services of the shop share: a plain server.

use std::process::ExitCode;

fn main() -> ExitCode {
    gesta_cli::main()
}
