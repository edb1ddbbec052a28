//! Commands to one entity: conflicts, repeats, expectations, metadata.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use gesta::testing::{block_on, json, store};
use gesta::*;
use gesta_conformance::sample::{self, Sample as _};

use crate::domain::*;

fn key(name: &str, request: &'static [u8]) -> CommandKey {
    Idempotency::new("ann", "test").command_key(name, [request])
}

/// Another writer's append to ann's account, before an append under test.
fn intrude(inner: &MemoryStore, number: u32, event_type: &str, data: &'static str) {
    let event = sample::event("account-ann", 9_000 + number).of_type(event_type).with_data(data);
    inner.append_now(Batch::new([event])).unwrap();
}

#[test]
fn a_command_is_decided_again_if_another_writer_was_faster() {
    block_on(async {
        let store = Interposed::new(|number, inner, batch| {
            if number == 1 {
                intrude(inner, number, "bank.account.withdrawn", r#"{"amount":8}"#);
            }
            inner.append_now(batch)
        });
        let (gesta, beneath) = store.handles();
        funded(&beneath, "ann", 10).await;

        let refused =
            gesta.send::<Account>(&id("ann"), AccountCommand::Withdraw { amount: 5 }).await.unwrap_err();
        let left = Refused::InsufficientFunds { balance: 2, amount: 5 };
        assert!(matches!(&refused, SendError::Refused(error) if *error == left), "{refused}");
        assert_eq!(refused.to_string(), "only 2 is left, 5 was asked for");

        let committed =
            gesta.send::<Account>(&id("ann"), AccountCommand::Withdraw { amount: 2 }).await.unwrap();
        assert_eq!((committed.version(), committed.repeated), (Some(Version::new(3)), false));
        assert_eq!(beneath.load::<Account>(&id("ann")).await.unwrap().balance, 0);
        assert_eq!(store.appends(), 2);
    });
}

#[test]
fn a_command_that_never_gets_through_gives_up_and_writes_nothing() {
    block_on(async {
        let store = Interposed::new(|number, inner, batch| {
            intrude(inner, number, "bank.account.deposited", r#"{"amount":1}"#);
            inner.append_now(batch)
        });
        let (gesta, beneath) = store.handles();
        funded(&beneath, "ann", 10).await;
        let gesta = gesta.attempts(NonZeroU32::new(3).unwrap());
        let error =
            gesta.send::<Account>(&id("ann"), AccountCommand::Withdraw { amount: 5 }).await.unwrap_err();
        assert!(matches!(error, SendError::Contended { attempts: 3 }), "{error}");
        assert_eq!(error.retry(), Retry::Now);
        assert_eq!(beneath.load::<Account>(&id("ann")).await.unwrap().balance, 13);
    });
}

#[test]
fn an_accepted_command_without_events_writes_nothing() {
    block_on(async {
        let gesta = store();
        funded(&gesta, "ann", 5).await;
        let committed = gesta.send::<Account>(&id("ann"), AccountCommand::Check).await.unwrap();
        assert!(committed.events.is_empty() && committed.places.is_empty());
        assert_eq!(committed.version(), Some(Version::new(1)));
        assert_eq!(committed.checkpoint, gesta.event_store().locate(When::Head).await.unwrap());
    });
}

static ASKED: AtomicU32 = AtomicU32::new(0);

/// Counts its decisions.
#[derive(Debug, Default)]
struct Asked;

impl State for Asked {
    type Event = AccountEvent;

    fn evolve(&mut self, _: AccountEvent) {}
}

impl Decider for Asked {
    type Id = AccountId;
    type Command = AccountCommand;
    type Error = Refused;

    fn decide(&self, _: AccountCommand) -> Result<Vec<AccountEvent>, Refused> {
        ASKED.fetch_add(1, Ordering::SeqCst);
        Ok(vec![AccountEvent::Opened { owner: "ann".into() }, AccountEvent::Deposited { amount: 1 }])
    }
}

#[test]
fn a_repeated_command_gets_the_first_answer_and_is_not_decided() {
    block_on(async {
        let gesta = store();
        let first = gesta.command_key(key("1", b"x")).send::<Asked>(&id("ann"), open()).await.unwrap();
        gesta.send::<Account>(&id("ann"), AccountCommand::Deposit { amount: 9 }).await.unwrap();
        let second = gesta.command_key(key("1", b"x")).send::<Asked>(&id("ann"), open()).await.unwrap();
        assert!(!first.repeated && second.repeated);
        assert_eq!(Committed { repeated: true, ..first }, second);
        assert_eq!(second.events[1], AccountEvent::Deposited { amount: 1 });
        assert_eq!(ASKED.load(Ordering::SeqCst), 1);
        assert_eq!(gesta.load::<Account>(&id("ann")).await.unwrap().balance, 10);
    });
}

#[test]
fn a_key_belongs_to_one_request() {
    block_on(async {
        let gesta = store();
        gesta.command_key(key("1", b"x")).send::<Account>(&id("ann"), open()).await.unwrap();
        let other = gesta.command_key(key("1", b"y")).send::<Account>(&id("ben"), open()).await.unwrap_err();
        assert!(matches!(other, SendError::Append(AppendError::KeyReused)), "{other}");
    });
}

#[test]
fn the_same_command_twice_at_once_has_one_effect() {
    block_on(async {
        // The same command gets through after the key is checked and before the append.
        let store = Interposed::new(|number, inner, batch| {
            if number == 1 {
                let mut other = batch.clone();
                other.events[0].id = EventId::from_u128(77);
                inner.append_now(other).unwrap();
            }
            inner.append_now(batch)
        });
        let (gesta, beneath) = store.handles();
        let committed = gesta.command_key(key("1", b"x")).send::<Account>(&id("ann"), open()).await.unwrap();
        assert!(committed.repeated);
        assert_eq!(committed.events, [AccountEvent::Opened { owner: "ann".into() }]);
        assert_eq!(beneath.load::<Account>(&id("ann")).await.unwrap().version, Some(Version::FIRST));
    });
}

#[test]
fn an_expected_version_is_compared_before_deciding() {
    block_on(async {
        let gesta = store();
        funded(&gesta, "ann", 5).await;
        let ann = id("ann");
        let deposit = || AccountCommand::Deposit { amount: 1 };
        let error = gesta.expect_version(Version::new(0)).send::<Account>(&ann, deposit()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "stream `account-ann` was expected to have version 0, but has version 1"
        );
        gesta.expect_version(Version::new(1)).send::<Account>(&ann, deposit()).await.unwrap();
        let new = gesta.call().expect(Expected::None).send::<Account>(&ann, deposit()).await.unwrap_err();
        assert!(matches!(new, SendError::VersionMismatch { expected: Expected::None, .. }), "{new}");
    });
}

#[test]
fn an_overtaken_expected_version_is_a_mismatch() {
    block_on(async {
        let store = Interposed::new(|number, inner, batch| {
            intrude(inner, number, "bank.account.deposited", r#"{"amount":1}"#);
            inner.append_now(batch)
        });
        let (gesta, beneath) = store.handles();
        funded(&beneath, "ann", 5).await;
        let call = gesta.expect_version(Version::new(1));
        let error =
            call.send::<Account>(&id("ann"), AccountCommand::Deposit { amount: 1 }).await.unwrap_err();
        assert!(matches!(error, SendError::VersionMismatch { actual: Some(_), .. }), "{error}");
        assert_eq!(store.appends(), 1);
    });
}

#[test]
fn every_event_carries_the_metadata_of_its_command() {
    block_on(async {
        let gesta = store();
        let meta = Meta::new()
            .actor("ann")
            .correlation("c-1")
            .causation("e-1")
            .reason("because")
            .entry("n", 7)
            .time(Timestamp::from_nanos(5));
        gesta.with(meta).send::<Account>(&id("ann"), open()).await.unwrap();
        let page = gesta.event_store().read(Read::log(Query::All)).await.unwrap();
        let event = &page.events[0];
        assert_eq!(event.tags().collect::<Vec<_>>(), ["$actor:ann", "$causation:e-1", "$correlation:c-1"]);
        let metadata: serde_json::Value = serde_json::from_slice(event.metadata_slice()).unwrap();
        assert_eq!(metadata, json!({"reason": "because", "n": 7}));
        assert_eq!(event.time(), Timestamp::from_nanos(5));
        let nameless =
            gesta.with(Meta::new().actor("")).send::<Account>(&id("ben"), open()).await.unwrap_err();
        assert!(matches!(nameless, SendError::Encode(EncodeError::Name(_))), "{nameless}");
    });
}

#[test]
fn an_entity_is_expected_by_its_last_event() {
    block_on(async {
        let gesta = store();
        funded(&gesta, "ann", 10).await;
        let page = gesta.event_store().read(Read::stream("account-ann".parse().unwrap())).await.unwrap();
        let event = |at: usize| page.events[at].id();
        let send = |id| {
            let expected = Expected::Event { version: Version::new(1), id };
            let call = gesta.call().expect(expected);
            async move {
                call.send::<Account>(&crate::domain::id("ann"), AccountCommand::Withdraw { amount: 1 }).await
            }
        };
        let refused = send(event(0)).await.unwrap_err();
        assert!(matches!(refused, SendError::VersionMismatch { .. }), "{refused}");
        send(event(1)).await.unwrap();
        let refused = send(event(1)).await.unwrap_err();
        assert!(matches!(refused, SendError::VersionMismatch { actual: Some(_), .. }), "{refused}");
    });
}
