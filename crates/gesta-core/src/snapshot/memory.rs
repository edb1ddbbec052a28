//! The in-memory snapshot store. All others are tested against it, and applications can use it in their tests.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{
    Snapshot, SnapshotError, SnapshotInfo, SnapshotKey, SnapshotPage, SnapshotStore, SnapshotStream,
};
use crate::checkpoint::{StoreId, Version};
use crate::limits::SNAPSHOT_BYTES_MAX;
use crate::store::BoxFuture;

/// A snapshot store that keeps everything in memory, until it is dropped.
#[derive(Default)]
pub struct MemorySnapshotStore {
    snapshots: Mutex<BTreeMap<SnapshotKey, BTreeMap<Version, Snapshot>>>,
}

impl MemorySnapshotStore {
    /// Creates an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SnapshotKey, BTreeMap<Version, Snapshot>>> {
        // A poisoned lock is safe to use: any half of a change is a loss that callers expect.
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, of: &SnapshotKey, at_most: Option<Version>) -> Option<Snapshot> {
        let snapshots = self.lock();
        let versions = snapshots.get(of)?;
        let to = at_most.map_or(Bound::Unbounded, Bound::Included);
        versions.range((Bound::Unbounded, to)).next_back().map(|(_, snapshot)| snapshot.clone())
    }

    fn keep(&self, of: SnapshotKey, snapshot: Snapshot) -> Result<(), SnapshotError> {
        let bytes = snapshot.state.len();
        if bytes > SNAPSHOT_BYTES_MAX {
            return Err(SnapshotError::TooLarge { bytes, bytes_max: SNAPSHOT_BYTES_MAX });
        }
        self.lock().entry(of).or_default().insert(snapshot.version, snapshot);
        Ok(())
    }

    fn page(&self, within: Option<StoreId>, after: Option<SnapshotKey>, limit: NonZeroU32) -> SnapshotPage {
        let limit = usize::try_from(limit.get()).unwrap_or(usize::MAX);
        let snapshots = self.lock();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let keys = snapshots.range((from, Bound::Unbounded));
        let keys = keys.filter(|(key, _)| within.is_none_or(|store| key.store == store)).take(limit);
        let streams = keys.filter_map(|(key, versions)| sum(key, versions)).collect::<Vec<_>>();
        let next =
            (streams.len() == limit).then(|| streams.last().map(|stream| stream.key.clone())).flatten();
        SnapshotPage { streams, next }
    }
}

fn sum(key: &SnapshotKey, versions: &BTreeMap<Version, Snapshot>) -> Option<SnapshotStream> {
    let (newest, _) = versions.last_key_value()?;
    let state_bytes = versions.values().map(|snapshot| snapshot.state.len() as u64).sum();
    Some(SnapshotStream { key: key.clone(), snapshots: versions.len() as u64, state_bytes, newest: *newest })
}

impl SnapshotStore for MemorySnapshotStore {
    fn newest(
        &self,
        of: SnapshotKey,
        at_most: Option<Version>,
    ) -> BoxFuture<'_, Result<Option<Snapshot>, SnapshotError>> {
        Box::pin(async move { Ok(self.find(&of, at_most)) })
    }

    fn put(&self, of: SnapshotKey, snapshot: Snapshot) -> BoxFuture<'_, Result<(), SnapshotError>> {
        Box::pin(async move { self.keep(of, snapshot) })
    }

    fn list(&self, of: SnapshotKey) -> BoxFuture<'_, Result<Vec<SnapshotInfo>, SnapshotError>> {
        Box::pin(async move {
            let snapshots = self.lock();
            let infos = snapshots.get(&of).into_iter().flat_map(BTreeMap::values).map(|snapshot| {
                SnapshotInfo { version: snapshot.version, state_bytes: snapshot.state.len() as u64 }
            });
            Ok(infos.collect())
        })
    }

    fn remove(&self, of: SnapshotKey, versions: Vec<Version>) -> BoxFuture<'_, Result<(), SnapshotError>> {
        Box::pin(async move {
            let mut snapshots = self.lock();
            if let Some(kept) = snapshots.get_mut(&of) {
                kept.retain(|version, _| !versions.contains(version));
                if kept.is_empty() {
                    snapshots.remove(&of);
                }
            }
            Ok(())
        })
    }

    fn streams(
        &self,
        within: Option<StoreId>,
        after: Option<SnapshotKey>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<SnapshotPage, SnapshotError>> {
        Box::pin(async move { Ok(self.page(within, after, limit)) })
    }
}
