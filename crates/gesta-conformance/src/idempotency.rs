//! Laws of event ids: they alone decide whether a batch is a repeat, for the whole history, however it was batched.

use gesta_core::{AppendError, Appended, Batch, Checkpoint, Expected, NewEvent};

use crate::given::{A, B, batch, event, event_type, id, ids, name, tag, version};
use crate::world::{World, poll_once};

/// What the laws about other batchings start from.
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

/// Events of the history by their ids alone: below 10 in `A`, above in `B`.
fn by_ids(numbers: &[u32]) -> Batch {
    batch(&numbers.iter().map(|number| (if *number < 10 { A } else { B }, *number)).collect::<Vec<_>>())
}

pub(crate) fn the_same_batch_again_is_answered_with_the_first_answer(world: &World<'_>) {
    let sent = batch(&[(A, 1), (B, 2), (A, 3)]).expect(name(A), Expected::None);
    let first = world.append(sent.clone());
    world.append(batch(&[(A, 4), (B, 5)]));
    for _ in 0..2 {
        assert_eq!(world.repeat(sent.clone()), Appended { repeated: true, ..first.clone() });
    }
    assert_eq!(ids(&world.log()), [1, 2, 3, 4, 5]);
}

pub(crate) fn a_repeat_is_one_whatever_its_events_say_beside_their_ids(world: &World<'_>) {
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

pub(crate) fn a_repeat_may_be_batched_in_any_other_way_that_keeps_the_order(world: &World<'_>) {
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

pub(crate) fn a_batch_that_only_partly_stands_or_in_another_order_is_told_where_to_cut(world: &World<'_>) {
    history(world);
    // What is sent, the first of it that is taken, its version, and where to cut.
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

pub(crate) fn a_batch_that_is_cut_where_it_was_told_goes_through_piece_by_piece(world: &World<'_>) {
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

pub(crate) fn one_id_in_two_streams_is_two_events(world: &World<'_>) {
    world.append(batch(&[(A, 1)]));
    world.append(batch(&[(B, 1)]));
    world.append(batch(&[(A, 2), (B, 2)]));
    assert_eq!(ids(&world.log()), [1, 1, 2, 2]);
    world.repeat(batch(&[(A, 1), (B, 1), (B, 2)]));
}

pub(crate) fn one_id_twice_in_one_stream_of_a_batch_is_refused(world: &World<'_>) {
    let twice = || batch(&[(A, 1), (B, 1), (A, 1)]);
    assert!(matches!(world.refuse(twice()), AppendError::Invalid { .. }));
    world.append(batch(&[(A, 1)]));
    assert!(matches!(world.refuse(twice()), AppendError::Invalid { .. }));
}

pub(crate) fn an_id_is_remembered_for_the_whole_history(world: &World<'_>) {
    let first = world.append(batch(&[(A, 0)]));
    for number in 1..200 {
        world.append(batch(&[(if number % 2 == 0 { A } else { B }, number)]));
    }
    assert_eq!(world.repeat(batch(&[(A, 0)])).places, first.places);
    assert!(matches!(world.refuse(batch(&[(A, 500), (A, 0)])), AppendError::IdTaken { index: 1, .. }));
}

pub(crate) fn an_append_that_was_dropped_at_any_moment_is_settled_by_its_repeat(world: &World<'_>) {
    for (polls, number) in (0..4_u32).flat_map(|polls| (0..5).map(move |turn| (polls, 10 * polls + turn))) {
        let sent = batch(&[(A, 100 + 2 * number), (B, 101 + 2 * number)]);
        let mut append = world.store.append(sent.clone());
        // A future is not to be polled again once it has answered.
        let _answered = (0..polls).any(|_| poll_once(&mut append).is_ready());
        drop(append);
        let settled = world.try_append(sent.clone()).expect("a repeat settles it");
        assert_eq!(world.repeat(sent).places, settled.places);
    }
    let written = ids(&world.log());
    let expected = (0..4_u32).flat_map(|polls| (0..5).map(move |turn| 100 + 2 * (10 * polls + turn)));
    assert_eq!(written, expected.flat_map(|number| [number, number + 1]).collect::<Vec<_>>());
}
