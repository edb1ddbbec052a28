//! Other programs: how they are started, and what they answer.

use std::process::{Command, Stdio};

use crate::Failure;

/// A command as one would type it, ready to start: leading `NAME=value` words become its environment,
/// and words are split at white space, so none of them may contain any.
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

/// What the command printed, without a word on the screen.
pub(crate) fn output_of(line: &str) -> Result<String, Failure> {
    let output = command(line).output().map_err(|error| format!("cannot start `{line}`: {error}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`{line}` failed: {}", complaint.trim()));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("`{line}` did not print text: {error}"))
}

/// Whether the command runs and succeeds; what it prints is thrown away.
pub(crate) fn succeeds(line: &str) -> bool {
    command(line).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// `cargo run` describes the package it runs in the environment. Build scripts that watch these
/// variables would run again at each change between `cargo xtask test` and a plain `cargo build`.
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
