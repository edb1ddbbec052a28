//! Frames with their records, as a walk over a segment reads them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gesta_log::fuzzing::frame(bytes));
