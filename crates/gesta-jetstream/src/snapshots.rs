//! The snapshot store on the cluster of an event store.
//!
//! A key is `STORE.KIND.STREAM.VERSION.BYTES`: the versions of a stream and the sizes of their states are known from the names of keys, without
//! reading a state. A put that replaces a version with a state of another size removes the older one once the new one is there.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use gesta_core::{
    BoxFuture, Fingerprint, Snapshot, SnapshotError, SnapshotInfo, SnapshotKey, SnapshotPage, SnapshotStore,
    SnapshotStream, StoreId, StreamName, Version,
};

use crate::bucket::{Bucket, NotPut};
use crate::buckets::Shared;
use crate::limits::SNAPSHOT_STATE_BYTES_MAX;
use crate::token::{escape, unescape};

/// A snapshot store on the cluster of an event store, for all processes that have it open.
///
/// A state has at most 5 MiB. A page of streams reads the names of all snapshots, so it is for operators.
///
/// Its futures need no runtime. They live on the thread of the [`JetStreamBuckets`](crate::JetStreamBuckets) that gave it, and keep it.
#[derive(Clone)]
pub struct JetStreamSnapshots {
    shared: Arc<Shared>,
    bucket: Bucket,
}

impl JetStreamSnapshots {
    pub(crate) const fn new(shared: Arc<Shared>, bucket: Bucket) -> Self {
        Self { shared, bucket }
    }

    /// Runs a request on the thread.
    async fn run<T, F>(&self, request: impl FnOnce(Bucket) -> F) -> Result<T, SnapshotError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, SnapshotError>> + Send + 'static,
    {
        let panicked = |_| Err(unavailable("the request has panicked: look at the log of the program"));
        self.shared.spawn(request(self.bucket.clone())).await.unwrap_or_else(panicked)
    }
}

/// The beginning of the keys of a stream.
fn of_stream(of: &SnapshotKey) -> String {
    format!("{}.{}.{}", of.store, of.kind, escape(of.stream.as_str()))
}

/// Reads a key.
fn parse(key: &str) -> Option<(SnapshotKey, SnapshotInfo)> {
    let mut parts = key.split('.');
    let store = parts.next()?.parse::<StoreId>().ok()?;
    let kind = parts.next()?.parse::<Fingerprint>().ok()?;
    let stream = StreamName::new(unescape(parts.next()?)?).ok()?;
    let mut number = || parts.next()?.parse::<u64>().ok();
    let info = SnapshotInfo { version: Version::new(number()?), state_bytes: number()? };
    parts.next().is_none().then_some((SnapshotKey { store, kind, stream }, info))
}

fn unavailable(reason: impl Into<String>) -> SnapshotError {
    SnapshotError::Unavailable { reason: reason.into() }
}

/// The snapshots of a stream by version, oldest first.
async fn list(bucket: &Bucket, of: &SnapshotKey) -> Result<Vec<SnapshotInfo>, SnapshotError> {
    let keys = bucket.keys(&format!("{}.*.*", of_stream(of))).await.map_err(unavailable)?;
    // A version that is just being replaced may be there twice.
    let infos = keys.iter().filter_map(|key| parse(key)).map(|(_, info)| (info.version, info));
    Ok(infos.collect::<BTreeMap<_, _>>().into_values().collect())
}

async fn newest(
    bucket: &Bucket,
    of: &SnapshotKey,
    at_most: Option<Version>,
) -> Result<Option<Snapshot>, SnapshotError> {
    let listed = list(bucket, of).await?;
    let versions = listed.iter().rev().map(|info| info.version);
    for version in versions.filter(|version| at_most.is_none_or(|at_most| *version <= at_most)) {
        let key = format!("{}.{}.*", of_stream(of), version.get());
        let value = bucket.last(&key).await.map_err(unavailable)?.and_then(|last| last.value);
        // A damaged one is absent.
        if let Some(snapshot) = value.and_then(|value| Snapshot::from_value(of, version, &value)) {
            return Ok(Some(snapshot));
        }
    }
    Ok(None)
}

async fn put(bucket: &Bucket, of: &SnapshotKey, snapshot: &Snapshot) -> Result<(), SnapshotError> {
    let (bytes, bytes_max) = (snapshot.state.len(), SNAPSHOT_STATE_BYTES_MAX);
    if bytes > bytes_max {
        return Err(SnapshotError::TooLarge { bytes, bytes_max });
    }
    let version = format!("{}.{}", of_stream(of), snapshot.version.get());
    let value: Bytes = snapshot.to_value(of);
    let written = bucket.put(&format!("{version}.{bytes}"), Some(value), None).await;
    let number = written.map_err(|error| match error {
        NotPut::Full => {
            SnapshotError::StorageFull { reason: "the limits of JetStream on the servers".to_owned() }
        }
        NotPut::Unavailable(reason) | NotPut::InDoubt(reason) => unavailable(reason),
        NotPut::Changed => unavailable("the servers compared a value that none was expected for"),
    })?;
    let all = format!("{version}.*");
    if bucket.keys(&all).await.map_err(unavailable)?.len() > 1 {
        bucket.purge(&all, Some(number)).await.map_err(unavailable)?;
    }
    Ok(())
}

async fn remove(bucket: &Bucket, of: &SnapshotKey, versions: &[Version]) -> Result<(), SnapshotError> {
    for version in versions {
        let all = format!("{}.{}.*", of_stream(of), version.get());
        bucket.purge(&all, None).await.map_err(unavailable)?;
    }
    Ok(())
}

async fn streams(
    bucket: &Bucket,
    within: Option<StoreId>,
    after: Option<SnapshotKey>,
    limit: NonZeroU32,
) -> Result<SnapshotPage, SnapshotError> {
    let filter = within.map_or_else(|| ">".to_owned(), |store| format!("{store}.>"));
    let keys = bucket.keys(&filter).await.map_err(unavailable)?;
    let mut found = BTreeMap::<SnapshotKey, BTreeMap<Version, u64>>::new();
    for (key, info) in keys.iter().filter_map(|key| parse(key)) {
        if after.as_ref().is_none_or(|after| key > *after) {
            found.entry(key).or_default().insert(info.version, info.state_bytes);
        }
    }
    let limit = limit.get() as usize;
    let is_cut = found.len() > limit;
    let stream = |(key, versions): (SnapshotKey, BTreeMap<Version, u64>)| {
        let newest = versions.last_key_value().map_or(Version::new(0), |(version, _)| *version);
        let (snapshots, state_bytes) = (versions.len() as u64, versions.values().sum());
        SnapshotStream { key, snapshots, state_bytes, newest }
    };
    let streams = found.into_iter().take(limit).map(stream).collect::<Vec<_>>();
    let next = streams.last().filter(|_| is_cut).map(|stream| stream.key.clone());
    Ok(SnapshotPage { streams, next })
}

impl SnapshotStore for JetStreamSnapshots {
    fn newest(
        &self,
        of: SnapshotKey,
        at_most: Option<Version>,
    ) -> BoxFuture<'_, Result<Option<Snapshot>, SnapshotError>> {
        Box::pin(self.run(move |bucket| async move { newest(&bucket, &of, at_most).await }))
    }

    fn put(&self, of: SnapshotKey, snapshot: Snapshot) -> BoxFuture<'_, Result<(), SnapshotError>> {
        Box::pin(self.run(move |bucket| async move { put(&bucket, &of, &snapshot).await }))
    }

    fn list(&self, of: SnapshotKey) -> BoxFuture<'_, Result<Vec<SnapshotInfo>, SnapshotError>> {
        Box::pin(self.run(move |bucket| async move { list(&bucket, &of).await }))
    }

    fn remove(&self, of: SnapshotKey, versions: Vec<Version>) -> BoxFuture<'_, Result<(), SnapshotError>> {
        Box::pin(self.run(move |bucket| async move { remove(&bucket, &of, &versions).await }))
    }

    fn streams(
        &self,
        within: Option<StoreId>,
        after: Option<SnapshotKey>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<SnapshotPage, SnapshotError>> {
        Box::pin(self.run(move |bucket| async move { streams(&bucket, within, after, limit).await }))
    }
}
