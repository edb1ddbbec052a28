//! Command keys in use: a command whose key is on its way waits for that outcome instead of being decided.
//!
//! *Invariant:* no batch is put in line under a key that another command of this process has used since the command
//! asked the store for its repeat. Such a batch would be a repeat, and all that rests on it would fail.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;

use super::lock;
use super::outcome::Outcome;
use super::planted::{Bug, planted};

/// The keys of the commands that are not answered, and of the batches that are not settled.
#[derive(Default)]
pub(super) struct Keys(Mutex<HashMap<Bytes, Entry>>);

#[derive(Default)]
struct Entry {
    /// Commands with this key that are not answered.
    commands: usize,
    /// The number of the batch that is not settled, and the batch.
    batch: Option<(u64, Weak<Outcome>)>,
    /// A batch was recorded under the key since the first of the commands came.
    is_recorded: bool,
}

/// The use of a key by a command that is not answered.
pub(super) struct KeyInUse {
    keys: Arc<Keys>,
    key: Bytes,
}

/// The use of a key by a batch that is not settled.
pub(super) struct KeyInFlight {
    keys: Arc<Keys>,
    key: Bytes,
    number: u64,
}

impl Keys {
    pub(super) fn use_key(self: &Arc<Self>, key: &Bytes) -> KeyInUse {
        lock(&self.0).entry(key.clone()).or_default().commands += 1;
        KeyInUse { keys: Arc::clone(self), key: key.clone() }
    }

    /// The unsettled batch with that key.
    pub(super) fn find(&self, key: &Bytes) -> Option<Arc<Outcome>> {
        if planted(Bug::NoKeysInFlight) {
            return None;
        }
        let outcome = lock(&self.0).get(key)?.batch.as_ref()?.1.upgrade();
        outcome.filter(|outcome| !outcome.is_settled())
    }

    /// True if a batch was recorded under the key since the first of its commands came.
    pub(super) fn is_recorded(&self, key: &Bytes) -> bool {
        !planted(Bug::NoKeysInFlight) && lock(&self.0).get(key).is_some_and(|entry| entry.is_recorded)
    }

    /// Enters a batch by its key. If two entities get the same key at the same moment, the first one keeps the entry;
    /// the store decides between them.
    pub(super) fn enter(self: &Arc<Self>, key: &Bytes, outcome: &Arc<Outcome>) {
        let number = outcome.number();
        // Outlives the lock: the last handle of a batch gives its key back.
        let earlier;
        {
            let mut keys = lock(&self.0);
            let entry = keys.entry(key.clone()).or_default();
            earlier = entry.batch.as_ref().and_then(|(_, batch)| batch.upgrade());
            let is_held = earlier.as_ref().is_some_and(|earlier| !earlier.is_settled());
            if is_held && !planted(Bug::NoKeysInFlight) {
                return;
            }
            entry.batch = Some((number, Arc::downgrade(outcome)));
        }
        drop(earlier);
        outcome.hold_key(KeyInFlight { keys: Arc::clone(self), key: key.clone(), number });
    }

    fn leave(&self, key: &Bytes, leave: impl FnOnce(&mut Entry)) {
        let mut keys = lock(&self.0);
        let Some(entry) = keys.get_mut(key) else { return };
        leave(entry);
        if entry.commands == 0 && entry.batch.is_none() {
            keys.remove(key);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

impl KeyInFlight {
    /// Notes that the key is recorded, by this batch or an earlier one.
    pub(super) fn recorded(&self) {
        self.keys.leave(&self.key, |entry| entry.is_recorded = true);
    }
}

impl Drop for KeyInFlight {
    fn drop(&mut self) {
        let is_ours = |batch: &mut (u64, Weak<Outcome>)| batch.0 == self.number;
        self.keys.leave(&self.key, |entry| drop(entry.batch.take_if(is_ours)));
    }
}

impl Drop for KeyInUse {
    fn drop(&mut self) {
        self.keys.leave(&self.key, |entry| entry.commands -= 1);
    }
}
