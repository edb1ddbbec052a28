//! Laws of revisions: they grow over the whole store and over restarts, so an expectation is never met by accident.

use std::task::{Context, Waker};

use bytes::Bytes;
use gesta_core::{Entry, KeyValueStore, Revision};

use super::{World, key};

pub(crate) fn revisions_grow_over_all_keys_and_deletes(world: &mut World<'_>) {
    let mut last = Revision::new(0);
    for round in 0..4 {
        for name in ["a", "b", "c"] {
            let revision = world.set(name, format!("{round}"));
            assert!(revision > last, "{revision} after {last}");
            last = revision;
        }
        // The key with the highest revision of all goes: its number must not be drawn again.
        world.delete("c");
        world.delete("a");
        if round % 2 == 1 {
            world.restart();
        }
    }
}

pub(crate) fn a_revision_never_comes_back(world: &mut World<'_>) {
    let mut seen = Vec::new();
    for round in 0..5 {
        for stale in &seen {
            assert_eq!(world.refuse("a", Some(*stale)), None, "round {round}");
        }
        let revision = world.put("a", "1", None);
        for stale in &seen {
            assert_eq!(world.refuse("a", Some(*stale)), Some(revision), "round {round}");
        }
        seen.push(revision);
        world.delete("a");
        world.restart();
    }
}

pub(crate) fn everything_acknowledged_is_there_after_a_restart(world: &mut World<'_>) {
    for round in 0..3 {
        for number in 0..20 {
            let name = format!("k{number}");
            if number % 5 == round && world.get(&name).is_some() {
                world.delete(&name);
            } else {
                world.set(&name, format!("{round}/{number}"));
            }
        }
        let before = world.list("", 100);
        assert!(before.len() > 10);
        world.restart();
        assert_eq!(world.list("", 100), before);
        for (name, entry) in before {
            assert_eq!(world.get(name.as_str()), Some(entry));
        }
    }
}

pub(crate) fn a_dropped_put_is_settled_by_the_next_accepted_write(world: &World<'_>) {
    let mut expect = world.put("a", "start", None);
    for attempt in 0..24 {
        // It is dropped before its first poll, or after some polls.
        let value = format!("dropped {attempt}");
        let was_answered = poll(world.store(), &value, expect, attempt % 4);
        let found = world.get("a").expect("a value");
        let is_there = found.value == value.as_bytes();
        assert!(is_there || found.revision == expect, "a put of its own revision is there, or none");
        assert!(is_there || !was_answered, "an acknowledged put is there");
        expect = settle(world, &format!("settled {attempt}"), &found, &value);
    }
}

/// Polls a put some times and drops it. Returns true if it was answered.
fn poll(store: &dyn KeyValueStore, value: &str, expect: Revision, polls: u32) -> bool {
    let mut put = store.put(key("a"), Bytes::from(value.to_owned()), Some(expect));
    let mut context = Context::from_waker(Waker::noop());
    (0..polls).any(|_| put.as_mut().poll(&mut context).is_ready())
}

/// Writes over a put in doubt, and checks that it is written at most once, and never later.
fn settle(world: &World<'_>, value: &str, found: &Entry, doubtful: &str) -> Revision {
    let revision = match world.try_put("a", value.to_owned(), Some(found.revision)) {
        Ok(revision) => revision,
        Err(error) => {
            let actual = super::changed::<Revision>(Err(error)).expect("the key has a value");
            assert_eq!(
                world.get("a").expect("a value").value,
                doubtful.as_bytes(),
                "only this put can be late"
            );
            world.put("a", value.to_owned(), Some(actual))
        }
    };
    assert_eq!(world.get("a").expect("a value").value, value.as_bytes());
    revision
}
