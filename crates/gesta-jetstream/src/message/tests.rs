//! The bytes of messages: one form, nothing else is read, and the chain.

use expect_test::expect;
use gesta_core::{CommandKey, EventId, NewEvent, Position, RecordedEvent, Version};

use super::*;
use crate::machine::next_random;

const STORE: StoreId = StoreId::from_bytes([7; 16]);

fn event(sequence: u64, version: u64, recorded_at: i64) -> RecordedEvent {
    let (id, time) = (EventId::from_u128(u128::from(sequence)), Timestamp::from_nanos(-7));
    let new = NewEvent::json(id, "a-1".parse().unwrap(), "a.b".parse().unwrap(), time, "{}");
    let new = new.with_tags(["k:v".parse().unwrap()]).with_metadata("{\"m\":1}");
    let position = Position { partition: 0, sequence };
    RecordedEvent::new(position, Version::new(version), Timestamp::from_nanos(recorded_at), new.to_bytes())
}

fn tip() -> Tip {
    Tip { number: 41, position: 5, ..Tip::start(STORE, 0) }
}

fn draft() -> Draft {
    let command = CommandKey { key: "key".into(), request: [1; 32] };
    let batches = vec![
        RecordedBatch::new(vec![event(6, 0, 9), event(7, 1, 9)], Some(command)).unwrap(),
        RecordedBatch::new(vec![event(8, 2, 10)], None).unwrap(),
    ];
    Draft { random: [3; 16], written_at: Timestamp::from_nanos(8), batches, floor: None }
}

fn empty() -> Draft {
    Draft { batches: Vec::new(), ..draft() }
}

fn with_floor(nanos: i64, draft: Draft) -> Draft {
    Draft { floor: Some(Timestamp::from_nanos(nanos)), ..draft }
}

fn hex(bytes: &[u8]) -> String {
    let lines =
        bytes.chunks(32).map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n");
    lines.collect()
}

/// The bytes with a checksum that is right.
fn sealed(mut bytes: Vec<u8>) -> Bytes {
    let body = bytes.len() - CHECKSUM_BYTES;
    let checksum = crc32c(&bytes[..body]).to_le_bytes();
    bytes[body..].copy_from_slice(&checksum);
    bytes.into()
}

#[test]
fn an_empty_message_has_these_bytes() {
    expect![[r#"
        474a4d012a00000000000000b00c16c7c873553695a1a01a658984ed447df84e
        f681f8b0ef3162530f2c07900303030303030303030303030303030308000000
        00000000050000000000000000000000b4019a52
    "#]]
    .assert_eq(&hex(&empty().encode(&tip()).bytes));
}

#[test]
fn a_message_of_two_batches_has_these_bytes_and_this_digest() {
    let encoded = draft().encode(&tip());
    expect![[r#"
        474a4d012a00000000000000b00c16c7c873553695a1a01a658984ed447df84e
        f681f8b0ef3162530f2c07900303030303030303030303030303030308000000
        00000000050000000000000002000000090000000000000003006b6579010101
        0101010101010101010101010101010101010101010101010101010101020000
        00000000000000000035000000f9ffffffffffffff0000000000000000000000
        000000000601000001030003070000612d31612e62036b3a767b226d223a317d
        7b7d010000000000000035000000f9ffffffffffffff00000000000000000000
        00000000000701000001030003070000612d31612e62036b3a767b226d223a31
        7d7b7d0a00000000000000000001000000020000000000000035000000f9ffff
        ffffffffff000000000000000000000000000000080100000103000307000061
        2d31612e62036b3a767b226d223a317d7b7dc68ed4a9
    "#]]
    .assert_eq(&hex(&encoded.bytes));
    expect!["11ea993812f65cebefa33d3aedb8337819e723f7fa86592f4e8ed40d68ac7ddf"]
        .assert_eq(&encoded.digest.to_string());
}

#[test]
fn a_message_is_read_as_it_was_written() {
    for draft in [draft(), empty(), with_floor(11, draft()), with_floor(3, empty())] {
        let encoded = draft.encode(&tip());
        let message = Message::decode(&encoded.bytes, 0).unwrap();
        assert_eq!((message.batches(), message.written_at()), (&draft.batches[..], draft.written_at));
        assert_eq!((message.digest(), message.random), (encoded.digest, draft.random));
        let (position, recorded_at) =
            if draft.batches.is_empty() { (5, Timestamp::MIN) } else { (8, Timestamp::from_nanos(10)) };
        let recorded_at = draft.floor.unwrap_or(recorded_at);
        assert_eq!((message.floor(), &message.to_draft()), (draft.floor, &draft));
        let next = message.follow(&tip(), 42).unwrap();
        assert_eq!(next, Tip { number: 42, digest: encoded.digest, position, recorded_at });
    }
}

#[test]
fn a_floor_holds_for_every_later_message_and_is_later_than_its_own_events() {
    for nanos in [i64::MIN, 9, 10] {
        let refused = Message::decode(&with_floor(nanos, draft()).encode(&tip()).bytes, 0).unwrap_err();
        assert_eq!(refused, MessageError::Field { field: "floor" }, "{nanos} ns");
    }
    let after = |floor| {
        let bytes = with_floor(floor, empty()).encode(&tip()).bytes;
        let closed = Message::decode(&bytes, 0).unwrap().follow(&tip(), 42).unwrap();
        let next = Message::decode(&draft().encode(&closed).bytes, 0).unwrap();
        (
            next.follow(&closed, 43),
            Message::decode(&with_floor(8, empty()).encode(&closed).bytes, 0).unwrap().follow(&closed, 43),
        )
    };
    let at = Timestamp::from_nanos;
    assert_eq!(after(9).0.unwrap().recorded_at, at(10));
    let (late, lower) = after(10);
    assert_eq!(late.unwrap_err(), ChainError::Time { number: 43, own: at(9), before: at(10) });
    assert_eq!(lower.unwrap_err(), ChainError::Time { number: 43, own: at(8), before: at(10) });
}

#[test]
fn no_damaged_or_cut_message_is_read() {
    let bytes = with_floor(11, draft()).encode(&tip()).bytes;
    for at in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 1 << (at % 8);
        assert!(Message::decode(&damaged.into(), 0).is_err(), "byte {at}");
        assert!(Message::decode(&bytes.slice(..at), 0).is_err(), "the first {at} bytes");
    }
}

/// The message once more, from what was read of it.
fn again(message: &Message) -> Bytes {
    message.to_draft().encode(&message.tip_before()).bytes
}

/// Cuts, repeats and flips by seed, some with a checksum that is right.
#[test]
fn a_message_that_was_cut_and_flipped_is_refused_or_has_one_form() {
    let drafts = [draft(), empty(), with_floor(11, draft()), with_floor(3, empty())];
    let sources = drafts.map(|draft| draft.encode(&tip()).bytes);
    let (mut state, mut read) = (1, 0);
    let mut below = |limit: usize| {
        state = next_random(state);
        usize::try_from(state % limit as u64).unwrap()
    };
    for round in 0..20_000 {
        let mut bytes = sources[round % 2].to_vec();
        for _ in 0..=below(3) {
            let at = below(bytes.len());
            match below(3) {
                0 => bytes[at] ^= 1 << below(8),
                1 => drop(bytes.drain(at..(at + below(12)).min(bytes.len()))),
                _ => bytes.splice(at..at, bytes.clone().into_iter().take(below(40))).for_each(drop),
            }
            bytes.resize(bytes.len().max(HEADER_BYTES + CHECKSUM_BYTES), 0);
        }
        let changed = if below(4) > 0 { sealed(bytes) } else { bytes.into() };
        let Ok(message) = Message::decode(&changed, 0) else { continue };
        read += 1;
        assert_eq!(again(&message), changed, "round {round}");
    }
    assert!(read > 100, "some have only other values: {read}");
}

/// A wrong program may write any fields, with a checksum that is right. They are refused, or are in their only form.
#[test]
fn a_message_with_wrong_fields_is_refused_or_has_one_form() {
    let bytes = draft().encode(&tip()).bytes;
    let mut read = 0;
    for at in 0..bytes.len() - CHECKSUM_BYTES {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = bytes.to_vec();
            changed[at] = value;
            let changed = sealed(changed);
            let Ok(message) = Message::decode(&changed, 0) else { continue };
            read += 1;
            assert_eq!(again(&message), changed, "byte {at} as {value}");
        }
    }
    assert!(read > 100, "fields such as the clock may have any value: {read}");
}

#[test]
fn counts_beyond_the_bytes_or_the_limits_are_refused() {
    let bytes = empty().encode(&tip()).bytes;
    for count in [1_u32, 1_024, 1_025, u32::MAX] {
        let mut changed = bytes.to_vec();
        changed[76..80].copy_from_slice(&count.to_le_bytes());
        assert!(matches!(Message::decode(&sealed(changed), 0), Err(MessageError::Field { .. })), "{count}");
    }
    let long = [&bytes[..], &[0; 4]].concat();
    assert_eq!(Message::decode(&sealed(long), 0), Err(MessageError::Field { field: "end" }));
    let newer = [b"GJM\x02", &bytes[4..]].concat();
    assert_eq!(Message::decode(&sealed(newer), 0), Err(MessageError::Format));
}

#[test]
fn numbers_that_leave_no_room_for_a_place_are_refused() {
    for (draft, at, value, field) in [
        (draft(), 4, 0, "number"),
        (draft(), 68, u64::MAX - 1, "position"),
        (empty(), 68, u64::MAX, "position"),
    ] {
        let mut bytes = draft.encode(&tip()).bytes.to_vec();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        assert_eq!(Message::decode(&sealed(bytes), 0), Err(MessageError::Field { field }));
    }
}

#[test]
fn a_message_follows_one_tip_only() {
    let message = Message::decode(&draft().encode(&tip()).bytes, 0).unwrap();
    let number = ChainError::Number { number: 43, own: 42 };
    assert_eq!(message.follow(&tip(), 43), Err(number));
    let other = Tip { digest: Tip::start(STORE, 1).digest, ..tip() };
    assert_eq!(message.follow(&other, 42), Err(ChainError::Before { number: 42 }));
    let other = Tip { position: 4, ..tip() };
    let position = ChainError::Position { number: 42, own: 5, expected: 4 };
    assert_eq!(message.follow(&other, 42), Err(position));
    let newer = Tip { recorded_at: Timestamp::from_nanos(10), ..tip() };
    let (own, before) = (Timestamp::from_nanos(9), newer.recorded_at);
    assert_eq!(message.follow(&newer, 42), Err(ChainError::Time { number: 42, own, before }));
}

#[test]
fn a_group_that_no_copy_would_take_is_not_published() {
    let single =
        |sequence, version, time| RecordedBatch::new(vec![event(sequence, version, time)], None).unwrap();
    let refused = |batches: Vec<RecordedBatch>| {
        let tip = Tip { recorded_at: Timestamp::from_nanos(5), ..tip() };
        Draft { batches, ..draft() }.message_after(&tip, 0).map(|_| ()).unwrap_err()
    };
    let field = |field| DraftError::Message(MessageError::Field { field });
    assert_eq!(refused((0..1_025).map(|at| single(6 + at, at, 9)).collect()), field("number of batches"));
    assert_eq!(refused(vec![single(6, 0, 9), single(7, 1, 8)]), field("time of a batch"));
    assert_eq!(refused(vec![single(6, 0, 9), single(7, 2, 9)]), field("version"));
    assert_eq!(refused(vec![single(7, 0, 9)]), DraftError::Moved);
    assert!(matches!(refused(vec![single(6, 0, 4)]), DraftError::Chain(ChainError::Time { .. })));
    let key = CommandKey { key: vec![b'k'; 70_000].into(), request: [1; 32] };
    let long = RecordedBatch::new(vec![event(6, 0, 9)], Some(key)).unwrap();
    assert_eq!(refused(vec![long]), field("length of a command key"));
    let data = "1".repeat(MESSAGE_BYTES_MAX);
    let large = NewEvent::json(
        EventId::from_u128(1),
        "a-1".parse().unwrap(),
        "a.b".parse().unwrap(),
        tip().recorded_at,
        data,
    );
    let place = Position { partition: 0, sequence: 6 };
    let large = RecordedEvent::new(place, Version::FIRST, Timestamp::from_nanos(9), large.to_bytes());
    assert_eq!(refused(vec![RecordedBatch::new(vec![large], None).unwrap()]), field("length"));
    assert!(draft().message_after(&tip(), 0).is_ok());
}

#[test]
fn a_tip_is_kept_as_bytes() {
    assert_eq!(Tip::from_bytes(&tip().to_bytes()), Ok(tip()));
    assert_eq!(Tip::from_bytes(&[0; 48]), Err(TipError { found: 48 }));
}

#[test]
fn a_place_is_kept_as_bytes_and_a_tip_alone_is_one() {
    let place = Place { tip: tip(), proven: 1 };
    assert_eq!(Place::from_bytes(&place.to_bytes()), Ok(place));
    assert_eq!(Place::from_bytes(&tip().to_bytes()), Ok(Place::at(tip())));
    for found in [0, Tip::BYTES - 1, Tip::BYTES + 1, Place::BYTES + 1] {
        assert_eq!(Place::from_bytes(&vec![0; found]), Err(TipError { found }));
    }
}

#[test]
fn a_message_names_the_one_before() {
    let (bytes, message) = draft().message_after(&tip(), 0).unwrap();
    assert_eq!(MessageDigest::named_by(&bytes), Some(message.before));
    assert_eq!(MessageDigest::named_by(&bytes[..43]), None);
}
