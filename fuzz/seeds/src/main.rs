//! Writes the seeds of the corpora into a folder: `corpus/<target>/seed-N`, from real encodings.

use std::path::Path;
use std::{env, fs, io};

use gesta_core::{
    Checkpoint, CommandKey, EventId, NewEvent, Position, RecordedBatch, RecordedEvent, StoreId, Tag, Timestamp, Version,
};
use gesta_jetstream::{Draft, Tip};

fn main() -> io::Result<()> {
    let folder = env::args().nth(1).unwrap_or_else(|| "corpus".to_owned());
    let others = [
        ("event", vec![event().to_bytes().as_bytes().to_vec()]),
        ("text", texts()),
        ("view", texts_of(VIEWS)),
        ("wire", (0..).zip(WIRE).map(|(kind, text)| chosen(kind, text)).collect()),
        ("http", HTTP.iter().map(|(route, text)| chosen(*route, text)).collect()),
        ("message", messages()),
        ("model", histories()),
    ];
    for (target, inputs) in gesta_log::fuzzing::seeds().into_iter().chain(others) {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder)?;
        for (number, input) in inputs.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), input)?;
        }
    }
    Ok(())
}

fn event() -> NewEvent {
    let (stream, kind) = ("account-42".parse().expect("a name"), "account.opened".parse().expect("a type"));
    let tags = ["a:1", "b:2"].map(|tag| tag.parse::<Tag>().expect("a tag"));
    NewEvent::json(EventId::from_u128(7), stream, kind, Timestamp::from_nanos(-5), "{}").with_tags(tags)
}

/// Messages of JetStream: one without batches, one with several.
fn messages() -> Vec<Vec<u8>> {
    let at = |sequence: u64| {
        let (position, version) = (Position { partition: 0, sequence }, Version::new(sequence - 1));
        RecordedEvent::new(position, version, Timestamp::from_nanos(9), event().to_bytes())
    };
    let batch = |sequences: std::ops::RangeInclusive<u64>, command| {
        RecordedBatch::new(sequences.map(at).collect(), command).expect("a batch")
    };
    let command = CommandKey { key: "key".into(), request: [1; 32] };
    let full = vec![batch(1..=2, Some(command)), batch(3..=3, None)];
    let message = |batches| {
        let draft = Draft { random: [3; 16], written_at: Timestamp::from_nanos(8), batches, floor: None };
        draft.encode(&Tip::start(StoreId::from_bytes([7; 16]), 0)).bytes.to_vec()
    };
    vec![message(Vec::new()), message(full)]
}

fn texts() -> Vec<Vec<u8>> {
    let checkpoint = Checkpoint::new(StoreId::from_bytes([0xab; 16]), vec![0, 7, u64::MAX]).to_string();
    let id = EventId::from_u128(7).to_string();
    texts_of(&[&checkpoint, &id, "account-{42}", "a:b", "1970-01-01T00:00:00.000000001Z"])
}

fn texts_of(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A text after the byte that selects its kind.
fn chosen(kind: u8, text: &str) -> Vec<u8> {
    [&[kind], text.as_bytes()].concat()
}

/// Bytes that choose every kind of step, with every way of ending a process.
fn histories() -> Vec<Vec<u8>> {
    let history = |manner: u8| {
        let choices = (0..150_u32).map(move |n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]);
        [manner, 20].into_iter().chain(choices).collect()
    };
    (0..8).map(history).collect()
}

const VIEWS: &[&str] = &[
    "-- dialect: sqlite
create table balances (account text primary key, amount integer not null);
-- on account.deposited@1-2, account.opened
-- require: amount
insert into balances values ($entity, :amount) on conflict do update set amount = amount + excluded.amount;",
    "-- dialect: sqlite\n-- view: all\n-- categories: account\ncreate table t (a);\n-- on *\ninsert into t values ($stream);",
];

const WIRE: &[&str] = &[
    r#"{"id":"00000000-0000-0000-0000-000000000007","stream":"a-1","type":"t","schemaVersion":2,"data":{"a":[1]},"metadata":{},"tags":["a:b"],"time":"2026-01-01T00:00:00Z"}"#,
    r#"{"specversion":"1.0","id":"x","source":"/s","type":"t","subject":"a-1","datacontenttype":"text/plain","data":"x","gestatags":"a:b,c:d","other":1}"#,
    r#"[{"category":"account","types":["x"],"tags":["a:b"]},{"stream":"s-1","ids":["00000000-0000-0000-0000-000000000007"]}]"#,
    r#"{"events":[{"stream":"a-1","type":"t","data":1}],"expect":[{"stream":"a-1","version":{"version":1,"id":"00000000-0000-0000-0000-000000000007"}}],"conditions":[{"failIfAny":"all","after":"abababababababababababababababab.7"}],"command":{"key":"YQ==","request":"0000000000000000000000000000000000000000000000000000000000000000"}}"#,
    r#"{"query":"all","from":"end","until":"abababababababababababababababab.7-0a1b2c3d","direction":"backward","limit":1,"limitBytes":2,"limitExamined":3,"lanes":"0-255,512"}"#,
    r#"{"events":[],"versions":[0],"positions":["3/4"],"checkpoint":"abababababababababababababababab.7","repeated":true,"streams":[{"stream":"a-1","version":1}],"next":"/streams?after=x","scannedTo":"abababababababababababababababab.7","head":"abababababababababababababababab.7","end":true,"answer":null}"#,
    r#"{"type":"urn:gesta:problem:conflict","title":"x","detail":"y","status":409,"retry":"never","stream":"a-1","expected":"none","actual":7}"#,
];

const HTTP: &[(u8, &str)] = &[
    (0, r#"[{"type":"t","data":{"a":1}},{"type":"t","dataBase64":"AAEC","kind":"octets"}]"#),
    (1, r#"{"specversion":"1.0","id":"x","source":"/s","type":"t","data":1}"#),
    (2, r#"[{"specversion":"1.0","id":"x","source":"/s","type":"t","subject":"a-1","data_base64":"AA=="}]"#),
    (
        3,
        r#"{"events":[{"stream":"a-1","type":"t","data":1}],"expect":[{"stream":"a-1","version":"none"}],"conditions":[{"failIfAny":"all"}],"command":{"key":"YQ==","request":"00"}}"#,
    ),
    (4, r#"{"command":{"key":"YQ==","request":"00"},"near":"a-1"}"#),
    (
        5,
        r#"{"query":[{"category":"account"}],"limit":10,"limitBytes":9,"lanes":"0-7,9","direction":"backward"}"#,
    ),
    (6, "category=account&limit=2"),
    (7, "from=2&direction=backward&limit_examined=3"),
    (8, "category=account&type=t&tag=a:b&lanes=0-255,512&limit=5"),
    (9, "at=2026-01-01T00:00:00Z"),
    (9, "past=07070707070707070707070707070707.0&wait=0"),
];
