//! Laws of lists: the snapshots of a key, and the keys that have snapshots.

use gesta_core::{Fingerprint, SnapshotInfo, SnapshotKey, SnapshotStream, StoreId, Version};

use super::{World, key, snapshot};

pub(crate) fn a_list_has_the_versions_oldest_first_with_the_sizes_of_their_states(world: &World<'_>) {
    for version in [1_000, 9, 100, 0, 99] {
        let bytes = usize::try_from(version).expect("a small number");
        world.put(&key("a-1"), snapshot(version, vec![b'x'; bytes]));
    }
    let info = |version| SnapshotInfo { version: Version::new(version), state_bytes: version };
    assert_eq!(world.list(&key("a-1")), [0, 9, 99, 100, 1_000].map(info));
}

pub(crate) fn pages_of_any_limit_add_up_to_all_keys_with_their_sums(world: &World<'_>) {
    let mut expected = Vec::new();
    for store in 0..3 {
        for kind in 0..2 {
            for stream in 0..5 {
                let of = of(store, kind, &format!("a-{stream}"));
                let versions = 1 + u64::from(store + stream);
                (1..=versions).for_each(|version| world.put(&of, snapshot(version, "four")));
                let newest = Version::new(versions);
                expected.push(SnapshotStream {
                    key: of,
                    snapshots: versions,
                    state_bytes: 4 * versions,
                    newest,
                });
            }
        }
    }
    for limit in [1, 2, 3, 7, 29, 30, 31, 100] {
        assert_eq!(world.streams(None, limit), expected, "{limit} keys a page");
    }
}

pub(crate) fn the_keys_of_one_event_store_can_be_listed_alone(world: &World<'_>) {
    for store in 0..3 {
        for stream in ["a-1", "b-1", "c-1"] {
            world.put(&of(store, 0, stream), snapshot(u64::from(store), "state"));
        }
    }
    for store in 0..4 {
        let id = StoreId::from_bytes([store; 16]);
        for limit in [1, 2, 3, 100] {
            let listed = world.streams(Some(id), limit).into_iter().map(|stream| stream.key);
            let expected = ["a-1", "b-1", "c-1"].into_iter().filter(|_| store < 3);
            let expected = expected.map(|stream| of(store, 0, stream)).collect::<Vec<_>>();
            assert_eq!(listed.collect::<Vec<_>>(), expected, "store {store}, {limit} keys a page");
        }
    }
}

pub(crate) fn a_key_whose_snapshots_were_removed_is_not_listed(world: &World<'_>) {
    for stream in ["a-1", "a-2", "a-3", "a-4"] {
        world.put(&key(stream), snapshot(1, "one"));
        world.put(&key(stream), snapshot(2, "two"));
    }
    world.remove(&key("a-1"), &[1, 2]);
    world.remove(&key("a-3"), &[2]);
    world.remove(&key("a-3"), &[1]);
    world.remove(&key("a-4"), &[2]);
    for limit in [1, 2, 9] {
        let listed = world.streams(None, limit);
        let listed = listed.iter().map(|stream| (stream.key.stream.as_str(), stream.newest.get()));
        assert_eq!(listed.collect::<Vec<_>>(), [("a-2", 2), ("a-4", 1)], "{limit} keys a page");
    }
}

fn of(store: u8, kind: u8, stream: &str) -> SnapshotKey {
    let (store, kind) = (StoreId::from_bytes([store; 16]), Fingerprint::from_bytes([kind; 32]));
    SnapshotKey { store, kind, ..key(stream) }
}
