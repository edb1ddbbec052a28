//! What needs the nightly compiler or a tool of its own: found, installed where that is a matter of waiting, or said to be missing.

use crate::{Failure, shell};

/// Fails, with what helps, where there is no nightly compiler.
pub(crate) fn require() -> Result<(), Failure> {
    match shell::succeeds("cargo +nightly --version") {
        true => Ok(()),
        false => Err("this needs the nightly compiler: `rustup toolchain install nightly`".to_owned()),
    }
}

/// Makes sure that cargo has a subcommand, which a crate of that name brings.
pub(crate) fn require_tool(subcommand: &str, package: &str) -> Result<(), Failure> {
    if shell::succeeds(&format!("cargo {subcommand} --version")) {
        return Ok(());
    }
    println!("=== `{package}` is missing: installing it takes some minutes");
    run(&format!("cargo install --locked {package}"))
}

/// Runs a command whose words go to the screen.
pub(crate) fn run(line: &str) -> Result<(), Failure> {
    println!("=== {line}");
    match shell::command(line).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{line}` failed ({status})")),
        Err(error) => Err(format!("cannot start `{line}`: {error}")),
    }
}
