//! Laws of racing puts: one of one version stays whole, and those of different versions all stay.

use std::thread;

use bytes::Bytes;
use gesta_core::{EventId, Snapshot};

use super::{World, key, snapshot};

const WRITERS: u64 = 4;
const ROUNDS: u64 = 12;

/// Runs the writers concurrently.
fn race(run: impl Fn(u64) + Sync) {
    thread::scope(|scope| {
        let run = &run;
        (0..WRITERS).for_each(|writer| drop(scope.spawn(move || run(writer))));
    });
}

/// The snapshot of a writer. All its fields tell which.
fn of_writer(version: u64, writer: u64) -> Snapshot {
    let state = Bytes::from(vec![u8::try_from(writer).expect("a small number"); 20_000]);
    Snapshot { anchor: EventId::from_u128(u128::from(writer)), ..snapshot(version, state) }
}

pub(crate) fn concurrent_puts_of_one_version_leave_one_of_them(world: &World<'_>) {
    for version in 0..ROUNDS {
        race(|writer| world.put(&key("a-1"), of_writer(version, writer)));
        let left = world.newest(&key("a-1"), None).expect("one of the puts");
        assert!(
            (0..WRITERS).any(|writer| left == of_writer(version, writer)),
            "a mixture: {:?}",
            left.anchor
        );
    }
    assert_eq!(world.versions(&key("a-1")), (0..ROUNDS).collect::<Vec<_>>());
}

pub(crate) fn concurrent_puts_of_different_versions_and_streams_all_stay(world: &World<'_>) {
    race(|writer| {
        for round in 0..ROUNDS {
            let version = round * WRITERS + writer;
            world.put(&key("a-1"), of_writer(version, writer));
            world.put(&key(&format!("b-{version}")), of_writer(version, writer));
        }
    });
    assert_eq!(world.versions(&key("a-1")), (0..ROUNDS * WRITERS).collect::<Vec<_>>());
    for version in 0..ROUNDS * WRITERS {
        let expected = Some(of_writer(version, version % WRITERS));
        assert!(world.newest(&key("a-1"), Some(version)) == expected, "version {version}");
        assert!(world.newest(&key(&format!("b-{version}")), None) == expected, "stream {version}");
    }
}

pub(crate) fn a_reader_never_sees_a_part_of_a_put(world: &World<'_>) {
    world.put(&key("a-1"), of_writer(1, 0));
    race(|writer| {
        for _ in 0..ROUNDS {
            world.put(&key("a-1"), of_writer(1, writer));
            let seen = world.newest(&key("a-1"), None).expect("a snapshot is replaced at once");
            assert!((0..WRITERS).any(|writer| seen == of_writer(1, writer)), "a mixture: {:?}", seen.anchor);
        }
    });
}
