//! A key-value store that can be away, or say nothing.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use event_listener::Event;
use gesta_core::{BoxFuture, Entry, KeyName, KeyPrefix, KeyValueError, KeyValueStore, Revision};

/// A key-value store as one process reaches it. While it is away, each call is refused and changes nothing. While it is silent, a call
/// waits until that is over.
pub struct AwayKeyValues {
    inner: Arc<dyn KeyValueStore>,
    reach: Mutex<Reach>,
    changed: Event,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Near,
    Away,
    Silent,
}

impl AwayKeyValues {
    /// Creates one that is within reach.
    pub fn new(inner: Arc<dyn KeyValueStore>) -> Self {
        Self { inner, reach: Mutex::new(Reach::Near), changed: Event::new() }
    }

    /// Takes the store away, or brings it back.
    pub fn set_away(&self, is_away: bool) {
        self.set(if is_away { Reach::Away } else { Reach::Near });
    }

    /// Makes the store silent, or lets it answer again.
    pub fn set_silent(&self, is_silent: bool) {
        self.set(if is_silent { Reach::Silent } else { Reach::Near });
    }

    fn set(&self, reach: Reach) {
        *self.reach.lock().unwrap_or_else(PoisonError::into_inner) = reach;
        self.changed.notify(usize::MAX);
    }

    async fn check(&self) -> Result<(), KeyValueError> {
        loop {
            // Listen first and look second: a change between the two would be missed otherwise.
            let changed = self.changed.listen();
            let reach = *self.reach.lock().unwrap_or_else(PoisonError::into_inner);
            match reach {
                Reach::Near => return Ok(()),
                Reach::Away => return Err(KeyValueError::Unavailable { reason: "away".to_owned() }),
                Reach::Silent => changed.await,
            }
        }
    }
}

impl KeyValueStore for AwayKeyValues {
    fn get(&self, key: KeyName) -> BoxFuture<'_, Result<Option<Entry>, KeyValueError>> {
        Box::pin(async move {
            self.check().await?;
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
            self.check().await?;
            self.inner.put(key, value, expect).await
        })
    }

    fn delete(&self, key: KeyName, expect: Revision) -> BoxFuture<'_, Result<(), KeyValueError>> {
        Box::pin(async move {
            self.check().await?;
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
            self.check().await?;
            self.inner.list(prefix, after, limit).await
        })
    }
}
