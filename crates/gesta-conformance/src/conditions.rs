//! Laws of conditions: a decision holds only if no matching event was appended after the decision's read.

use std::thread;

use gesta_core::{AppendError, Checkpoint, Item, Place, Query, Read};

use crate::given::{A, B, C, batch, beyond, event, event_type, events, foreign, ids, name, tag, typed};
use crate::world::World;

pub(crate) fn a_condition_without_a_checkpoint_covers_the_whole_log(world: &World<'_>) {
    let unless_there = |number| batch(&[(A, number)]).fail_if(Query::stream(name(B)), None);
    world.append(unless_there(1));
    let place = world.append(batch(&[(B, 2)])).places[0];
    world.append(batch(&[(C, 3)]));
    let refused = world.refuse(unless_there(4));
    assert_eq!(refused, AppendError::ConditionFailed { index: 0, at: place.position });
}

pub(crate) fn a_condition_covers_only_events_after_its_checkpoint(world: &World<'_>) {
    let unless_after = |number, after: &Checkpoint| {
        batch(&[(A, number)]).fail_if(Query::stream(name(B)), Some(after.clone()))
    };
    let before = world.start();
    let place = world.append(batch(&[(B, 1)])).places[0];
    let seen = world.read(Read::log(Query::All)).scanned_to;
    world.append(unless_after(2, &seen));
    world.append(unless_after(3, &seen));
    let refused = world.refuse(unless_after(4, &before));
    assert_eq!(refused, AppendError::ConditionFailed { index: 0, at: place.position });
    world.append(batch(&[(B, 5)]));
    world.refuse(unless_after(6, &seen));
}

pub(crate) fn the_checkpoint_of_a_condition_may_lie_inside_a_batch(world: &World<'_>) {
    let places = world.append(batch(&[(B, 1), (C, 2), (B, 3)])).places;
    let inside = |at: usize| world.start().with(places[at].position.partition, places[at].position.sequence);
    let unless =
        |number, stream: &str, after| batch(&[(A, number)]).fail_if(Query::stream(name(stream)), Some(after));
    let failed = |at: usize| AppendError::ConditionFailed { index: 0, at: places[at].position };
    assert_eq!(world.refuse(unless(4, C, inside(0))), failed(1));
    assert_eq!(world.refuse(unless(4, B, inside(0))), failed(2));
    assert_eq!(world.refuse(unless(4, B, inside(1))), failed(2));
    world.append(unless(4, C, inside(1)));
    world.append(unless(5, B, inside(2)));
}

pub(crate) fn conditions_have_separate_checkpoints_and_the_first_failure_is_reported(world: &World<'_>) {
    let start = world.start();
    let of_b = world.append(batch(&[(B, 1)])).places[0].position;
    let seen = world.head();
    let of_c = world.append(batch(&[(C, 2)])).places[0].position;
    let sent = |number, b: &Checkpoint, c: &Checkpoint| {
        let both = batch(&[(A, number)]).fail_if(Query::stream(name(B)), Some(b.clone()));
        both.fail_if(Query::stream(name(C)), Some(c.clone()))
    };
    let head = world.head();
    assert_eq!(world.refuse(sent(3, &start, &start)), AppendError::ConditionFailed { index: 0, at: of_b });
    assert_eq!(world.refuse(sent(3, &start, &head)), AppendError::ConditionFailed { index: 0, at: of_b });
    assert_eq!(world.refuse(sent(3, &seen, &seen)), AppendError::ConditionFailed { index: 1, at: of_c });
    world.append(sent(3, &seen, &head));
}

pub(crate) fn the_events_of_a_batch_do_not_count_for_its_conditions(world: &World<'_>) {
    let head = world.head();
    world.append(batch(&[(A, 1), (A, 2)]).fail_if(Query::stream(name(A)), None));
    world.refuse(batch(&[(A, 3)]).fail_if(Query::stream(name(A)), Some(head)));
}

pub(crate) fn a_failed_condition_reports_the_newest_match(world: &World<'_>) {
    world.append(batch(&[(B, 1), (B, 2)]));
    let newest = world.append(batch(&[(C, 3), (B, 4), (C, 5)])).places[1];
    world.append(batch(&[(C, 6)]));
    let refused = world.refuse(batch(&[(A, 7)]).fail_if(Query::stream(name(B)), None));
    assert_eq!(refused, AppendError::ConditionFailed { index: 0, at: newest.position });
}

pub(crate) fn a_condition_supports_every_field_of_a_query(world: &World<'_>) {
    let given = typed(B, 1, "moved").with_tags([tag("a:1"), tag("b:2")]);
    world.append(gesta_core::Batch::new([given]));
    let of = |stream: &str| Item { stream: Some(name(stream)), ..Item::default() };
    let types = |text: &str| vec![event_type(text)];
    let category = |text: &str| Some(crate::given::category(text));
    let matching = [
        vec![Item { types: types("moved"), ..of(B) }],
        vec![Item { tags: vec![tag("b:2"), tag("a:1")], ..of(B) }],
        vec![Item { ids: vec![crate::given::id(9), crate::given::id(1)], ..of(B) }],
        vec![Item { category: category("b"), ..of(B) }],
        vec![of(C), of(B)],
    ];
    let others = [
        vec![Item { types: types("closed"), ..of(B) }],
        vec![Item { tags: vec![tag("a:1"), tag("b:3")], ..of(B) }],
        vec![Item { ids: vec![crate::given::id(9)], ..of(B) }],
        vec![Item { category: category("a"), ..of(B) }],
        vec![Item { types: types("moved"), ..of(C) }, of("d-{k}")],
    ];
    for items in matching {
        let error = world.refuse(batch(&[(A, 50)]).fail_if(Query::Any(items), None));
        assert!(matches!(error, AppendError::ConditionFailed { .. }), "{error}");
    }
    for (number, items) in (100..).zip(others) {
        world.append(batch(&[(A, number)]).fail_if(Query::Any(items), None));
    }
}

pub(crate) fn a_condition_after_a_checkpoint_beyond_the_head_or_of_another_store_is_refused(
    world: &World<'_>,
) {
    world.append(batch(&[(A, 1)]));
    let head = world.head();
    let after = |after: &Checkpoint| {
        world.refuse(batch(&[(A, 2)]).fail_if(Query::stream(name(B)), Some(after.clone())))
    };
    let ahead = beyond(&head);
    assert_eq!(after(&ahead), AppendError::CheckpointAhead { checkpoint: ahead, head: head.clone() });
    let elsewhere = foreign(&head);
    assert_eq!(after(&elsewhere), AppendError::ForeignCheckpoint { checkpoint: elsewhere });
    let wider = Checkpoint::new(head.store(), head.sequences().chain([0]));
    assert_eq!(after(&wider), AppendError::ForeignCheckpoint { checkpoint: wider });
}

pub(crate) fn a_condition_after_a_cut_page_sees_the_events_that_the_page_left_out(world: &World<'_>) {
    for number in 1..=4 {
        world.append(batch(&[(B, number)]));
    }
    for read in [Read::stream(name(B)), Read::log(Query::stream(name(B)))] {
        let page = world.read(read.limit(events(2)));
        let after = Some(page.scanned_to);
        let error = world.refuse(batch(&[(A, 9)]).fail_if(Query::stream(name(B)), after));
        assert!(matches!(error, AppendError::ConditionFailed { .. }), "{error}");
    }
}

pub(crate) fn no_update_is_lost_when_conditions_start_at_scanned_to(world: &World<'_>) {
    const SEATS: usize = 12;
    const BUYERS: u32 = 4;
    let buy = |buyer: u32| {
        for number in 0.. {
            let page = world.read(Read::log_from(Query::stream(name(A)), Place::Start));
            if page.events.len() == SEATS {
                return;
            }
            let seat = page.events.len();
            let ticket = event(A, buyer * 1_000 + number).with_tags([tag(&format!("seat:{seat}"))]);
            let sent =
                gesta_core::Batch::new([ticket]).fail_if(Query::stream(name(A)), Some(page.scanned_to));
            match world.try_append(sent) {
                Ok(_) | Err(AppendError::ConditionFailed { index: 0, .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    thread::scope(|scope| (0..BUYERS).for_each(|buyer| drop(scope.spawn(move || buy(buyer)))));
    let sold = world.stream(A);
    let seats = sold.iter().map(|event| event.tag("seat").expect("a seat").to_owned()).collect::<Vec<_>>();
    assert_eq!(seats, (0..SEATS).map(|seat| seat.to_string()).collect::<Vec<_>>(), "{:?}", ids(&sold));
}
