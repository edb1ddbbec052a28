//! Mutants: changes the log line by line, and checks that a test notices each change.
//!
//! There are two passes, because building and running tests takes the time. The first runs the tests inside the crate, which build fast.
//! The second runs the tests of `tests/it` on the survivors. `.cargo/mutants.toml` has the settings; `docs/mutants.md` explains survivors.

use crate::{Failure, nightly, shell};

/// The files that decide correctness: the default.
const DECIDING: &[&str] = &[
    "write/decide.rs",
    "write/group_builder.rs",
    "write/lookup.rs",
    "segment/tail.rs",
    "write/flush.rs",
    "shared/published.rs",
    "recover/tail.rs",
    "read/plan.rs",
    "index/heads.rs",
    "index/postings.rs",
    "index/run/codec.rs",
    "index/run/list.rs",
    "index/run/merge.rs",
    "index/memtable/ids.rs",
    "index/memtable/keys.rs",
    "format/frame.rs",
    "format/record.rs",
];
/// The arguments of each pass. The first starts without earlier results and checks that the tests pass.
const PASSES: [&str; 2] = ["--cargo-arg=--lib", "--cargo-arg=--test=it --iterate --baseline skip"];
/// Nextest ends tests that hang. This limit is for everything else.
const TIMEOUT_SECONDS: u64 = 300;
/// Exit codes of `cargo mutants` for survivors and for tests that hung.
const SURVIVED: [Option<i32>; 2] = [Some(2), Some(3)];

/// Runs the mutants of some files of the log. `target/mutants.out/missed.txt` lists the survivors.
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_that_is_changed_by_default_exists() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/gesta-log/src");
        let missing = DECIDING.iter().filter(|file| !source.join(file).exists()).collect::<Vec<_>>();
        assert!(missing.is_empty(), "name the files as they are now: {missing:?}");
    }
}
