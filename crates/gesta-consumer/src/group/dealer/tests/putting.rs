//! When progress is put, and what happens while it cannot be.

use super::*;
use crate::group::status::GroupState;

fn away() -> KeyValueError {
    KeyValueError::Unavailable { reason: "away".into() }
}

fn handle(bench: &mut Bench, max: u32) {
    let deliveries = bench.take("m1", max);
    let settle = deliveries.iter().map(|delivery| Settlement::handled(delivery.id)).collect();
    bench.settle("m1", 0, Vec::new(), settle).unwrap();
}

#[test]
fn an_acknowledgement_is_put_after_100_ms_and_a_thousand_at_once() {
    let mut bench = Bench::new(settings());
    bench.append(&["a"; 1_500]);
    let put = bench.row().put;
    handle(&mut bench, 1);
    bench.advance(Duration::from_millis(99));
    assert_eq!(bench.row().put, put);
    bench.advance(Duration::from_millis(1));
    assert_eq!(
        (bench.row().put, bench.row().behind.values().copied().collect::<Vec<_>>()),
        (put + 1, vec![1])
    );
    for _ in 0..40 {
        handle(&mut bench, 1_000);
    }
    assert_eq!(bench.row().put, put + 2, "1,000 events are put at once");
}

#[test]
fn the_place_of_the_scan_alone_is_put_every_5_s() {
    let mut bench = Bench::new(GroupSettings::new(Query::types(["b".parse().unwrap()])));
    bench.advance(20 * SECOND);
    let put = bench.row().put;
    assert_eq!(put, 1, "an idle group puts nothing");
    let place = |bench: &Bench| (bench.row().put, bench.row().scanned.sequence(0));
    bench.append(&["a"]);
    assert_eq!(place(&bench), (2, 1));
    bench.append(&["a"]);
    bench.advance(4 * SECOND);
    assert_eq!(place(&bench), (2, 1));
    bench.advance(SECOND);
    assert_eq!(place(&bench), (3, 2));
}

#[test]
fn a_group_whose_progress_cannot_be_put_delivers_nothing_after_5_s() {
    let mut bench = Bench::new(settings());
    bench.append(&["a", "b", "c"]);
    bench.fails = Some(away());
    handle(&mut bench, 1);
    bench.calls += 1;
    let call = bench.calls;
    bench.step(Input::Change(call, Change::Pause { by: "ops".into(), at: Timestamp::from_nanos(0) }));
    bench.step(Input::Change(call + 1, Change::Resume));
    bench.calls += 1;
    bench.advance(4 * SECOND);
    assert_eq!(shown(&bench.take("m2", 1)), ["b: 0"]);
    bench.advance(2 * SECOND);
    assert_eq!((shown(&bench.take("m3", 1)), bench.status().state), (vec![], GroupState::Unsaved));
    assert!(matches!(bench.changed.remove(&call), Some(Err(ChangeError::InDoubt { .. }))));
    bench.fails = None;
    bench.advance(6 * SECOND);
    assert_eq!(
        (shown(&bench.take("m3", 1)), bench.status().state),
        (vec!["c: 0".to_owned()], GroupState::Running)
    );
}

#[test]
fn a_dealer_whose_row_another_one_took_over_ends() {
    let mut bench = Bench::new(settings());
    bench.append(&["a"]);
    let id = bench.take("m1", 1)[0].id;
    let mut row = bench.row();
    row.epoch += 1;
    bench.revision += 1;
    bench.row = Some((row.encode(), bench.revision));
    let waiting = bench.call(Take::new(name("m2"), 1, 10 * SECOND));
    bench.settle("m1", 0, Vec::new(), vec![Settlement::handled(id)]).unwrap();
    bench.advance(SECOND);
    assert!(bench.dealer.has_ended());
    assert!(matches!(bench.taken.remove(&waiting), Some(Err(TakeError::Unavailable { .. }))));
    assert!(bench.settle("m1", 1, Vec::new(), Vec::new()).is_err());
    assert_eq!(bench.row(), row);
}

#[test]
fn a_stop_puts_once_more_and_refuses_what_follows() {
    let mut bench = Bench::new(settings());
    bench.append(&["a"]);
    handle(&mut bench, 1);
    assert!(bench.row().is_running);
    let waiting = bench.call(Take::new(name("m2"), 1, 10 * SECOND));
    bench.step(Input::Stop);
    assert!(bench.dealer.has_ended());
    assert_eq!(bench.taken.remove(&waiting), Some(Err(TakeError::Closed)));
    let row = bench.row();
    assert!(!row.is_running && row.behind.is_empty() && row.scanned.sequence(0) == 1);
}

#[test]
fn no_id_is_given_twice_after_a_restart_or_when_the_group_is_made_again() {
    let mut bench = Bench::new(settings());
    bench.append(&["a"]);
    let first = bench.take("m1", 1)[0].id;
    let mut bench = bench.crashed();
    let second = bench.take("m1", 1)[0].id;
    bench.change(Change::Remove).unwrap();
    assert!(bench.dealer.has_ended() && bench.row.is_none());
    bench.revision += 1;
    let row = Row::new(settings(), &start_of(&bench.store));
    let config = Config { name: "g".parse().unwrap(), boot_epoch: 0, bounds: Bounds::default() };
    let (dealer, out) = Dealer::new(config, SECOND);
    bench.row = Some((row.encode(), bench.revision));
    bench.dealer = dealer;
    bench.carry_out(out);
    let third = bench.take("m1", 1)[0].id;
    assert!(first != second && second != third && first != third);
}

#[test]
fn a_skip_after_the_row_without_its_entry_was_made_keeps_the_entry() {
    // Both streams are in one lane.
    let (skipped, other) = ("near-{x}1", "near-{x}2");
    let mut bench = Bench::new(settings());
    bench.append(&[skipped]);
    bench.end("m1", 1, 0, Then::Retry { after: Some(SECOND) });
    bench.advance(2 * SECOND);
    bench.holds_puts = true;
    handle(&mut bench, 1);
    bench.advance(SECOND / 2);
    let made = Row::decode(&bench.held_put.as_ref().unwrap().0).unwrap();
    assert!(made.apart.is_empty(), "nothing of the stream is unfinished");
    bench.append(&[other, skipped, skipped]);
    let deliveries = bench.take("m2", 9);
    assert_eq!(shown(&deliveries), ["near-{x}2: 0", "near-{x}1: 1 2"]);
    let skip = Then::Skip { reason: "a duplicate".into() };
    let settle = vec![Settlement::then(deliveries[1].id, 0, skip)];
    bench.settle("m2", 0, vec![deliveries[0].id], settle).unwrap();
    bench.release_puts();
    let row = bench.row();
    let name = skipped.parse::<gesta_core::StreamName>().unwrap();
    assert_eq!((row.apart[&name].sequence, row.behind.values().copied().collect::<Vec<_>>()), (4, vec![1]));
    let mut bench = bench.crashed();
    assert_eq!(shown(&bench.take("m1", 9)), ["near-{x}1: 2", "near-{x}2: 0"]);
}
