//! Who may open a file, and which files are refused.

use std::process::Command;

use gesta_core::{KeyValueError, KeyValueStore, Retry};
use gesta_state::{FILE_NAME, StateError, StateStore};
use pollster::block_on;

use super::{key, open, set, texts};

#[test]
fn a_second_store_of_the_same_file_is_refused_until_the_first_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE_NAME);
    let first = open(&file);
    set(&first, "a", "1");
    let second = StateStore::open(&file).err().unwrap();
    assert!(matches!(second, StateError::InUse { .. }), "{second}");
    assert_eq!(second.retry(), Retry::AfterPause);
    set(&first, "a", "2");
    first.close();
    assert_eq!(texts(&open(&file)), [("a".to_owned(), "2".to_owned())]);
}

#[test]
fn a_second_process_is_refused_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE_NAME);
    let first = open(&file);
    set(&first, "a", "1");
    let process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "opening::open_and_report", "--ignored", "--nocapture"])
        .env("GESTA_STATE_FILE", &file)
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&process.stdout);
    assert!(output.contains("refused: ") && output.contains("in use by another process"), "{output}");
    set(&first, "a", "2");
    assert_eq!(texts(&first), [("a".to_owned(), "2".to_owned())]);
}

#[test]
fn nothing_is_written_to_a_file_that_was_moved_away_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let (file, away) = (folder.path().join(FILE_NAME), folder.path().join("away"));
    let store = open(&file);
    set(&store, "a", "1");
    let put = || block_on(store.put(key("b"), "2".into(), None));
    std::fs::rename(&file, &away).unwrap();
    for is_replaced in [false, true] {
        if is_replaced {
            std::fs::write(&file, "something else").unwrap();
        }
        let refused = put().unwrap_err();
        assert!(
            matches!(&refused, KeyValueError::Unavailable { reason } if reason.contains("was moved, removed or replaced")),
            "{refused}"
        );
    }
    std::fs::rename(&away, &file).unwrap();
    put().unwrap();
    drop(store);
    assert_eq!(texts(&open(&file)).len(), 2);
}

#[test]
#[ignore = "the second process of a test"]
fn open_and_report() {
    let Some(file) = std::env::var_os("GESTA_STATE_FILE") else { return };
    match StateStore::open(file.as_ref()) {
        Ok(store) => println!("opened: {:?}", texts(&store)),
        Err(error) => println!("refused: {error}"),
    }
}

#[test]
fn two_stores_that_make_the_file_at_once_do_not_both_have_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE_NAME);
    // Neither finds a file, so neither has a lock yet.
    let (one, other) = (open(&file), open(&file));
    set(&one, "a", "1");
    let refused = block_on(other.put(key("a"), "2".into(), None)).unwrap_err();
    assert!(matches!(refused, KeyValueError::Unavailable { .. }), "{refused}");
    one.close();
    set(&other, "b", "2");
    assert_eq!(texts(&other).len(), 2);
}

#[test]
fn a_file_of_something_else_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE_NAME);
    std::fs::write(&file, "a diary, not a database, and longer than one hundred bytes ".repeat(4)).unwrap();
    let before = std::fs::read(&file).unwrap();
    let refused = StateStore::open(&file).err().unwrap();
    assert!(matches!(refused, StateError::Damaged { .. }), "{refused}");
    assert_eq!(std::fs::read(&file).unwrap(), before);

    let other = folder.path().join("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("create table t (a)").unwrap();
    let refused = StateStore::open(&other).err().unwrap();
    assert!(matches!(refused, StateError::NotAStore { .. }), "{refused}");
}

#[test]
fn a_file_of_a_newer_version_is_refused_with_both_versions() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE_NAME);
    set(&open(&file), "a", "1");
    rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let refused = StateStore::open(&file).err().unwrap();
    assert!(matches!(refused, StateError::Newer { format: 2, known: 1, .. }), "{refused}");
}

#[test]
fn a_store_that_could_not_be_opened_gives_the_reason_to_every_request() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE_NAME);
    std::fs::write(&file, [0xff; 4_096]).unwrap();
    let error = StateStore::open(&file).err().unwrap();
    let store = StateStore::refusing(&error);
    let Err(KeyValueError::Damaged { reason }) = block_on(store.get(key("a"))) else { panic!() };
    assert!(reason.contains(FILE_NAME), "{reason}");
    assert!(matches!(block_on(store.put(key("a"), "1".into(), None)), Err(KeyValueError::Damaged { .. })));
    assert!(store.copy_to(&folder.path().join("copy")).is_err());
}
