//! Whole index files: opened, then every key that they contain is looked up.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gesta_log::fuzzing::run_file(bytes));
