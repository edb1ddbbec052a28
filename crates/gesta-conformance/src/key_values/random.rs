//! A random history of one caller gets the same answers as in the in-memory store, apart from the revisions' numbers.

use std::collections::HashMap;
use std::sync::Arc;

use gesta_core::{KeyName, KeyValueError, KeyValueStore, MemoryKeyValueStore, Revision};

use super::{KeyValueHarness, World};

/// The seed and length of the history that is run as a law.
const SEED: u64 = 0x6765_7374_615f_6b76;
const STEPS: u32 = 300;

pub(crate) fn a_random_history_gets_the_same_answers_as_in_memory(world: &World<'_>) {
    compare(world, SEED, STEPS);
}

/// Compares a store with the in-memory one over a history that follows from `seed`.
///
/// # Panics
/// If the two answer differently. The message has the seed and the step.
pub fn compare_key_values_with_memory(harness: &dyn KeyValueHarness, seed: u64, steps: u32) {
    compare(&World::new(harness), seed, steps);
}

/// The in-memory store as the harness of the oracle.
struct Oracle(Arc<MemoryKeyValueStore>);

impl KeyValueHarness for Oracle {
    fn store(&self) -> Arc<dyn KeyValueStore> {
        self.0.clone()
    }
}

fn compare(world: &World<'_>, seed: u64, steps: u32) {
    let oracle = Oracle(Arc::default());
    let mut pair = Pair { world, oracle: World::new(&oracle), revisions: HashMap::new() };
    let mut choose = Choose(seed);
    for step in 0..steps {
        let name = ["a", "a/1", "a/2", "b.x", "b"][choose.below(5)];
        let expect = pair.expectation(name, &mut choose);
        let context = format!("seed {seed}, step {step}, key `{name}`, expecting {expect:?}");
        match choose.below(8) {
            0..4 => pair.put(name, format!("{step}"), expect, &context),
            4 => pair.delete(name, expect, &context),
            5 => pair.list(["", "a", "a/", "b"][choose.below(4)], &mut choose, &context),
            _ => assert!(pair.is_same(name), "the store answers a get differently: {context}"),
        }
    }
}

/// The store and the oracle after the same history.
struct Pair<'a> {
    world: &'a World<'a>,
    oracle: World<'a>,
    /// The store's revision for each of the oracle's.
    revisions: HashMap<Revision, Revision>,
}

impl Pair<'_> {
    /// Chooses the oracle's revision to expect: mostly the current one.
    fn expectation(&self, name: &str, choose: &mut Choose) -> Option<Revision> {
        match choose.below(5) {
            0 => None,
            1 => self.revisions.keys().min().copied(),
            _ => self.oracle.revision(name),
        }
    }

    fn theirs(&self, revision: Option<Revision>) -> Option<Revision> {
        revision.map(|revision| self.revisions[&revision])
    }

    /// Translates an answer of the oracle, so that it can be compared.
    fn translated<T>(&self, answer: Result<T, KeyValueError>) -> Result<T, KeyValueError> {
        answer.map_err(|error| match error {
            KeyValueError::Changed { actual } => KeyValueError::Changed { actual: self.theirs(actual) },
            other => other,
        })
    }

    fn put(&mut self, name: &str, value: String, expect: Option<Revision>, context: &str) {
        let expected = self.oracle.try_put(name, value.clone(), expect);
        let answer = self.world.try_put(name, value, self.theirs(expect));
        if let (Ok(ours), Ok(theirs)) = (&expected, &answer) {
            self.revisions.insert(*ours, *theirs);
        }
        let expected = self.translated(expected).map(|revision| self.revisions.get(&revision).copied());
        assert_eq!(answer.map(Some), expected, "the store answers a put differently: {context}");
    }

    fn delete(&self, name: &str, expect: Option<Revision>, context: &str) {
        let Some(expect) = expect else { return };
        let expected = self.translated(self.oracle.try_delete(name, expect));
        let answer = self.world.try_delete(name, self.revisions[&expect]);
        assert_eq!(answer, expected, "the store answers a delete differently: {context}");
    }

    fn list(&self, prefix: &str, choose: &mut Choose, context: &str) {
        let after = [None, Some("a"), Some("a/1"), Some("b")][choose.below(4)];
        let limit = [1, 2, 9][choose.below(3)];
        let expected = self.oracle.page(prefix, after, limit);
        let page = self.world.page(prefix, after, limit);
        let names = |page: &[(KeyName, _)]| page.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
        assert_eq!(names(&page), names(&expected), "`{prefix}` after {after:?}: {context}");
        assert!(page.iter().all(|(key, _)| self.is_same(key.as_str())), "{context}");
    }

    fn is_same(&self, name: &str) -> bool {
        let answer = self.world.get(name).map(|entry| (entry.value, Some(entry.revision)));
        let expected = self.oracle.get(name);
        answer == expected.map(|entry| (entry.value, self.theirs(Some(entry.revision))))
    }
}

/// A stream of choices that follows from its seed: splitmix64.
pub(crate) struct Choose(pub(crate) u64);

impl Choose {
    pub(crate) fn below(&mut self, count: u64) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % count).expect("a small number")
    }
}
