//! The log under kills, power cuts and disk failures.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue fails")]
#![expect(clippy::print_stdout, reason = "a run prints the number of batches at risk")]

mod faults;
mod jetstream;
mod kill;
#[cfg(feature = "planted-bugs")]
mod planted;
#[cfg(feature = "planted-bugs")]
mod planted_groups;
#[cfg(feature = "planted-bugs")]
mod planted_jetstream;
mod regressions;
mod replica;
