//! Words for people about parked streams and skipped events. Losing them loses nothing else.

use std::num::NonZeroU32;

use bytes::Bytes;
use gesta_core::{KeyName, KeyValueError, KeyValueStore, StreamName, Timestamp, Version};
use serde::{Deserialize, Serialize};

use super::keys;
use crate::group::name::GroupName;
use crate::group::status::Parked;

/// What is kept about one stream or event.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    v: u32,
    stream: String,
    version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Nanoseconds since 1970 UTC.
    at: i64,
}

impl Written {
    fn new(stream: &StreamName, version: Version, at: Timestamp) -> Self {
        let (stream, version, at) = (stream.to_string(), version.get(), at.as_nanos());
        Self { v: 1, stream, version, error: None, by: None, reason: None, at }
    }

    fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("words are texts and numbers").into()
    }
}

/// Keeps why a stream was parked.
pub(super) async fn keep_parked(
    values: &dyn KeyValueStore,
    group: &GroupName,
    parked: &Parked,
    at: Timestamp,
) -> Result<(), KeyValueError> {
    let mut written = Written::new(&parked.stream, parked.version, at);
    written.error.clone_from(&parked.error);
    written.by.clone_from(&parked.by);
    put(values, keys::parked(group, &parked.stream), written.encode()).await
}

/// Removes what was kept about a parked stream.
pub(super) async fn drop_parked(
    values: &dyn KeyValueStore,
    group: &GroupName,
    stream: &StreamName,
) -> Result<(), KeyValueError> {
    let key = keys::parked(group, stream);
    match values.get(key.clone()).await? {
        Some(entry) => values.delete(key, entry.revision).await,
        None => Ok(()),
    }
}

/// Keeps who skipped events of a stream up to a version, and why.
pub(super) async fn keep_skipped(
    values: &dyn KeyValueStore,
    group: &GroupName,
    stream: &StreamName,
    through: Version,
    (by, reason): (String, String),
    at: Timestamp,
) -> Result<(), KeyValueError> {
    let mut written = Written::new(stream, through, at);
    written.by = Some(by);
    written.reason = Some(reason);
    put(values, keys::skipped(group, stream, through), written.encode()).await
}

/// Adds what is kept about a parked stream to its entry. Words about another event of the stream are older ones.
pub(super) async fn add_to(
    values: &dyn KeyValueStore,
    group: &GroupName,
    parked: &mut Parked,
) -> Result<(), KeyValueError> {
    let Some(entry) = values.get(keys::parked(group, &parked.stream)).await? else { return Ok(()) };
    let Ok(written) = serde_json::from_slice::<Written>(&entry.value) else { return Ok(()) };
    if written.v == 1 && written.stream == parked.stream.as_str() && written.version == parked.version.get() {
        parked.error = parked.error.take().or(written.error);
        parked.by = written.by;
        parked.since = Some(Timestamp::from_nanos(written.at));
    }
    Ok(())
}

/// Removes all words of a group.
pub(super) async fn drop_all(values: &dyn KeyValueStore, group: &GroupName) -> Result<(), KeyValueError> {
    const PAGE: NonZeroU32 = NonZeroU32::new(100).unwrap();
    let mut after = None;
    loop {
        let page = values.list(keys::words(group), after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for (key, entry) in page {
            values.delete(key, entry.revision).await?;
        }
    }
}

/// Puts a value in place of whatever is there. The last of two writers at the same time may lose.
async fn put(values: &dyn KeyValueStore, key: KeyName, value: Bytes) -> Result<(), KeyValueError> {
    let expect = values.get(key.clone()).await?.map(|entry| entry.revision);
    values.put(key, value, expect).await.map(|_| ())
}
