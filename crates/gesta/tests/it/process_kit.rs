//! The test kit for processes: the fulfilment in all its ways, and the mistakes that the kit finds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use gesta::testing::process;
use gesta::*;

use crate::fulfilment::{
    Effect, Fact, Fulfilment, FulfilmentEvent, Items, OrderId, Shop, StockEvent, StockId,
};

fn items(count: u32) -> Items {
    Items { sku: StockId("pen".to_owned()), count }
}

fn order() -> OrderId {
    OrderId("7".to_owned())
}

fn received(count: u32) -> NewFact {
    NewFact::new(&StockId("pen".to_owned()), StockEvent::Received { count })
}

fn placed(count: u32) -> NewFact {
    NewFact::new(&order(), Fact::Placed { order: order(), items: items(count) })
}

fn paid(payment: u64) -> NewFact {
    let stream = format!("payment-{payment}").parse().unwrap();
    NewFact::of_stream(stream, Fact::Paid { order: order() })
}

fn began(count: u32) -> FulfilmentEvent {
    FulfilmentEvent::Began { items: items(count) }
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

#[test]
fn an_order_that_is_paid_in_time_is_shipped() {
    let reserve = Effect::Reserve { items: items(2) };
    process::<Fulfilment>(Shop::new())
        .given([received(3), placed(2), paid(1)])
        .after(minutes(60))
        .then_effects([reserve.clone(), Effect::Ship])
        .then([began(2), FulfilmentEvent::AwaitsPayment, FulfilmentEvent::Paid]);
    process::<Fulfilment>(Shop::new())
        .given([received(3), placed(2)])
        .at(Timestamp::from_nanos(1_800_000_000_000_000_000))
        .after(minutes(14))
        .given([paid(1)])
        .after(minutes(1))
        .then_effects([reserve, Effect::Ship])
        .then([began(2), FulfilmentEvent::AwaitsPayment, FulfilmentEvent::Paid]);
}

#[test]
fn an_order_that_is_not_paid_expires_and_gives_its_stock_back() {
    let expires = || process::<Fulfilment>(Shop::new()).given([received(3), placed(2)]).after(minutes(15));
    let effects =
        [Effect::Reserve { items: items(2) }, Effect::Unreserve { items: items(2) }, Effect::Cancel];
    let events = [began(2), FulfilmentEvent::AwaitsPayment, FulfilmentEvent::Expired];
    expires().then_effects(effects.clone()).then(events.clone());
    // Too late: the money goes back.
    let effects = effects.into_iter().chain([Effect::Refund]);
    expires().given([paid(1)]).then_effects(effects).then(events);
}

#[test]
fn an_order_out_of_stock_is_cancelled_and_a_payment_refunded() {
    process::<Fulfilment>(Shop::new())
        .given([received(3), placed(4), paid(1)])
        .after(minutes(60))
        .then_effects([Effect::Reserve { items: items(4) }, Effect::Cancel, Effect::Refund])
        .then([began(4), FulfilmentEvent::Failed]);
}

#[test]
fn an_order_that_is_paid_twice_is_shipped_and_refunded_once() {
    process::<Fulfilment>(Shop::new())
        .given([received(3), placed(2), paid(1), paid(2)])
        .then_effects([Effect::Reserve { items: items(2) }, Effect::Ship, Effect::Refund])
        .then([began(2), FulfilmentEvent::AwaitsPayment, FulfilmentEvent::Paid]);
}

/// The message of a test that fails.
fn failure(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).expect_err("the test fails");
    *panic.downcast::<String>().expect("the message has arguments")
}

#[track_caller]
fn assert_fails(test: impl FnOnce(), parts: &[&str]) {
    let message = failure(test);
    for part in parts {
        assert!(message.contains(part), "{part} is not in\n{message}");
    }
}

#[test]
fn inputs_that_are_deferred_for_ever_fail() {
    assert_fails(
        || process::<Fulfilment>(Shop::new()).given([paid(1)]).then_effects([]).then([]),
        &["everything that is left waits", "payment-1: shop.payment.paid: `shop.payment.paid` is deferred"],
    );
}

#[test]
fn inputs_that_are_parked_fail() {
    let shop = Shop::failing(|effect| {
        (*effect == Effect::Ship).then(|| Failure::Final("the address does not exist".into()))
    });
    assert_fails(
        || {
            let given = process::<Fulfilment>(shop).given([received(3), placed(2), paid(1)]);
            given.then_effects([]).then([]);
        },
        &[
            "payment-1: shop.payment.paid was parked",
            "the address does not exist",
            "order-7: shop.order.placed",
        ],
    );
}

#[test]
fn another_end_fails_with_both_lists() {
    assert_fails(
        || {
            let given = process::<Fulfilment>(Shop::new()).given([received(3), placed(2), paid(1)]);
            given.then_effects([Effect::Reserve { items: items(2) }, Effect::Refund]).then([]);
        },
        &["the effects differ", "expected\n    \"Refund\"\n", "but got\n    \"Ship\"\n"],
    );
    assert_fails(
        || {
            let given = process::<Fulfilment>(Shop::new()).given([received(3), placed(4)]);
            given.then_effects([Effect::Reserve { items: items(4) }, Effect::Cancel]).then([began(4)]);
        },
        &["the events of the process differ", "    shop.fulfilment.failed {}\n"],
    );
    let other = OrderId("8".to_owned());
    let other = NewFact::new(&other, Fact::Placed { order: other.clone(), items: items(1) });
    assert_fails(
        || {
            process::<Fulfilment>(Shop::new())
                .given([received(9), placed(4), other])
                .then_effects([])
                .then([])
        },
        &["`fulfilment-7` and to `fulfilment-8`: test one process at a time"],
    );
}

#[derive(Debug, Event)]
enum Half {
    #[event(name = "kit.left.came")]
    Left,
    #[event(name = "kit.right.came")]
    Right,
}

#[derive(Debug, Default)]
struct Joiner {
    has_left: bool,
}

#[derive(Debug, Event)]
#[event(prefix = "kit.joiner")]
enum Noted {
    Left,
}

impl State for Joiner {
    type Event = Noted;

    fn evolve(&mut self, Noted::Left: Noted) {
        self.has_left = true;
    }
}

/// Forgets the right half if it comes first.
impl Process for Joiner {
    const NAME: &'static str = "joiner";
    type Id = OrderId;
    type Input = Half;
    type Effect = Items;
    type Outcome = ();
    type Timer = ();

    fn correlate(_: &Recorded<Half>) -> Option<OrderId> {
        Some(order())
    }

    fn react(&self, _: &OrderId, trigger: Trigger<Self>) -> Reaction<Self> {
        match trigger {
            Trigger::Event(Half::Left) => Reaction::record(Noted::Left),
            Trigger::Event(Half::Right) if self.has_left => Reaction::perform(items(1)),
            _ => Reaction::none(),
        }
    }
}

/// Sends a command that has no key.
struct Keyless;

impl Perform<Joiner> for Keyless {
    async fn perform(&self, cx: &EffectContext<'_>, items: Items) -> Result<(), Failure> {
        let release = crate::fulfilment::StockCommand::Release { count: items.count };
        cx.gesta().send::<crate::fulfilment::Stock>(&items.sku, release).await?;
        Ok(())
    }
}

fn half(half: Half) -> NewFact {
    let stream = if matches!(half, Half::Left) { "left-1" } else { "right-1" };
    NewFact::of_stream(stream.parse().unwrap(), half)
}

#[test]
fn a_process_that_forgets_an_input_fails_in_the_order_that_shows_it() {
    assert_fails(
        || {
            let given = process::<Joiner>(Keyless).given([half(Half::Left), half(Half::Right)]);
            given.then_effects([items(1)]).then([Noted::Left]);
        },
        &["but got\n    nothing", "    right-1: kit.right.came\n    left-1: kit.left.came\n"],
    );
}

#[test]
fn a_performer_that_does_an_effect_twice_fails_in_the_crash_that_shows_it() {
    let given = || process::<Joiner>(Keyless).given([half(Half::Left)]).after(minutes(1));
    assert_fails(
        || given().given([half(Half::Right)]).then_effects([items(1)]).then([Noted::Left]),
        &["events of other streams", "under its key", "with a crash after step", "kit.right.came (crash)"],
    );
}
