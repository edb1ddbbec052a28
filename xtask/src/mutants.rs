//! Mutants: the log with one line changed after the other, to see that a test notices each.
//!
//! In two passes, for building and running tests is what takes the time: with the tests inside the crate, which are fast to build, and
//! what survives them with those of `tests/it`. How is in `.cargo/mutants.toml`; `docs/mutants.md` says of each survivor why.

use crate::{Failure, nightly, shell};

/// The parts that decide what is true: looked at where nobody names others.
const DECIDING: &[&str] = &[
    "commit/decide.rs",
    "commit/gatherer.rs",
    "commit/prior.rs",
    "commit/tail.rs",
    "commit/write.rs",
    "published.rs",
    "recover/tail.rs",
    "read/plan.rs",
    "index/heads.rs",
    "index/postings.rs",
    "index/run/codec.rs",
    "index/run/list.rs",
    "index/run/merge.rs",
    "index/table/ids.rs",
    "index/table/keys.rs",
    "format/frame.rs",
    "format/record.rs",
];
/// The tests of a pass, and what it does with the results before it: the first begins anew, and proves that the tests pass.
const PASSES: [&str; 2] = ["--cargo-arg=--lib", "--cargo-arg=--test=it --iterate --baseline skip"];
/// A test that hangs is ended by nextest; this is for what hangs beside tests.
const TIMEOUT_SECONDS: u64 = 300;
/// How `cargo mutants` ends where mutants survived, and where tests hung.
const SURVIVED: [Option<i32>; 2] = [Some(2), Some(3)];

/// Runs the mutants of some files of the log. What survives is listed in `target/mutants.out/missed.txt`.
pub(crate) fn run(files: &[&str]) -> Result<(), Failure> {
    for (subcommand, package) in [("mutants", "cargo-mutants"), ("nextest", "cargo-nextest")] {
        nightly::require_tool(subcommand, package)?;
    }
    let files = if files.is_empty() { DECIDING } else { files };
    let files = files.iter().map(|file| format!("--file crates/gesta-log/src/{file}")).collect::<Vec<_>>();
    let mut survived = false;
    for pass in PASSES {
        let line = format!(
            "NEXTEST_PROFILE=mutants cargo mutants --package gesta-log --jobs 1 --no-shuffle --timeout {TIMEOUT_SECONDS} --output target {pass} {}",
            files.join(" ")
        );
        println!("=== {line}");
        let status =
            shell::command(&line).status().map_err(|error| format!("cannot start `{line}`: {error}"))?;
        survived = SURVIVED.contains(&status.code());
        if !status.success() && !survived {
            return Err(format!("`{line}` failed ({status})"));
        }
    }
    match survived {
        false => Ok(()),
        true => {
            Err("mutants survive that `docs/mutants.md` may explain: `target/mutants.out/missed.txt`"
                .to_owned())
        }
    }
}
