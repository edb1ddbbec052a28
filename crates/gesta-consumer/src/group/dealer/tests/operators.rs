//! Pause, replay, skip, settings, reset.

use super::*;
use crate::group::dealer::MoveTo;
use crate::group::groups::Reset;
use crate::group::status::GroupState;
use gesta_core::{Position, StreamName, Version};

fn stream(text: &str) -> StreamName {
    text.parse().unwrap()
}

fn kinds(names: &[&str]) -> Query {
    let item = |name: &&str| gesta_core::Item { types: vec![name.parse().unwrap()], ..Default::default() };
    Query::Any(names.iter().map(item).collect())
}

impl Bench {
    fn reset(&mut self, to: Checkpoint) -> Result<Changed, ChangeError> {
        let head = head(&self.store);
        self.change(Change::Reset(MoveTo { to, head, at: Timestamp::from_nanos(0) }))
    }

    fn put_settings(&mut self, query: Query, expect: u64) -> Result<SettingsVersion, PutError> {
        self.calls += 1;
        let call = self.calls;
        let settings = Box::new(GroupSettings::new(query));
        let (expect, head) = (SettingsVersion::new(expect), head(&self.store));
        self.step(Input::Change(call, Change::Settings { settings, expect, head }));
        self.settings_put.remove(&call).expect("the change was answered")
    }

    fn skip(&mut self, name: &str, version: u64, sequence: u64) -> Result<Changed, ChangeError> {
        let position = Position { partition: 0, sequence };
        self.change(Change::Skip { stream: stream(name), through: Version::new(version), position })
    }
}

#[test]
fn a_paused_group_lets_calls_wait_and_takes_settlements_also_after_a_restart() {
    let mut bench = Bench::new(settings());
    bench.append(&["a", "b"]);
    let id = bench.take("m1", 1)[0].id;
    bench.pause();
    let waiting = bench.call(Take::new(name("m2"), 1, 10 * SECOND));
    assert_eq!(bench.settle("m1", 1, Vec::new(), vec![Settlement::handled(id)]).unwrap(), Taken::default());
    assert_eq!(bench.status().settled.handled, 1);
    assert!(bench.taken.is_empty());
    bench.change(Change::Resume).unwrap();
    assert_eq!(shown(&bench.taken.remove(&waiting).unwrap().unwrap().deliveries), ["b: 0"]);
    bench.pause();
    let mut bench = bench.crashed();
    assert!(matches!(bench.status().state, GroupState::Paused { by, .. } if by == "ops"));
    assert_eq!(shown(&bench.take("m1", 1)), [""; 0]);
}

#[test]
fn a_replayed_stream_goes_on_from_its_entry_also_after_a_restart() {
    let mut bench = Bench::new(settings());
    bench.append(&["a", "a", "b"]);
    bench.end("m1", 2, 1, Then::Park);
    assert_eq!(
        bench.change(Change::Replay(vec![stream("b")])),
        Err(ChangeError::NotParked { group: "g".parse().unwrap(), stream: stream("b") })
    );
    assert_eq!(bench.change(Change::Replay(Vec::new())), Ok(Changed::Replayed(1)));
    let mut bench = bench.crashed();
    assert_eq!(shown(&bench.take("m1", 9)), ["a: 1", "b: 0"]);
    assert_eq!(bench.change(Change::Replay(Vec::new())), Ok(Changed::Replayed(0)));
}

#[test]
fn a_skip_of_a_parked_stream_is_durable_before_it_is_answered() {
    let mut bench = Bench::new(settings());
    bench.append(&["a"; 5]);
    bench.end("m1", 1, 0, Then::Park);
    assert!(matches!(bench.skip("a", 9, 10), Err(ChangeError::NotReached { .. })));
    assert!(matches!(bench.skip("b", 0, 1), Err(ChangeError::NotParked { .. })));
    bench.skip("a", 2, 3).unwrap();
    assert_eq!(bench.row().apart[&stream("a")].sequence, 4);
    let mut bench = bench.crashed();
    let deliveries = bench.take("m1", 9);
    assert_eq!(shown(&deliveries), ["a: 3"], "the first after a failure comes alone");
    assert!(matches!(bench.skip("a", 3, 4), Err(ChangeError::Busy { .. })), "it is in flight");
}

#[test]
fn an_added_item_selects_what_is_appended_from_then_on() {
    let mut bench = Bench::new(GroupSettings::new(kinds(&["x"])));
    bench.append(&["s", "s"]);
    assert_eq!(shown(&bench.take("m1", 9)), [""; 0]);
    assert!(matches!(bench.put_settings(kinds(&["x", "a"]), 7), Err(PutError::Changed { .. })));
    assert_eq!(bench.put_settings(kinds(&["x", "a"]), 1), Ok(SettingsVersion::new(2)));
    bench.append(&["s"]);
    assert_eq!(shown(&bench.take("m1", 9)), ["s: 2"]);
}

#[test]
fn a_host_only_adds_items_and_brings_its_other_settings() {
    let mut bench = Bench::new(GroupSettings::new(kinds(&["x"])));
    let settings = GroupSettings { ack_time: 7 * SECOND, ..GroupSettings::new(kinds(&["a"])) };
    let host = |bench: &mut Bench, is_alone| {
        bench.calls += 1;
        let call = bench.calls;
        let (settings, head) = (Box::new(settings.clone()), head(&bench.store));
        bench.step(Input::Change(call, Change::Host { settings, head, is_alone }));
        bench.settings_put.remove(&call).unwrap().unwrap().get()
    };
    assert_eq!(host(&mut bench, false), 2);
    let shown = |bench: &Bench| (bench.status().settings.query, bench.status().settings.ack_time);
    assert_eq!(shown(&bench), (kinds(&["x"]), 7 * SECOND), "an older dealer may still deal beyond the head");
    assert_eq!(host(&mut bench, true), 3);
    assert_eq!(shown(&bench), (kinds(&["x", "a"]), 7 * SECOND));
    assert_eq!(host(&mut bench, true), 3, "nothing changed");
}

#[test]
fn a_query_is_narrowed_only_while_the_group_is_paused_and_quiet() {
    let mut bench = Bench::new(GroupSettings::new(kinds(&["a", "x"])));
    bench.append(&["s"]);
    let narrow =
        |bench: &mut Bench| bench.change(Change::Narrow(Box::new(GroupSettings::new(kinds(&["a"])))));
    assert!(matches!(narrow(&mut bench), Err(ChangeError::Busy { .. })), "it is not paused");
    let id = bench.take("m1", 1)[0].id;
    bench.pause();
    assert!(matches!(narrow(&mut bench), Err(ChangeError::Busy { .. })), "an event is in flight");
    bench.settle("m1", 0, Vec::new(), vec![Settlement::handled(id)]).unwrap();
    bench.append(&["s"]);
    assert_eq!(narrow(&mut bench), Ok(Changed::Narrowed(SettingsVersion::new(2))));
    assert_eq!(bench.row().settings.query, kinds(&["a"]));
    bench.change(Change::Resume).unwrap();
    assert_eq!(shown(&bench.take("m1", 1)), ["s: 1"]);
}

#[test]
fn a_reset_needs_a_quiet_group_makes_ids_stale_and_unparks() {
    let mut bench = Bench::new(settings());
    bench.append(&["a", "b", "c"]);
    bench.end("m1", 1, 0, Then::Park);
    let id = bench.take("m1", 1)[0].id;
    let start = start_of(&bench.store);
    assert!(matches!(bench.reset(start.clone()), Err(ChangeError::Busy { .. })), "it is not paused");
    bench.pause();
    assert!(matches!(bench.reset(start.clone()), Err(ChangeError::Busy { .. })), "an event is in flight");
    bench.settle("m1", 0, Vec::new(), vec![Settlement::then(id, 0, Then::Release { after: None })]).unwrap();
    let reset = Reset { at: start.clone(), were_parked: 1 };
    assert_eq!(bench.reset(start), Ok(Changed::Reset(reset)));
    assert!(matches!(bench.status().state, GroupState::Paused { .. }), "it goes on when targets are ready");
    assert_eq!(bench.settle("m1", 0, Vec::new(), vec![Settlement::handled(id)]).unwrap().refused.len(), 1);
    bench.change(Change::Resume).unwrap();
    assert_eq!(shown(&bench.take("m1", 9)), ["a: 0", "b: 0", "c: 0"]);
}

#[test]
fn a_reset_whose_row_cannot_be_put_changes_nothing() {
    let mut bench = Bench::new(settings());
    bench.append(&["a"]);
    bench.end("m1", 1, 0, Then::Park);
    bench.pause();
    bench.fails = Some(KeyValueError::Unavailable { reason: "away".into() });
    bench.calls += 1;
    let (call, start, head) = (bench.calls, start_of(&bench.store), head(&bench.store));
    let reset = MoveTo { to: start, head, at: Timestamp::from_nanos(0) };
    bench.step(Input::Change(call, Change::Reset(reset)));
    bench.advance(SECOND);
    assert!(bench.changed.is_empty());
    bench.fails = None;
    bench.advance(10 * SECOND);
    assert!(matches!(bench.changed.remove(&call), Some(Err(ChangeError::Unavailable { .. }))));
    assert_eq!(bench.status().parked.len(), 1);
}

#[test]
fn a_row_of_another_store_stops_the_group_until_it_is_reset() {
    let row = Row::new(settings(), &start_of(&memory(1, 9)));
    let mut bench = Bench::from_row(&row, Bounds::default(), memory(1, 1));
    bench.append(&["a"]);
    let GroupState::Stopped { reason } = bench.status().state else { panic!("it is stopped") };
    assert!(reason.contains("belongs to another store"), "{reason}");
    assert!(matches!(bench.put_settings(kinds(&["a"]), 1), Err(PutError::Busy { .. })));
    let start = start_of(&bench.store);
    bench.reset(start).unwrap();
    bench.change(Change::Resume).unwrap();
    assert_eq!(shown(&bench.take("m1", 9)), ["a: 0"]);
}
