//! Headers of segments.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gesta_log::fuzzing::segment_header(bytes));
