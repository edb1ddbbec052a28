//! Which events go to whom, and in what pieces.

use std::num::NonZeroU32;

use super::*;
use crate::group::settings::Order;
use crate::group::take::RefusedWhy;

#[test]
fn a_stream_has_one_delivery_in_flight_and_others_go_on() {
    let mut bench = Bench::new(GroupSettings { run_max: NonZeroU32::new(2).unwrap(), ..settings() });
    bench.append(&["a", "b", "a", "a", "b"]);
    let first = bench.take("m1", 100);
    assert_eq!(shown(&first), ["a: 0 1", "b: 0 1"]);
    assert_eq!(shown(&bench.take("m2", 100)), [""; 0]);
    bench.settle("m1", 0, vec![first[1].id], vec![Settlement::handled(first[0].id)]).unwrap();
    assert_eq!(shown(&bench.take("m2", 100)), ["a: 2"]);
}

#[test]
fn an_answer_has_at_most_the_events_that_the_member_asked_for() {
    let mut bench = Bench::new(settings());
    bench.append(&["a", "a", "a", "b", "b"]);
    assert_eq!(shown(&bench.take("m1", 4)), ["a: 0 1 2", "b: 0"]);
}

#[test]
fn the_group_has_at_most_so_much_in_flight_as_its_settings_say() {
    let mut bench = Bench::new(GroupSettings { in_flight_max: NonZeroU32::new(3).unwrap(), ..settings() });
    bench.append(&["a", "a", "b", "b"]);
    let first = bench.take("m1", 100);
    assert_eq!(shown(&first), ["a: 0 1", "b: 0"]);
    assert_eq!(shown(&bench.take("m2", 100)), [""; 0]);
    bench.settle("m1", 0, vec![first[0].id], vec![Settlement::handled(first[1].id)]).unwrap();
    assert_eq!(shown(&bench.take("m2", 100)), ["b: 1"]);
}

#[test]
fn an_answer_has_4_mib_or_one_event() {
    let bounds = Bounds { reply_bytes_max: 1_000, ..Bounds::default() };
    let mut bench = Bench::with(settings(), bounds, memory(1, 1));
    bench.append_bytes(&["a", "a", "a"], 400);
    bench.append_bytes(&["b"], 5_000);
    assert_eq!(shown(&bench.take("m1", 100)), ["a: 0 1"]);
    assert_eq!(shown(&bench.take("m2", 100)), ["b: 0"]);
}

#[test]
fn a_long_stream_leaves_room_for_the_others_and_is_read_on_from_the_log() {
    let bounds = Bounds { stream_events_max: 4, window_events_max: 10, ..Bounds::default() };
    let mut bench = Bench::with(settings(), bounds, memory(1, 1));
    bench.append(&["a"; 50]);
    bench.append(&["b", "c"]);
    assert_eq!(shown(&bench.take("m1", 100)), ["a: 0 1 2 3", "b: 0", "c: 0"]);
    let mut seen = 4;
    let mut settle = Vec::new();
    for id in bench.status().members.iter().map(|member| member.name.to_string()).collect::<Vec<_>>() {
        assert_eq!(id, "m1");
    }
    let mut held = Vec::new();
    // Without `holds`, what was not settled is given again: the events before were lost on their way.
    while seen < 50 {
        let taken = bench.settle("m1", 100, std::mem::take(&mut held), std::mem::take(&mut settle)).unwrap();
        for delivery in &taken.deliveries {
            settle.push(Settlement::handled(delivery.id));
            seen = seen.max(usize::try_from(delivery.events.last().unwrap().version().get()).unwrap() + 1);
        }
        assert!(bench.status().window_events <= 10);
    }
    bench.settle("m1", 0, Vec::new(), settle).unwrap();
    assert_eq!((seen, bench.status().finished), (50, head(&bench.store)));
}

#[test]
fn a_call_waits_for_events_and_a_newer_one_ends_it() {
    let mut bench = Bench::new(settings());
    let wait = |bench: &mut Bench| bench.call(Take::new(name("m1"), 5, 10 * SECOND));
    let older = wait(&mut bench);
    assert!(bench.taken.is_empty());
    let newer = wait(&mut bench);
    assert_eq!(bench.taken.remove(&older), Some(Ok(Taken::default())));
    bench.append(&["a"]);
    let taken = bench.taken.remove(&newer).unwrap().unwrap();
    assert_eq!(shown(&taken.deliveries), ["a: 0"]);
    let last = wait(&mut bench);
    bench.advance(10 * SECOND);
    assert_eq!(shown(&bench.taken.remove(&last).unwrap().unwrap().deliveries), ["a: 0 (attempt 2)"]);
}

#[test]
fn a_call_for_no_events_answers_at_once_and_renews_what_it_lists_or_all() {
    let mut bench = Bench::new(GroupSettings { ack_time: 10 * SECOND, ..settings() });
    bench.append(&["a", "b"]);
    let ids = bench.take("m1", 9).iter().map(|delivery| delivery.id).collect::<Vec<_>>();
    for holds in [Some(ids.clone()), None, None] {
        bench.advance(9 * SECOND);
        let call = bench.call(Take { holds, ..Take::new(name("m1"), 0, 10 * SECOND) });
        assert_eq!(bench.taken.remove(&call), Some(Ok(Taken::default())));
        assert_eq!(bench.status().in_flight_events, 2);
    }
    bench.advance(11 * SECOND);
    assert_eq!((bench.status().in_flight_events, bench.status().settled.expired), (0, 2));
    let refused = bench.settle("m1", 0, ids.clone(), Vec::new()).unwrap().refused;
    assert_eq!(refused.iter().map(|refused| refused.id).collect::<Vec<_>>(), ids);
}

#[test]
fn what_a_member_does_not_list_was_lost_and_is_given_again_under_a_new_id() {
    let mut bench = Bench::new(settings());
    bench.append(&["a", "a", "b"]);
    let first = bench.take("m1", 9);
    let taken = bench.settle("m1", 9, vec![first[1].id], Vec::new()).unwrap();
    assert_eq!(shown(&taken.deliveries), ["a: 0 (attempt 2)"], "alone, to tell poison from its neighbours");
    let old = bench.settle("m1", 0, Vec::new(), vec![Settlement::handled(first[0].id)]).unwrap();
    assert_eq!(old.refused[0].why, RefusedWhy::Stale);
}

#[test]
fn a_reply_that_could_not_be_written_counts_no_attempt() {
    let mut bench = Bench::new(settings());
    bench.append(&["a", "a"]);
    let ids = bench.take("m1", 9).iter().map(|delivery| delivery.id).collect();
    bench.step(Input::Unwritten(ids));
    assert_eq!(shown(&bench.take("m2", 9)), ["a: 0 1"]);
    assert_eq!(bench.status().settled.unwritten, 1);
}

#[test]
fn a_call_that_nobody_waits_for_gets_nothing() {
    let mut bench = Bench::new(settings());
    let call = bench.call(Take::new(name("m1"), 5, 10 * SECOND));
    bench.step(Input::Cancel(call));
    bench.append(&["a"]);
    assert_eq!((bench.taken.len(), bench.status().in_flight_events), (0, 0));
}

#[test]
fn only_the_member_that_has_a_delivery_may_settle_it_and_not_beyond_its_end() {
    let mut bench = Bench::new(settings());
    bench.append(&["a", "a"]);
    let id = bench.take("m1", 9)[0].id;
    let stolen = bench.settle("m2", 0, Vec::new(), vec![Settlement::handled(id)]).unwrap();
    assert_eq!(stolen.refused[0].why, RefusedWhy::Stale);
    let beyond = Settlement { handled: Some(3), ..Settlement::handled(id) };
    let refused = bench.settle("m1", 0, Vec::new(), vec![beyond]).unwrap().refused;
    assert_eq!((refused[0].why, bench.status().in_flight_events), (RefusedWhy::TooMany, 2));
    let some = Settlement { handled: Some(1), ..Settlement::handled(id) };
    assert_eq!(bench.settle("m1", 0, Vec::new(), vec![some]).unwrap(), Taken::default());
    assert_eq!(shown(&bench.take("m2", 9)), ["a: 1"], "the rest is delivered again at once");
}

#[test]
fn in_the_order_of_the_log_one_member_gets_everything_of_a_partition_while_it_lives() {
    let mut bench = Bench::new(GroupSettings { order: Order::Log, ..settings() });
    bench.append(&["a", "b", "a"]);
    let first = bench.take("m1", 2);
    assert_eq!(first[0].events.iter().map(|event| event.stream()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(bench.take("m2", 9).len(), 0, "one delivery is in flight");
    bench.settle("m1", 0, Vec::new(), vec![Settlement::handled(first[0].id)]).unwrap();
    assert_eq!(bench.take("m2", 9).len(), 0, "the next is for `m1`");
    let standby = bench.call(Take::new(name("m2"), 9, 60 * SECOND));
    bench.advance(29 * SECOND);
    assert!(bench.taken.is_empty());
    bench.advance(2 * SECOND);
    let taken = bench.taken.remove(&standby).unwrap().unwrap();
    assert_eq!(shown(&taken.deliveries), ["a: 1"], "`m1` has been away for longer than `ack_time`");
}

#[test]
fn a_stall_of_the_dealer_expires_nothing() {
    let mut bench = Bench::new(GroupSettings { ack_time: 10 * SECOND, ..settings() });
    bench.append(&["a"]);
    let id = bench.take("m1", 1)[0].id;
    bench.advance(8 * SECOND);
    bench.elapsed += 100 * SECOND;
    bench.step(Input::Tick);
    assert_eq!(bench.settle("m1", 0, Vec::new(), vec![Settlement::handled(id)]).unwrap(), Taken::default());
    assert_eq!(bench.status().settled.expired, 0);
}
