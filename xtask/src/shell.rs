//! Starts other programs and reads their output.

use std::process::{Command, Stdio};

use crate::Failure;

/// A command from a line as a person types it. Leading `NAME=value` words become its environment. Words are split at white space, so no
/// word can contain any.
pub(crate) fn command(line: &str) -> Command {
    let mut words = line.split_whitespace().peekable();
    let mut settings = Vec::new();
    while let Some(setting) = words.peek().and_then(|word| word.split_once('=')) {
        settings.push(setting);
        words.next();
    }
    let program = words.next().expect("a command names a program");

    let mut command = Command::new(program);
    command.args(words).envs(settings);
    forget_own_package(&mut command);
    command
}

/// Runs the command. Its output appears on the screen.
pub(crate) fn run(line: &str) -> Result<(), Failure> {
    let status = command(line).status().map_err(|error| format!("cannot start `{line}`: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{line}` failed ({status})")) }
}

/// The output of the command. Nothing appears on the screen.
pub(crate) fn output_of(line: &str) -> Result<String, Failure> {
    let output = command(line).output().map_err(|error| format!("cannot start `{line}`: {error}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`{line}` failed: {}", complaint.trim()));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("`{line}` did not print text: {error}"))
}

/// Runs the command and returns whether it succeeded. Its output is dropped.
pub(crate) fn succeeds(line: &str) -> bool {
    command(line).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Removes the variables in which `cargo run` describes its package. Otherwise build scripts that watch them would run again after each
/// change between `cargo xtask test` and a plain `cargo build`.
fn forget_own_package(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let of_package = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "CARGO_BIN_NAME"
        });
        if of_package {
            command.env_remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_split_into_environment_program_and_arguments() {
        let command = command("FLAGS=-Dwarnings cargo doc --cfg=x");
        assert_eq!(command.get_program(), "cargo");
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["doc", "--cfg=x"]);
        assert!(
            command.get_envs().any(|(name, value)| name == "FLAGS" && value == Some("-Dwarnings".as_ref()))
        );
    }
}
