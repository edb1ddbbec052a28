//! The laws of a key-value store: its harness, and the subject of a law.

mod away;
mod harness;
pub(crate) mod listing;
pub(crate) mod races;
pub(crate) mod random;
pub(crate) mod revisions;
pub(crate) mod values;

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use gesta_core::{Entry, KeyName, KeyPrefix, KeyValueError, KeyValueStore, Revision};
use pollster::block_on;

pub use away::AwayKeyValues;
pub use harness::{KeyValueHarness, MemoryKeyValues, RestartingKeyValues};
pub use random::compare_key_values_with_memory;

/// More pages than any law reads. A store that returns more makes no progress.
const PAGES_MAX: usize = 10_000;

pub(crate) fn key(text: &str) -> KeyName {
    KeyName::new(text).unwrap_or_else(|error| panic!("`{text}`: {error}"))
}

/// One store under a law, and the common calls.
pub(crate) struct World<'a> {
    harness: &'a dyn KeyValueHarness,
    /// Absent only during a restart.
    store: Option<Arc<dyn KeyValueStore>>,
}

impl<'a> World<'a> {
    pub(crate) fn new(harness: &'a dyn KeyValueHarness) -> Self {
        Self { harness, store: Some(harness.store()) }
    }

    pub(crate) fn store(&self) -> &dyn KeyValueStore {
        self.store.as_deref().expect("a store between restarts")
    }

    pub(crate) fn restart(&mut self) {
        let store = self.store.take().expect("a store between restarts");
        self.store = Some(self.harness.restart(store));
    }

    pub(crate) fn get(&self, name: &str) -> Option<Entry> {
        block_on(self.store().get(key(name))).unwrap_or_else(|error| panic!("get of `{name}`: {error}"))
    }

    pub(crate) fn revision(&self, name: &str) -> Option<Revision> {
        self.get(name).map(|entry| entry.revision)
    }

    pub(crate) fn try_put(
        &self,
        name: &str,
        value: impl Into<Bytes>,
        expect: Option<Revision>,
    ) -> Result<Revision, KeyValueError> {
        block_on(self.store().put(key(name), value.into(), expect))
    }

    /// Puts a value. The store must accept it.
    pub(crate) fn put(&self, name: &str, value: impl Into<Bytes>, expect: Option<Revision>) -> Revision {
        self.try_put(name, value, expect).unwrap_or_else(|error| panic!("put of `{name}`: {error}"))
    }

    /// Puts a value in place of the current one.
    pub(crate) fn set(&self, name: &str, value: impl Into<Bytes>) -> Revision {
        self.put(name, value, self.revision(name))
    }

    /// Puts a value. The store must refuse it with the actual revision and change nothing.
    pub(crate) fn refuse(&self, name: &str, expect: Option<Revision>) -> Option<Revision> {
        let before = self.get(name);
        let actual = changed(self.try_put(name, "refused", expect));
        assert_eq!(self.get(name), before, "a refused put changes nothing");
        actual
    }

    pub(crate) fn try_delete(&self, name: &str, expect: Revision) -> Result<(), KeyValueError> {
        block_on(self.store().delete(key(name), expect))
    }

    /// Deletes a key in its current revision.
    pub(crate) fn delete(&self, name: &str) {
        let revision = self.revision(name).expect("a key with a value");
        self.try_delete(name, revision).unwrap_or_else(|error| panic!("delete of `{name}`: {error}"));
    }

    pub(crate) fn page(&self, prefix: &str, after: Option<&str>, limit: u32) -> Vec<(KeyName, Entry)> {
        let prefix = KeyPrefix::new(prefix).expect("a prefix");
        let limit = NonZeroU32::new(limit).expect("a limit");
        let page = block_on(self.store().list(prefix.clone(), after.map(key), limit)).expect("a page");
        assert!(page.len() <= limit.get() as usize, "a page of more than {limit} keys");
        for (key, _) in &page {
            assert!(prefix.matches(key), "`{key}` does not begin with `{}`", prefix.as_str());
            assert!(after.is_none_or(|after| key.as_str() > after), "`{key}` is not after {after:?}");
        }
        assert!(page.is_sorted_by(|(one, _), (next, _)| one < next), "a page is sorted");
        page
    }

    /// Reads all pages of a prefix, with `limit` keys each.
    pub(crate) fn list(&self, prefix: &str, limit: u32) -> Vec<(KeyName, Entry)> {
        let mut all = Vec::new();
        for _ in 0..PAGES_MAX {
            let after = all.last().map(|(key, _): &(KeyName, Entry)| key.to_string());
            let page = self.page(prefix, after.as_deref(), limit);
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
        panic!("a listing without end");
    }
}

/// Takes the actual revision from the refusal of a write.
pub(crate) fn changed<T: std::fmt::Debug>(result: Result<T, KeyValueError>) -> Option<Revision> {
    match result {
        Err(KeyValueError::Changed { actual }) => actual,
        other => panic!("the write was not refused as `Changed`: {other:?}"),
    }
}
