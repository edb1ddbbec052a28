//! The commands of this repository, run as `cargo xtask <command>`.
//!
//! *Choice: no dependencies.* On a fresh machine this is the first thing built, and everything else
//! waits for it; its price is an error type that is a plain sentence.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks by printing")]

mod faults;
mod fuzz;
mod miri;
mod mutants;
mod nightly;
mod shell;
mod sim;
mod steps;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>

  test   everything that must hold before a change goes in:
         format, lints, tidy, tests, doctests, docs
  ci     what CI runs: `test`, and after it whatever takes too long for every day
  tidy   the rules of the house that no compiler checks;
         `tidy PATH` lists every phrase to rewrite below PATH
  sim    the log on a simulated machine whose disk fails:
         `--seed N` what one seed does, `--operations N` seeds until N operations were done,
         `--exhaustive` a fault at every operation of a few scripts, every bit flipped
  sim-long  hours of it: 200 million operations, every bit of a small log
  torture
         processes that append are killed, and what they acknowledged is looked for:
         `--cycles N` kills, `--seed N` other moments
  faults every system call of a small run fails, or the process is killed at it; limits,
         full disks, lost writes, power cuts: all of it as root on Linux, or the parts
         that are named: kills recovery failures limits (these without root),
         full-disk written-back power power-blocks; `sample` takes seconds;
         `power-blocks --states N --seed N` N states of a disk after a power cut
  fuzz   every decoder takes any bytes, and the log any history, as libFuzzer chooses them:
         `--seconds N` each (60), then targets (all)
  miri   the parts that the interpreter of the compiler can run, held to the rules of memory
  mutants
         the log with one line changed after the other: what no test sees is listed;
         files under crates/gesta-log/src, or the parts that decide
  help   this text
";

/// Why a command failed, as a sentence for the person who typed it.
type Failure = String;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();

    let outcome = enter_repository().and_then(|()| match arguments[..] {
        ["test"] => steps::run(&[steps::TEST]),
        ["ci"] => steps::run(&[steps::TEST, steps::CI_ONLY]),
        ["tidy"] => tidy::run(),
        ["tidy", ..] => tidy::wording(&arguments[1..]),
        ["sim", ..] => sim::run(&arguments[1..]),
        ["sim-long"] => sim::run(&["--long"]),
        ["torture", ..] => faults::torture(&arguments[1..]),
        ["faults", ..] => faults::faults(&arguments[1..]),
        ["fuzz", ..] => fuzz::run(&arguments[1..]),
        ["miri"] => miri::run(),
        ["mutants", ..] => mutants::run(&arguments[1..]),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        [] => Err(format!("a command is missing\n\n{USAGE}")),
        _ => Err(format!("`{}` is not a command\n\n{USAGE}", arguments.join(" "))),
    });

    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", failure.trim_end());
            ExitCode::FAILURE
        }
    }
}

/// Makes the root of the repository the current folder, wherever the command was typed: every path
/// from here on is relative to it.
///
/// Cargo is asked now and not when this was compiled: checkouts that share a target folder share the
/// binary too.
fn enter_repository() -> Result<(), Failure> {
    let own_folder =
        std::env::var("CARGO_MANIFEST_DIR").map_err(|_| "start it as `cargo xtask`".to_owned())?;
    let root = Path::new(&own_folder).parent().expect("xtask lies in the root");
    std::env::set_current_dir(root).map_err(|error| format!("cannot enter `{}`: {error}", root.display()))
}
