//! An intact index file with some bytes changed and all checksums corrected.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gesta_log::fuzzing::patched_run(bytes));
