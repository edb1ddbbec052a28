//! Mutants: the log with one line changed after the other, to see that a test notices each.

use crate::{Failure, nightly};

/// The parts that decide what is true: looked at where nobody names others.
const DECIDING: &[&str] = &[
    "format/*.rs",
    "index/run/*.rs",
    "commit/decide.rs",
    "commit/prior.rs",
    "recover/tail.rs",
    "manifest.rs",
];

/// Runs the mutants of some files of the log. What survives is listed in `target/mutants.out/missed.txt`.
pub(crate) fn run(files: &[&str]) -> Result<(), Failure> {
    nightly::require_tool("mutants", "cargo-mutants")?;
    let files = if files.is_empty() { DECIDING } else { files };
    let files = files.iter().map(|file| format!("--file crates/gesta-log/src/{file}")).collect::<Vec<_>>();
    nightly::run(&format!(
        "cargo mutants --package gesta-log --features sim --jobs 1 --output target {}",
        files.join(" ")
    ))
}
