//! Fuzzing: runs each target for a while, from a corpus of real encodings.

use std::process::Stdio;

use crate::{Failure, nightly, shell};

/// How long each target runs by default.
const SECONDS_DEFAULT: u32 = 60;
/// Limits of a target's memory, in total and per allocation, in MiB. They find code that trusts a length and allocates it.
const MEMORY: &str = "-rss_limit_mb=2048 -malloc_limit_mb=256";
/// The limit for one input, in seconds.
const TIMEOUT: &str = "-timeout=20";

/// Runs the named targets, or all, for `--seconds N` each.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    let (seconds, named) = read_arguments(arguments)?;
    nightly::require()?;
    nightly::require_tool("fuzz", "cargo-fuzz")?;
    let listed = shell::output_of("cargo fuzz list --fuzz-dir fuzz")?;
    let known = listed.split_whitespace().collect::<Vec<_>>();
    if let Some(unknown) = named.iter().find(|name| !known.contains(name)) {
        return Err(format!("`{unknown}` is not a target; the targets are {}", known.join(", ")));
    }
    let targets = if named.is_empty() { known } else { named };
    nightly::run("cargo run --quiet --release --manifest-path fuzz/seeds/Cargo.toml -- fuzz/corpus")?;
    nightly::run("cargo +nightly fuzz build --fuzz-dir fuzz")?;
    let failed = targets.into_iter().filter(|target| !fuzz(target, seconds)).collect::<Vec<_>>();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("found something: {}", failed.join(", "))),
    }
}

fn read_arguments<'a>(arguments: &[&'a str]) -> Result<(u32, Vec<&'a str>), Failure> {
    match arguments {
        ["--seconds", seconds, targets @ ..] => match seconds.parse() {
            Ok(seconds) if seconds > 0 => Ok((seconds, targets.to_vec())),
            _ => Err(format!("`{seconds}` is not a number of seconds; try `cargo xtask fuzz --seconds 60`")),
        },
        ["--seconds"] => Err("`--seconds` needs a number; try `cargo xtask fuzz --seconds 60`".to_owned()),
        targets => match targets.iter().find(|target| target.starts_with('-')) {
            Some(unknown) => {
                Err(format!("`{unknown}` is not an option; `--seconds N` comes first, then targets"))
            }
            None => Ok((SECONDS_DEFAULT, targets.to_vec())),
        },
    }
}

/// Runs a target and prints its result. `false` if it found something.
fn fuzz(target: &str, seconds: u32) -> bool {
    let command = format!(
        "cargo +nightly fuzz run --fuzz-dir fuzz {target} -- -max_total_time={seconds} {MEMORY} {TIMEOUT} -print_final_stats=1"
    );
    let output = shell::command(&command).stdin(Stdio::null()).output();
    let (said, passed) = match output {
        Ok(output) => (String::from_utf8_lossy(&output.stderr).into_owned(), output.status.success()),
        Err(error) => (format!("cannot start `{command}`: {error}"), false),
    };
    if passed {
        let executed = executed(&said).unwrap_or("?");
        println!("{target:<16} {executed:>12} inputs in {seconds} s, nothing found");
    } else {
        eprintln!("{}", last_lines(&said, 60));
        println!("{target:<16} FAILED; the input is in fuzz/artifacts/{target}; again:\n\n    {command}\n");
    }
    passed
}

/// The number of inputs, from the last lines of libFuzzer.
fn executed(said: &str) -> Option<&str> {
    said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:")).map(str::trim)
}

fn last_lines(said: &str, count: usize) -> String {
    let lines = said.lines().collect::<Vec<_>>();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_give_seconds_and_targets() {
        assert_eq!(read_arguments(&[]), Ok((60, vec![])));
        assert_eq!(read_arguments(&["--seconds", "5", "frame"]), Ok((5, vec!["frame"])));
        for wrong in [&["--seconds"][..], &["--seconds", "0"], &["--seconds", "x"], &["--minutes", "1"]] {
            assert!(read_arguments(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_number_of_inputs_is_read_from_the_output_of_the_fuzzer() {
        let said = "Done\nstat::number_of_executed_units: 42\nstat::average_exec_per_sec: 7\n";
        assert_eq!(executed(said), Some("42"));
    }
}
