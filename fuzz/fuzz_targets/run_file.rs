//! Whole index files: opened, and everything looked up that they say they have.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gesta_log::fuzzing::run_file(bytes));
