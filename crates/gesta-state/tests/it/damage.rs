//! A changed byte is reported, or it changes nothing. It never changes a value or hides one silently.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use gesta_state::{FILE_NAME, StateError, StateStore, verify};

use super::{open, set, texts};

/// The distance of the bytes that are changed. A prime, so that every kind of field is met.
const STEP: usize = 23;

fn flip(file: &Path, bytes: &[u8], at: usize) {
    let mut bytes = bytes.to_owned();
    bytes[at] ^= 0x04;
    std::fs::write(file, bytes).expect("written");
}

#[test]
fn every_changed_byte_of_the_file_is_reported_or_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE_NAME);
    let store = open(&file);
    for number in 0..12 {
        set(&store, &format!("groups/g{number}"), &format!("{{\"v\":1,\"n\":{number}}}").repeat(number * 12));
    }
    let expected = texts(&store);
    drop(store);
    let bytes = std::fs::read(&file).unwrap();
    let harmed = folder.path().join("harmed.db");
    let mut reported = 0;
    for at in (0..bytes.len()).step_by(STEP) {
        flip(&harmed, &bytes, at);
        match verify(&harmed) {
            Err(StateError::Damaged { .. } | StateError::NotAStore { .. } | StateError::Newer { .. }) => {
                reported += 1;
                // Opening takes the same look, and some syncs.
                if reported % 32 == 0 {
                    assert!(StateStore::open(&harmed).is_err(), "byte {at}: verified as damaged, and opened");
                }
            }
            Err(error) => panic!("byte {at}: {error}"),
            Ok(_) if (at / STEP).is_multiple_of(4) => {
                assert_eq!(texts(&open(&harmed)), expected, "byte {at}")
            }
            Ok(_) => {}
        }
        for suffix in ["-wal", "-shm", "-journal"] {
            let _ = std::fs::remove_file(folder.path().join(format!("harmed.db{suffix}")));
        }
    }
    let of_values = expected.iter().map(|(_, value)| value.len()).sum::<usize>() / STEP;
    assert!(reported > of_values * 9 / 10, "{reported} reports of at least {of_values} changed values");
}

#[test]
fn a_changed_byte_of_the_write_ahead_log_shows_an_earlier_state_at_worst() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE_NAME);
    let store = open(&file);
    let mut history = BTreeMap::<String, BTreeSet<String>>::new();
    for round in 0..4 {
        for number in 0..3 {
            let (name, value) = (format!("k{number}"), format!("{round}").repeat(700 * number + 1));
            set(&store, &name, &value);
            history.entry(name).or_default().insert(value);
        }
    }
    // As a kill leaves it: nothing was written into the file yet.
    let wal = std::fs::read(folder.path().join("state.db-wal")).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    drop(store);
    let harmed = folder.path().join("harmed.db");
    for at in (0..wal.len()).step_by(499) {
        std::fs::write(&harmed, &bytes).unwrap();
        flip(&folder.path().join("harmed.db-wal"), &wal, at);
        match StateStore::open(&harmed) {
            Ok(store) => {
                for (name, value) in texts(&store) {
                    assert!(history[&name].contains(&value), "byte {at}: {name} was never {value}");
                }
            }
            Err(StateError::Damaged { .. }) => {}
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
}
