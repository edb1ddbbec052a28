//! The decoded contents of blocks of index files.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gesta_log::fuzzing::run_blocks(bytes));
