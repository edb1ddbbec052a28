//! The stores in SQLite: the laws, kills, openers, damage, backups.

mod backups;
mod damage;
mod kills;
mod laws;
mod opening;
mod snapshots;

use std::path::Path;

use gesta_core::{Entry, KeyName, KeyPrefix, KeyValueStore, Revision};
use gesta_state::StateStore;
use pollster::block_on;

fn key(text: &str) -> KeyName {
    KeyName::new(text).expect("a key")
}

fn open(file: &Path) -> StateStore {
    StateStore::open(file).unwrap_or_else(|error| panic!("{error}"))
}

fn put(store: &StateStore, name: &str, value: &str, expect: Option<Revision>) -> Revision {
    block_on(store.put(key(name), value.to_owned().into(), expect)).unwrap_or_else(|error| panic!("{error}"))
}

/// Puts a value in place of the current one.
fn set(store: &StateStore, name: &str, value: &str) -> Revision {
    let current = block_on(store.get(key(name))).expect("an answer");
    put(store, name, value, current.map(|entry| entry.revision))
}

fn all(store: &StateStore) -> Vec<(KeyName, Entry)> {
    let limit = 1_000.try_into().expect("above 0");
    block_on(store.list(KeyPrefix::all(), None, limit)).unwrap_or_else(|error| panic!("{error}"))
}

/// All values as texts.
fn texts(store: &StateStore) -> Vec<(String, String)> {
    let text = |entry: &Entry| String::from_utf8(entry.value.to_vec()).expect("text");
    all(store).iter().map(|(key, entry)| (key.to_string(), text(entry))).collect()
}
