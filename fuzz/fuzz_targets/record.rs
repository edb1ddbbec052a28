//! Records, and the events in them, as a read takes them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gesta_log::fuzzing::record(bytes));
