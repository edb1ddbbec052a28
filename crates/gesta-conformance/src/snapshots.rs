//! The laws of a snapshot store: its harness, and the subject of a law.

mod harness;
pub(crate) mod listing;
pub(crate) mod losing;
pub(crate) mod races;
pub(crate) mod random;
pub(crate) mod values;

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use gesta_core::{
    EventId, Fingerprint, Snapshot, SnapshotError, SnapshotInfo, SnapshotKey, SnapshotStore, SnapshotStream,
    StoreId, StreamName, Timestamp, Version,
};
use pollster::block_on;

pub use harness::{MemorySnapshots, SnapshotHarness};
pub use random::compare_snapshots_with_memory;

/// More pages than any law reads. A store that returns more makes no progress.
const PAGES_MAX: usize = 10_000;

/// The key of a stream in the first event store, and of the first kind.
pub(crate) fn key(stream: &str) -> SnapshotKey {
    let stream = StreamName::new(stream).unwrap_or_else(|error| panic!("`{stream}`: {error}"));
    SnapshotKey { store: StoreId::from_bytes([1; 16]), kind: Fingerprint::from_bytes([1; 32]), stream }
}

/// A snapshot whose fields all follow from the version and the state.
pub(crate) fn snapshot(version: u64, state: impl Into<Bytes>) -> Snapshot {
    Snapshot {
        version: Version::new(version),
        anchor: EventId::from_u128(u128::from(version) << 64 | 0xff00),
        taken_at: Timestamp::from_nanos(-1_000 - i64::try_from(version % 1_000).expect("a small number")),
        state: state.into(),
    }
}

/// One store under a law, and the common calls.
pub(crate) struct World<'a> {
    harness: &'a dyn SnapshotHarness,
    /// Absent only while it is emptied.
    store: Option<Arc<dyn SnapshotStore>>,
}

impl<'a> World<'a> {
    pub(crate) fn new(harness: &'a dyn SnapshotHarness) -> Self {
        Self { harness, store: Some(harness.store()) }
    }

    pub(crate) fn store(&self) -> &dyn SnapshotStore {
        self.store.as_deref().expect("a store between losses")
    }

    pub(crate) fn lose_all(&mut self) {
        let store = self.store.take().expect("a store between losses");
        self.store = Some(self.harness.lose_all(store));
    }

    pub(crate) fn try_put(&self, of: &SnapshotKey, snapshot: Snapshot) -> Result<(), SnapshotError> {
        block_on(self.store().put(of.clone(), snapshot))
    }

    /// Puts a snapshot. The store must accept it.
    pub(crate) fn put(&self, of: &SnapshotKey, snapshot: Snapshot) {
        let version = snapshot.version;
        self.try_put(of, snapshot).unwrap_or_else(|error| panic!("put of {version} of {of:?}: {error}"));
    }

    pub(crate) fn newest(&self, of: &SnapshotKey, at_most: Option<u64>) -> Option<Snapshot> {
        let newest = block_on(self.store().newest(of.clone(), at_most.map(Version::new)));
        newest.unwrap_or_else(|error| panic!("newest of {of:?}: {error}"))
    }

    pub(crate) fn list(&self, of: &SnapshotKey) -> Vec<SnapshotInfo> {
        block_on(self.store().list(of.clone())).unwrap_or_else(|error| panic!("list of {of:?}: {error}"))
    }

    pub(crate) fn versions(&self, of: &SnapshotKey) -> Vec<u64> {
        self.list(of).iter().map(|info| info.version.get()).collect()
    }

    pub(crate) fn remove(&self, of: &SnapshotKey, versions: &[u64]) {
        let versions = versions.iter().copied().map(Version::new).collect();
        block_on(self.store().remove(of.clone(), versions))
            .unwrap_or_else(|error| panic!("remove of {of:?}: {error}"));
    }

    /// Reads all pages of keys, with `limit` keys each.
    pub(crate) fn streams(&self, within: Option<StoreId>, limit: u32) -> Vec<SnapshotStream> {
        let limit = NonZeroU32::new(limit).expect("a limit");
        let (mut all, mut after) = (Vec::<SnapshotStream>::new(), None);
        for _ in 0..PAGES_MAX {
            let page = block_on(self.store().streams(within, after.clone(), limit)).expect("a page");
            assert!(page.streams.len() <= limit.get() as usize, "a page of more than {limit} keys");
            for stream in &page.streams {
                let key = &stream.key;
                assert!(after.as_ref().is_none_or(|after| key > after), "{key:?} is not after {after:?}");
                assert!(
                    page.next.as_ref().is_none_or(|next| key <= next),
                    "{key:?} is after {:?}",
                    page.next
                );
            }
            all.extend(page.streams);
            let Some(next) = page.next else { return all };
            assert!(after.is_none_or(|after| next > after), "a listing makes progress");
            after = Some(next);
        }
        panic!("a listing without end");
    }
}
