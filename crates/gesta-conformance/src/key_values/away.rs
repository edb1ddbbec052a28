//! A key-value store that can be away.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use gesta_core::{BoxFuture, Entry, KeyName, KeyPrefix, KeyValueError, KeyValueStore, Revision};

/// A key-value store as one process reaches it. While it is away, each call is refused and changes nothing.
pub struct AwayKeyValues {
    inner: Arc<dyn KeyValueStore>,
    is_away: AtomicBool,
}

impl AwayKeyValues {
    /// Creates one that is within reach.
    pub fn new(inner: Arc<dyn KeyValueStore>) -> Self {
        Self { inner, is_away: AtomicBool::new(false) }
    }

    /// Takes the store away, or brings it back.
    pub fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), KeyValueError> {
        match self.is_away.load(Ordering::SeqCst) {
            true => Err(KeyValueError::Unavailable { reason: "away".to_owned() }),
            false => Ok(()),
        }
    }
}

impl KeyValueStore for AwayKeyValues {
    fn get(&self, key: KeyName) -> BoxFuture<'_, Result<Option<Entry>, KeyValueError>> {
        Box::pin(async move {
            self.check()?;
            self.inner.get(key).await
        })
    }

    fn put(
        &self,
        key: KeyName,
        value: Bytes,
        expect: Option<Revision>,
    ) -> BoxFuture<'_, Result<Revision, KeyValueError>> {
        Box::pin(async move {
            self.check()?;
            self.inner.put(key, value, expect).await
        })
    }

    fn delete(&self, key: KeyName, expect: Revision) -> BoxFuture<'_, Result<(), KeyValueError>> {
        Box::pin(async move {
            self.check()?;
            self.inner.delete(key, expect).await
        })
    }

    fn list(
        &self,
        prefix: KeyPrefix,
        after: Option<KeyName>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Vec<(KeyName, Entry)>, KeyValueError>> {
        Box::pin(async move {
            self.check()?;
            self.inner.list(prefix, after, limit).await
        })
    }
}
