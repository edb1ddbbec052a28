//! Attempts, pauses, poison, outages.

use std::num::NonZeroU32;

use super::*;
use crate::group::limits::MEMBERS_MAX;
use crate::group::settings::{BackOff, OnPoison, Order};
use crate::group::status::GroupState;

const RETRY: Then = Then::Retry { after: None };

/// The time until the next delivery, in tenths of a second.
fn pause(bench: &mut Bench) -> u32 {
    for tenths in 0..1_000 {
        let call = bench.call(Take { max: 1, ..Take::new(name("probe"), 1, Duration::ZERO) });
        let taken = bench.taken.remove(&call).unwrap().unwrap();
        if !taken.deliveries.is_empty() {
            bench.step(Input::Unwritten(taken.deliveries.iter().map(|delivery| delivery.id).collect()));
            return tenths;
        }
        bench.advance(SECOND / 10);
    }
    panic!("it is never delivered")
}

#[test]
fn a_failed_event_is_tried_again_after_a_pause_that_doubles() {
    let back_off = BackOff { first: SECOND, max: 5 * SECOND };
    let mut bench = Bench::new(GroupSettings { back_off, attempts_max: None, ..settings() });
    bench.append(&["a"]);
    let pauses = [(); 4].map(|()| {
        bench.end("m1", 1, 0, RETRY);
        pause(&mut bench)
    });
    assert_eq!(pauses, [10, 20, 40, 50]);
    bench.end("m1", 1, 0, Then::Retry { after: Some(3 * SECOND) });
    assert_eq!(pause(&mut bench), 30);
}

#[test]
fn a_release_waits_and_counts_no_attempt() {
    let attempts_max = NonZeroU32::new(2);
    let mut bench = Bench::new(GroupSettings { attempts_max, ..settings() });
    bench.append(&["a"]);
    for expected in [10, 20, 40] {
        bench.end("m1", 1, 0, Then::Release { after: None });
        assert_eq!(pause(&mut bench), expected);
    }
    assert_eq!(shown(&bench.take("m1", 1)), ["a: 0"]);
    assert!(bench.status().parked.is_empty());
}

#[test]
fn the_first_expiry_and_the_first_giving_again_wait_for_nothing() {
    let mut bench = Bench::new(GroupSettings { ack_time: SECOND, attempts_max: None, ..settings() });
    bench.append(&["a"]);
    for (attempt, tenths) in [(1, 0), (2, 20), (3, 40)] {
        let deliveries = bench.take("m1", 1);
        assert_eq!(deliveries[0].attempt, attempt);
        bench.advance(SECOND);
        assert_eq!(pause(&mut bench), tenths, "after expiry {attempt}");
    }
    let mut bench = Bench::new(GroupSettings { attempts_max: None, ..settings() });
    bench.append(&["a"]);
    assert_eq!(shown(&bench.take("m1", 1)), ["a: 0"]);
    assert_eq!(shown(&bench.take("m1", 1)), ["a: 0 (attempt 2)"], "given again at once");
    assert_eq!(shown(&bench.take("m1", 1)), [""; 0], "and then after a pause");
    assert_eq!(pause(&mut bench), 20);
}

#[test]
fn after_a_failure_events_come_alone_until_all_of_the_failed_delivery_have_passed() {
    let mut bench = Bench::new(GroupSettings { ack_time: SECOND, ..settings() });
    bench.append(&["a"; 6]);
    assert_eq!(shown(&bench.take("m1", 3)), ["a: 0 1 2"]);
    bench.advance(SECOND);
    for expected in ["a: 0 (attempt 2)", "a: 1", "a: 2", "a: 3 4 5"] {
        let deliveries = bench.take("m1", 9);
        assert_eq!(shown(&deliveries), [expected]);
        bench.settle("m1", 0, Vec::new(), vec![Settlement::handled(deliveries[0].id)]).unwrap();
    }
}

#[test]
fn poison_is_parked_and_only_its_stream_stands_still() {
    let mut bench = Bench::new(GroupSettings { attempts_max: NonZeroU32::new(2), ..settings() });
    bench.append(&["a", "a", "b"]);
    for _ in 0..2 {
        let deliveries = bench.take("m1", 1);
        let mut settlement = Settlement::then(deliveries[0].id, 0, RETRY);
        settlement.error = Some("it is round".into());
        bench.settle("m1", 0, Vec::new(), vec![settlement]).unwrap();
        bench.take("m2", 1);
        bench.advance(10 * SECOND);
    }
    let status = bench.status();
    let parked = &status.parked[0];
    assert_eq!((parked.stream.as_str(), parked.version.get(), parked.attempts), ("a", 0, 2));
    assert_eq!(parked.error.as_deref(), Some("it is round"));
    assert!(bench.row().apart[&"a".parse::<gesta_core::StreamName>().unwrap()].is_parked);
    assert_eq!(shown(&bench.take("m3", 9)), [""; 0], "`b` is in the hands of `m2`");
    let bench = bench.crashed();
    assert_eq!(bench.status().parked.len(), 1, "a restart keeps it");
}

#[test]
fn a_group_that_stops_on_poison_refuses_calls_until_it_is_resumed() {
    for (on_poison, order) in [(OnPoison::Stop, Order::Stream), (OnPoison::Park, Order::Log)] {
        let attempts_max = NonZeroU32::new(1);
        let mut bench = Bench::new(GroupSettings { attempts_max, on_poison, order, ..settings() });
        bench.append(&["a"]);
        let waiting = bench.call(Take::new(name("m2"), 1, 10 * SECOND));
        let first = bench.taken.remove(&waiting).unwrap().unwrap().deliveries;
        let waiting = bench.call(Take::new(name("m3"), 1, 10 * SECOND));
        bench.settle("m2", 0, Vec::new(), vec![Settlement::then(first[0].id, 0, RETRY)]).unwrap();
        assert!(matches!(bench.taken.remove(&waiting), Some(Err(TakeError::Stopped { .. }))));
        let refused = bench.settle("m1", 1, Vec::new(), Vec::new());
        assert!(matches!(refused, Err(TakeError::Stopped { reason, .. }) if reason.contains("poison")));
        assert!(matches!(bench.status().state, GroupState::Stopped { .. }));
        let mut bench = bench.crashed();
        assert!(bench.settle("m2", 1, Vec::new(), Vec::new()).is_err(), "a restart keeps it stopped");
        bench.change(Change::Resume).unwrap();
        assert_eq!(shown(&bench.take("m2", 1)), ["a: 0"], "and all attempts begin again");
    }
}

#[test]
fn a_member_may_stop_the_group_and_parks_nothing_by_it() {
    let mut bench = Bench::new(settings());
    bench.append(&["a"]);
    let id = bench.take("m1", 1)[0].id;
    let stop = Settlement { error: Some("no such exchange".into()), ..Settlement::then(id, 0, Then::Stop) };
    bench.settle("m1", 0, Vec::new(), vec![stop]).unwrap();
    let GroupState::Stopped { reason } = bench.status().state else { panic!("it is stopped") };
    assert!(reason.contains("m1") && reason.contains("no such exchange"), "{reason}");
    bench.change(Change::Resume).unwrap();
    assert_eq!(shown(&bench.take("m1", 1)), ["a: 0"]);
}

#[test]
fn while_many_streams_fail_no_attempt_counts() {
    let attempts_max = NonZeroU32::new(2);
    let bounds = Bounds { outage_streams: 3, ..Bounds::default() };
    let mut bench = Bench::with(GroupSettings { attempts_max, ..settings() }, bounds, memory(1, 1));
    bench.append(&["a", "b", "c", "d", "e"]);
    for round in 0..4 {
        let deliveries = bench.take("m1", 9);
        assert_eq!(deliveries.len(), 5, "nothing is parked in round {round}");
        let retry = |delivery: &Delivery| Settlement::then(delivery.id, 0, RETRY);
        bench.settle("m1", 0, Vec::new(), deliveries.iter().map(retry).collect()).unwrap();
        assert_eq!(bench.status().state, GroupState::Outage);
        bench.advance(60 * SECOND);
    }
    let deliveries = bench.take("m1", 1);
    bench.settle("m1", 0, Vec::new(), vec![Settlement::handled(deliveries[0].id)]).unwrap();
    assert_eq!(bench.status().state, GroupState::Running, "one success ends it");
}

#[test]
fn more_parked_streams_than_there_is_room_for_stop_the_group() {
    let bounds = Bounds { parked_max: 1, ..Bounds::default() };
    let mut bench = Bench::with(settings(), bounds, memory(1, 1));
    bench.append(&["a", "b"]);
    bench.end("m1", 1, 0, Then::Park);
    assert_eq!(bench.status().state, GroupState::Running);
    bench.end("m1", 1, 0, Then::Park);
    let GroupState::Stopped { reason } = bench.status().state else { panic!("it is stopped") };
    assert!(reason.contains("no room to park stream `b`"), "{reason}");
    assert_eq!(bench.status().parked.len(), 1);
}

#[test]
fn a_late_settlement_counts_until_its_events_are_dealt_again() {
    let mut bench = Bench::new(GroupSettings { ack_time: SECOND, ..settings() });
    bench.append(&["a", "b"]);
    let first = bench.take("m1", 9);
    bench.advance(SECOND);
    let settle = |bench: &mut Bench, id| {
        bench.settle("m1", 0, Vec::new(), vec![Settlement::handled(id)]).unwrap().refused.len()
    };
    assert_eq!(settle(&mut bench, first[0].id), 0);
    assert_eq!(shown(&bench.take("m2", 9)), ["b: 0 (attempt 2)"]);
    assert_eq!(settle(&mut bench, first[1].id), 1);
    assert_eq!(bench.status().in_flight_events, 1);
}

#[test]
fn a_skip_passes_one_event_for_good() {
    let mut bench = Bench::new(settings());
    bench.append(&["a", "a", "b"]);
    bench.end("m1", 2, 0, Then::Skip { reason: "a duplicate".into() });
    assert_eq!(bench.status().settled.skip, 1);
    let mut bench = bench.crashed();
    assert_eq!(shown(&bench.take("m1", 9)), ["a: 1", "b: 0"]);
}

#[test]
fn without_room_for_an_entry_a_skip_is_a_release() {
    let bounds = Bounds { apart_max: 0, ..Bounds::default() };
    let mut bench = Bench::with(settings(), bounds, memory(1, 1));
    bench.append(&["a"]);
    bench.end("m1", 1, 0, Then::Skip { reason: "a duplicate".into() });
    assert_eq!((bench.status().settled.skip, bench.status().settled.release), (0, 1));
    assert_eq!(pause(&mut bench), 10);
}

#[test]
fn members_that_are_long_dead_leave_their_places() {
    let mut bench = Bench::new(settings());
    let call =
        |bench: &mut Bench, number: usize| bench.settle(&format!("m{number}"), 1, Vec::new(), Vec::new());
    (0..MEMBERS_MAX).for_each(|number| assert!(call(&mut bench, number).is_ok()));
    assert!(matches!(call(&mut bench, MEMBERS_MAX), Err(TakeError::Unavailable { .. })));
    // Nothing is due in an idle group, so nothing ticks it.
    bench.elapsed += settings().ack_time + SECOND;
    assert!(call(&mut bench, MEMBERS_MAX).is_ok());
}

#[test]
fn a_change_is_refused_while_the_row_cannot_be_read() {
    let mut bench = Bench::new(settings());
    bench.fails = Some(KeyValueError::Unavailable { reason: "away".into() });
    let config = Config { name: "g".parse().unwrap(), boot_epoch: 0, bounds: Bounds::default() };
    let (dealer, out) = Dealer::new(config, bench.elapsed);
    bench.dealer = dealer;
    bench.carry_out(out);
    let refused = bench.change(Change::Remove);
    assert!(matches!(refused, Err(ChangeError::Unavailable { .. })), "{refused:?}");
    bench.fails = None;
    bench.advance(SECOND);
    bench.pause();
}
