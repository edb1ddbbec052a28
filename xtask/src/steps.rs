//! The named steps behind `test` and `ci`, and the loop that runs them.
//!
//! A step is a command line that one could type instead: what is printed is what is run, and what to
//! repeat after a failure.

use std::time::Instant;

use crate::{Failure, faults, shell};

/// One thing that must hold, and the command that finds out.
#[derive(Debug)]
pub(crate) struct Step {
    name: &'static str,
    command: &'static str,
    needs: Tool,
}

/// What a step's command needs besides cargo itself.
#[derive(Debug)]
enum Tool {
    Nothing,
    /// A component that rustup can add; the step is skipped, loudly, where it cannot.
    Component(&'static str),
    /// A package that apt can install, and a command that succeeds once it is there and may be used; the step is skipped,
    /// loudly, where it cannot.
    Package {
        name: &'static str,
        probe: &'static str,
    },
    /// A tool that takes minutes to install, and the command that does without.
    Optional {
        otherwise: &'static str,
    },
}

/// What everybody runs before a change goes in, cheapest first.
pub(crate) const TEST: &[Step] = &[
    Step { name: "format", command: "cargo fmt --all --check", needs: Tool::Component("rustfmt") },
    Step {
        name: "lint",
        command: "cargo clippy --workspace --all-targets -- -D warnings",
        needs: Tool::Component("clippy"),
    },
    Step { name: "tidy", command: "cargo xtask tidy", needs: Tool::Nothing },
    Step {
        name: "tests",
        // Nextest gives each test a process of its own, `cargo test` a thread: a test that leans on
        // the state of its process fails in one of the two.
        command: "cargo nextest run --workspace",
        // `--tests` leaves the doctests to the next step, as nextest does.
        needs: Tool::Optional { otherwise: "cargo test --workspace --tests --no-fail-fast" },
    },
    Step {
        name: "planted bugs",
        command: "cargo test --release --package sim --features planted-bugs planted",
        needs: Tool::Nothing,
    },
    Step { name: "simulation", command: "cargo xtask sim", needs: Tool::Nothing },
    Step {
        name: "system faults",
        command: "cargo xtask faults sample",
        needs: Tool::Package { name: "strace", probe: "strace -qqq -o /dev/null true" },
    },
    Step { name: "doctests", command: "cargo test --workspace --doc", needs: Tool::Nothing },
    Step {
        name: "docs",
        command: "RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps",
        needs: Tool::Nothing,
    },
];

/// What CI adds to [`TEST`]: room for checks that take too long for every day.
pub(crate) const CI_ONLY: &[Step] =
    &[Step { name: "torture", command: "cargo xtask torture --cycles 5000", needs: Tool::Nothing }];

/// Runs the steps in order and stops at the first that fails.
pub(crate) fn run(lists: &[&[Step]]) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut skipped = Vec::new();
    for step in lists.iter().copied().flatten() {
        match choose_command(step) {
            Ok(command) => run_step(step.name, command)?,
            Err(reason) => {
                println!("\n=== {}: skipped, {reason}", step.name);
                skipped.push(step.name);
            }
        }
    }

    println!("\n=== all steps passed in {:.1} s", begun.elapsed().as_secs_f64());
    if !skipped.is_empty() {
        println!("=== except these, which were skipped: {}", skipped.join(", "));
    }
    Ok(())
}

fn run_step(name: &str, command: &str) -> Result<(), Failure> {
    println!("\n=== {name}: {command}");
    let begun = Instant::now();
    let status = shell::command(command).status();
    let seconds = begun.elapsed().as_secs_f64();

    let failure = match status {
        Ok(status) if status.success() => {
            println!("=== {name}: passed in {seconds:.1} s");
            return Ok(());
        }
        Ok(status) => status.to_string(),
        Err(error) => format!("cannot start: {error}"),
    };
    Err(format!("step `{name}` failed after {seconds:.1} s ({failure}); repeat it with:\n\n    {command}"))
}

/// The command that this machine can run for the step, or why there is none.
fn choose_command(step: &Step) -> Result<&'static str, String> {
    match step.needs {
        Tool::Nothing => Ok(step.command),
        Tool::Optional { otherwise } => Ok(if is_installed(step.command) { step.command } else { otherwise }),
        Tool::Package { name, probe } => {
            if !shell::succeeds(probe) {
                faults::install(name).map_err(|failure| format!("because {failure}"))?;
            }
            match shell::succeeds(probe) {
                true => Ok(step.command),
                false => Err(format!("because `{probe}` fails though `{name}` is installed")),
            }
        }
        Tool::Component(component) => {
            if !is_installed(step.command) {
                add_component(component)?;
            }
            Ok(step.command)
        }
    }
}

/// Whether cargo knows the subcommand that the command line names.
fn is_installed(command: &str) -> bool {
    let subcommand = command.split_whitespace().nth(1).expect("a step is `cargo <subcommand> …`");
    shell::succeeds(&format!("cargo {subcommand} --version"))
}

fn add_component(component: &str) -> Result<(), String> {
    let command = format!("rustup component add {component}");
    println!("\n=== `{component}` is missing; trying `{command}`");
    match shell::output_of(&command) {
        Ok(_) => Ok(()),
        Err(failure) => Err(format!("because `{component}` is not installed and {failure}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_names_itself_and_the_command_to_repeat() {
        let failure = run_step("sums", "false --really").unwrap_err();
        assert!(failure.starts_with("step `sums` failed after "), "{failure}");
        assert!(failure.ends_with("repeat it with:\n\n    false --really"), "{failure}");
    }

    #[test]
    fn a_missing_optional_tool_is_done_without() {
        let step = Step {
            name: "sums",
            command: "cargo no-such-subcommand",
            needs: Tool::Optional { otherwise: "cargo test" },
        };
        assert_eq!(choose_command(&step), Ok("cargo test"));
    }
}
