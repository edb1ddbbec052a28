//! An intact log with some bytes changed and all checksums corrected: it is opened, verified, read and appended to.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gesta_log::fuzzing::patched_log(bytes));
