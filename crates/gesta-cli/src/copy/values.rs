//! The values of a store: progress of groups, timers, publishers, pauses.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use bytes::Bytes;
use gesta_core::{Entry, KeyName, KeyPrefix, KeyValueError, KeyValueStore};
use pollster::block_on;

use crate::failure::{Failure, Outcome};

const PAGE: NonZeroU32 = NonZeroU32::new(256).expect("it is not zero");

/// The values of a store by their keys.
pub(super) type Values = BTreeMap<KeyName, Bytes>;

/// Reads all values.
pub(super) fn all(store: &dyn KeyValueStore) -> Outcome<Values> {
    Ok(entries(store)?.into_iter().map(|(key, entry)| (key, entry.value)).collect())
}

/// Makes the values of a store those of another one. Returns how many it has written or removed.
pub(super) fn replace(store: &dyn KeyValueStore, values: &Values) -> Outcome<usize> {
    let failed = |error: KeyValueError| Failure::new("cannot write the values of the copy").because(&error);
    let mut found = entries(store)?;
    let mut changes = 0;
    for (key, value) in values {
        let old = found.remove(key);
        if old.as_ref().is_some_and(|old| old.value == *value) {
            continue;
        }
        let expect = old.map(|old| old.revision);
        block_on(store.put(key.clone(), value.clone(), expect)).map_err(failed)?;
        changes += 1;
    }
    for (key, old) in found {
        block_on(store.delete(key, old.revision)).map_err(failed)?;
        changes += 1;
    }
    Ok(changes)
}

fn entries(store: &dyn KeyValueStore) -> Outcome<BTreeMap<KeyName, Entry>> {
    let mut found = BTreeMap::new();
    let mut after = None;
    loop {
        let page = block_on(store.list(KeyPrefix::all(), after, PAGE));
        let page = page.map_err(|error| Failure::new("cannot read the values of a store").because(&error))?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = Some(last.clone());
        found.extend(page);
    }
}
