//! Processes: what is recorded, how a delivery is settled, and what happens again after a repeat.

use gesta::process::{HostedProcess, NameProblem};
use gesta::testing::{block_on, json, store};
use gesta::*;
use gesta_consumer::Failed;
use gesta_consumer::group::Then;

use crate::fulfilment::{Outcome, *};

fn items() -> Items {
    Items { sku: StockId("pen".to_owned()), count: 2 }
}

fn placed() -> Fact {
    Fact::Placed { order: OrderId("7".to_owned()), items: items() }
}

fn paid() -> Fact {
    Fact::Paid { order: OrderId("7".to_owned()) }
}

/// A store with stock and the fulfilment on it.
struct Host {
    gesta: Gesta,
    process: HostedProcess,
    ids: std::cell::Cell<u128>,
}

impl Host {
    async fn new(shop: Shop) -> Self {
        let process = HostedProcess::new::<Fulfilment>(shop).unwrap();
        let host = Self { gesta: store(), process, ids: 1_000_000.into() };
        host.append("stock-pen", StockEvent::Received { count: 3 }).await;
        host
    }

    async fn append<E: Event>(&self, stream: &str, event: E) -> RecordedEvent {
        let info = event.info();
        self.append_raw(stream, info.name, info.version, &event.encode().unwrap()).await
    }

    async fn append_raw(
        &self,
        stream: &str,
        event_type: &str,
        schema_version: u16,
        data: &[u8],
    ) -> RecordedEvent {
        self.ids.set(self.ids.get() + 1);
        let id = EventId::from_u128(self.ids.get());
        let (stream, event_type) = (stream.parse::<StreamName>().unwrap(), event_type.parse().unwrap());
        let event = NewEvent::json(id, stream.clone(), event_type, Timestamp::from_nanos(1), data.to_vec());
        let tag = "$correlation:c-1".parse().unwrap();
        let event = NewEvent { schema_version, ..event }.with_tags([tag]);
        self.gesta.event_store().append(Batch::new([event])).await.unwrap();
        self.stream(stream.as_str()).await.pop().unwrap()
    }

    async fn stream(&self, stream: &str) -> Vec<RecordedEvent> {
        let read = Read::stream(stream.parse().unwrap());
        self.gesta.event_store().read(read).await.unwrap().events
    }

    async fn handle(&self, events: &[RecordedEvent]) -> Result<(), Failed> {
        self.process.handle(&self.gesta, events).await
    }

    /// The events of the process, as type and data.
    async fn history(&self) -> Vec<(String, serde_json::Value)> {
        let events = self.stream("fulfilment-7").await;
        let data = |event: &RecordedEvent| serde_json::from_slice(event.data_slice()).unwrap();
        events.iter().map(|event| (event.event_type().to_owned(), data(event))).collect()
    }
}

#[track_caller]
fn assert_all_handled(ended: &Result<(), Failed>) {
    assert_eq!(*ended, Ok(()), "all is handled");
}

#[track_caller]
fn assert_stopped(ended: &Result<(), Failed>, handled: usize, then: Then, error: &str) {
    let failed = ended.as_ref().unwrap_err();
    assert_eq!((failed.handled, &failed.then), (handled, &then), "{failed:?}");
    assert!(failed.error.contains(error), "{}", failed.error);
}

const RETRY: Then = Then::Retry { after: None };
const RELEASE: Then = Then::Release { after: None };

#[test]
fn a_reaction_and_each_outcome_are_one_batch_of_the_process_stream() {
    block_on(async {
        let host = Host::new(Shop::new()).await;
        let input = host.append("order-7", placed()).await;
        assert_all_handled(&host.handle(std::slice::from_ref(&input)).await);
        let input_json = json!({"stream": "order-7", "id": input.id().to_string()});
        let items = json!({"sku": "pen", "count": 2});
        let history = host.history().await;
        let due = history[1].1["due"].as_i64().unwrap();
        let expected = [
            (
                "gesta.process.reacted",
                json!({"input": input_json, "effects": [{"Reserve": {"items": items}}]}),
            ),
            ("gesta.process.timer-set", json!({"timer": "Payment", "due": due})),
            ("shop.fulfilment.began", json!({"items": items})),
            (
                "gesta.process.performed",
                json!({"effect": {"input": input_json, "path": [0]}, "outcome": "Reserved"}),
            ),
            ("shop.fulfilment.awaits-payment", json!({})),
        ];
        assert_eq!(history, expected.map(|(name, data)| (name.to_owned(), data)));
        let events = host.stream("fulfilment-7").await;
        let appended = events[2].time().as_nanos();
        assert!((appended - 1_000_000_000..=appended).contains(&(due - 15 * 60 * 1_000_000_000)));
        assert_eq!(events[0].recorded_at(), events[2].recorded_at(), "one batch");
        assert_eq!(host.gesta.load::<Stock>(&StockId("pen".to_owned())).await.unwrap().left, 1);
    });
}

#[test]
fn what_a_process_records_names_its_cause() {
    block_on(async {
        let host = Host::new(Shop::new()).await;
        let input = host.append("order-7", placed()).await;
        host.handle(std::slice::from_ref(&input)).await.unwrap();
        let reserved = host.stream("stock-pen").await.pop().unwrap();
        for event in host.stream("fulfilment-7").await.iter().chain([&reserved]) {
            let tags = event.tags().collect::<Vec<_>>();
            let causation = format!("$causation:{}", input.id());
            assert_eq!(tags, ["$actor:process:fulfilment", &causation, "$correlation:c-1"], "{event:?}");
        }
    });
}

#[test]
fn a_delivery_that_comes_again_changes_nothing() {
    block_on(async {
        let shop = Shop::new();
        let notes = shop.notes.clone();
        let host = Host::new(shop).await;
        let inputs = [host.append("order-7", placed()).await, host.append("payment-9", paid()).await];
        assert_all_handled(&host.handle(&inputs).await);
        let first = host.history().await;
        for _ in 0..2 {
            assert_all_handled(&host.handle(&inputs).await);
        }
        assert_eq!(host.history().await, first);
        let effects = notes.lock().unwrap().iter().map(|(effect, _)| effect.clone()).collect::<Vec<_>>();
        assert_eq!(effects, [Effect::Reserve { items: items() }, Effect::Ship]);
    });
}

#[test]
fn an_effect_that_is_performed_again_has_the_same_key() {
    block_on(async {
        let failed = std::sync::atomic::AtomicBool::new(false);
        let shop = Shop::failing(move |effect| {
            let fails = *effect == Effect::Cancel && !failed.swap(true, std::sync::atomic::Ordering::Relaxed);
            fails.then(|| Failure::Transient("the line is busy".into()))
        });
        let notes = shop.notes.clone();
        let host = Host::new(shop).await;
        let much = Items { count: 4, ..items() };
        let order = OrderId("7".to_owned());
        let inputs = [host.append("order-7", Fact::Placed { order, items: much }).await];
        assert_stopped(&host.handle(&inputs).await, 0, RETRY, "the effect failed: the line is busy");
        assert_all_handled(&host.handle(&inputs).await);
        let paths = host.history().await.into_iter().filter(|(name, _)| name == "gesta.process.performed");
        let paths = paths.map(|(_, data)| data["effect"]["path"].clone()).collect::<Vec<_>>();
        assert_eq!(paths, [json!([0]), json!([0, 0])], "the cancellation followed from the refusal");
        let notes = notes.lock().unwrap();
        assert_eq!(
            notes.iter().map(|(effect, _)| effect).filter(|effect| **effect == Effect::Cancel).count(),
            1
        );
        assert_ne!(notes[0].1, notes[1].1, "each effect has a key of its own");
        assert!(notes.iter().all(|(_, key)| key.len() == 64));
    });
}

#[test]
fn a_deferred_input_is_released_and_leaves_no_record() {
    block_on(async {
        let host = Host::new(Shop::new()).await;
        let (early, order) = (host.append("payment-9", paid()).await, host.append("order-7", placed()).await);
        let early = [early];
        assert_stopped(&host.handle(&early).await, 0, RELEASE, "`shop.payment.paid` is deferred");
        assert!(host.history().await.is_empty());
        assert_all_handled(&host.handle(&[order]).await);
        assert_all_handled(&host.handle(&early).await);
        let (last, _) = host.history().await.into_iter().rfind(|(name, _)| name.starts_with("shop")).unwrap();
        assert_eq!(last, "shop.fulfilment.paid");
    });
}

#[test]
fn a_delivery_is_settled_by_what_went_wrong() {
    block_on(async {
        let failure = |make: fn(Box<dyn std::error::Error + Send + Sync>) -> Failure| {
            Shop::failing(move |_| Some(make("no".into())))
        };
        for (make, then) in [
            (Failure::Transient as fn(_) -> _, RETRY),
            (Failure::Unavailable, RELEASE),
            (Failure::Final, Then::Park),
        ] {
            let host = Host::new(failure(make)).await;
            let inputs = [host.append("order-7", placed()).await];
            assert_stopped(&host.handle(&inputs).await, 0, then, ": no");
        }
        let host = Host::new(Shop::failing(|_| panic!("out of paper"))).await;
        let inputs = [host.append("order-7", placed()).await];
        assert_stopped(&host.handle(&inputs).await, 0, Then::Park, "the process panicked: out of paper");

        let host = Host::new(Shop::new()).await;
        let good = host.append("order-7", placed()).await;
        let cases = [
            ("shop.order.placed", 1, "{}", Then::Park, "does not decode"),
            ("shop.order.placed", 2, "{}", RELEASE, "upgrade the program"),
            ("shop.order.moved", 1, "{}", RELEASE, "does not know the event type `shop.order.moved`"),
            ("gesta.process.timer-fired", 2, "{}", RELEASE, "upgrade the program"),
            ("gesta.process.timer-fired", 1, "{}", Then::Park, "does not decode"),
            ("gesta.process.timer-fired", 1, r#"{"timer":"Tea","set":1}"#, Then::Park, "does not decode"),
            ("gesta.process.slept", 1, "{}", RELEASE, "does not know"),
        ];
        for (number, (event_type, schema_version, data, then, error)) in cases.into_iter().enumerate() {
            let category = if event_type.starts_with("gesta") { "fulfilment" } else { "order" };
            let stream = format!("{category}-{number}");
            let bad = host.append_raw(&stream, event_type, schema_version, data.as_bytes()).await;
            assert_stopped(&host.handle(&[good.clone(), bad]).await, 1, then, error);
        }
        let nameless = Fact::Paid { order: OrderId(String::new()) };
        let nameless = host.append("payment-1", nameless).await;
        assert_stopped(&host.handle(&[nameless]).await, 0, Then::Park, "it is empty");
    });
}

#[test]
fn a_store_that_is_away_releases_the_delivery() {
    block_on(async {
        let store = crate::domain::Interposed::new(|_, _, _| {
            Err(AppendError::Unavailable { reason: "it restarts".to_owned() })
        });
        let host = Host::new(Shop::new()).await;
        let input = host.append("order-7", placed()).await;
        let (through, _) = store.handles();
        let settled = host.process.handle(&through, &[input]).await;
        assert_stopped(&settled, 0, RELEASE, "it restarts");
    });
}

/// A reaction that a test chooses by the state of stock.
macro_rules! probe {
    ($name:ident, $react:expr) => {
        #[derive(Debug, Default)]
        struct $name;

        impl State for $name {
            type Event = FulfilmentEvent;
            fn evolve(&mut self, _: FulfilmentEvent) {}
        }

        impl Process for $name {
            const NAME: &'static str = "fulfilment";
            type Id = OrderId;
            type Input = Fact;
            type Effect = Effect;
            type Outcome = Outcome;
            type Timer = Timer;
            fn correlate(fact: &Recorded<Fact>) -> Option<OrderId> {
                matches!(fact.event, Fact::Placed { .. }).then(|| OrderId("7".to_owned()))
            }
            fn react(&self, _: &OrderId, trigger: Trigger<Self>) -> Reaction<Self> {
                let react: fn(Trigger<Self>) -> Reaction<Self> = $react;
                react(trigger)
            }
        }

        impl Perform<$name> for Twice {
            async fn perform(&self, cx: &EffectContext<'_>, effect: Effect) -> Result<Outcome, Failure> {
                self.perform_effect(cx, effect).await
            }
        }
    };
}

/// Sends two commands for one effect, if it is a reservation.
struct Twice;

impl Twice {
    async fn perform_effect(&self, cx: &EffectContext<'_>, effect: Effect) -> Result<Outcome, Failure> {
        if let Effect::Reserve { items } = effect {
            cx.send::<Stock>(&items.sku, StockCommand::Reserve { count: 1 }).await?;
            cx.send::<Stock>(&items.sku, StockCommand::Reserve { count: 1 }).await?;
        }
        Ok(Outcome::Done)
    }
}

probe!(DefersOutcomes, |trigger| match trigger {
    Trigger::Outcome(_) => Reaction::defer(),
    _ => Reaction::perform(Effect::Ship),
});
probe!(DefersWithSteps, |_| Reaction::defer().effect(Effect::Ship));
probe!(NeverEnds, |_| Reaction::perform(Effect::Ship));
probe!(SendsTwice, |_| Reaction::perform(Effect::Reserve { items: items() }));

#[test]
fn mistakes_of_a_process_park_its_input_with_the_remedy() {
    block_on(async {
        let cases = [
            (HostedProcess::new::<DefersOutcomes>(Twice), "an outcome was deferred"),
            (
                HostedProcess::new::<DefersWithSteps>(Twice),
                "a deferred reaction has events, effects or timers",
            ),
            (HostedProcess::new::<NeverEnds>(Twice), "64 times in a row"),
            (HostedProcess::new::<SendsTwice>(Twice), "an effect sends one command under its key"),
        ];
        for (process, error) in cases {
            let host = Host { process: process.unwrap(), ..Host::new(Shop::new()).await };
            let input = host.append("order-7", placed()).await;
            assert_stopped(&host.handle(&[input]).await, 0, Then::Park, error);
            let other = host.append("payment-9", paid()).await;
            assert_all_handled(&host.handle(&[other]).await);
        }
    });
}

#[test]
fn a_state_passes_over_what_the_library_records_for_processes() {
    block_on(async {
        let host = Host::new(Shop::new()).await;
        let input = host.append("order-7", placed()).await;
        host.handle(&[input]).await.unwrap();
        let loaded = host.gesta.load_stream::<Fulfilment>("fulfilment-7".parse().unwrap()).await.unwrap();
        assert_eq!(loaded.version, Some(Version::new(4)));
    });
}

#[test]
fn a_host_selects_inputs_and_timers_and_checks_the_category() {
    let process = HostedProcess::new::<Fulfilment>(Shop::new()).unwrap();
    assert_eq!((process.name(), process.group().as_str()), ("fulfilment", "process-fulfilment"));
    let Query::Any(items) = process.query() else { panic!("it is not every event") };
    let types = |item: &Item| item.types.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(types(&items[0]), ["shop.order.placed", "shop.payment.paid"]);
    assert_eq!(types(&items[1]), ["gesta.process.timer-fired"]);
    assert_eq!(items[1].category.as_ref().unwrap().as_str(), "fulfilment");
    process.check_category(["order", "stock"]).unwrap();
    let taken = process.check_category(["order", "fulfilment"]).unwrap_err();
    assert_eq!(taken.problem, NameProblem::Taken);
    assert!(taken.to_string().contains("choose another name"), "{taken}");
}
