//! Three releases of one enum: what the lock, the samples and a log say of each.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use gesta::schema::*;
use gesta::testing::{block_on, json, memory};
use gesta::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod first {
    use super::*;

    #[derive(Debug, Event)]
    #[event(prefix = "till", schema)]
    pub(super) enum TillEvent {
        Taken {
            amounts: Vec<u32>,
        },
        Frozen {
            #[tag]
            by: String,
        },
        Audited {
            by: String,
        },
        Returned {
            item: Item,
        },
    }

    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    pub(super) struct Item {
        pub(super) sku: String,
    }
}

mod second {
    use super::*;

    #[derive(Debug, PartialEq, Event)]
    #[event(prefix = "till", schema, retired("till.audited" = 1))]
    pub(super) enum TillEvent {
        #[event(version = 2, upcast(1 = many TakenV1))]
        Taken { amount: NonZeroU32 },
        #[event(alias = "till.frozen")]
        Blocked {
            #[tag]
            by: String,
        },
        #[event(ahead(2 = ReturnedV2))]
        Returned { item: Item },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub(super) struct Item {
        /// The number of the article.
        pub(super) sku: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(super) color: Option<String>,
    }

    #[derive(Deserialize, JsonSchema)]
    pub(super) struct TakenV1 {
        amounts: Vec<u32>,
    }

    impl From<TakenV1> for Vec<TillEvent> {
        fn from(old: TakenV1) -> Self {
            let amounts = old.amounts.into_iter().filter_map(NonZeroU32::new);
            amounts.map(|amount| TillEvent::Taken { amount }).collect()
        }
    }

    #[derive(Deserialize, JsonSchema)]
    pub(super) struct ReturnedV2 {
        sku: String,
    }

    impl From<ReturnedV2> for TillEvent {
        fn from(new: ReturnedV2) -> Self {
            Self::Returned { item: Item { sku: new.sku, color: None } }
        }
    }

    #[derive(Debug, Clone, Key)]
    #[key("till")]
    pub(super) struct TillId(String);

    #[derive(Debug, Default, Serialize)]
    pub(super) struct Till {
        events: u32,
    }

    impl State for Till {
        type Event = TillEvent;
        fn evolve(&mut self, _: TillEvent) {
            self.events += 1;
        }
    }

    #[derive(Debug, Clone, Command)]
    pub(super) enum TillCommand {
        Block,
    }

    impl Decider for Till {
        type Id = TillId;
        type Command = TillCommand;
        type Error = std::convert::Infallible;
        fn decide(&self, TillCommand::Block: TillCommand) -> Result<Vec<TillEvent>, Self::Error> {
            Ok(vec![TillEvent::Blocked { by: "ann".to_owned() }])
        }
    }
}

mod third {
    use super::*;

    #[derive(Debug, Event)]
    #[event(prefix = "till", schema, retired("till.audited" = 1))]
    pub(super) enum TillEvent {
        #[event(version = 3, upcast(1 = drop, 2 = same))]
        Taken { amount: u32 },
        #[event(alias = "till.frozen")]
        Blocked {
            #[tag]
            by: String,
        },
        #[event(version = 2, upcast(1 = ReturnedV1))]
        Returned { sku: String },
    }

    #[derive(Deserialize, JsonSchema)]
    pub(super) struct ReturnedV1 {
        item: second::Item,
    }

    impl From<ReturnedV1> for TillEvent {
        fn from(old: ReturnedV1) -> Self {
            Self::Returned { sku: old.item.sku }
        }
    }
}

fn catalog<E: Event>() -> Catalog {
    Catalog::new(EventEnum::of::<E>()).unwrap()
}

fn with_samples() -> LockOptions {
    let mut options = LockOptions::default();
    options.samples = true;
    options
}

fn files(folder: &Path) -> LockFiles {
    LockFiles::at(folder.join("events.lock"))
}

#[track_caller]
fn lock_release<E: Event>(files: &LockFiles) -> Locked {
    let locked = lock(&catalog::<E>(), files, &with_samples()).unwrap();
    assert_eq!(locked.findings, []);
    locked
}

#[track_caller]
fn assert_proved<E: Event>(files: &LockFiles) -> Proof {
    let proof = prove(&catalog::<E>(), files).unwrap();
    assert!(proof.holds(), "{:?}", proof.findings);
    proof
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("{finding}\n")).collect()
}

#[test]
fn three_releases_are_locked_and_each_reads_what_those_before_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    assert!(matches!(prove(&catalog::<first::TillEvent>(), &files), Err(FileError::Missing { .. })));
    let locked = lock_release::<first::TillEvent>(&files);
    assert_eq!((locked.versions, locked.samples, locked.is_changed), (4, 4, true));
    let locked = lock_release::<first::TillEvent>(&files);
    assert_eq!((locked.versions, locked.samples, locked.is_changed), (4, 0, false));
    assert_proved::<first::TillEvent>(&files);

    let stale = prove(&catalog::<second::TillEvent>(), &files).unwrap();
    assert!(
        lines(&stale.findings).contains("till.taken version 2: the lock does not have it as the code does")
    );
    // The smallest list of amounts is empty, so the sample of it shows little: a better one by hand.
    let sample = folder.path().join("events.samples/till.taken@1.json");
    let two = json!([{"stored": {"amounts": [4, 0, 5]},
        "reads_as": [["till.taken", 2, {"amount": 4}], ["till.taken", 2, {"amount": 5}]]}]);
    std::fs::write(&sample, two.to_string()).unwrap();
    let reads_as = |name: &str| -> Value {
        let text = std::fs::read_to_string(folder.path().join("events.samples").join(name)).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()[0]["reads_as"].clone()
    };
    let locked = lock_release::<second::TillEvent>(&files);
    assert_eq!((locked.versions, locked.samples, locked.rewritten), (7, 3, 2));
    assert_eq!(reads_as("till.frozen@1.json"), json!([["till.blocked", 1, {"by": ""}]]));
    assert_eq!(reads_as("till.audited@1.json"), json!([]));
    assert_eq!(reads_as("till.taken@2.json"), json!([["till.taken", 2, {"amount": 1}]]));
    assert_eq!(reads_as("till.returned@2.json"), json!([["till.returned", 1, {"item": {"sku": ""}}]]));
    let proof = assert_proved::<second::TillEvent>(&files);
    assert_eq!((proof.versions, proof.samples), (7, 7));

    lock_release::<third::TillEvent>(&files);
    let versions = files.read().unwrap();
    let versions = versions.versions().map(|(name, version, state)| format!("{name}@{version} {state:?}"));
    expect_test::expect![[r#"
        till.audited@1 Retired
        till.blocked@1 Current
        till.frozen@1 Superseded
        till.returned@1 Superseded
        till.returned@2 Current
        till.taken@1 Superseded
        till.taken@2 Superseded
        till.taken@3 Current"#]]
    .assert_eq(&versions.collect::<Vec<_>>().join("\n"));
    assert_eq!(reads_as("till.taken@1.json"), json!([]));
    assert_eq!(reads_as("till.returned@1.json"), json!([["till.returned", 2, {"sku": ""}]]));
    assert_proved::<third::TillEvent>(&files);
}

#[test]
fn a_sample_sees_what_no_schema_says() {
    mod changed {
        use super::*;

        #[derive(Debug, Event)]
        #[event(prefix = "till", schema)]
        pub(super) enum TillEvent {
            Taken {
                amounts: Vec<u32>,
            },
            Frozen {
                #[tag]
                by: String,
            },
            Audited {
                #[serde(deserialize_with = "shouted")]
                #[schemars(with = "String")]
                by: String,
            },
            #[event(version = 1)]
            Returned {
                item: first::Item,
            },
        }

        fn shouted<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
            String::deserialize(from).map(|text| text.to_uppercase() + "!")
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    lock_release::<first::TillEvent>(&files);
    let before = std::fs::read_to_string(folder.path().join("events.samples/till.audited@1.json")).unwrap();
    let proof = prove(&catalog::<changed::TillEvent>(), &files).unwrap();
    expect_test::expect![[r#"
        error: till.audited version 1: sample 1 is read as [["till.audited",1,{"by":"!"}]], not as [["till.audited",1,{"by":""}]]: correct the code; correct the sample only if the meaning of stored events was to change
    "#]]
    .assert_eq(&lines(&proof.findings));
    lock_release::<changed::TillEvent>(&files);
    let after = std::fs::read_to_string(folder.path().join("events.samples/till.audited@1.json")).unwrap();
    assert_eq!(before, after, "`lock` does not hide it");
}

#[test]
fn a_change_to_a_released_version_writes_nothing() {
    mod changed {
        use super::*;
        #[derive(Debug, Event)]
        #[event(prefix = "till", schema)]
        pub(super) enum TillEvent {
            Taken { amounts: Vec<u64> },
            Frozen { by: String },
            Audited { by: String },
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    lock_release::<first::TillEvent>(&files);
    let before = std::fs::read_to_string(files.path()).unwrap();
    let locked = lock(&catalog::<changed::TillEvent>(), &files, &with_samples()).unwrap();
    expect_test::expect![[r#"
        warning: till.frozen version 1: has the tags (none), and was released with `by`: make sure that no rule over these tags needs the older events
        error: till.returned version 1: the code does not read this type any more: add `alias = "till.returned"` to the variant that took its place, or `retired("till.returned" = 1)` to the enum
        error: till.taken version 1: `amounts[]` has `format` "uint64", not "uint32": leave version 1 as it was released; write `version = 2` with `upcast(1 = same)` if the new fields read the old data, else with an old type
    "#]]
    .assert_eq(&lines(&locked.findings));
    assert!(!locked.is_changed);
    assert_eq!(std::fs::read_to_string(files.path()).unwrap(), before);
    assert!(!prove(&catalog::<changed::TillEvent>(), &files).unwrap().holds());
}

#[test]
fn the_running_code_must_read_what_the_new_code_writes() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    lock_release::<first::TillEvent>(&files);
    let first = files.read().unwrap();
    let found = lines(&unreadable_by(&first, &catalog::<second::TillEvent>()));
    expect_test::expect![[r#"
        error: till.blocked version 1: the running code cannot read it: deploy a release first that has this name in its enum, as a variant or an alias, and does not write it yet
        error: till.taken version 2: the running code cannot read it: deploy a release first that reads it, with `ahead(2 = …)`, and still writes the version before
    "#]]
    .assert_eq(&found);
    lock_release::<second::TillEvent>(&files);
    let second = files.read().unwrap();
    assert_eq!(unreadable_by(&second, &catalog::<second::TillEvent>()), []);
    let found = unreadable_by(&second, &catalog::<third::TillEvent>());
    assert!(
        found.iter().all(|finding| finding.event_type == "till.taken"),
        "`returned` was read ahead: {found:?}"
    );
    let found = lines(&unreadable_by(&second, &catalog::<first::TillEvent>()));
    assert!(found.contains("till.audited version 1: the running code reads it as nothing"), "{found}");
    assert!(!found.contains("till.taken"), "the second release still reads version 1: {found}");
}

/// A log with events of the first release, one of them as no release wrote it.
fn log(broken: bool) -> Gesta {
    let store = memory();
    let mut number = 0;
    let mut append = |stream: &str, event_type: &str, data: &Value| {
        number += 1;
        let time = Timestamp::from_nanos(number);
        let (id, stream) = (EventId::from_u128(u128::try_from(number).unwrap()), stream.parse().unwrap());
        let event = NewEvent::json(id, stream, event_type.parse().unwrap(), time, data.to_string());
        store.append_now(Batch::new([event])).unwrap();
    };
    for amount in 1..=50 {
        append("till-1", "till.taken", &json!({"amounts": [amount, 0]}));
        append("till-2", "till.audited", &json!({"by": "ann"}));
        append("other-1", "other.happened", &json!({}));
    }
    append("till-3", "till.frozen", &if broken { json!({"by": 7}) } else { json!({"by": "ben"}) });
    Gesta::new(Arc::new(store))
}

#[test]
fn a_log_is_proved_event_by_event_or_by_a_sample_and_its_streams_fold() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    lock_release::<second::TillEvent>(&files);
    let (lock, catalog) = (files.read().unwrap(), catalog::<second::TillEvent>());
    let app = App::new("till").decider::<second::Till>();
    let proved = |gesta: &Gesta, amount| {
        let stored = Stored { gesta, app: &app, catalog: &catalog, lock: &lock };
        block_on(prove_stored(stored, amount)).unwrap()
    };
    let all = proved(&log(false), Amount::All);
    assert_eq!((all.events, all.streams, &all.findings[..]), (101, 3, &[][..]));
    assert_eq!(all.met[&("till.taken".to_owned(), 1)], 50);
    let sample = proved(&log(false), Amount::Sample(NonZeroU32::new(3).unwrap()));
    assert_eq!((sample.met[&("till.taken".to_owned(), 1)], sample.findings.len()), (5, 0));
    assert_eq!(sample.met[&("till.frozen".to_owned(), 1)], 1);
    for amount in [Amount::All, Amount::Sample(NonZeroU32::MIN)] {
        let found = lines(&proved(&log(true), amount).findings);
        assert!(found.contains("error: till.frozen version 1 at position 151: is not read: "), "{found}");
        if amount == Amount::All {
            assert!(found.contains("error: stream till-3: does not fold: "), "{found}");
        }
    }
}

#[test]
fn a_sample_finds_where_versions_change_and_names_those_that_it_did_not_meet() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    lock_release::<second::TillEvent>(&files);
    let (lock, catalog) = (files.read().unwrap(), catalog::<second::TillEvent>());
    let store = memory();
    let versions = [vec![1; 90], vec![2; 3], vec![1; 90], vec![2; 200]].concat();
    for (number, version) in versions.into_iter().enumerate() {
        let id = EventId::from_u128(number as u128 + 1);
        let (stream, kind) = ("till-1".parse().unwrap(), "till.taken".parse().unwrap());
        // Version 2 is written as version 1 was: no release can read it.
        let event =
            NewEvent::json(id, stream, kind, Timestamp::from_nanos(1), json!({"amounts": [1]}).to_string());
        store.append_now(Batch::new([NewEvent { schema_version: version, ..event }])).unwrap();
    }
    let gesta = Gesta::new(Arc::new(store));
    let app = App::new("till");
    let stored = Stored { gesta: &gesta, app: &app, catalog: &catalog, lock: &lock };
    let proof = block_on(prove_stored(stored, Amount::Sample(NonZeroU32::MIN))).unwrap();
    let broken = proof.findings.iter().find(|finding| finding.version == Some(2)).unwrap();
    assert_eq!(broken.position.unwrap().sequence, 184, "the first of the last run of version 2");
    assert!(proof.unmet.contains(&("till.blocked".to_owned(), 1)), "{:?}", proof.unmet);
    let all = block_on(prove_stored(stored, Amount::All)).unwrap();
    let broken = all.findings.iter().find(|finding| finding.version == Some(2)).unwrap();
    assert_eq!(broken.position.unwrap().sequence, 91, "a sample misses a run between others of one version");
}

#[test]
fn stored_events_become_the_samples_of_versions_that_have_none() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let catalog = catalog::<second::TillEvent>();
    lock(&catalog, &files, &LockOptions::default()).unwrap();
    let gesta = log(false);
    let stored = block_on(stored_samples(&**gesta.event_store(), &files.read().unwrap(), &files)).unwrap();
    let mut options = LockOptions::default();
    options.stored = stored;
    let locked = lock(&catalog, &files, &options).unwrap();
    assert_eq!(
        (locked.samples, &locked.findings[..]),
        (2, &[][..]),
        "`audited` and `taken` stand in the log"
    );
}

#[test]
fn a_type_has_one_owner_and_the_same_enum_may_come_twice() {
    let both = EventEnum::of::<second::TillEvent>().into_iter().chain(EventEnum::of::<second::TillEvent>());
    assert!(Catalog::new(both).is_ok());
    let two = EventEnum::of::<second::TillEvent>().into_iter().chain(EventEnum::of::<first::TillEvent>());
    let error = Catalog::new(two).unwrap_err().to_string();
    assert!(error.contains("has two owners") && error.contains("leave `schema` out"), "{error}");
    assert!(EventEnum::of::<crate::domain::AccountEvent>().is_none());
}

#[test]
fn the_schema_of_an_event_is_canonical_whatever_is_said_about_it() {
    let schemas = second::TillEvent::schemas();
    let returned =
        schemas.iter().find(|schema| (schema.name, schema.version) == ("till.returned", 1)).unwrap();
    let expected = json!({
        "type": "object", "required": ["item"],
        "properties": {"item": {"type": "object", "required": ["sku"],
            "properties": {"sku": {"type": "string"}, "color": {"type": ["null", "string"]}}}},
    });
    assert_eq!(returned.schema.as_ref(), Some(&expected));
    let taken = schemas.iter().find(|schema| (schema.name, schema.version) == ("till.taken", 2)).unwrap();
    let amount = &taken.schema.as_ref().unwrap()["properties"]["amount"];
    assert_eq!((&amount["minimum"], &amount["format"]), (&json!(1), &json!("uint32")));
}
