//! The laws of a snapshot store find stores that break a promise. Each planted bug names the law that must find it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use gesta_conformance::SnapshotHarness;
use gesta_conformance::snapshot_laws::{listing, losing, races, random, values};
use gesta_core::{
    BoxFuture, EventId, Fingerprint, SNAPSHOT_BYTES_MAX, Snapshot, SnapshotError, SnapshotInfo, SnapshotKey,
    SnapshotPage, SnapshotStore, SnapshotStream, StoreId, Timestamp, Version,
};

use crate::gap::Gap;

/// A broken promise, or none.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bug {
    None,
    FindsTheNewestOnly,
    ExcludesTheBound,
    OrdersVersionsAsText,
    KeepsTheFirstOfAVersion,
    KeepsBothOfAVersion,
    KeepsTextOnly,
    ForgetsTheAnchor,
    ForgetsWhenItWasTaken,
    MixesEventStores,
    MixesKinds,
    IgnoresCase,
    TakesAnyState,
    CutsLargeStates,
    RemovesAll,
    RemovesNothing,
    ListsNewestFirst,
    ListsBytesOfValues,
    ListsEmptyKeys,
    ListsKeysOfAllStores,
    EndsListsEarly,
    PagesByNumber,
    CountsTheNewestOnly,
    KeepsAfterLoss,
    ReplacesInTwoSteps,
    ReadsChangesWrites,
    AnswersBeforeItWrites,
}

type Versions = BTreeMap<Version, Snapshot>;

/// A small store with a place for each bug.
#[derive(Default)]
struct Store {
    bug: Option<Bug>,
    snapshots: Mutex<BTreeMap<SnapshotKey, Versions>>,
    /// Acknowledged, but not written yet.
    late: Mutex<Option<(SnapshotKey, Snapshot)>>,
    /// Between two steps of a put.
    gap: Gap,
    is_read: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no call has panicked")
}

impl Store {
    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn key(&self, key: SnapshotKey) -> SnapshotKey {
        match self.bug {
            Some(Bug::MixesEventStores) => SnapshotKey { store: StoreId::from_bytes([0; 16]), ..key },
            Some(Bug::MixesKinds) => SnapshotKey { kind: Fingerprint::from_bytes([0; 32]), ..key },
            Some(Bug::IgnoresCase) => {
                let stream = key.stream.as_str().to_lowercase().parse().expect("a stream");
                SnapshotKey { stream, ..key }
            }
            _ => key,
        }
    }

    fn newest(&self, of: &SnapshotKey, at_most: Option<Version>) -> Option<Snapshot> {
        let snapshots = lock(&self.snapshots);
        let versions = snapshots.get(of)?;
        let is_within = |version: &Version| {
            at_most.is_none_or(|at_most| match self.bug {
                Some(Bug::ExcludesTheBound) => *version < at_most,
                Some(Bug::OrdersVersionsAsText) => version.to_string() <= at_most.to_string(),
                _ => *version <= at_most,
            })
        };
        if self.has(Bug::FindsTheNewestOnly) {
            return versions
                .last_key_value()
                .filter(|(version, _)| is_within(version))
                .map(|(_, s)| s.clone());
        }
        let within = versions.iter().filter(|(version, _)| is_within(version));
        let found = match self.bug {
            Some(Bug::OrdersVersionsAsText) => within.max_by_key(|(version, _)| version.to_string()),
            _ => within.max_by_key(|(version, _)| **version),
        };
        found.map(|(_, snapshot)| snapshot.clone())
    }

    fn stored(&self, mut snapshot: Snapshot) -> Snapshot {
        match self.bug {
            Some(Bug::KeepsTextOnly) => {
                snapshot.state = String::from_utf8_lossy(&snapshot.state).into_owned().into();
            }
            Some(Bug::ForgetsTheAnchor) => snapshot.anchor = EventId::from_u128(1),
            Some(Bug::ForgetsWhenItWasTaken) => snapshot.taken_at = Timestamp::from_nanos(0),
            Some(Bug::CutsLargeStates) => snapshot.state.truncate(16 << 20),
            _ => {}
        }
        snapshot
    }

    fn put(&self, of: SnapshotKey, snapshot: Snapshot) -> Result<(), SnapshotError> {
        let bytes = snapshot.state.len();
        if bytes > SNAPSHOT_BYTES_MAX && !self.has(Bug::TakesAnyState) {
            return Err(SnapshotError::TooLarge { bytes, bytes_max: SNAPSHOT_BYTES_MAX });
        }
        if let Some((of, snapshot)) = lock(&self.late).take() {
            lock(&self.snapshots).entry(of).or_default().insert(snapshot.version, snapshot);
        }
        let mut snapshot = self.stored(snapshot);
        match self.bug {
            Some(Bug::AnswersBeforeItWrites) => {
                *lock(&self.late) = Some((of, snapshot));
                return Ok(());
            }
            Some(Bug::ReplacesInTwoSteps) => {
                let state = std::mem::take(&mut snapshot.state);
                let version = snapshot.version;
                let old = self.newest(&of, Some(version));
                let has_others = old.is_some();
                let half = Snapshot { state: old.map(|old| old.state).unwrap_or_default(), ..snapshot };
                let anchor = half.anchor;
                lock(&self.snapshots).entry(of.clone()).or_default().insert(version, half);
                if has_others && self.gap.meet() {
                    self.let_others_read_first(&of, anchor);
                }
                let mut snapshots = lock(&self.snapshots);
                let versions = snapshots.entry(of).or_default();
                if let Some(half) = versions.get_mut(&version) {
                    half.state = state;
                }
                return Ok(());
            }
            Some(Bug::ReadsChangesWrites) => {
                let mut versions = lock(&self.snapshots).get(&of).cloned().unwrap_or_default();
                self.gap.meet();
                versions.insert(snapshot.version, snapshot);
                lock(&self.snapshots).insert(of, versions);
                return Ok(());
            }
            Some(Bug::KeepsBothOfAVersion)
                if self.newest(&of, None).is_some_and(|s| s.version == snapshot.version) =>
            {
                snapshot.version = snapshot.version.next();
            }
            _ => {}
        }
        let mut snapshots = lock(&self.snapshots);
        let versions = snapshots.entry(of).or_default();
        if self.has(Bug::KeepsTheFirstOfAVersion) {
            versions.entry(snapshot.version).or_insert(snapshot);
        } else {
            versions.insert(snapshot.version, snapshot);
        }
        Ok(())
    }

    /// Holds back the writer whose half is stored, which alone could make it whole.
    fn let_others_read_first(&self, of: &SnapshotKey, anchor: EventId) {
        let is_own = self.newest(of, None).is_some_and(|half| half.anchor == anchor);
        while is_own && !self.is_read.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
    }

    fn list(&self, of: &SnapshotKey) -> Vec<SnapshotInfo> {
        let header = if self.has(Bug::ListsBytesOfValues) { Snapshot::VALUE_HEADER_BYTES } else { 0 };
        let snapshots = lock(&self.snapshots);
        let infos = snapshots.get(of).into_iter().flat_map(BTreeMap::values).map(|snapshot| SnapshotInfo {
            version: snapshot.version,
            state_bytes: (snapshot.state.len() + header) as u64,
        });
        let mut infos = infos.collect::<Vec<_>>();
        if self.has(Bug::ListsNewestFirst) {
            infos.reverse();
        }
        infos
    }

    fn remove(&self, of: &SnapshotKey, removed: &[Version]) {
        let mut snapshots = lock(&self.snapshots);
        let Some(versions) = snapshots.get_mut(of) else { return };
        match self.bug {
            Some(Bug::RemovesAll) => versions.clear(),
            Some(Bug::RemovesNothing) => {}
            _ => versions.retain(|version, _| !removed.contains(version)),
        }
        if versions.is_empty() && !self.has(Bug::ListsEmptyKeys) {
            snapshots.remove(of);
        }
    }

    fn page(&self, within: Option<StoreId>, after: Option<SnapshotKey>, limit: NonZeroU32) -> SnapshotPage {
        let snapshots = lock(&self.snapshots);
        let within = within.filter(|_| !self.has(Bug::ListsKeysOfAllStores));
        let limit = limit.get() as usize;
        let keys = snapshots.iter().filter(|(key, _)| within.is_none_or(|store| key.store == store));
        // By pages of a fixed length, as a store does that keeps a number in place of the key.
        let skip = match &after {
            Some(after) if self.has(Bug::PagesByNumber) => {
                keys.clone().position(|(key, _)| key > after).unwrap_or(usize::MAX).next_multiple_of(2)
            }
            _ => 0,
        };
        let keys =
            keys.skip(skip).filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after)).take(limit);
        let streams = keys.map(|(key, versions)| SnapshotStream {
            key: key.clone(),
            snapshots: if self.has(Bug::CountsTheNewestOnly) { 1 } else { versions.len() as u64 },
            state_bytes: versions.values().map(|snapshot| snapshot.state.len() as u64).sum(),
            newest: versions.last_key_value().map_or(Version::FIRST, |(version, _)| *version),
        });
        let streams = streams.collect::<Vec<_>>();
        let is_full = streams.len() == limit && !(self.has(Bug::EndsListsEarly) && after.is_some());
        let next = streams.last().filter(|_| is_full).map(|stream| stream.key.clone());
        SnapshotPage { streams, next }
    }
}

impl SnapshotStore for Store {
    fn newest(
        &self,
        of: SnapshotKey,
        at_most: Option<Version>,
    ) -> BoxFuture<'_, Result<Option<Snapshot>, SnapshotError>> {
        Box::pin(async move {
            let newest = self.newest(&self.key(of), at_most);
            self.is_read.store(true, Ordering::SeqCst);
            Ok(newest)
        })
    }

    fn put(&self, of: SnapshotKey, snapshot: Snapshot) -> BoxFuture<'_, Result<(), SnapshotError>> {
        Box::pin(async move { self.put(self.key(of), snapshot) })
    }

    fn list(&self, of: SnapshotKey) -> BoxFuture<'_, Result<Vec<SnapshotInfo>, SnapshotError>> {
        Box::pin(async move { Ok(self.list(&self.key(of))) })
    }

    fn remove(&self, of: SnapshotKey, versions: Vec<Version>) -> BoxFuture<'_, Result<(), SnapshotError>> {
        Box::pin(async move {
            self.remove(&self.key(of), &versions);
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

struct Broken(Bug);

impl SnapshotHarness for Broken {
    fn store(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(Store { bug: Some(self.0), ..Store::default() })
    }

    fn lose_all(&self, store: Arc<dyn SnapshotStore>) -> Arc<dyn SnapshotStore> {
        if self.0 == Bug::KeepsAfterLoss { store } else { self.store() }
    }
}

type Law = fn(&dyn SnapshotHarness);

#[test]
fn every_broken_promise_is_found_by_a_law() {
    let at_most = values::the_newest_is_the_greatest_version_that_is_not_above_the_bound as Law;
    let apart = values::snapshots_of_other_stores_streams_and_kinds_are_not_seen as Law;
    let bugs: [(Bug, Law); 26] = [
        (Bug::FindsTheNewestOnly, at_most),
        (Bug::ExcludesTheBound, at_most),
        (Bug::OrdersVersionsAsText, at_most),
        (Bug::KeepsTheFirstOfAVersion, values::a_put_of_a_version_that_is_there_replaces_it),
        (Bug::KeepsBothOfAVersion, values::a_put_of_a_version_that_is_there_replaces_it),
        (Bug::KeepsTextOnly, values::a_snapshot_is_found_byte_by_byte),
        (Bug::ForgetsTheAnchor, values::every_field_of_a_snapshot_comes_back),
        (Bug::ForgetsWhenItWasTaken, values::every_field_of_a_snapshot_comes_back),
        (Bug::MixesEventStores, apart),
        (Bug::MixesKinds, apart),
        (Bug::IgnoresCase, values::every_byte_of_a_streams_name_is_significant),
        (Bug::TakesAnyState, values::a_state_of_64_mib_is_kept_whole_or_refused),
        (Bug::CutsLargeStates, values::a_state_of_64_mib_is_kept_whole_or_refused),
        (Bug::RemovesAll, values::a_removed_snapshot_is_gone_and_the_others_stay),
        (Bug::RemovesNothing, values::a_removed_snapshot_is_gone_and_the_others_stay),
        (Bug::ListsNewestFirst, listing::a_list_has_the_versions_oldest_first_with_the_sizes_of_their_states),
        (
            Bug::ListsBytesOfValues,
            listing::a_list_has_the_versions_oldest_first_with_the_sizes_of_their_states,
        ),
        (Bug::ListsEmptyKeys, listing::a_key_whose_snapshots_were_removed_is_not_listed),
        (Bug::ListsKeysOfAllStores, listing::the_keys_of_one_event_store_can_be_listed_alone),
        (Bug::EndsListsEarly, listing::pages_of_any_limit_add_up_to_all_keys_with_their_sums),
        (Bug::PagesByNumber, listing::pages_of_any_limit_add_up_to_all_keys_with_their_sums),
        (Bug::CountsTheNewestOnly, listing::pages_of_any_limit_add_up_to_all_keys_with_their_sums),
        (Bug::KeepsAfterLoss, losing::when_everything_vanishes_nothing_is_found_and_puts_go_on),
        (Bug::ReplacesInTwoSteps, races::a_reader_never_sees_a_part_of_a_put),
        (Bug::ReadsChangesWrites, races::concurrent_puts_of_different_versions_and_streams_all_stay),
        (Bug::AnswersBeforeItWrites, random::a_random_history_gets_the_same_answers_as_in_memory),
    ];
    for (bug, law) in bugs {
        law(&Broken(Bug::None));
        let broken = catch_unwind(AssertUnwindSafe(|| law(&Broken(bug))));
        assert!(broken.is_err(), "{bug:?} is not found");
    }
}
