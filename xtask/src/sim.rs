//! The simulation, built to be fast.

use crate::{Failure, shell};

/// Runs simulations; the arguments are those of the program.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    let command =
        format!("cargo run --quiet --release --package sim --bin simulate -- {}", arguments.join(" "));
    match shell::command(&command).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the simulation failed ({status})")),
        Err(error) => Err(format!("cannot start `{command}`: {error}")),
    }
}
