//! What is written is read without a change.

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use gesta_consumer::group::{
    BackOff, ChangeError, Delivery, DeliveryId, GroupName, GroupSettings, GroupState, GroupStatus, Held,
    LookError, MemberStatus, OnPoison, Order, Parked, PutError, Refused, RefusedWhy, Reset, SelectedItem,
    SettingsVersion, Settled, Settlement, Take, TakeError, Taken, Then, To,
};
use gesta_core::{Place, Query, ReadError, Timestamp, Version};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::any::{checkpoint, position, stream, text, version};
use crate::problem::Problem;
use crate::tests::{query, recorded};

fn millis() -> impl Strategy<Value = Duration> {
    (0..100_000_000_u64).prop_map(Duration::from_millis)
}

/// Seconds that a float holds exactly.
fn seconds() -> impl Strategy<Value = Duration> {
    (0..1_000_000_u64, 0..8_u32).prop_map(|(whole, eighths)| Duration::new(whole, eighths * 125_000_000))
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_nanos)
}

fn count() -> impl Strategy<Value = NonZeroU32> {
    (1_u32..).prop_map(|count| NonZeroU32::new(count).unwrap())
}

fn delivery_id() -> impl Strategy<Value = DeliveryId> {
    any::<[u8; 20]>().prop_map(DeliveryId::from_bytes)
}

fn settings() -> impl Strategy<Value = GroupSettings> {
    let place = prop_oneof![Just(Place::Start), Just(Place::End), checkpoint().prop_map(Place::At)];
    let poison = prop_oneof![Just(OnPoison::Park), Just(OnPoison::Stop)];
    let order = prop_oneof![Just(Order::Stream), Just(Order::Log)];
    (query(), place, millis(), option::of(count()), (millis(), millis()), count(), count(), poison, order)
        .prop_map(
            |(
                query,
                from,
                ack_time,
                attempts_max,
                (first, max),
                run_max,
                in_flight_max,
                on_poison,
                order,
            )| {
                GroupSettings {
                    query,
                    from,
                    ack_time,
                    attempts_max,
                    back_off: BackOff { first, max },
                    run_max,
                    in_flight_max,
                    on_poison,
                    order,
                }
            },
        )
}

fn state() -> impl Strategy<Value = GroupState> {
    prop_oneof![
        Just(GroupState::Starting),
        Just(GroupState::Running),
        Just(GroupState::Outage),
        (text(), time()).prop_map(|(by, since)| GroupState::Paused { by, since }),
        text().prop_map(|reason| GroupState::Stopped { reason }),
        Just(GroupState::Unsaved),
        text().prop_map(|reason| GroupState::Unreadable { reason }),
        Just(GroupState::TakenOver),
    ]
}

fn status() -> impl Strategy<Value = GroupStatus> {
    let member = ("[a-z0-9 é-]{1,20}", millis(), any::<u32>()).prop_map(|(name, seen, in_flight_events)| {
        MemberStatus { name: name.parse().unwrap(), seen, in_flight_events }
    });
    let item = query().prop_map(|query| match query {
        Query::Any(mut items) if !items.is_empty() => items.pop(),
        _ => None,
    });
    let item = (item, checkpoint()).prop_map(|(item, since)| SelectedItem { item, since });
    let lag = (option::of(any::<u64>()), option::of(seconds()));
    let counts = (any::<[u32; 5]>(), any::<[u64; 2]>(), any::<[u64; 9]>(), any::<bool>(), seconds());
    let named =
        ("[a-zA-Z0-9_-]{1,10}(\\.[a-zA-Z0-9_-]{1,10})?", settings(), any::<u64>(), any::<bool>(), state());
    (named, vec(item, 0..3), vec(member, 0..3), (checkpoint(), checkpoint()), lag, counts).prop_map(
        |((name, settings, number, is_hosted, state), items, members, (scanned, head), lag, counts)| {
            let ([parked, waiting, in_flight_events, window_events, _], [window_bytes, puts], ends, ..) =
                counts;
            let [handled, retry, release, park, skip, expired, again, unwritten, stale] = ends;
            GroupStatus {
                name: name.parse().unwrap(),
                settings,
                settings_version: SettingsVersion::new(number),
                items,
                is_hosted,
                state,
                members,
                scanned,
                head,
                lag_events: lag.0,
                lag: lag.1,
                parked,
                waiting,
                in_flight_events,
                window_events,
                window_bytes,
                is_window_full: counts.3,
                settled: Settled { handled, retry, release, park, skip, expired, again, unwritten, stale },
                puts,
                puts_time: counts.4,
            }
        },
    )
}

fn take() -> impl Strategy<Value = Take> {
    let then = prop_oneof![
        option::of(millis()).prop_map(|after| Then::Retry { after }),
        option::of(millis()).prop_map(|after| Then::Release { after }),
        Just(Then::Park),
        text().prop_map(|reason| Then::Skip { reason }),
        Just(Then::Stop),
    ];
    let settlement = (delivery_id(), option::of(any::<usize>()), option::of(then), option::of(text()))
        .prop_map(|(id, handled, then, error)| Settlement { id, handled, then, error });
    let holds = option::of(vec(delivery_id(), 0..3));
    ("[a-z0-9 é-]{1,20}", any::<u32>(), millis(), holds, vec(settlement, 0..4)).prop_map(
        |(member, max, wait, holds, settle)| Take {
            member: member.parse().unwrap(),
            max,
            wait,
            holds,
            settle,
        },
    )
}

fn taken() -> impl Strategy<Value = Taken> {
    let delivery = (delivery_id(), any::<u32>(), millis(), vec(recorded(), 1..4))
        .prop_map(|(id, attempt, ack_time, events)| Delivery { id, attempt, ack_time, events });
    let why = prop_oneof![Just(RefusedWhy::Stale), Just(RefusedWhy::TooMany)];
    let refused = (delivery_id(), why).prop_map(|(id, why)| Refused { id, why });
    (vec(delivery, 0..3), vec(refused, 0..3)).prop_map(|(deliveries, refused)| Taken { deliveries, refused })
}

fn parked() -> impl Strategy<Value = Parked> {
    let words = (option::of(text()), option::of(text()), option::of(time()));
    (stream(), version(), position(), any::<u32>(), words).prop_map(
        |(stream, version, position, attempts, (error, by, since))| Parked {
            stream,
            version,
            position,
            attempts,
            error,
            by,
            since,
        },
    )
}

fn to() -> impl Strategy<Value = To> {
    prop_oneof![Just(To::Start), Just(To::Now), checkpoint().prop_map(To::At), time().prop_map(To::Time)]
}

fn bytes_of(json: &Value) -> Vec<u8> {
    serde_json::to_vec(json).unwrap()
}

proptest! {
    #[test]
    fn settings_are_written_and_read_the_same(settings in settings()) {
        let json = bytes_of(&group_settings_json(&settings));
        let read = serde_json::from_slice::<GroupSettingsJson<'_>>(&json).unwrap();
        prop_assert_eq!(read.to_settings(), Ok(settings));
    }

    #[test]
    fn a_status_is_written_and_read_the_same(statuses in vec(status(), 0..3)) {
        prop_assert_eq!(&read_groups(&bytes_of(&groups_json(&statuses))).unwrap(), &statuses);
        for status in statuses {
            prop_assert_eq!(read_group(&bytes_of(&group_json(&status))).unwrap(), status);
        }
    }

    #[test]
    fn the_call_of_a_member_is_written_and_read_the_same(take in take()) {
        let json = bytes_of(&take_json(&take));
        prop_assert_eq!(serde_json::from_slice::<TakeJson<'_>>(&json).unwrap().to_take(), Ok(take));
    }

    #[test]
    fn deliveries_are_written_and_read_the_same(taken in taken()) {
        let mut out = Vec::new();
        write_taken(&taken, &mut out);
        prop_assert_eq!(read_taken(&Bytes::from(out)).unwrap(), taken);
    }

    #[test]
    fn parked_streams_are_written_and_read_the_same(
        parked in vec(parked(), 0..3), one in parked(), events in vec(recorded(), 0..3),
    ) {
        prop_assert_eq!(read_parked_page(&bytes_of(&parked_page_json(&parked, Some("/next")))).unwrap(), parked);
        let (held, mut out) = (Held { parked: one, events }, Vec::new());
        write_held(&held, &mut out);
        prop_assert_eq!(read_held(&Bytes::from(out)).unwrap(), held);
    }

    #[test]
    fn what_operators_ask_is_written_and_read_the_same(
        streams in vec(stream(), 0..3), skipped in stream(), through in version(), reason in text(), to in to(),
        at in checkpoint(), were_parked in any::<u32>(), number in any::<u64>(),
    ) {
        let json = bytes_of(&replay_json(&streams));
        prop_assert_eq!(serde_json::from_slice::<ReplayJson<'_>>(&json).unwrap().streams(), Ok(streams));
        let json = bytes_of(&skip_json(&skipped, through, &reason));
        let read = serde_json::from_slice::<SkipJson<'_>>(&json).unwrap().parts();
        prop_assert_eq!(read, Ok((skipped, through, reason)));
        let json = bytes_of(&reset_request_json(&to));
        prop_assert_eq!(serde_json::from_slice::<ResetJson<'_>>(&json).unwrap().to(), Ok(to));
        let reset = Reset { at, were_parked };
        prop_assert_eq!(read_reset(&bytes_of(&reset_json(&reset))).unwrap(), reset);
        prop_assert_eq!(read_replayed(&bytes_of(&replayed_json(were_parked))).unwrap(), were_parked);
        let version = SettingsVersion::new(number);
        let json = put_group_json(&"mail".parse().unwrap(), version);
        prop_assert_eq!(read_put_group(&bytes_of(&json)).unwrap(), version);
    }
}

fn sent(problem: Problem) -> Problem {
    Problem::from_json(&bytes_of(&problem.to_json())).unwrap()
}

/// The errors of a store that may stand in an error of groups.
fn read_errors() -> Vec<ReadError> {
    let at = gesta_core::Checkpoint::start(gesta_core::StoreId::from_bytes([7; 16]), 1);
    vec![
        ReadError::Invalid { reason: "r".to_owned() },
        ReadError::TooLarge { what: "items".into(), actual: 9, limit: 8 },
        ReadError::ForeignCheckpoint { checkpoint: at.clone() },
        ReadError::CheckpointAhead { checkpoint: at.clone(), head: at.clone() },
        ReadError::Diverged { checkpoint: at.clone(), found: at },
        ReadError::Overloaded,
        ReadError::Unavailable { reason: "r".to_owned() },
        ReadError::Closed,
    ]
}

#[test]
fn an_error_of_groups_comes_back_as_itself() {
    let group: GroupName = "mail".parse().unwrap();
    let named = || group.clone();
    let (reason, stream) = (|| "why".to_owned(), || "order-1".parse().unwrap());
    let (one, two) = (SettingsVersion::new(1), SettingsVersion::new(2));
    let puts = [
        PutError::NoGroup { group: named() },
        PutError::Exists { group: named(), actual: two },
        PutError::Changed { group: named(), expected: one, actual: two },
        PutError::Hosted { group: named() },
        PutError::Busy { group: named(), reason: reason() },
        PutError::TooMany { groups_max: 256 },
        PutError::Unavailable { reason: reason() },
        PutError::InDoubt { reason: reason() },
        PutError::Closed,
    ];
    let of_store = read_errors().into_iter();
    for error in puts
        .into_iter()
        .chain(of_store.flat_map(|error| [PutError::Query(error.clone()), PutError::Place(error)]))
    {
        assert_eq!(sent(error.clone().into()).to_put_error(&group), error);
    }
    let looks = [
        LookError::NoGroup { group: named() },
        LookError::Unavailable { reason: reason() },
        LookError::Closed,
    ];
    for error in looks.into_iter().chain(read_errors().into_iter().map(LookError::Read)) {
        assert_eq!(sent(error.clone().into()).to_look_error(Some(&group)), error);
    }
    let takes = [
        TakeError::NoGroup { group: named() },
        TakeError::Stopped { group: named(), reason: reason() },
        TakeError::Unavailable { reason: reason() },
        TakeError::Closed,
    ];
    for error in takes {
        assert_eq!(sent(error.clone().into()).to_take_error(&group), error);
    }
    let changes = [
        ChangeError::NoGroup { group: named() },
        ChangeError::NotParked { group: named(), stream: stream() },
        ChangeError::NotReached { stream: stream(), through: Version::new(7) },
        ChangeError::Hosted { group: named() },
        ChangeError::NotHosted { group: named() },
        ChangeError::Busy { group: named(), reason: reason() },
        ChangeError::Unavailable { reason: reason() },
        ChangeError::InDoubt { reason: reason() },
        ChangeError::Closed,
    ];
    for error in changes.into_iter().chain(read_errors().into_iter().map(ChangeError::Place)) {
        assert_eq!(sent(error.clone().into()).to_change_error(&group), error);
    }
}

#[test]
fn a_problem_that_no_group_made_never_counts_as_done_or_not_done_by_mistake() {
    let group: GroupName = "mail".parse().unwrap();
    let problem = |status| {
        let kind = crate::Kind::new(status, "of-a-proxy", "A proxy answered");
        Problem::new(kind, "words")
    };
    for (status, is_done) in
        [(400, Some(false)), (404, Some(false)), (429, Some(false)), (500, None), (502, None)]
    {
        let is_unknown = matches!(problem(status).to_change_error(&group), ChangeError::InDoubt { .. });
        assert_eq!(is_unknown, is_done.is_none(), "{status}");
        let is_unknown = matches!(problem(status).to_put_error(&group), PutError::InDoubt { .. });
        assert_eq!(is_unknown, is_done.is_none(), "{status}");
        let take = problem(status).to_take_error(&group);
        assert!(matches!(take, TakeError::Unavailable { .. }), "{status}: {take}");
    }
}

#[test]
fn what_is_left_out_of_settings_has_its_default() {
    let read = |json| serde_json::from_str::<GroupSettingsJson<'_>>(json).unwrap().to_settings().unwrap();
    let defaults = GroupSettings::new(Query::All);
    assert_eq!(read(r#"{"query":"all"}"#), defaults);
    assert_eq!(read(r#"{"query":"all","attemptsMax":null}"#).attempts_max, None);
    assert_eq!(read(r#"{"query":"all","from":"now"}"#).from, Place::End);
    let log = read(r#"{"query":"all","order":"log"}"#);
    assert_eq!((log.order, log.on_poison), (Order::Log, OnPoison::Stop));
}

#[test]
fn a_request_that_breaks_a_rule_is_refused_with_the_rule() {
    let id = "ab".repeat(20);
    let settle = |rest: &str| {
        let json = format!(r#"{{"member":"m","max":1,"holds":[],"settle":[{{"id":"{id}"{rest}}}]}}"#);
        let take = serde_json::from_str::<TakeJson<'_>>(&json).map_err(|error| error.to_string());
        take.and_then(|take| take.to_take().map(drop).map_err(|error| error.to_string()))
    };
    assert_eq!(settle(r#","handled":1,"then":"retry","afterMs":5"#), Ok(()));
    let cases = [
        (r#","handled":1,"then":"park","afterMs":5"#, "`afterMs` goes with"),
        (r#","handled":1,"then":"skip""#, "needs a `reason`"),
        (r#","handled":1,"then":"retry","reason":"x""#, "`reason` goes with"),
        (r#","then":"drop""#, "unknown variant `drop`"),
        (r#","thenn":"park""#, "unknown field `thenn`"),
    ];
    for (rest, message) in cases {
        let error = settle(rest).unwrap_err();
        assert!(error.contains(message), "{rest}: {error}");
    }
    let replay = |json| serde_json::from_str::<ReplayJson<'_>>(json).unwrap().streams();
    for json in ["{}", r#"{"streams":[]}"#, r#"{"all":false}"#, r#"{"all":true,"streams":["a-1"]}"#] {
        assert!(replay(json).is_err(), "{json}");
    }
    let to = |json| serde_json::from_str::<ResetJson<'_>>(json).map_err(|error| error.to_string());
    let error = to(r#"{"to":{"tim":"2026-01-01T00:00:00Z"}}"#).unwrap_err();
    assert!(error.contains("expected `\"start\"`"), "{error}");
    let error = to(r#"{"to":"tomorrow"}"#).unwrap().to().unwrap_err().to_string();
    assert!(error.contains("`to` is neither `start`, `now` nor a checkpoint"), "{error}");
}
