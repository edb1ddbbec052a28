//! The in-memory key-value store. All others are tested against it, and applications can use it in their tests.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::key_value::{Entry, KeyName, KeyPrefix, KeyValueError, KeyValueStore, Revision};
use crate::limits::{LIST_BYTES_MAX, VALUE_BYTES_MAX};
use crate::store::BoxFuture;

/// A key-value store that keeps everything in memory, until it is dropped.
#[derive(Default)]
pub struct MemoryKeyValueStore {
    values: Mutex<Values>,
}

#[derive(Clone, Default)]
struct Values {
    entries: BTreeMap<KeyName, Entry>,
    /// The revision of the last write, 0 before the first. It never goes back.
    last: u64,
}

impl MemoryKeyValueStore {
    /// Creates an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Copies the store with its content.
    ///
    /// The two stores are independent from then on. Use the copy to test a restore of an older state.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self { values: Mutex::new(self.lock().clone()) }
    }

    fn lock(&self) -> MutexGuard<'_, Values> {
        // A poisoned lock is safe to use: each change is a single insert or remove after the last check.
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Values {
    /// Checks a write's expectation.
    fn check(&self, key: &KeyName, expect: Option<Revision>) -> Result<(), KeyValueError> {
        let actual = self.entries.get(key).map(|entry| entry.revision);
        if actual == expect { Ok(()) } else { Err(KeyValueError::Changed { actual }) }
    }

    fn next(&mut self) -> Revision {
        self.last += 1;
        Revision::new(self.last)
    }

    fn put(
        &mut self,
        key: KeyName,
        value: Bytes,
        expect: Option<Revision>,
    ) -> Result<Revision, KeyValueError> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(KeyValueError::TooLarge { bytes: value.len() });
        }
        self.check(&key, expect)?;
        let revision = self.next();
        self.entries.insert(key, Entry { value, revision });
        Ok(revision)
    }

    fn delete(&mut self, key: &KeyName, expect: Revision) -> Result<(), KeyValueError> {
        self.check(key, Some(expect))?;
        self.next();
        self.entries.remove(key);
        Ok(())
    }

    fn list(&self, prefix: &KeyPrefix, after: Option<&KeyName>, limit: NonZeroU32) -> Vec<(KeyName, Entry)> {
        let from = match after {
            Some(after) if after.as_str() >= prefix.as_str() => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix.as_str()),
        };
        let mut bytes = 0;
        let keys = self.entries.range::<str, _>((from, Bound::Unbounded));
        keys.take_while(|(key, _)| prefix.matches(key))
            .take(limit.get() as usize)
            .take_while(|(_, entry)| {
                let is_first = bytes == 0;
                bytes += entry.value.len() + 1;
                is_first || bytes <= LIST_BYTES_MAX
            })
            .map(|(key, entry)| (key.clone(), entry.clone()))
            .collect()
    }
}

impl KeyValueStore for MemoryKeyValueStore {
    fn get(&self, key: KeyName) -> BoxFuture<'_, Result<Option<Entry>, KeyValueError>> {
        Box::pin(async move { Ok(self.lock().entries.get(&key).cloned()) })
    }

    fn put(
        &self,
        key: KeyName,
        value: Bytes,
        expect: Option<Revision>,
    ) -> BoxFuture<'_, Result<Revision, KeyValueError>> {
        Box::pin(async move { self.lock().put(key, value, expect) })
    }

    fn delete(&self, key: KeyName, expect: Revision) -> BoxFuture<'_, Result<(), KeyValueError>> {
        Box::pin(async move { self.lock().delete(&key, expect) })
    }

    fn list(
        &self,
        prefix: KeyPrefix,
        after: Option<KeyName>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Vec<(KeyName, Entry)>, KeyValueError>> {
        Box::pin(async move { Ok(self.lock().list(&prefix, after.as_ref(), limit)) })
    }
}
