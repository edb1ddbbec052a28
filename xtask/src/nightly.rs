//! The nightly compiler and extra subcommands of cargo: finds them, installs a subcommand, or names what is missing.

use crate::{Failure, shell};

/// Fails if there is no nightly compiler. The error says how to install it.
pub(crate) fn require() -> Result<(), Failure> {
    match shell::succeeds("cargo +nightly --version") {
        true => Ok(()),
        false => Err("this needs the nightly compiler: `rustup toolchain install nightly`".to_owned()),
    }
}

/// Makes sure that cargo has a subcommand. The package provides it.
pub(crate) fn require_tool(subcommand: &str, package: &str) -> Result<(), Failure> {
    if shell::succeeds(&format!("cargo {subcommand} --version")) {
        return Ok(());
    }
    println!("=== `{package}` is missing: installing it takes some minutes");
    run(&format!("cargo install --locked {package}"))
}

/// Runs a command whose output goes to the screen.
pub(crate) fn run(line: &str) -> Result<(), Failure> {
    println!("=== {line}");
    match shell::command(line).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{line}` failed ({status})")),
        Err(error) => Err(format!("cannot start `{line}`: {error}")),
    }
}
