//! What the log does when its process is killed, its power cut, its disk failing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "a run says how many batches it put at risk")]

mod faults;
mod kill;
#[cfg(feature = "planted-bugs")]
mod planted;
mod regressions;
