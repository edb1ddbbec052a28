//! Frames with their records, as a segment walk reads them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gesta_log::fuzzing::frame(bytes));
