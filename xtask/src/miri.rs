//! Miri: the parts of the code that need no machine, run by the compiler's interpreter, which knows the rules of memory.
//!
//! *Not here*: whatever opens files or calls SQLite, and tests of every bit or every position, which would take hours.

use std::time::Instant;

use crate::{Failure, nightly, shell};

/// A crate, and the tests of it that are run, by the beginning of their names.
const PARTS: &[(&str, &str)] = &[
    ("gesta-core", "--lib"),
    (
        "gesta-log",
        "--lib --features sim -- format:: index:: env::sim manifest:: --skip flipped_bit --skip before_is_kept --skip no_bytes_make --skip positions_come_back --skip a_filter_passes_every_present_key",
    ),
];

/// Runs every part, and says how long each took.
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
