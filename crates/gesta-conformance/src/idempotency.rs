//! Laws of event ids: they alone decide whether a batch is a repeat, over the whole history and for any batching.

use gesta_core::{AppendError, Appended, Batch, Checkpoint, Expected, NewEvent};

use crate::given::{A, B, batch, event, event_type, id, ids, name, tag, version};
use crate::world::{World, poll_once};

/// The initial log of the laws about other batchings.
struct History {
    places: Vec<(u32, gesta_core::Placed)>,
    ends: [Checkpoint; 3],
}

/// Three batches: events 1, 2 (`A`) and 11 (`B`); 3 (`A`); 12 (`B`) and 4 (`A`).
fn history(world: &World<'_>) -> History {
    let batches: [&[(&str, u32)]; 3] = [&[(A, 1), (A, 2), (B, 11)], &[(A, 3)], &[(B, 12), (A, 4)]];
    let mut places = Vec::new();
    let ends = batches.map(|events| {
        let appended = world.append(batch(events));
        places.extend(events.iter().map(|(_, number)| *number).zip(appended.places));
        appended.checkpoint
    });
    History { places, ends }
}

/// Events of the history, by their ids: below 10 in `A`, others in `B`.
fn by_ids(numbers: &[u32]) -> Batch {
    batch(&numbers.iter().map(|number| (if *number < 10 { A } else { B }, *number)).collect::<Vec<_>>())
}

pub(crate) fn a_repeated_batch_gets_the_first_answer(world: &World<'_>) {
    let sent = batch(&[(A, 1), (B, 2), (A, 3)]).expect(name(A), Expected::None);
    let first = world.append(sent.clone());
    world.append(batch(&[(A, 4), (B, 5)]));
    for _ in 0..2 {
        assert_eq!(world.repeat(sent.clone()), Appended { repeated: true, ..first.clone() });
    }
    assert_eq!(ids(&world.log()), [1, 2, 3, 4, 5]);
}

pub(crate) fn ids_alone_decide_a_repeat_and_other_fields_are_ignored(world: &World<'_>) {
    let first = world.append(batch(&[(A, 1)]));
    let plain = || event(A, 1);
    let others = [
        NewEvent { data: "other".into(), ..plain() },
        plain().with_metadata("other"),
        plain().with_tags([tag("an:other")]),
        NewEvent { time: gesta_core::Timestamp::from_nanos(-7), ..plain() },
        NewEvent { event_type: event_type("other"), schema_version: 9, ..plain() },
    ];
    for other in others {
        assert_eq!(world.repeat(Batch::new([other])).places, first.places);
    }
    assert_eq!(world.stream(A)[0].data(), plain().data, "the first stays");
}

pub(crate) fn a_repeat_may_be_batched_differently_in_the_same_order(world: &World<'_>) {
    let History { places, ends } = history(world);
    let cases: [(&[u32], usize); 10] = [
        (&[1, 2, 11], 0),
        (&[1], 0),
        (&[2, 11], 0),
        (&[1, 11], 0),
        (&[11], 0),
        (&[1, 2, 11, 3], 1),
        (&[1, 3], 1),
        (&[3, 12, 4], 2),
        (&[1, 12], 2),
        (&[1, 2, 11, 3, 12, 4], 2),
    ];
    for (numbers, end) in cases {
        let appended = world.repeat(by_ids(numbers));
        let expected = numbers.iter().map(|own| places.iter().find(|(number, _)| number == own));
        assert_eq!(appended.places, expected.map(|found| found.expect("it stands").1).collect::<Vec<_>>());
        assert_eq!(
            appended.checkpoint, ends[end],
            "{numbers:?}: the end of the batch that holds its last event"
        );
    }
}

pub(crate) fn a_batch_that_is_partly_recorded_or_reordered_is_refused_with_the_index_to_cut_at(
    world: &World<'_>,
) {
    history(world);
    // The ids of a batch, its first taken id, the version of that event, and the index to cut at.
    let cases: [(&[u32], u32, u64, usize); 10] = [
        (&[1, 9], 1, 0, 1),
        (&[9, 1], 1, 0, 1),
        (&[1, 2, 9, 3], 1, 0, 2),
        (&[9, 19, 3], 3, 2, 2),
        (&[8, 9, 12, 7], 12, 1, 2),
        (&[2, 1], 2, 1, 1),
        (&[11, 2], 11, 0, 1),
        (&[1, 11, 2, 9], 1, 0, 2),
        (&[1, 9, 2], 1, 0, 1),
        (&[4, 12], 4, 3, 1),
    ];
    for (numbers, taken, at, index) in cases {
        let stream = name(if taken < 10 { A } else { B });
        let expected = AppendError::IdTaken { stream, id: id(taken), version: version(at), index };
        assert_eq!(world.refuse(by_ids(numbers)), expected, "{numbers:?}");
    }
}

pub(crate) fn a_batch_that_is_cut_at_the_reported_index_is_accepted_piece_by_piece(world: &World<'_>) {
    history(world);
    let mut left = &[1, 2, 8, 9, 3, 11, 12, 19, 4][..];
    let mut pieces = Vec::new();
    while !left.is_empty() {
        let cut = match world.try_append(by_ids(left)) {
            Ok(_) => left.len(),
            Err(AppendError::IdTaken { index, .. }) => index,
            Err(error) => panic!("{error}"),
        };
        let (piece, rest) = left.split_at(cut);
        world.try_append(by_ids(piece)).expect("a piece is new or a repeat");
        pieces.push(piece);
        left = rest;
    }
    assert_eq!(pieces, [&[1, 2][..], &[8, 9], &[3], &[11, 12], &[19], &[4]]);
    assert_eq!(ids(&world.stream(A)), [1, 2, 3, 4, 8, 9]);
    assert_eq!(ids(&world.stream(B)), [11, 12, 19]);
}

pub(crate) fn the_same_id_in_two_streams_is_two_events(world: &World<'_>) {
    world.append(batch(&[(A, 1)]));
    world.append(batch(&[(B, 1)]));
    world.append(batch(&[(A, 2), (B, 2)]));
    assert_eq!(ids(&world.log()), [1, 1, 2, 2]);
    world.repeat(batch(&[(A, 1), (B, 1), (B, 2)]));
}

pub(crate) fn a_batch_with_the_same_id_twice_in_a_stream_is_refused(world: &World<'_>) {
    let twice = || batch(&[(A, 1), (B, 1), (A, 1)]);
    assert!(matches!(world.refuse(twice()), AppendError::Invalid { .. }));
    world.append(batch(&[(A, 1)]));
    assert!(matches!(world.refuse(twice()), AppendError::Invalid { .. }));
}

pub(crate) fn an_id_is_recognised_over_the_whole_history(world: &World<'_>) {
    let first = world.append(batch(&[(A, 0)]));
    for number in 1..200 {
        world.append(batch(&[(if number % 2 == 0 { A } else { B }, number)]));
    }
    assert_eq!(world.repeat(batch(&[(A, 0)])).places, first.places);
    assert!(matches!(world.refuse(batch(&[(A, 500), (A, 0)])), AppendError::IdTaken { index: 1, .. }));
}

pub(crate) fn a_repeat_settles_an_append_that_was_dropped_at_any_moment(world: &World<'_>) {
    for (polls, number) in (0..4_u32).flat_map(|polls| (0..5).map(move |turn| (polls, 10 * polls + turn))) {
        let sent = batch(&[(A, 100 + 2 * number), (B, 101 + 2 * number)]);
        let mut append = world.store.append(sent.clone());
        // A completed future must not be polled again.
        let _answered = (0..polls).any(|_| poll_once(&mut append).is_ready());
        drop(append);
        let settled = world.try_append(sent.clone()).expect("a repeat settles it");
        assert_eq!(world.repeat(sent).places, settled.places);
    }
    let written = ids(&world.log());
    let expected = (0..4_u32).flat_map(|polls| (0..5).map(move |turn| 100 + 2 * (10 * polls + turn)));
    assert_eq!(written, expected.flat_map(|number| [number, number + 1]).collect::<Vec<_>>());
}
