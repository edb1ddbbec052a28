//! Laws of single snapshots: what is put comes back exactly, and only under its key and version.

use gesta_core::{
    EventId, Fingerprint, SNAPSHOT_BYTES_MAX, STREAM_NAME_BYTES_MAX, SnapshotError, SnapshotKey, StoreId,
    Timestamp,
};

use super::{World, key, snapshot};

pub(crate) fn a_stream_without_a_snapshot_has_none(world: &World<'_>) {
    assert_eq!(world.newest(&key("a-1"), None), None);
    assert_eq!(world.list(&key("a-1")), []);
    world.remove(&key("a-1"), &[1, 2]);
}

pub(crate) fn a_snapshot_is_found_byte_by_byte(world: &World<'_>) {
    let all = (0..=u8::MAX).collect::<Vec<_>>();
    let not_text = vec![0xff, 0xfe, 0, 0];
    let lines = b"$3\r\nfoo\r\n".to_vec();
    let states = [all, Vec::new(), vec![0], not_text, lines, vec![0; 4_096], vec![b'x'; 300_000]];
    for (version, state) in (1..).zip(states) {
        let put = snapshot(version, state);
        world.put(&key("a-1"), put.clone());
        assert!(world.newest(&key("a-1"), None) == Some(put), "state {version} came back changed");
    }
}

pub(crate) fn every_field_of_a_snapshot_comes_back(world: &World<'_>) {
    for (at, anchor) in [0, 1, u128::MAX, 0x0d0a << 64].into_iter().enumerate() {
        for taken_at in [i64::MIN, -1, 0, i64::MAX] {
            let mut put = snapshot(at as u64, "state");
            put.anchor = EventId::from_u128(anchor);
            put.taken_at = Timestamp::from_nanos(taken_at);
            world.put(&key("a-1"), put.clone());
            assert_eq!(world.newest(&key("a-1"), Some(at as u64)), Some(put));
        }
    }
}

pub(crate) fn the_newest_is_the_greatest_version_that_is_not_above_the_bound(world: &World<'_>) {
    let versions = [500, 9, 0, 10, 1_000, 99, 1 << 40];
    for version in versions {
        world.put(&key("a-1"), snapshot(version, format!("{version}")));
    }
    for at_most in [0, 1, 8, 9, 10, 11, 98, 99, 100, 499, 500, 999, 1_000, (1 << 40) - 1, 1 << 40, 1 << 62] {
        let expected = versions.into_iter().filter(|version| *version <= at_most).max();
        let found = world.newest(&key("a-1"), Some(at_most));
        assert_eq!(
            found,
            expected.map(|version| snapshot(version, format!("{version}"))),
            "at most {at_most}"
        );
    }
    assert_eq!(world.newest(&key("a-1"), None), Some(snapshot(1 << 40, format!("{}", 1_u64 << 40))));
    world.remove(&key("a-1"), &[0]);
    assert_eq!(world.newest(&key("a-1"), Some(8)), None);
}

pub(crate) fn a_put_of_a_version_that_is_there_replaces_it(world: &World<'_>) {
    world.put(&key("a-1"), snapshot(4, "four"));
    for state in ["first", "", "a third and longer one"] {
        let mut put = snapshot(7, state);
        put.anchor = EventId::from_u128(state.len() as u128);
        world.put(&key("a-1"), put.clone());
        assert_eq!(world.newest(&key("a-1"), None), Some(put));
        assert_eq!(world.versions(&key("a-1")), [4, 7]);
    }
}

pub(crate) fn snapshots_of_other_stores_streams_and_kinds_are_not_seen(world: &World<'_>) {
    let of = key("a-1");
    let mut store = [1; 16];
    store[15] = 2;
    let mut kind = [1; 32];
    kind[31] = 2;
    let others = [
        SnapshotKey { store: StoreId::from_bytes(store), ..of.clone() },
        SnapshotKey { kind: Fingerprint::from_bytes(kind), ..of.clone() },
        key("a-10"),
        key("a-"),
        key("a"),
    ];
    for (number, other) in (10..).zip(&others) {
        world.put(other, snapshot(number, format!("{number}")));
        assert_eq!(world.newest(&of, None), None, "{other:?}");
        assert_eq!(world.list(&of), [], "{other:?}");
    }
    world.put(&of, snapshot(1, "own"));
    world.remove(&of, &[10, 11, 12, 13, 14]);
    for (number, other) in (10..).zip(&others) {
        assert_eq!(world.newest(other, None), Some(snapshot(number, format!("{number}"))), "{other:?}");
    }
    assert_eq!(world.newest(&of, None), Some(snapshot(1, "own")));
}

pub(crate) fn every_byte_of_a_streams_name_is_significant(world: &World<'_>) {
    let longest = "s".repeat(STREAM_NAME_BYTES_MAX);
    let nearly = "s".repeat(STREAM_NAME_BYTES_MAX - 1);
    let names = [
        "a",
        "A",
        "a-1",
        "a-1:",
        "{a-1}",
        "a-1}",
        "}",
        "{}",
        "a:1",
        "a*",
        "a?",
        "[a]",
        "a b",
        " a",
        "a ",
        "a'b",
        "a\"",
        "a\\",
        "ä",
        "a\u{301}",
        "größe-1",
        "%",
        "_",
        "a%",
        "a_1",
        &longest,
        &nearly,
    ];
    for (version, name) in (0..).zip(names) {
        world.put(&key(name), snapshot(version, name.to_owned()));
    }
    for (version, name) in (0..).zip(names) {
        assert_eq!(world.newest(&key(name), None), Some(snapshot(version, name.to_owned())), "`{name}`");
        assert_eq!(world.versions(&key(name)), [version], "`{name}`");
    }
    assert_eq!(world.streams(None, 100).len(), names.len());
}

pub(crate) fn a_removed_snapshot_is_gone_and_the_others_stay(world: &World<'_>) {
    for version in [1, 2, 3, 10, 20] {
        world.put(&key("a-1"), snapshot(version, "state"));
    }
    world.remove(&key("a-1"), &[]);
    world.remove(&key("a-1"), &[2, 20, 4]);
    assert_eq!(world.versions(&key("a-1")), [1, 3, 10]);
    assert_eq!(world.newest(&key("a-1"), None), Some(snapshot(10, "state")));
    world.put(&key("a-1"), snapshot(20, "again"));
    assert_eq!(world.newest(&key("a-1"), None), Some(snapshot(20, "again")));
}

pub(crate) fn a_state_of_64_mib_is_kept_whole_or_refused(world: &World<'_>) {
    world.put(&key("a-1"), snapshot(1, "small"));
    let mut state = vec![b'x'; SNAPSHOT_BYTES_MAX];
    (0..=250).zip(state.iter_mut().step_by(1 << 18)).for_each(|(number, byte)| *byte = number);
    let large = snapshot(2, state);
    match world.try_put(&key("a-1"), large.clone()) {
        Ok(()) => {
            assert!(world.newest(&key("a-1"), None) == Some(large), "the largest state came back changed")
        }
        Err(SnapshotError::TooLarge { bytes, bytes_max }) => {
            assert!(bytes == SNAPSHOT_BYTES_MAX && bytes_max < bytes, "{bytes} of {bytes_max} bytes");
            assert_eq!(world.newest(&key("a-1"), None), Some(snapshot(1, "small")));
        }
        Err(error) => panic!("{error}"),
    }
    let refused = world.try_put(&key("a-1"), snapshot(3, vec![0; SNAPSHOT_BYTES_MAX + 1]));
    assert!(matches!(refused, Err(SnapshotError::TooLarge { .. })), "{refused:?}");
    assert_eq!(world.newest(&key("a-1"), Some(1)), Some(snapshot(1, "small")));
    assert!(!world.versions(&key("a-1")).contains(&3));
}
