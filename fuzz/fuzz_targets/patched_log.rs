//! A sound log with some bytes changed and all checksums right: opened, proven, read, appended to.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gesta_log::fuzzing::patched_log(bytes));
