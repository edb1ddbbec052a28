//! Manifests of backups.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gesta_log::fuzzing::backup_manifest(bytes));
