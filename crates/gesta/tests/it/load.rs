//! Loading states, now and at earlier points, and the errors.

use gesta::testing::{block_on, store};
use gesta::*;
use gesta_conformance::sample::{self, Sample as _};

use crate::domain::*;

fn event(stream: &str, event_type: &str, schema_version: u16, data: &str, number: u128) -> NewEvent {
    let time = Timestamp::from_nanos(i64::try_from(number).unwrap());
    let event = sample::event(stream, 1_000 + number).of_type(event_type).with_data(data.to_owned());
    NewEvent { schema_version, time, ..event }
}

async fn append(gesta: &Gesta, events: impl IntoIterator<Item = NewEvent>) {
    gesta.event_store().append(Batch::new(events)).await.unwrap();
}

#[test]
fn a_state_is_loaded_at_each_earlier_point() {
    block_on(async {
        let gesta = store();
        let ann = id("ann");
        // Recorded in this order; the second deposit had happened before the first.
        for (time, amount) in [(10, 0), (30, 5), (20, 7)] {
            let command = if amount == 0 { open() } else { AccountCommand::Deposit { amount } };
            let meta = Meta::new().time(Timestamp::from_nanos(time));
            gesta.with(meta).send::<Account>(&ann, command).await.unwrap();
        }
        let now = gesta.load::<Account>(&ann).await.unwrap();
        assert_eq!((now.balance, now.version), (12, Some(Version::new(2))));

        let at = |as_of| gesta.load_at::<Account>(&ann, as_of);
        let first = at(AsOf::Version(Version::new(1))).await.unwrap();
        assert_eq!((first.balance, first.version), (5, Some(Version::new(1))));
        let again = at(AsOf::Checkpoint(first.checkpoint.clone())).await.unwrap();
        assert_eq!((again.state, again.version), (first.state, first.version));

        let page = gesta.event_store().read(Read::stream(ann.stream().unwrap())).await.unwrap();
        let recorded_at = page.events[1].recorded_at();
        assert_eq!(at(AsOf::RecordedAt(recorded_at)).await.unwrap().balance, 5);
        assert_eq!(at(AsOf::Time(Timestamp::from_nanos(25))).await.unwrap().balance, 7);

        let before = at(AsOf::Time(Timestamp::from_nanos(1))).await.unwrap();
        assert_eq!((before.state, before.version), (Account::default(), None));
        let error = at(AsOf::Version(Version::new(3))).await.unwrap_err();
        assert_eq!(error.to_string(), "stream `account-ann` has no version 3: its last version is 2");
    });
}

#[test]
fn a_long_history_is_folded_page_by_page() {
    block_on(async {
        let gesta = store();
        let deposits = |from: u128| {
            (from..from + 9_000)
                .map(|number| event("account-ann", "bank.account.deposited", 1, r#"{"amount":1}"#, number))
        };
        append(&gesta, deposits(0)).await;
        append(&gesta, deposits(10_000)).await;
        let ann = id("ann");
        assert_eq!(gesta.load::<Account>(&ann).await.unwrap().balance, 18_000);
        let as_of = AsOf::Version(Version::new(12_345));
        assert_eq!(gesta.load_at::<Account>(&ann, as_of).await.unwrap().balance, 12_346);
        let as_of = AsOf::Time(Timestamp::from_nanos(9_999));
        assert_eq!(gesta.load_at::<Account>(&ann, as_of).await.unwrap().balance, 9_000);
    });
}

#[test]
fn nothing_is_ever_skipped_in_a_stream() {
    block_on(async {
        let gesta = store();
        let cases = [
            ("account-a", "bank.account.seized", 1, "{}", "holds `bank.account.seized` at version 0"),
            (
                "account-b",
                "bank.account.opened",
                2,
                "{}",
                "has schema version 2, but this program knows versions 1 to 1",
            ),
            (
                "account-c",
                "bank.account.opened",
                1,
                "{}",
                "`bank.account.opened` at version 0 of stream `account-c` does not decode",
            ),
        ];
        for (number, (stream, event_type, schema_version, data, message)) in (1..).zip(cases) {
            append(&gesta, [event(stream, event_type, schema_version, data, number)]).await;
            let error = gesta.load::<Account>(&id(&stream[8..])).await.unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
            let stopped = gesta.send::<Account>(&id(&stream[8..]), open()).await.unwrap_err();
            assert!(matches!(stopped, SendError::Load(_)), "{stopped}");
        }
    });
}

#[derive(Debug, Event)]
#[event(prefix = "bank.account", ignore)]
enum Openings {
    Opened {},
}

/// The number of opened accounts. It reads one type of a richer history.
#[derive(Debug, Default)]
struct Count(u64);

impl State for Count {
    type Event = Openings;

    fn evolve(&mut self, Openings::Opened {}: Openings) {
        self.0 += 1;
    }
}

#[test]
fn an_enum_with_ignore_skips_other_events() {
    block_on(async {
        let gesta = store();
        funded(&gesta, "ann", 5).await;
        let loaded = gesta.load_stream::<Count>("account-ann".parse().unwrap()).await.unwrap();
        assert_eq!((loaded.state.0, loaded.version), (1, Some(Version::new(1))));
    });
}

#[test]
fn a_query_matches_only_the_events_of_its_enum() {
    block_on(async {
        let gesta = store();
        append(&gesta, [event("account-x", "bank.account.seized", 1, "{}", 1)]).await;
        funded(&gesta, "ann", 5).await;
        let item = Item { category: Some(Category::new("account").unwrap()), ..Item::default() };
        let all = gesta.look(At::<Account>::matching(item)).await.unwrap();
        assert_eq!((all.balance, all.version()), (5, None));
    });
}

#[test]
fn a_recorded_event_knows_its_entity() {
    block_on(async {
        let gesta = store();
        funded(&gesta, "ann", 5).await;
        let page = gesta.event_store().read(Read::log(query::<AccountEvent>())).await.unwrap();
        let events =
            page.events.iter().flat_map(|event| Recorded::<AccountEvent>::decode(event).unwrap().unwrap());
        let events = events.map(|own| (own.key::<AccountId>().unwrap(), own.event)).collect::<Vec<_>>();
        assert_eq!(events[1], (id("ann"), AccountEvent::Deposited { amount: 5 }));
    });
}
