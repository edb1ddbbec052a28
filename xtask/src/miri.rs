//! Miri: runs unit tests in the compiler's interpreter, which checks the rules of memory.
//!
//! *Not here*: tests that open files or call SQLite, and tests of every bit or every position, which would take hours.

use std::time::Instant;

use crate::{Failure, nightly, shell};

/// Crates, and which of their tests run: filters by the beginning of the name.
const PARTS: &[(&str, &str)] = &[
    ("gesta-core", "--lib"),
    (
        "gesta-log",
        "--lib --features sim -- format:: index:: env::sim folder::manifest:: --skip flipped_bit --skip before_is_kept --skip no_bytes_make --skip positions_come_back --skip a_filter_passes_every_present_key",
    ),
];

/// Runs every part and prints how long it took.
pub(crate) fn run() -> Result<(), Failure> {
    nightly::require()?;
    if !shell::succeeds("cargo +nightly miri --version") {
        println!("=== `miri` is missing: adding it to the nightly compiler");
        nightly::run("rustup component add --toolchain nightly miri rust-src")?;
    }
    for (package, arguments) in PARTS {
        let begun = Instant::now();
        nightly::run(&format!("cargo +nightly miri test --package {package} {arguments}"))?;
        println!("=== {package} under miri: passed in {:.0} s", begun.elapsed().as_secs_f64());
    }
    Ok(())
}
