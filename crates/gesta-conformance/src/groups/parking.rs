//! Laws of parked streams: shown, replayed, skipped.

use std::time::Instant;

use gesta_consumer::group::{ChangeError, Held, Then};
use gesta_core::{StreamName, Version};

use super::{GROUP, Member, ONE, PATIENCE, TWO, World, count, group, pause, settings};
use crate::given::{name, versions};

/// Parks the first stream at its event 1 of 4.
fn park(world: &World<'_>, member: &mut Member<'_>) {
    world.append(&[ONE, ONE, ONE, ONE]);
    let delivery = member.take_all().remove(0);
    member.fails_after(&delivery, 1, Then::Park);
}

pub(crate) fn a_parked_stream_is_not_delivered_until_it_is_replayed(world: &World<'_>) {
    world.create(settings());
    let mut member = world.member("m");
    park(world, &mut member);
    world.append(&[ONE, TWO]);
    world.pass(pause());
    let others = member.take_all();
    assert_eq!(others.iter().map(|delivery| delivery.events[0].stream()).collect::<Vec<_>>(), [TWO]);
    assert_eq!(world.replay(&[ONE]), Ok(1));
    assert_eq!(world.parked(), []);
    let again = member.take_one();
    assert_eq!((versions(&again.events), again.attempt), (vec![1], 1), "its attempts are cleared");
}

pub(crate) fn a_parked_stream_is_shown_with_its_error_and_the_events_it_holds_back(world: &World<'_>) {
    world.create(settings());
    let mut member = world.member("m");
    park(world, &mut member);
    let held = |stream: &str| {
        let stream = name(stream);
        let held = world.within("held", |groups| {
            Box::pin(async move { groups.held(group(GROUP), stream, count(2)).await })
        });
        held.expect("an answer")
    };
    // Who parked it, and when, is kept beside the progress, a moment later.
    let begin = Instant::now();
    let Held { parked, events } = loop {
        let Some(held) = held(ONE) else { panic!("the stream is parked") };
        if held.parked.since.is_some() || begin.elapsed() > PATIENCE {
            break held;
        }
        std::thread::yield_now();
    };
    assert_eq!((parked.stream.as_str(), parked.version), (ONE, Version::new(1)));
    assert_eq!(parked.error.as_deref(), Some("it failed"));
    assert!(parked.by.is_some() && parked.since.is_some(), "{parked:?}");
    assert_eq!(versions(&events), [1, 2], "at most as many as asked for");
    assert_eq!(held(TWO), None);
    let [listed] = &world.parked()[..] else { panic!("one parked stream: {:?}", world.parked()) };
    assert_eq!(listed, &parked);
}

pub(crate) fn parked_streams_are_listed_page_by_page_by_name(world: &World<'_>) {
    world.create(settings());
    let mut member = world.member("m");
    let streams = (0..5).map(|number| format!("order-{number}{{k}}")).collect::<Vec<_>>();
    world.append(&streams.iter().map(String::as_str).collect::<Vec<_>>());
    for delivery in member.take_all() {
        member.fails(&delivery, Then::Park);
    }
    let page = |after: Option<StreamName>| {
        let page = world.within("parked", |groups| {
            Box::pin(async move { groups.parked(group(GROUP), after, count(2)).await })
        });
        page.expect("a page").into_iter().map(|parked| parked.stream).collect::<Vec<_>>()
    };
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let names = page(after);
        let Some(last) = names.last() else { break };
        assert!(names.len() <= 2);
        after = Some(last.clone());
        all.extend(names.iter().map(ToString::to_string));
    }
    assert_eq!(all, streams);
}

pub(crate) fn a_replayed_event_that_fails_again_is_parked_again(world: &World<'_>) {
    world.create(settings());
    let mut member = world.member("m");
    park(world, &mut member);
    assert_eq!(world.replay(&[]), Ok(1), "none means all");
    let again = member.take_one();
    assert_eq!(versions(&again.events), [1], "it comes alone");
    member.fails(&again, Then::Park);
    assert_eq!(world.parked().len(), 1);
    assert_eq!(member.take_all(), []);
}

pub(crate) fn a_replay_of_a_stream_that_is_not_parked_replays_nothing(world: &World<'_>) {
    world.create(settings());
    park(world, &mut world.member("m"));
    assert!(matches!(world.replay(&[ONE, TWO]), Err(ChangeError::NotParked { .. })));
    assert_eq!(world.parked().len(), 1);
    assert_eq!((world.replay(&[]), world.replay(&[])), (Ok(1), Ok(0)));
}

pub(crate) fn an_operator_skips_parked_events_up_to_a_version_for_good(world: &World<'_>) {
    world.create(settings());
    world.append(&[TWO]);
    assert!(matches!(world.skip(TWO, 0), Err(ChangeError::NotParked { .. })));
    world.member("m").handle_all();
    park(world, &mut world.member("m"));
    assert!(matches!(world.skip(ONE, 9), Err(ChangeError::NotReached { .. })));
    assert_eq!(world.skip(ONE, 2), Ok(()));
    world.crash();
    assert_eq!(world.parked(), []);
    let seen = versions(&world.member("m").handle_all());
    assert!(!seen.contains(&1) && !seen.contains(&2) && seen.contains(&3), "{seen:?}");
}
