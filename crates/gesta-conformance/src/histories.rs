//! Laws of histories: a place keeps the mark of its event. If a store lost events and gave their positions to others,
//! it refuses places of the lost history.

use std::sync::Arc;

use gesta_core::{
    AppendError, Batch, Checkpoint, Direction, Expected, Lane, Lanes, Limit, Place, Query, Read, ReadError,
    Retry, Subscription,
};
use pollster::block_on;

use crate::given::{A, B, C, batch, command, events, examined, id, ids, name};
use crate::world::{World, is_marked};

/// Stores a checkpoint as a consumer does, as its token, and parses it again.
fn kept(checkpoint: &Checkpoint) -> Checkpoint {
    let token = checkpoint.to_string();
    let parsed = token.parse::<Checkpoint>().expect("a token of the store");
    assert_eq!(parsed.to_string(), token);
    parsed
}

/// Checks that each mark of a checkpoint is that of the event at its place.
#[track_caller]
fn assert_right(world: &World<'_>, checkpoint: &Checkpoint) {
    assert!(is_marked(checkpoint), "{checkpoint} has a mark for every partition with events");
    let log = world.log();
    for (at, mark) in checkpoint.marks() {
        let event = log.iter().find(|event| event.position() == at).expect("an event at the place");
        assert_eq!(mark, event.mark(), "the mark of {checkpoint} in partition {}", at.partition);
    }
}

pub(crate) fn every_returned_checkpoint_has_the_mark_of_its_event(world: &World<'_>) {
    let keys = world.keys();
    let (mut number, mut last) = (0, None);
    for round in 0..2 {
        for key in &keys {
            let (a, b) = (format!("a-{{{key}}}"), format!("b-{{{key}}}"));
            world.clock().set(1_000 + i64::from(round));
            let sent = batch(&[(&a, number), (&b, number + 1), (&a, number + 2)]);
            let sent = sent.with_command(command(&format!("c-{number}"), 1));
            assert_right(world, &world.append(sent.clone()).checkpoint);
            assert_right(world, &world.repeat(sent.clone()).checkpoint);
            let near = sent.events[0].stream.clone();
            let asked = block_on(world.store.repeat_of(command(&format!("c-{number}"), 1), near));
            assert_right(world, &asked.expect("an answer").expect("a repeat").checkpoint);
            (number, last) = (number + 3, Some(sent));
        }
    }
    let one_id = Batch::new(last.expect("a batch").events.into_iter().take(1));
    assert_right(world, &world.repeat(one_id).checkpoint);
    assert_right(world, &world.head());
    assert_right(world, &world.recorded_up_to(1_000));
    assert_right(world, &block_on(world.store.head_now()).expect("the head"));
    assert_right(world, &block_on(world.store.wait_past(world.start())).expect("the head"));
    let stream = format!("a-{{{}}}", keys[0]);
    let lanes = Lanes::from_iter([Lane::of(&stream)]);
    let first = || Query::from(gesta_core::Item { ids: vec![id(0)], ..Default::default() });
    for limit in [Limit::default(), events(1), examined(1), events(2)] {
        let select =
            gesta_core::Select::Log { query: Query::All, from: Place::Start, lanes: Some(lanes.clone()) };
        let log = [Read::log(Query::All), Read::log(first()), Read::stream(name(&stream)), select.into()];
        for read in log.into_iter().map(|read| read.limit(limit)) {
            world.pages(read).iter().for_each(|page| assert_right(world, &page.scanned_to));
        }
        for query in [Query::All, first(), Query::stream(name(&stream))] {
            let read = Read::log_from(query, Place::End).backward().limit(limit);
            world.pages(read).iter().for_each(|page| assert_right(world, &page.scanned_to));
        }
        let read = Read::stream(name(&stream)).backward().limit(limit);
        world.pages(read).iter().for_each(|page| assert_right(world, &page.scanned_to));
    }
}

pub(crate) fn a_page_that_ends_at_until_returns_the_callers_mark(world: &World<'_>) {
    let first = world.append(batch(&[(A, 1), (B, 2)])).checkpoint;
    world.append(batch(&[(A, 3)]));
    let partition = world.partition_of(A);
    let made_up = world.start().with(partition, first.sequence(partition));
    for (place, mark) in [(&first, first.mark(partition)), (&made_up, None)] {
        for read in [Read::log(Query::All), Read::stream(name(A))] {
            let page = world.read(read.until(place.clone()));
            assert_eq!((page.scanned_to.mark(partition), page.end), (mark, true), "{place}");
        }
    }
}

pub(crate) fn a_checkpoint_without_a_mark_is_not_checked(world: &mut World<'_>) {
    let Some(lost) = lose(world) else { return };
    world.append(batch(&[(A, 11), (A, 12), (A, 13)]));
    for (number, place) in (20..).zip(lost) {
        let made_up = Checkpoint::new(place.store(), place.sequences());
        world.read(Read::log_from(Query::All, Place::At(made_up.clone())));
        world.append(batch(&[(B, number)]).fail_if(Query::stream(name(C)), Some(made_up)));
    }
}

/// Appends two events and keeps them, appends two more and loses them. Returns places of the lost history, each from
/// another source; `None` if the store cannot lose anything.
fn lose(world: &mut World<'_>) -> Option<Vec<Checkpoint>> {
    world.append(batch(&[(A, 1), (B, 2)]));
    let snapshot = world.snapshot();
    world.clock().set(2_000);
    let appended = world.append(batch(&[(A, 3), (A, 4)]));
    let cut = world.read(Read::stream(name(A)).limit(events(2))).scanned_to;
    let log = world.log();
    let inside = world.start().past(&log[2]);
    let places =
        [appended.checkpoint, cut, inside, world.read(Read::log(Query::All)).scanned_to, world.head()];
    let places = places.iter().map(kept).collect();
    let has_lost = world.put_back(snapshot);
    world.clock().set(3_000);
    has_lost.then_some(places)
}

/// Returns the errors of a consumer that resumes from a place, from every call that takes one.
fn told(world: &World<'_>, place: &Checkpoint) -> Vec<ReadError> {
    let directions = [Direction::Forward, Direction::Backward];
    let reads = directions.into_iter().flat_map(|direction| {
        let at = Read::log_from(Query::All, Place::At(place.clone()));
        let until = Read::log(Query::All).until(place.clone());
        let of_stream = Read::stream(name(A)).until(place.clone());
        [at, until, of_stream].map(|read| Read { direction, ..read })
    });
    let mut told = reads.map(|read| world.refuse_read(read)).collect::<Vec<_>>();
    told.push(block_on(world.store.wait_past(place.clone())).expect_err("the store must refuse the wait"));
    let subscribed = Subscription::new(Arc::clone(&world.store), Query::All, Place::At(place.clone()));
    let mut subscription = block_on(subscribed).expect("the first page is refused, not the subscription");
    told.push(block_on(subscription.next()).expect_err("the store must refuse the page"));
    told
}

pub(crate) fn a_checkpoint_of_lost_events_is_refused(world: &mut World<'_>) {
    let Some(lost) = lose(world) else { return };
    let conditional =
        |place: &Checkpoint| batch(&[(B, 30)]).fail_if(Query::stream(name(C)), Some(place.clone()));
    for place in &lost {
        for error in told(world, place) {
            assert!(matches!(error, ReadError::CheckpointAhead { .. }), "{error}");
        }
        let refused = world.refuse(conditional(place));
        assert!(matches!(refused, AppendError::CheckpointAhead { .. }), "{refused}");
    }
    world.append(batch(&[(A, 11)]));
    world.append(batch(&[(A, 12), (B, 13), (A, 14)]));
    // Twice, because a store may remember the first result.
    for place in lost.iter().chain(&lost) {
        for error in told(world, place) {
            let ReadError::Diverged { checkpoint, found } = &error else { panic!("{error}") };
            assert_eq!(checkpoint.to_string(), place.to_string());
            assert_eq!(found, place);
            assert_right(world, found);
            assert_eq!(error.retry(), Retry::Never);
        }
        let refused = world.refuse(conditional(place));
        let AppendError::Diverged { checkpoint, found } = &refused else { panic!("{refused}") };
        assert_eq!((checkpoint.to_string(), refused.retry()), (place.to_string(), Retry::Never));
        assert_right(world, found);
    }
}

pub(crate) fn a_checkpoint_from_before_a_loss_is_accepted(world: &mut World<'_>) {
    let first = kept(&world.append(batch(&[(A, 1)])).checkpoint);
    let last = kept(&world.append(batch(&[(A, 2)])).checkpoint);
    let snapshot = world.snapshot();
    world.append(batch(&[(A, 3)]));
    if !world.put_back(snapshot) {
        return;
    }
    world.append(batch(&[(A, 11), (A, 12)]));
    for (place, expected) in [(first, &[2, 11, 12][..]), (last, &[11, 12])] {
        let after = world.read(Read::log_from(Query::stream(name(A)), Place::At(place.clone()))).events;
        assert_eq!(ids(&after), expected);
        block_on(world.store.wait_past(place.clone())).expect("there is more");
        world.append(batch(&[(B, 20 + expected[0])]).fail_if(Query::stream(name(C)), Some(place)));
    }
}

pub(crate) fn the_same_events_appended_again_after_a_loss_are_another_history(world: &mut World<'_>) {
    let Some(lost) = lose(world) else { return };
    world.append(batch(&[(A, 3), (A, 4)]));
    world.append(batch(&[(A, 5)]));
    for place in &lost {
        for error in told(world, place) {
            assert!(matches!(error, ReadError::Diverged { .. }), "{error}");
        }
    }
}

pub(crate) fn a_repeat_is_answered_even_if_its_condition_has_a_lost_checkpoint(world: &mut World<'_>) {
    let sent = batch(&[(C, 40)]).with_command(command("open", 1));
    let first = world.append(sent.clone());
    let Some(lost) = lose(world) else { return };
    world.append(batch(&[(A, 11), (A, 12), (A, 13)]));
    for place in lost {
        let again = sent.clone().fail_if(Query::stream(name(B)), Some(place.clone()));
        assert_eq!(world.repeat(again).places, first.places);
        let by_key = batch(&[(C, 41)]).with_command(command("open", 1));
        let by_key = by_key.fail_if(Query::stream(name(B)), Some(place));
        assert_eq!(world.repeat(by_key).places, first.places);
    }
}

pub(crate) fn an_expected_event_that_was_lost_is_not_met_by_its_successor(world: &mut World<'_>) {
    if lose(world).is_none() {
        return;
    }
    // The lost history had events 3 and 4 at versions 1 and 2.
    world.append(batch(&[(A, 11), (A, 12)]));
    let expected = |number| Expected::Event { version: crate::given::version(2), id: id(number) };
    let refused = world.refuse(batch(&[(A, 13)]).expect(name(A), expected(4)));
    assert_eq!(refused.retry(), Retry::Never, "{refused}");
    world.append(batch(&[(A, 13)]).expect(name(A), expected(12)));
}
