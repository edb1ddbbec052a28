//! The key-value store on the cluster of an event store.
//!
//! A revision is the number of a message in the stream of the bucket, so revisions grow over all keys, and a removal has one too. A removed
//! key leaves an empty message.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use gesta_core::{
    BoxFuture, Entry, KeyName, KeyPrefix, KeyValueError, KeyValueStore, LIST_BYTES_MAX, Revision,
    VALUE_BYTES_MAX,
};

use crate::bucket::{Bucket, NotPut};
use crate::buckets::Shared;
use crate::token::{escape, unescape};

/// Values that a list asks for at the same time.
const ASKED_AT_ONCE: usize = 16;

/// A key-value store on the cluster of an event store, for all processes that have it open.
///
/// Reads are answered by the leader of the bucket. A leader that was cut off and does not know yet may show older values for some seconds;
/// a write is compared with the newest one in any case.
///
/// Its futures need no runtime. They live on the thread of the [`JetStreamBuckets`](crate::JetStreamBuckets) that gave it, and keep it.
#[derive(Clone)]
pub struct JetStreamValues {
    shared: Arc<Shared>,
    bucket: Bucket,
}

impl JetStreamValues {
    pub(crate) const fn new(shared: Arc<Shared>, bucket: Bucket) -> Self {
        Self { shared, bucket }
    }
}

async fn get(bucket: &Bucket, key: &KeyName) -> Result<Option<Entry>, KeyValueError> {
    let last = bucket.last(&escape(key.as_str())).await.map_err(unavailable)?;
    Ok(last.and_then(|last| Some(Entry { value: last.value?, revision: Revision::new(last.number) })))
}

async fn put(
    bucket: &Bucket,
    key: &KeyName,
    value: Option<Bytes>,
    expect: Option<Revision>,
) -> Result<Revision, KeyValueError> {
    let token = escape(key.as_str());
    let mut number = expect.map_or(0, Revision::get);
    loop {
        // To the cluster, 0 is a key without a message; as a revision it was never given.
        if number > 0 || expect.is_none() {
            match bucket.put(&token, value.clone(), Some(number)).await {
                Ok(number) => return Ok(Revision::new(number)),
                Err(NotPut::Changed) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let last = bucket.last(&token).await.map_err(unavailable)?;
        let actual = last.as_ref().filter(|last| last.value.is_some());
        if actual.is_some() || expect.is_some() {
            return Err(KeyValueError::Changed { actual: actual.map(|last| Revision::new(last.number)) });
        }
        // A removed key has no value, and a last message.
        number = last.map_or(0, |last| last.number);
    }
}

async fn list(
    bucket: &Bucket,
    prefix: &KeyPrefix,
    after: Option<&KeyName>,
    limit: NonZeroU32,
) -> Result<Vec<(KeyName, Entry)>, KeyValueError> {
    let tokens = bucket.keys(">").await.map_err(unavailable)?;
    let names = tokens.iter().filter_map(|token| KeyName::new(unescape(token)?).ok());
    let is_listed = |name: &KeyName| prefix.matches(name) && after.is_none_or(|after| name > after);
    let mut names = names.filter(is_listed).collect::<Vec<_>>();
    names.sort_unstable();
    let asked = names.into_iter().map(|name| async move {
        let entry = get(bucket, &name).await;
        entry.map(|entry| Some((name, entry?)))
    });
    let mut entries = futures_util::stream::iter(asked).buffered(ASKED_AT_ONCE);
    let (mut page, mut bytes) = (Vec::new(), 0);
    while page.len() < limit.get() as usize && bytes <= LIST_BYTES_MAX {
        let Some(entry) = entries.next().await else { break };
        if let Some((name, entry)) = entry? {
            bytes += entry.value.len();
            page.push((name, entry));
        }
    }
    Ok(page)
}

fn unavailable(reason: String) -> KeyValueError {
    KeyValueError::Unavailable { reason }
}

impl From<NotPut> for KeyValueError {
    fn from(error: NotPut) -> Self {
        match error {
            NotPut::Changed => Self::Changed { actual: None },
            NotPut::Full => Self::StorageFull { reason: "the limits of JetStream on the servers".to_owned() },
            NotPut::Unavailable(reason) => Self::Unavailable { reason },
            NotPut::InDoubt(reason) => Self::InDoubt { reason },
        }
    }
}

impl KeyValueStore for JetStreamValues {
    fn get(&self, key: KeyName) -> BoxFuture<'_, Result<Option<Entry>, KeyValueError>> {
        let bucket = self.bucket.clone();
        Box::pin(async move {
            let asked = self.shared.spawn(async move { get(&bucket, &key).await });
            asked.await.unwrap_or_else(|_| Err(unavailable(PANICKED.to_owned())))
        })
    }

    fn put(
        &self,
        key: KeyName,
        value: Bytes,
        expect: Option<Revision>,
    ) -> BoxFuture<'_, Result<Revision, KeyValueError>> {
        let bucket = self.bucket.clone();
        Box::pin(async move {
            if value.len() > VALUE_BYTES_MAX {
                return Err(KeyValueError::TooLarge { bytes: value.len() });
            }
            let written = self.shared.spawn(async move { put(&bucket, &key, Some(value), expect).await });
            written.await.unwrap_or_else(|_| Err(KeyValueError::InDoubt { reason: PANICKED.to_owned() }))
        })
    }

    fn delete(&self, key: KeyName, expect: Revision) -> BoxFuture<'_, Result<(), KeyValueError>> {
        let bucket = self.bucket.clone();
        Box::pin(async move {
            let deleted = self.shared.spawn(async move { put(&bucket, &key, None, Some(expect)).await });
            let deleted = deleted.await;
            let in_doubt = |_| Err(KeyValueError::InDoubt { reason: PANICKED.to_owned() });
            deleted.unwrap_or_else(in_doubt).map(drop)
        })
    }

    fn list(
        &self,
        prefix: KeyPrefix,
        after: Option<KeyName>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Vec<(KeyName, Entry)>, KeyValueError>> {
        let bucket = self.bucket.clone();
        Box::pin(async move {
            let listed =
                self.shared.spawn(async move { list(&bucket, &prefix, after.as_ref(), limit).await });
            listed.await.unwrap_or_else(|_| Err(unavailable(PANICKED.to_owned())))
        })
    }
}

const PANICKED: &str = "the request has panicked: look at the log of the program";
