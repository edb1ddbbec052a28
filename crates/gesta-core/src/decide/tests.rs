//! The order of the checks, and which events an answer speaks of.

use std::collections::HashMap;

use bytes::Bytes;

use super::*;
use crate::batch::Expected;
use crate::checkpoint::StoreId;
use crate::query::Query;
use crate::time::Timestamp;

/// Facts as given. Every stream has the same head, every condition the same newest match.
#[derive(Default)]
struct Known {
    command: Option<CommandRecord<'static>>,
    events: HashMap<EventId, Placed>,
    head: Option<Placed>,
    newest_match: Option<u64>,
    is_ahead: bool,
}

impl Facts for Known {
    fn command(&self, _: &CommandKey) -> Option<CommandRecord<'_>> {
        self.command.clone()
    }

    fn event(&self, _: usize, _: &StreamName, id: EventId) -> Option<Placed> {
        self.events.get(&id).copied()
    }

    fn batch_end(&self, sequence: u64) -> u64 {
        sequence + 5
    }

    fn head(&self, _: usize, _: &StreamName) -> Option<Placed> {
        self.head
    }

    fn expected_event(&self, _: usize, _: &StreamName, id: EventId) -> Option<Placed> {
        self.events.get(&id).copied()
    }

    fn check_place(&self, _: usize, after: &Checkpoint) -> Result<(), AppendError> {
        let checkpoint = after.clone();
        let head = Checkpoint::start(after.store(), 1);
        if self.is_ahead { Err(AppendError::CheckpointAhead { checkpoint, head }) } else { Ok(()) }
    }

    fn newest_match(&self, _: usize, _: &Condition, _: u64) -> Option<u64> {
        self.newest_match
    }
}

fn stream() -> StreamName {
    "a-1".parse().unwrap()
}

fn placed(version: u64, sequence: u64) -> Placed {
    Placed { version: Version::new(version), position: Position { partition: 0, sequence } }
}

fn batch(ids: &[u128]) -> Batch {
    let event = |id: &u128| {
        let (id, time) = (EventId::from_u128(*id), Timestamp::from_nanos(0));
        NewEvent::json(id, stream(), "a.b".parse().unwrap(), time, "{}")
    };
    Batch::new(ids.iter().map(event))
}

/// Facts that know events: id, version, sequence.
fn knowing(events: &[(u128, u64, u64)]) -> Known {
    let placed =
        |(id, version, sequence): &(u128, u64, u64)| (EventId::from_u128(*id), placed(*version, *sequence));
    Known { events: events.iter().map(placed).collect(), ..Known::default() }
}

fn key(request: u8) -> CommandKey {
    CommandKey { key: Bytes::from_static(b"key"), request: [request; 32] }
}

fn after(sequence: u64) -> Option<Checkpoint> {
    Some(Checkpoint::new(StoreId::from_bytes([1; 16]), [sequence]))
}

#[test]
fn a_command_key_is_decided_before_ids() {
    let versions = Cow::Borrowed(&[4, 0][..]);
    let known = Known {
        command: Some(CommandRecord { request: [1; 32], first: 7, versions }),
        ..knowing(&[(1, 0, 1)])
    };
    let repeat = repeat_of(&known, &batch(&[1, 2]).with_command(key(1))).unwrap().unwrap();
    assert_eq!(repeat, Repeat { places: vec![placed(4, 7), placed(0, 8)], end: 8 });
    let refused = repeat_of(&known, &batch(&[1]).with_command(key(2))).unwrap_err();
    assert_eq!(refused, RefusedBatch { error: AppendError::KeyReused, speaks_of: 8 });
}

#[test]
fn ids_at_growing_places_are_a_repeat_up_to_the_end_of_their_last_batch() {
    let known = knowing(&[(1, 0, 3), (2, 1, 9)]);
    let repeat = repeat_of(&known, &batch(&[1, 2])).unwrap().unwrap();
    assert_eq!(repeat, Repeat { places: vec![placed(0, 3), placed(1, 9)], end: 14 });
    assert_eq!(repeat_of(&known, &batch(&[3, 4])), Ok(None));
}

#[test]
fn a_taken_id_names_the_first_taken_event_and_the_cut_and_waits_for_all_found() {
    let known = knowing(&[(1, 0, 3), (2, 1, 9), (3, 2, 5)]);
    for (ids, taken, index, speaks_of) in [
        (&[1, 7][..], (1, 0), 1, 3),
        (&[7, 8, 2], (2, 1), 2, 9),
        (&[1, 2, 3], (1, 0), 2, 9),
        (&[2, 1], (2, 1), 1, 9),
    ] {
        let refused = repeat_of(&known, &batch(ids)).unwrap_err();
        let (id, version) = (EventId::from_u128(taken.0), Version::new(taken.1));
        let error = AppendError::IdTaken { stream: stream(), id, version, index };
        assert_eq!(refused, RefusedBatch { error, speaks_of }, "{ids:?}");
    }
}

#[test]
fn expectations_are_checked_before_conditions_and_speak_of_the_head() {
    let known = Known { head: Some(placed(3, 20)), newest_match: Some(30), ..Known::default() };
    let wrong = Expected::Exactly(Version::new(2));
    let conditional = batch(&[1]).fail_if(Query::All, None);
    let refused = check(&known, &conditional.clone().expect(stream(), wrong)).unwrap_err();
    let conflict = AppendError::Conflict { stream: stream(), expected: wrong, actual: Some(Version::new(3)) };
    assert_eq!(refused, RefusedBatch { error: conflict, speaks_of: 20 });
    let right = conditional.expect(stream(), Expected::Exactly(Version::new(3)));
    let at = Position { partition: 0, sequence: 30 };
    let failed = AppendError::ConditionFailed { index: 0, at };
    assert_eq!(check(&known, &right), Err(RefusedBatch { error: failed, speaks_of: 30 }));
}

#[test]
fn an_expected_event_needs_the_head_at_its_version_and_its_id_there() {
    let known = Known { head: Some(placed(3, 20)), ..knowing(&[(5, 3, 20), (6, 2, 19)]) };
    let expecting = |version: u64, id| {
        let (version, id) = (Version::new(version), EventId::from_u128(id));
        check(&known, &batch(&[1]).expect(stream(), Expected::Event { version, id })).is_ok()
    };
    assert_eq!([expecting(3, 5), expecting(3, 6), expecting(2, 6)], [true, false, false]);
}

#[test]
fn a_match_counts_only_after_the_place_of_its_condition_which_is_checked_first() {
    let known = |is_ahead| Known { newest_match: Some(30), is_ahead, ..Known::default() };
    let conditional = |sequence| batch(&[1]).fail_if(Query::All, after(sequence));
    assert_eq!(check(&known(false), &conditional(30)), Ok(()));
    assert_eq!(check(&known(false), &conditional(29)).unwrap_err().speaks_of, 30);
    let refused = check(&known(true), &conditional(29)).unwrap_err();
    assert!(matches!(refused.error, AppendError::CheckpointAhead { .. }) && refused.speaks_of == 0);
}
