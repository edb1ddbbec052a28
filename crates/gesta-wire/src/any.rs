//! Any value of the contract, for property tests.

use gesta_core::{
    Checkpoint, ContentKind, EventId, Expected, NewEvent, Position, StoreId, StreamName, Timestamp, Version,
};
use proptest::prelude::*;

pub(crate) fn text() -> impl Strategy<Value = String> {
    any::<String>()
}

pub(crate) fn stream() -> impl Strategy<Value = StreamName> {
    "[a-zé ]{1,20}(-[a-z0-9{}]{0,9})?".prop_map(|name| name.parse().unwrap())
}

pub(crate) fn version() -> impl Strategy<Value = Version> {
    any::<u64>().prop_map(Version::new)
}

pub(crate) fn id() -> impl Strategy<Value = EventId> {
    any::<u128>().prop_map(EventId::from_u128)
}

pub(crate) fn position() -> impl Strategy<Value = Position> {
    (any::<u16>(), any::<u64>()).prop_map(|(partition, sequence)| Position { partition, sequence })
}

pub(crate) fn checkpoint() -> impl Strategy<Value = Checkpoint> {
    (any::<[u8; 16]>(), prop::collection::vec(1..u64::MAX, 1..4), any::<Option<u32>>()).prop_map(
        |(store, sequences, mark)| {
            let at = Position { partition: 0, sequence: sequences[0] };
            let checkpoint = Checkpoint::new(StoreId::from_bytes(store), sequences);
            mark.into_iter().fold(checkpoint, |checkpoint, mark| checkpoint.with_mark(at, mark))
        },
    )
}

pub(crate) fn expected() -> impl Strategy<Value = Expected> {
    prop_oneof![
        Just(Expected::Any),
        Just(Expected::None),
        Just(Expected::Exists),
        version().prop_map(Expected::Exactly),
        (version(), id()).prop_map(|(version, id)| Expected::Event { version, id }),
    ]
}

pub(crate) fn event() -> impl Strategy<Value = NewEvent> {
    let kind = prop_oneof![Just(ContentKind::Json), Just(ContentKind::Octets), Just(ContentKind::Text)];
    let bytes = prop_oneof![
        Just(String::new()),
        Just(r#"{"source":"urn:x","ext":1}"#.to_owned()),
        Just(r#"{"source":"urn:x","id":"17"}"#.to_owned()),
        Just(r#"{"ext":1,"source":"urn:x"}"#.to_owned()),
        Just(r#"{"source":"urn:x","datacontenttype":"text/csv"}"#.to_owned()),
        Just(r#"{"source":"urn:x","time":"2011-01-01T00:00:00Z"}"#.to_owned()),
        Just(r#"{"source":"urn:x","ext":1,"ext":1}"#.to_owned()),
        Just(r#"{"source":7}"#.to_owned()),
        Just(r#"{"source":"urn:gesta:store:07"}"#.to_owned()),
        Just(r#"{"source":"urn:gesta:store:07","ext":1}"#.to_owned()),
        Just("{\n\"a\": 1}".to_owned()),
        Just(" null ".to_owned()),
        "\\PC{0,12}",
    ]
    .prop_map(String::into_bytes);
    let bytes = prop_oneof![3 => bytes, 1 => proptest::collection::vec(any::<u8>(), 0..12)];
    let tags = proptest::collection::vec("[a-z%,]{1,3}:[a-z%,:é]{1,4}", 0..3);
    (any::<u128>(), any::<u16>(), kind, bytes.clone(), bytes, tags, any::<i64>()).prop_map(
        |(id, schema_version, kind, data, metadata, mut tags, time)| {
            tags.sort();
            tags.dedup();
            NewEvent {
                id: EventId::from_u128(id),
                stream: "a-1".parse().unwrap(),
                event_type: "t".parse().unwrap(),
                schema_version,
                kind,
                data: data.into(),
                metadata: metadata.into(),
                tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
                time: Timestamp::from_nanos(time),
            }
        },
    )
}
