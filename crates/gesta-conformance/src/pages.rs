//! Laws of pages: where a page ends, where a limit may cut, and that all pages together equal one large read.

use gesta_core::{
    Checkpoint, Direction, Lane, Lanes, Limit, Page, Place, Query, Read, ReadError, RecordedEvent, Select,
};

use crate::given::{
    A, B, batch, beyond, bytes, event_type, events, examined, foreign, ids, name, version, versions,
};
use crate::town::Town;
use crate::world::World;

pub(crate) fn an_empty_log_is_read_to_its_end_at_once(world: &World<'_>) {
    let start = world.start();
    assert_eq!(world.head(), start);
    let log = |from| Read::log_from(Query::All, from);
    let reads = [log(Place::Start), log(Place::End), log(Place::At(start.clone())), Read::stream(name(A))];
    for read in reads.into_iter().flat_map(|read| [read.clone(), read.backward()]) {
        let page = world.read(read);
        let nothing = Page {
            events: Vec::new(),
            scanned_to: start.clone(),
            head: start.clone(),
            last_version: None,
            end: true,
        };
        assert_eq!(page, nothing);
    }
}

pub(crate) fn a_forward_page_that_is_not_cut_scans_to_the_head_even_without_a_match(world: &World<'_>) {
    let town = Town::build(world);
    let head = world.head();
    let never = Query::types([event_type("never")]);
    let reads = [
        Read::log(Query::All),
        Read::log(never.clone()),
        Read::log_from(never, Place::At(head.clone())),
        Read::log_from(Query::All, Place::End),
        Read::stream(name(&town.streams[0])),
        Read::stream(name("never-1")),
    ];
    for read in reads {
        let page = world.read(read.clone());
        assert!(page.end && page.scanned_to == head && page.head == head, "{read:?}: {page:?}");
    }
}

pub(crate) fn a_forward_read_returns_only_events_up_to_until(world: &World<'_>) {
    let town = Town::build(world);
    for until in places(world, &town) {
        for (query, wanted) in town.cases() {
            let page = world.read(Read::log(query).until(until.clone()));
            let expected = town.entries.iter().filter(|entry| until.covers(entry.place.position));
            let expected = expected.filter(|entry| wanted(&entry.event));
            let expected = expected.map(|entry| (entry.place.position.partition, entry.event.id));
            let found = page.events.iter().map(|event| (event.position().partition, event.id()));
            assert_eq!(world.by_partition(found), world.by_partition(expected), "until {until}");
            assert!(page.end && page.scanned_to == until, "{page:?}");
        }
    }
}

/// The start, the head, and the place after each event alone in its partition. Many of them are inside a batch.
fn places(world: &World<'_>, town: &Town) -> Vec<Checkpoint> {
    let positions = town.entries.iter().map(|entry| entry.place.position);
    let after = positions.map(|position| world.start().with(position.partition, position.sequence));
    [world.start(), world.head()].into_iter().chain(after.step_by(3)).collect()
}

pub(crate) fn a_backward_read_returns_only_events_after_until(world: &World<'_>) {
    let town = Town::build(world);
    for until in places(world, &town) {
        let page = world.read(Read::log_from(Query::All, Place::End).backward().until(until.clone()));
        let expected = town.entries.iter().rev().filter(|entry| !until.covers(entry.place.position));
        let expected = expected.map(|entry| (entry.place.position.partition, entry.event.id));
        let found = page.events.iter().map(|event| (event.position().partition, event.id()));
        assert_eq!(world.by_partition(found), world.by_partition(expected), "until {until}");
        assert!(page.end, "{page:?}");
    }
}

pub(crate) fn a_read_may_start_at_any_place_even_inside_a_batch(world: &World<'_>) {
    let town = Town::build(world);
    for at in places(world, &town) {
        let read = Read::log_from(Query::All, Place::At(at.clone()));
        let entries = |after: bool| {
            let entries = town.entries.iter().filter(|entry| at.covers(entry.place.position) != after);
            world.by_partition(entries.map(|entry| (entry.place.position.partition, entry.event.id)))
        };
        let found = |read: Read| {
            let found = world.read(read).events;
            world.by_partition(found.iter().map(|event| (event.position().partition, event.id())))
        };
        assert_eq!(found(read.clone()), entries(true), "forward: the events after it");
        let reversed =
            found(read.backward()).into_iter().map(|ids| ids.into_iter().rev().collect::<Vec<_>>());
        assert_eq!(reversed.collect::<Vec<_>>(), entries(false), "backward: the events up to it");
    }
}

pub(crate) fn a_backward_read_from_the_start_and_a_forward_read_from_the_end_are_empty(world: &World<'_>) {
    Town::build(world);
    for read in [Read::log_from(Query::All, Place::Start).backward(), Read::log_from(Query::All, Place::End)]
    {
        let page = world.read(read);
        assert!(page.events.is_empty() && page.end, "{page:?}");
    }
}

pub(crate) fn a_checkpoint_beyond_the_head_or_of_another_store_is_refused(world: &World<'_>) {
    world.append(batch(&[(A, 1)]));
    let head = world.head();
    let wider = Checkpoint::new(head.store(), head.sequences().chain([0]));
    let ahead = beyond(&head);
    for direction in [Direction::Forward, Direction::Backward] {
        let reads = |place: &Checkpoint| {
            let at = Read::log_from(Query::All, Place::At(place.clone()));
            let until = Read::log(Query::All).until(place.clone());
            let of_stream = Read::stream(name(A)).until(place.clone());
            [at, until, of_stream].map(|read| Read { direction, ..read })
        };
        for read in reads(&ahead) {
            let expected = ReadError::CheckpointAhead { checkpoint: ahead.clone(), head: head.clone() };
            assert_eq!(world.refuse_read(read), expected);
        }
        for place in [foreign(&head), wider.clone()] {
            for read in reads(&place) {
                let expected = ReadError::ForeignCheckpoint { checkpoint: place.clone() };
                assert_eq!(world.refuse_read(read), expected);
            }
        }
    }
}

pub(crate) fn pages_of_one_event_add_up_to_one_large_read(world: &World<'_>) {
    check_paging(world, events(1));
    check_stream_paging(world, events(1));
}

pub(crate) fn pages_of_one_byte_add_up_to_one_large_read(world: &World<'_>) {
    check_paging(world, bytes(1));
    check_stream_paging(world, bytes(1));
}

pub(crate) fn pages_of_one_examined_entry_add_up_to_one_large_read(world: &World<'_>) {
    check_paging(world, examined(1));
    check_stream_paging(world, examined(1));
}

pub(crate) fn pages_of_any_small_limit_add_up_to_one_large_read(world: &World<'_>) {
    let town = Town::build(world);
    for limit in [events(2), events(5), bytes(150), bytes(400), examined(2), examined(7)] {
        let mut expected = town.ids(world, |_| true);
        for read in [Read::log(Query::All), Read::log_from(Query::All, Place::End).backward()] {
            let paged = world.paged(read.limit(limit));
            assert_eq!(world.ids_by_partition(&paged), expected, "by {limit:?}");
            expected.iter_mut().for_each(|ids| ids.reverse());
        }
    }
}

/// Checks every query in both directions, for all lanes and for half of them.
fn check_paging(world: &World<'_>, limit: Limit) {
    let town = Town::build(world);
    let half = (0..1_024).step_by(2).filter_map(Lane::new).collect::<Lanes>();
    for (query, wanted) in town.cases() {
        for lanes in [None, Some(half.clone())] {
            let in_lanes = |stream: &str| lanes.as_ref().is_none_or(|lanes| lanes.contains(Lane::of(stream)));
            let mut expected = town.ids(world, |event| in_lanes(event.stream.as_str()) && wanted(event));
            for (direction, from) in [(Direction::Forward, Place::Start), (Direction::Backward, Place::End)] {
                let select = Select::Log { query: query.clone(), from, lanes: lanes.clone() };
                let read = Read { direction, ..select.into() };
                let whole = world.read(read.clone()).events;
                assert_eq!(world.ids_by_partition(&whole), expected, "{read:?}");
                let paged = world.paged(read.limit(limit));
                assert_eq!(world.ids_by_partition(&paged), expected, "by {limit:?}");
                expected.iter_mut().for_each(|ids| ids.reverse());
            }
        }
    }
}

/// Checks every stream in both directions.
fn check_stream_paging(world: &World<'_>, limit: Limit) {
    let streams =
        world.log().iter().map(|event| event.stream().to_owned()).collect::<std::collections::BTreeSet<_>>();
    for stream in &streams {
        let forward = Read::stream(name(stream));
        for read in [forward.clone(), forward.backward()] {
            let whole = world.read(read.clone()).events;
            assert!(whole.len() as u64 == world.last_version(&name(stream)).expect("a stream").get() + 1);
            assert_eq!(world.paged(read.limit(limit)), whole, "{stream} by {limit:?}");
        }
    }
}

pub(crate) fn a_forward_page_of_the_log_never_ends_inside_a_batch(world: &World<'_>) {
    let town = Town::build(world);
    for limit in [events(1), events(2), events(4), bytes(1), bytes(300), examined(1), examined(4)] {
        for (query, wanted) in town.cases() {
            for page in world.pages(Read::log(query).limit(limit)) {
                for partition in 0..world.partitions() {
                    for place in [&page.scanned_to, &page.head] {
                        let sequence = place.sequence(partition);
                        assert!(!town.is_inside_a_batch(partition, sequence), "{place} lies inside a batch");
                    }
                }
                let batches = page.events.iter().map(|event| town.batch_of(event)).collect::<Vec<_>>();
                let whole = |batch: &u32| {
                    let of_batch = town.entries.iter().filter(|entry| entry.batch == *batch);
                    let matching = of_batch.filter(|entry| wanted(&entry.event)).count();
                    matching == batches.iter().filter(|own| *own == batch).count()
                };
                assert!(batches.iter().all(whole), "all matches of a batch must be in one page: {page:?}");
                assert_exceeded_by_one_batch(&page, limit, &batches);
            }
        }
    }
}

/// Checks that the page is below its limit without its last batch.
fn assert_exceeded_by_one_batch(page: &Page, limit: Limit, batches: &[u32]) {
    let before = batches.iter().filter(|batch| Some(*batch) != batches.last()).count();
    let bytes = page.events[..before].iter().map(|event| event.as_bytes().len() as u64).sum::<u64>();
    assert!(before == 0 || before < limit.events.get() as usize, "{limit:?}: {page:?}");
    assert!(before == 0 || bytes < limit.bytes.get(), "{limit:?}: {page:?}");
}

pub(crate) fn stream_reads_and_backward_reads_are_cut_at_exactly_the_limit(world: &World<'_>) {
    world.append(batch(&[(A, 1), (A, 2), (B, 3), (A, 4), (A, 5)]));
    for count in 1..=6 {
        let log = Read::log_from(Query::All, Place::End).backward();
        let reads = [(Read::stream(name(A)), 4), (Read::stream(name(A)).backward(), 4), (log, 5)];
        for (read, there) in reads {
            let page = world.read(read.limit(events(count)));
            assert_eq!(page.events.len(), there.min(count as usize), "{page:?}");
        }
    }
    let size = world.log()[0].as_bytes().len() as u64;
    for (limit, most) in [(1, 1), (size, 1), (size + 1, 2), (2 * size, 2), (3 * size, 3)] {
        let log = Read::log_from(Query::All, Place::End).backward();
        for read in [Read::stream(name(A)), Read::stream(name(A)).backward(), log] {
            let page = world.read(read.limit(bytes(limit)));
            assert!((1..=most).contains(&page.events.len()), "{limit} bytes: {page:?}");
        }
    }
}

pub(crate) fn a_read_of_the_log_can_continue_from_a_cut_stream_page(world: &World<'_>) {
    world.append(batch(&[("elsewhere-1", 9)]));
    world.append(batch(&[(A, 1), (B, 8), (A, 2), (A, 3)]));
    world.append(batch(&[(B, 7), (A, 4)]));
    let of_a = || Query::stream(name(A));
    for count in 1..4 {
        let forward = world.read(Read::stream(name(A)).limit(events(count)));
        let last = forward.events.last().expect("an event").position();
        assert_eq!(forward.scanned_to.sequence(last.partition), last.sequence);
        let rest = world.read(Read::log_from(of_a(), Place::At(forward.scanned_to))).events;
        assert_eq!([ids(&forward.events), ids(&rest)].concat(), [1, 2, 3, 4]);

        let backward = world.read(Read::stream(name(A)).backward().limit(events(count)));
        let rest = world.read(Read::log_from(of_a(), Place::At(backward.scanned_to)).backward()).events;
        assert_eq!([ids(&backward.events), ids(&rest)].concat(), [4, 3, 2, 1]);
    }
}

pub(crate) fn a_stream_read_may_start_at_any_version_in_both_directions(world: &World<'_>) {
    world.append(batch(&[(A, 10), (B, 20), (A, 11)]));
    world.append(batch(&[(A, 12), (A, 13)]));
    let from = |number| Read::from(Select::Stream { name: name(A), from: Some(version(number)) });
    let cases: [(u64, &[u64], &[u64]); 5] = [
        (0, &[0, 1, 2, 3], &[0]),
        (1, &[1, 2, 3], &[1, 0]),
        (3, &[3], &[3, 2, 1, 0]),
        (4, &[], &[3, 2, 1, 0]),
        (u64::MAX, &[], &[3, 2, 1, 0]),
    ];
    for (number, forward, backward) in cases {
        let page = world.read(from(number));
        assert_eq!(versions(&page.events), forward, "forward from {number}");
        assert!(page.end && page.scanned_to == world.head(), "{page:?}");
        let page = world.read(from(number).backward());
        assert_eq!(versions(&page.events), backward, "backward from {number}");
        assert!(page.end, "{page:?}");
    }
    assert_eq!(versions(&world.read(Read::stream(name(A)).backward()).events), [3, 2, 1, 0]);
}

pub(crate) fn a_stream_read_ends_at_until(world: &World<'_>) {
    let places = world.append(batch(&[(A, 1), (B, 2), (A, 3)])).places;
    world.append(batch(&[(A, 4)]));
    let cases: [(usize, &[u32], &[u32]); 3] = [(0, &[1], &[4, 3]), (1, &[1], &[4, 3]), (2, &[1, 3], &[4])];
    for (at, forward, backward) in cases {
        let until = world.start().with(places[at].position.partition, places[at].position.sequence);
        let page = world.read(Read::stream(name(A)).until(until.clone()));
        assert_eq!(ids(&page.events), forward);
        assert!(page.end && page.scanned_to == until, "{page:?}");
        assert_eq!(ids(&world.read(Read::stream(name(A)).backward().until(until)).events), backward);
    }
}

pub(crate) fn every_page_of_a_stream_has_its_last_version_at_the_head(world: &World<'_>) {
    let first = world.append(batch(&[(A, 1), (B, 2), (A, 3)])).checkpoint;
    world.append(batch(&[(A, 4), (B, 5)]));
    let reads = [
        Read::stream(name(A)),
        Read::stream(name(A)).limit(events(1)),
        Read::stream(name(A)).backward().limit(events(1)),
        Read::stream(name(A)).until(first.clone()),
        Read::stream(name(A)).until(first).backward(),
        Select::Stream { name: name(A), from: Some(version(9)) }.into(),
    ];
    for read in reads {
        assert_eq!(world.read(read.clone()).last_version, Some(version(2)), "{read:?}");
    }
    assert_eq!(world.read(Read::stream(name("never-1"))).last_version, None);
}

pub(crate) fn a_stream_read_and_a_log_read_return_the_same_events(world: &World<'_>) {
    world.append(batch(&[(A, 1), (B, 2), (A, 3)]));
    let by_log = world.log();
    let by_streams = [world.stream(A), world.stream(B)].concat();
    let find = |event: &RecordedEvent| by_streams.iter().find(|other| other.id() == event.id());
    assert!(by_log.iter().all(|event| find(event) == Some(event)), "{by_log:?} and {by_streams:?}");
}
