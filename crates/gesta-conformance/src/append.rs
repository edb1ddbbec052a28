//! Laws of appends: events come back unchanged, at the answered places, in whole batches.

use std::thread;

use gesta_core::{Batch, ContentKind, MemoryStore, NewEvent, Query, Read, RecordedEvent, Timestamp};

use crate::given::{A, B, batch, event, event_type, events, id, ids, name, tag, versions};
use crate::world::World;

pub(crate) fn versions_are_dense_from_zero_in_every_stream(world: &World<'_>) {
    let batches: [&[_]; 4] = [&[(A, 1)], &[(A, 2), (B, 3), (A, 4)], &[(B, 5), (B, 6)], &[(A, 7)]];
    for events in batches {
        world.append(batch(events));
    }
    for (stream, expected) in [(A, vec![1, 2, 4, 7]), (B, vec![3, 5, 6])] {
        let events = world.stream(stream);
        assert_eq!(ids(&events), expected, "{stream}");
        assert_eq!(versions(&events), (0..expected.len() as u64).collect::<Vec<_>>(), "{stream}");
    }
}

pub(crate) fn sequences_grow_within_a_partition_and_are_dense_from_one_where_declared(world: &World<'_>) {
    let keys = world.keys();
    for (number, key) in (0..12).zip(keys.iter().cycle()) {
        let (home, shop) = (format!("home-{{{key}}}"), format!("shop-{{{key}}}"));
        world.append(batch(&[(&home, 3 * number), (&shop, 3 * number + 1), (&home, 3 * number + 2)]));
    }
    let positions = world.log().into_iter().map(|event| event.position());
    for sequences in world.by_partition(positions.map(|position| (position.partition, position.sequence))) {
        assert!(!sequences.is_empty() && sequences[0] >= 1, "{sequences:?}");
        assert!(sequences.is_sorted_by(|before, after| before < after), "{sequences:?}");
        if world.capabilities().dense_positions {
            assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
        }
    }
}

pub(crate) fn an_append_returns_the_place_of_every_event_and_the_end_of_the_batch(world: &World<'_>) {
    for events in [&[(A, 1)][..], &[(B, 2), (A, 3), (B, 4)], &[("other-1", 5)], &[(A, 6), (A, 7)]] {
        let partition = world.partition_of(events[0].0);
        let appended = world.append(batch(events));
        let sequence = appended.checkpoint.sequence(partition);
        assert_eq!(sequence, world.head().sequence(partition), "the batch is the last of its partition");
        assert_eq!(appended.places.len(), events.len());
        for (place, (stream, number)) in appended.places.iter().zip(events) {
            let found = world.stream(stream).into_iter().find(|event| event.id() == id(*number));
            let found = found.expect("an acknowledged event is in the log");
            assert_eq!((found.version(), found.position()), (place.version, place.position));
        }
    }
}

pub(crate) fn a_batch_may_alternate_between_streams(world: &World<'_>) {
    let places = world.append(batch(&[(A, 1), (B, 2), (A, 3)])).places;
    assert_eq!(places.iter().map(|place| place.version.get()).collect::<Vec<_>>(), [0, 0, 1]);
    assert!(places.is_sorted_by(|before, after| before.position < after.position), "{places:?}");
    assert_eq!(ids(&world.log()), [1, 2, 3]);
}

pub(crate) fn every_field_of_an_event_is_read_back_unchanged(world: &World<'_>) {
    let given = specimens(world.capabilities().limits.data_bytes_max);
    for event in &given {
        world.append(Batch::new([event.clone()]));
    }
    for event in given {
        let stored = world.stream(event.stream.as_str());
        let stored = stored.iter().find(|stored| stored.id() == event.id).expect("the event");
        assert_same(stored, &event);
    }
}

fn assert_same(stored: &RecordedEvent, given: &NewEvent) {
    let mut tags = given.tags.clone();
    tags.sort();
    tags.dedup();
    assert_eq!(stored.stream(), given.stream.as_str());
    assert_eq!(stored.event_type(), given.event_type.as_str());
    assert_eq!(stored.schema_version(), given.schema_version);
    assert_eq!(stored.kind(), given.kind);
    assert_eq!(stored.time(), given.time);
    assert_eq!(
        stored.tags().collect::<Vec<_>>(),
        tags.iter().map(gesta_core::Tag::as_str).collect::<Vec<_>>()
    );
    assert!(stored.metadata() == given.metadata, "the metadata of {given:?}");
    assert!(stored.data() == given.data, "the data of {}", given.id);
}

/// Events at the limits of names, tags and data. Each has at most `data_bytes_max` bytes of data.
fn specimens(data_bytes_max: usize) -> Vec<NewEvent> {
    let every_byte = (0..=u8::MAX).collect::<Vec<_>>();
    let big = (0..100_000_u32).flat_map(u32::to_le_bytes).take(data_bytes_max).collect::<Vec<_>>();
    let plain = |number| event("specimen-1", number);
    let tags = ["b:2", "a:1", "b:2", "ä:ü", "a:1:2", "$actor:me", "a:0"];
    vec![
        NewEvent { kind: ContentKind::Json, data: "{\"a\": 1, \"a\": 2}  ".into(), ..plain(1) },
        NewEvent { kind: ContentKind::Json, data: "not JSON at all".into(), ..plain(2) },
        NewEvent { kind: ContentKind::Octets, data: every_byte.clone().into(), ..plain(3) },
        NewEvent { kind: ContentKind::Text, data: "Grüße, 世界\n\0".into(), ..plain(4) },
        NewEvent { data: "".into(), ..plain(5) },
        NewEvent { data: big.into(), kind: ContentKind::Octets, ..plain(6) },
        plain(7).with_metadata(every_byte),
        plain(8).with_tags(tags.map(tag)),
        plain(9).with_tags((0..64).rev().map(|number| tag(&format!("n:{number}")))),
        NewEvent { time: Timestamp::MIN, ..plain(10) },
        NewEvent { time: Timestamp::from_nanos(-1), ..plain(11) },
        NewEvent { time: Timestamp::MAX, ..plain(12) },
        NewEvent { schema_version: 0, ..plain(13) },
        NewEvent { schema_version: u16::MAX, ..plain(14) },
        NewEvent { event_type: event_type(&"t".repeat(255)), ..plain(15) },
        NewEvent { id: gesta_core::EventId::from_bytes([0xff; 16]), ..plain(16) },
        plain(0).with_tags([tag(&format!("k:{}", "v".repeat(253)))]),
        event(&"s".repeat(512), 17),
        event(&"ü".repeat(256), 18),
        event("Straße 7/*.>%_'\"\\-1", 19),
        event("-", 20),
    ]
}

pub(crate) fn the_same_events_have_the_same_bytes_and_digests_in_every_store(world: &World<'_>) {
    let given = specimens(world.capabilities().limits.data_bytes_max);
    let oracle = MemoryStore::new(world.head().store(), 1, || Timestamp::from_nanos(5));
    for event in &given {
        world.append(Batch::new([event.clone()]));
        oracle.append_now(Batch::new([event.clone()])).expect("the in-memory store accepts the event");
    }
    for event in given {
        let read = Read::log(gesta_core::Item { ids: vec![event.id], ..gesta_core::Item::default() }.into());
        let stored = world.read(read.clone()).events.remove(0);
        let expected = oracle.read_now(&read).expect("a read").events.remove(0);
        assert!(stored.as_bytes() == expected.as_bytes(), "the bytes of {}", event.id);
        assert_eq!(stored.digest(), event.to_bytes().digest());
        let (place, version, at) = (stored.position().sequence, stored.version(), stored.recorded_at());
        assert_eq!(stored.leaf(), event.to_bytes().digest().leaf(place, version, at));
    }
}

pub(crate) fn a_refused_batch_writes_to_none_of_its_streams(world: &World<'_>) {
    world.append(batch(&[(A, 1)]));
    world.refuse(batch(&[(B, 2), (A, 3)]).expect(name(A), gesta_core::Expected::None));
    assert_eq!(world.last_version(&name(B)), None);
    assert_eq!(ids(&world.log()), [1]);
    world.append(batch(&[(B, 2), (A, 3)]));
    assert_eq!(ids(&world.log()), [1, 2, 3]);
}

pub(crate) fn a_batch_without_events_is_refused(world: &World<'_>) {
    let empty = Batch::new([]).expect(name(A), gesta_core::Expected::None);
    assert!(matches!(world.refuse(empty), gesta_core::AppendError::Invalid { .. }));
}

pub(crate) fn concurrent_readers_see_a_batch_whole_or_not_at_all(world: &World<'_>) {
    const WRITERS: u32 = 3;
    const BATCHES: u32 = 20;
    let keys = world.keys();
    thread::scope(|scope| {
        let writers = (0..WRITERS).zip(&keys).map(|(writer, key)| {
            scope.spawn(move || {
                let (home, shop) = (format!("home-{{{key}}}"), format!("shop-{{{key}}}"));
                for number in (writer * BATCHES..(writer + 1) * BATCHES).map(|number| number * 3) {
                    world.append(batch(&[(&home, number), (&shop, number + 1), (&home, number + 2)]));
                }
            })
        });
        let writers = writers.collect::<Vec<_>>();
        let mut shown = world.by_partition([]);
        loop {
            let over = writers.iter().all(thread::ScopedJoinHandle::is_finished);
            let pages = world.pages(Read::log(Query::All).limit(events(7)));
            pages.iter().for_each(|page| assert_whole(&ids(&page.events)));
            let now =
                world.ids_by_partition(&pages.into_iter().flat_map(|page| page.events).collect::<Vec<_>>());
            let prefix = |(before, after): (&Vec<u32>, &Vec<u32>)| after.starts_with(before);
            assert!(
                shown.iter().zip(&now).all(prefix),
                "a reader saw events that are gone: {shown:?}, then {now:?}"
            );
            shown = now;
            if over {
                break;
            }
        }
        assert_eq!(shown.concat().len(), (WRITERS * BATCHES * 3) as usize);
    });
}

/// Batches have three events here, with consecutive ids from a multiple of three.
fn assert_whole(page: &[u32]) {
    let whole =
        |three: &[u32]| three[0].is_multiple_of(3) && three[1] == three[0] + 1 && three[2] == three[0] + 2;
    let (threes, rest) = page.as_chunks::<3>();
    assert!(
        rest.is_empty() && threes.iter().all(|three| whole(three)),
        "a page must not cut a batch: {page:?}"
    );
}
