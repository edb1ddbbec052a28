//! Copies for a backup, and the way back under a new store id.

use std::path::Path;

use gesta_core::{KeyValueStore, StoreId};
use gesta_state::{FILE_NAME, Restored, StateError, back_up, restore, verify};

use super::{key, open, set, texts};

const ORIGIN: StoreId = StoreId::from_bytes([0x11; 16]);
const STORE: StoreId = StoreId::from_bytes([0x22; 16]);

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names = entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect::<Vec<_>>();
    names.sort();
    names
}

#[test]
fn a_copy_of_a_running_store_holds_everything_acknowledged_before_it() {
    let (folder, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(&folder.path().join(FILE_NAME));
    set(&store, "a", "1");
    set(&store, "b", "1");
    let before = texts(&store);
    let to = backup.path().join(FILE_NAME);
    let copy = store.copy_to(&to).unwrap();
    set(&store, "a", "2");
    assert_eq!(names(backup.path()), ["state.db.new"], "not in its place yet");
    assert!(copy.keep().unwrap());
    assert_eq!(names(backup.path()), [FILE_NAME]);
    assert_eq!(verify(&to).unwrap(), 2);
    assert_eq!(names(backup.path()), [FILE_NAME], "a verification leaves nothing beside the copy");
    assert_eq!(texts(&open(&to)), before);
}

#[test]
fn a_copy_that_is_not_kept_leaves_the_one_before() {
    let (folder, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(&folder.path().join(FILE_NAME));
    let to = backup.path().join(FILE_NAME);
    set(&store, "a", "1");
    store.copy_to(&to).unwrap().keep().unwrap();
    set(&store, "a", "2");
    drop(store.copy_to(&to).unwrap());
    assert_eq!(names(backup.path()), [FILE_NAME]);
    assert_eq!(texts(&open(&to))[0].1, "1");
}

#[test]
fn a_file_that_no_process_has_open_is_copied_with_its_write_ahead_log() {
    let (folder, killed, backup) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(&folder.path().join(FILE_NAME));
    set(&store, "a", "1");
    // As a kill leaves it.
    for name in [FILE_NAME, "state.db-wal"] {
        std::fs::copy(folder.path().join(name), killed.path().join(name)).unwrap();
    }
    let to = backup.path().join(FILE_NAME);
    assert!(back_up(&killed.path().join(FILE_NAME), &to).unwrap().keep().unwrap());
    assert_eq!(texts(&open(&to)), texts(&store));
    let refused = back_up(&folder.path().join(FILE_NAME), &to).unwrap_err();
    assert!(matches!(refused, StateError::InUse { .. }), "{refused}");
}

#[test]
fn without_a_store_the_copy_of_an_earlier_one_is_removed() {
    let (folder, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (file, to) = (folder.path().join(FILE_NAME), backup.path().join(FILE_NAME));
    assert!(!back_up(&file, &to).unwrap().keep().unwrap());
    assert!(!open(&file).copy_to(&to).unwrap().keep().unwrap());
    set(&open(&file), "a", "1");
    assert!(back_up(&file, &to).unwrap().keep().unwrap());
    std::fs::remove_file(&file).unwrap();
    let copy = back_up(&file, &to).unwrap();
    assert_eq!(names(backup.path()), [FILE_NAME]);
    assert!(!copy.keep().unwrap());
    assert!(names(backup.path()).is_empty());
}

#[test]
fn damage_never_replaces_the_last_good_copy() {
    let (folder, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (file, to) = (folder.path().join(FILE_NAME), backup.path().join(FILE_NAME));
    let store = open(&file);
    set(&store, "a", &"value ".repeat(3_000));
    store.copy_to(&to).unwrap().keep().unwrap();
    store.close();
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.len() - 100;
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let damaged = back_up(&file, &to).unwrap_err();
    assert!(matches!(damaged, StateError::Damaged { .. }), "{damaged}");
    assert_eq!(verify(&to).unwrap(), 1);
    assert_eq!(names(backup.path()), [FILE_NAME]);
}

#[test]
fn a_restore_names_the_new_store_in_every_value_that_names_the_old_one() {
    let (folder, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = folder.path().join(FILE_NAME);
    let store = open(&file);
    set(
        &store,
        "groups/mail",
        &format!("{{\"v\":1,\"store\":\"{ORIGIN}\",\"scanned\":\"{ORIGIN}.5-0000abcd\"}}"),
    );
    set(&store, "groups/other", &format!("{{\"v\":1,\"store\":\"{STORE}\"}}"));
    set(&store, "consumers/a/paused", "{\"v\":1,\"by\":\"ops\"}");
    let last = set(&store, "bytes", "\u{1}\u{2}");
    let before = texts(&store);
    store.close();

    let restored_file = to.path().join(FILE_NAME);
    let restored = restore(&file, &restored_file, ORIGIN, STORE).unwrap();
    assert_eq!(restored, Some(Restored { values: 4, renamed: 1 }));
    assert_eq!(names(to.path()), [FILE_NAME]);
    let restored = open(&restored_file);
    let renamed = |(name, value): &(String, String)| {
        (name.clone(), value.replace(&ORIGIN.to_string(), &STORE.to_string()))
    };
    assert_eq!(texts(&restored), before.iter().map(renamed).collect::<Vec<_>>());
    let entry = pollster::block_on(restored.get(key("groups/mail"))).unwrap().unwrap();
    assert!(entry.revision > last, "a renamed value has a new revision");
    assert_eq!(texts(&open(&file)), before, "the copy stays as it was");
}

#[test]
fn a_damaged_copy_is_not_restored() {
    let (folder, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (file, restored) = (folder.path().join(FILE_NAME), to.path().join(FILE_NAME));
    assert_eq!(restore(&file, &restored, ORIGIN, STORE).unwrap(), None);
    set(&open(&file), "a", &"value ".repeat(3_000));
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.len() - 100;
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(matches!(restore(&file, &restored, ORIGIN, STORE), Err(StateError::Damaged { .. })));
    assert!(names(to.path()).is_empty());
}
