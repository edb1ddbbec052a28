//! Records and their events, as reads decode them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gesta_log::fuzzing::record(bytes));
