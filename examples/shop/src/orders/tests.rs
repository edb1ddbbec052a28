//! The rules of orders, and the fulfilment in all its ways.

use std::time::Duration;

use gesta::testing::{given, process};
use gesta::{App, CommandKey, CommandOptions, EffectContext, Failure, NewFact, Timestamp};

use super::order::{OrderCommand, OrderEvent, Refused};
use super::*;
use crate::payments::{PaymentEvent, PaymentId};
use crate::stock::{Article, StockEvent};

/// The other services, on the store of the test. The key of an effect is the command key, as it is over HTTP.
struct InStore {
    stock: App,
    payments: App,
}

impl Services for InStore {
    async fn send(&self, cx: &EffectContext<'_>, command: Command) -> Result<Answer, Failure> {
        let app = if command.category == "stock" { &self.stock } else { &self.payments };
        let key = CommandKey { key: cx.key().to_owned().into(), request: [7; 32] };
        let options = CommandOptions { key: Some(key), ..CommandOptions::default() };
        let body = command.body.to_string();
        let sent =
            app.command(cx.gesta(), command.category, &command.id, command.name, body.as_bytes(), options);
        match sent.await {
            Ok(_) => Ok(Answer::Done),
            Err(gesta::AppError::Refused { code, .. }) => Ok(Answer::Refused(code)),
            Err(error) => Err(Failure::Final(error.into())),
        }
    }
}

fn shop() -> Shop<InStore> {
    Shop(InStore { stock: crate::stock::app(), payments: crate::payments::app() })
}

fn received(count: u32) -> NewFact {
    NewFact::new(&Article("pen".to_owned()), StockEvent::Received { count })
}

fn placed_event() -> OrderEvent {
    OrderEvent::Placed { article: "pen".to_owned(), count: 2, cents: 500, pay_within_seconds: 900 }
}

fn shipped() -> OrderEvent {
    OrderEvent::Shipped { article: "pen".to_owned() }
}

fn placed() -> NewFact {
    NewFact::new(&OrderId("7".to_owned()), placed_event())
}

fn paid(payment: &str) -> NewFact {
    let paid = PaymentEvent::Paid { payment: payment.to_owned(), order: "7".to_owned(), cents: 500 };
    NewFact::new(&PaymentId(payment.to_owned()), paid)
}

fn began() -> FulfilmentEvent {
    FulfilmentEvent::Began { article: "pen".to_owned() }
}

fn reserve() -> Effect {
    Effect::Reserve { article: "pen".to_owned(), count: 2 }
}

fn refund(payment: &str) -> Effect {
    Effect::Refund { payment: payment.to_owned() }
}

fn cancel(reason: &str) -> Effect {
    Effect::Cancel { reason: reason.to_owned() }
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

#[test]
fn an_order_is_placed_once_and_ends_once() {
    let place = |count| OrderCommand::Place {
        article: "pen".to_owned(),
        count,
        cents: 500,
        pay_within_seconds: None,
    };
    given::<Order>([]).when(place(2)).then([placed_event()]);
    given::<Order>([]).when(place(0)).then_refused(Refused::Empty);
    given::<Order>([placed_event()]).when(place(2)).then_refused(Refused::AlreadyPlaced);
    given::<Order>([]).when(OrderCommand::Ship).then_refused(Refused::NotPlaced);
    given::<Order>([placed_event()]).when(OrderCommand::Ship).then([shipped()]);
    let cancel = OrderCommand::Cancel { reason: "lost".to_owned() };
    given::<Order>([placed_event(), shipped()]).when(cancel).then_refused(Refused::Ended);
}

#[test]
fn an_order_that_is_paid_in_time_is_shipped() {
    process::<Fulfilment>(shop())
        .given([received(3), placed(), paid("a")])
        .after(minutes(60))
        .then_effects([reserve(), Effect::Ship])
        .then([began(), FulfilmentEvent::AwaitsPayment, FulfilmentEvent::Paid]);
}

#[test]
fn an_order_that_is_not_paid_expires_and_a_late_payment_goes_back() {
    process::<Fulfilment>(shop())
        .given([received(3), placed()])
        .at(Timestamp::from_nanos(1_800_000_000_000_000_000))
        .after(minutes(15))
        .given([paid("late")])
        .then_effects([
            reserve(),
            Effect::Unreserve { article: "pen".to_owned() },
            cancel("not paid in time"),
            refund("late"),
        ])
        .then([began(), FulfilmentEvent::AwaitsPayment, FulfilmentEvent::Expired]);
}

#[test]
fn an_order_out_of_stock_is_cancelled_and_its_payment_goes_back() {
    process::<Fulfilment>(shop())
        .given([received(1), placed(), paid("a")])
        .after(minutes(60))
        .then_effects([reserve(), cancel("out of stock"), refund("a")])
        .then([began(), FulfilmentEvent::Failed]);
}

#[test]
fn an_order_that_is_paid_twice_is_shipped_once_and_the_second_payment_goes_back() {
    process::<Fulfilment>(shop())
        .given([received(3), placed(), paid("a")])
        .given([paid("b")])
        .after(minutes(60))
        .then_effects([reserve(), Effect::Ship, refund("b")])
        .then([began(), FulfilmentEvent::AwaitsPayment, FulfilmentEvent::Paid]);
}
