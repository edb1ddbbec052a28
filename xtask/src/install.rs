//! Installing what a command lacks: a Debian package, or a component of the compiler.

use crate::{Failure, shell};

/// The command line that installs a package of the system.
pub(crate) fn package(name: &str) -> String {
    format!("DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends {name}")
}

/// The command line that adds a component to the compiler.
pub(crate) fn component(name: &str) -> String {
    format!("rustup component add {name}")
}

/// Runs one of the command lines above, silently. Fetches the lists of packages first where they are too old.
pub(crate) fn run(command: &str) -> Result<(), Failure> {
    println!("\n=== installing: {command}");
    let mut outcome = shell::output_of(command);
    if outcome.is_err() && command.contains("apt-get") && shell::succeeds("apt-get update") {
        outcome = shell::output_of(command);
    }
    outcome.map(drop).map_err(|failure| format!("{failure}; install it in the way of your system"))
}
