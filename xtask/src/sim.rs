//! The simulation, built to be fast.

use crate::{Failure, shell};

/// How every program of `sim` is built, so that the steps of a test run share one tree. Planted bugs are compiled in; each is off until a
/// test switches it on.
pub(crate) const BUILD: &str = "--profile simulation --package sim --features planted-bugs";

/// Runs simulations of the log. The arguments go to the program.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    program("simulate", arguments)
}

/// Runs simulations of consumer groups. The arguments go to the program.
pub(crate) fn groups(arguments: &[&str]) -> Result<(), Failure> {
    program("simulate-groups", arguments)
}

/// Runs simulations of the store on a JetStream cluster. The arguments go to the program.
pub(crate) fn jetstream(arguments: &[&str]) -> Result<(), Failure> {
    program("simulate-jetstream", arguments)
}

fn program(name: &str, arguments: &[&str]) -> Result<(), Failure> {
    let command = format!("cargo run --quiet {BUILD} --bin {name} -- {}", arguments.join(" "));
    match shell::command(&command).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the simulation failed ({status})")),
        Err(error) => Err(format!("cannot start `{command}`: {error}")),
    }
}
