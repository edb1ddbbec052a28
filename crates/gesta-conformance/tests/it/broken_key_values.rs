//! The laws of a key-value store find stores that break a promise. Each planted bug names the law that must find it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use gesta_conformance::KeyValueHarness;
use gesta_conformance::key_value_laws::{listing, races, random, revisions, values};
use gesta_core::{
    BoxFuture, Entry, KeyName, KeyPrefix, KeyValueError, KeyValueStore, LIST_BYTES_MAX, Revision,
    VALUE_BYTES_MAX,
};

use crate::gap::Gap;

/// A broken promise, or none.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bug {
    None,
    PutsBlindly,
    DeletesBlindly,
    ChecksWithoutALock,
    CountsRevisionsPerKey,
    TakesTheHighestRevisionLeft,
    ForgetsAtRestart,
    HidesTheActualRevision,
    WritesWhatItRefuses,
    IgnoresCase,
    KeepsTextOnly,
    EndsValuesAtZero,
    TakesAnyValue,
    RefusesTheLargestValue,
    AnswersBeforeItWrites,
    ListsTheKeyThatItGoesOnAfter,
    ListsByPages,
    ListsInOrderOfWrites,
    MatchesPrefixesByFolder,
    CutsPagesWithoutARest,
}

/// A small store with a place for each bug.
#[derive(Default)]
struct Store {
    bug: Option<Bug>,
    entries: Mutex<BTreeMap<KeyName, Entry>>,
    last: Mutex<u64>,
    /// Acknowledged, but not written yet.
    late: Mutex<Option<(KeyName, Entry)>>,
    /// Held from the check of a write to its end.
    writer: Mutex<()>,
    /// Between the check and the write.
    gap: Gap,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no call has panicked")
}

impl Store {
    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn key(&self, key: KeyName) -> KeyName {
        if self.has(Bug::IgnoresCase) { key.as_str().to_lowercase().parse().expect("a key") } else { key }
    }

    fn revision(&self, key: &KeyName) -> Option<Revision> {
        lock(&self.entries).get(key).map(|entry| entry.revision)
    }

    fn next(&self, key: &KeyName) -> Revision {
        let mut last = lock(&self.last);
        *last = match self.bug {
            Some(Bug::CountsRevisionsPerKey) => self.revision(key).map_or(0, Revision::get),
            Some(Bug::TakesTheHighestRevisionLeft) => {
                let entries = lock(&self.entries);
                entries.values().map(|entry| entry.revision.get()).max().unwrap_or(0)
            }
            _ => *last,
        } + 1;
        Revision::new(*last)
    }

    fn check(&self, key: &KeyName, expect: Option<Revision>) -> Result<(), KeyValueError> {
        let actual = self.revision(key);
        if actual == expect {
            return Ok(());
        }
        Err(KeyValueError::Changed { actual: actual.filter(|_| !self.has(Bug::HidesTheActualRevision)) })
    }

    fn stored(&self, value: Bytes) -> Bytes {
        match self.bug {
            Some(Bug::KeepsTextOnly) => String::from_utf8_lossy(&value).into_owned().into(),
            Some(Bug::EndsValuesAtZero) => {
                value.split(|byte| *byte == 0).next().unwrap_or_default().to_vec().into()
            }
            _ => value,
        }
    }

    fn put(&self, key: KeyName, value: Bytes, expect: Option<Revision>) -> Result<Revision, KeyValueError> {
        let _writer = (!self.has(Bug::ChecksWithoutALock)).then(|| lock(&self.writer));
        let bytes = value.len();
        let largest = VALUE_BYTES_MAX - usize::from(self.has(Bug::RefusesTheLargestValue));
        if bytes > largest && !self.has(Bug::TakesAnyValue) {
            return Err(KeyValueError::TooLarge { bytes });
        }
        if let Some((key, entry)) = lock(&self.late).take() {
            lock(&self.entries).insert(key, entry);
        }
        let checked = self.check(&key, expect);
        // The first put of the law has no other writer.
        if self.has(Bug::ChecksWithoutALock) && expect.is_some() {
            self.gap.meet();
        }
        if !self.has(Bug::PutsBlindly) && !self.has(Bug::WritesWhatItRefuses) {
            checked.clone()?;
        }
        let entry = Entry { value: self.stored(value), revision: self.next(&key) };
        let revision = entry.revision;
        if self.has(Bug::AnswersBeforeItWrites) {
            *lock(&self.late) = Some((key, entry));
        } else {
            lock(&self.entries).insert(key, entry);
        }
        if self.has(Bug::WritesWhatItRefuses) { checked.map(|()| revision) } else { Ok(revision) }
    }

    fn page(&self, prefix: &KeyPrefix, after: Option<&KeyName>, limit: NonZeroU32) -> Vec<(KeyName, Entry)> {
        let entries = lock(&self.entries);
        let is_next = |key: &KeyName| match after {
            Some(after) if self.has(Bug::ListsTheKeyThatItGoesOnAfter) => key >= after,
            Some(after) => key > after,
            None => true,
        };
        let matches = |key: &KeyName| match prefix.as_str().strip_suffix('/') {
            None if self.has(Bug::MatchesPrefixesByFolder) => {
                key.as_str().split('/').next() == Some(prefix.as_str()) || prefix.as_str().is_empty()
            }
            _ => prefix.matches(key),
        };
        let mut page = entries.iter().filter(|(key, _)| matches(key)).collect::<Vec<_>>();
        if self.has(Bug::ListsInOrderOfWrites) {
            page.sort_by_key(|(_, entry)| entry.revision);
        }
        // By pages of a fixed length, as a store does that keeps a number in place of the key.
        let skip = match after {
            Some(after) if self.has(Bug::ListsByPages) => {
                page.iter().position(|(key, _)| *key > after).unwrap_or(page.len()).next_multiple_of(3)
            }
            _ => 0,
        };
        let mut bytes = 0;
        let is_in_page = |(_, entry): &(&KeyName, &Entry)| {
            bytes += entry.value.len();
            bytes <= LIST_BYTES_MAX
        };
        let page = page.into_iter().skip(skip).filter(|(key, _)| is_next(key)).take(limit.get() as usize);
        let page = page.take_while(is_in_page).map(|(key, entry)| (key.clone(), entry.clone())).collect();
        if self.has(Bug::CutsPagesWithoutARest) && after.is_some_and(|key| key.as_str().starts_with('k')) {
            return Vec::new();
        }
        page
    }
}

impl KeyValueStore for Store {
    fn get(&self, key: KeyName) -> BoxFuture<'_, Result<Option<Entry>, KeyValueError>> {
        Box::pin(async move { Ok(lock(&self.entries).get(&self.key(key)).cloned()) })
    }

    fn put(
        &self,
        key: KeyName,
        value: Bytes,
        expect: Option<Revision>,
    ) -> BoxFuture<'_, Result<Revision, KeyValueError>> {
        Box::pin(async move { self.put(self.key(key), value, expect) })
    }

    fn delete(&self, key: KeyName, expect: Revision) -> BoxFuture<'_, Result<(), KeyValueError>> {
        Box::pin(async move {
            let _writer = (!self.has(Bug::ChecksWithoutALock)).then(|| lock(&self.writer));
            let key = self.key(key);
            if !self.has(Bug::DeletesBlindly) {
                self.check(&key, Some(expect))?;
            }
            self.next(&key);
            lock(&self.entries).remove(&key);
            Ok(())
        })
    }

    fn list(
        &self,
        prefix: KeyPrefix,
        after: Option<KeyName>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Vec<(KeyName, Entry)>, KeyValueError>> {
        Box::pin(async move { Ok(self.page(&prefix, after.as_ref(), limit)) })
    }
}

struct Broken(Bug);

impl KeyValueHarness for Broken {
    fn store(&self) -> Arc<dyn KeyValueStore> {
        Arc::new(Store { bug: Some(self.0), ..Store::default() })
    }

    fn restart(&self, store: Arc<dyn KeyValueStore>) -> Arc<dyn KeyValueStore> {
        if self.0 == Bug::ForgetsAtRestart { self.store() } else { store }
    }
}

type Law = fn(&dyn KeyValueHarness);

#[test]
fn every_broken_promise_is_found_by_a_law() {
    let bugs: [(Bug, Law); 19] = [
        (Bug::PutsBlindly, values::a_put_replaces_exactly_the_expected_revision),
        (Bug::DeletesBlindly, values::a_delete_is_refused_unless_the_key_has_the_expected_revision),
        (Bug::ChecksWithoutALock, races::no_update_is_lost_when_every_writer_expects_what_it_read),
        (Bug::CountsRevisionsPerKey, revisions::a_revision_never_comes_back),
        (Bug::TakesTheHighestRevisionLeft, revisions::revisions_grow_over_all_keys_and_deletes),
        (Bug::ForgetsAtRestart, revisions::everything_acknowledged_is_there_after_a_restart),
        (Bug::HidesTheActualRevision, random::a_random_history_gets_the_same_answers_as_in_memory),
        (Bug::WritesWhatItRefuses, values::a_put_of_a_key_with_a_value_is_refused_if_it_expects_none),
        (Bug::IgnoresCase, values::every_byte_of_a_key_is_significant),
        (Bug::KeepsTextOnly, values::every_byte_of_a_value_comes_back),
        (Bug::EndsValuesAtZero, values::every_byte_of_a_value_comes_back),
        (Bug::TakesAnyValue, values::a_value_is_limited_to_960_kib),
        (Bug::RefusesTheLargestValue, values::a_value_is_limited_to_960_kib),
        (Bug::AnswersBeforeItWrites, values::a_get_after_a_put_returns_the_value_and_its_revision),
        (Bug::ListsTheKeyThatItGoesOnAfter, listing::a_list_goes_on_after_any_key_even_one_that_is_gone),
        (
            Bug::ListsByPages,
            listing::a_key_that_exists_throughout_a_listing_is_listed_once_while_others_come_and_go,
        ),
        (Bug::ListsInOrderOfWrites, listing::a_list_has_the_keys_of_a_prefix_sorted_by_bytes),
        (Bug::MatchesPrefixesByFolder, listing::a_list_has_the_keys_of_a_prefix_sorted_by_bytes),
        (Bug::CutsPagesWithoutARest, listing::a_page_of_large_values_is_cut_and_the_rest_follows),
    ];
    for (bug, law) in bugs {
        law(&Broken(Bug::None));
        let broken = catch_unwind(AssertUnwindSafe(|| law(&Broken(bug))));
        assert!(broken.is_err(), "{bug:?} is not found");
    }
}
