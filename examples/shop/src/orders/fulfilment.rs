//! The fulfilment of an order: reserves stock, waits for the payment, ships; or gives up, and undoes what it did.

use std::time::Duration;

use gesta::{Event, Process, Reaction, Recorded, State, Trigger};
use serde::{Deserialize, Serialize};

use super::order::OrderId;

/// What it reads of orders and payments.
#[derive(Debug, Clone, PartialEq, Event)]
pub enum Fact {
    /// A customer ordered.
    #[event(name = "shop.order.placed")]
    Placed {
        /// The article.
        article: String,
        /// How many.
        count: u32,
        /// The time to pay.
        pay_within_seconds: u64,
    },
    /// A customer paid.
    #[event(name = "shop.payment.paid")]
    Paid {
        /// The payment.
        payment: String,
        /// What it is for.
        order: OrderId,
    },
}

/// The events of a fulfilment.
#[derive(Debug, Clone, PartialEq, Event)]
#[event(prefix = "shop.fulfilment")]
pub enum FulfilmentEvent {
    /// Stock is asked.
    Began {
        /// The article.
        article: String,
    },
    /// Stock is reserved.
    AwaitsPayment,
    /// The order is paid.
    Paid,
    /// The article is out of stock.
    Failed,
    /// Nobody paid in time.
    Expired,
}

/// What it wants done. Stock and payments are other services.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// Reserves stock.
    Reserve {
        /// The article.
        article: String,
        /// How many.
        count: u32,
    },
    /// Gives the reserved stock back.
    Unreserve {
        /// The article.
        article: String,
    },
    /// Ships the order.
    Ship,
    /// Cancels the order.
    Cancel {
        /// Why, for the customer.
        reason: String,
    },
    /// Gives the money of a payment back.
    Refund {
        /// The payment.
        payment: String,
    },
}

/// What came of an effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It was refused, with the code of the refusal.
    Refused {
        /// The code, such as `OutOfStock`.
        code: String,
    },
}

/// Its timers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Timer {
    /// The time to pay is over.
    Payment,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Step {
    #[default]
    New,
    Began,
    AwaitsPayment,
    Paid,
    Failed,
    Expired,
}

/// The fulfilment of one order. Its stream is `fulfilment-<order>`.
#[derive(Debug, Default)]
pub struct Fulfilment {
    step: Step,
    article: String,
}

impl State for Fulfilment {
    type Event = FulfilmentEvent;

    fn evolve(&mut self, event: FulfilmentEvent) {
        self.step = match event {
            FulfilmentEvent::Began { article } => {
                self.article = article;
                Step::Began
            }
            FulfilmentEvent::AwaitsPayment => Step::AwaitsPayment,
            FulfilmentEvent::Paid => Step::Paid,
            FulfilmentEvent::Failed => Step::Failed,
            FulfilmentEvent::Expired => Step::Expired,
        }
    }
}

impl Process for Fulfilment {
    const NAME: &'static str = "fulfilment";
    type Id = OrderId;
    type Input = Fact;
    type Effect = Effect;
    type Outcome = Outcome;
    type Timer = Timer;

    fn correlate(fact: &Recorded<Fact>) -> Option<OrderId> {
        match &fact.event {
            Fact::Placed { .. } => fact.key(),
            Fact::Paid { order, .. } => Some(order.clone()),
        }
    }

    fn react(&self, _: &OrderId, trigger: Trigger<Self>) -> Reaction<Self> {
        use FulfilmentEvent::{AwaitsPayment, Began, Expired, Failed, Paid};
        use Trigger::{Event, Outcome as Ended, Timer as Fired};
        match (self.step, trigger) {
            (Step::New, Event(Fact::Placed { article, count, pay_within_seconds })) => {
                Reaction::record(Began { article: article.clone() })
                    .effect(Effect::Reserve { article, count })
                    .timer(Timer::Payment, Duration::from_secs(pay_within_seconds))
            }
            // Paid before the order came, or while stock is asked.
            (Step::New | Step::Began, Event(Fact::Paid { .. }) | Fired(Timer::Payment)) => Reaction::defer(),
            (Step::Began, Ended(Outcome::Done)) => Reaction::record(AwaitsPayment),
            (Step::Began, Ended(Outcome::Refused { .. })) => {
                Reaction::record(Failed).effect(cancel("out of stock")).cancel(Timer::Payment)
            }
            (Step::AwaitsPayment, Event(Fact::Paid { .. })) => {
                Reaction::record(Paid).effect(Effect::Ship).cancel(Timer::Payment)
            }
            (Step::AwaitsPayment, Fired(Timer::Payment)) => Reaction::record(Expired)
                .effect(Effect::Unreserve { article: self.article.clone() })
                .effect(cancel("not paid in time")),
            // Too late, or twice.
            (Step::Paid | Step::Failed | Step::Expired, Event(Fact::Paid { payment, .. })) => {
                Reaction::perform(Effect::Refund { payment })
            }
            (_, Event(Fact::Placed { .. }) | Ended(_) | Fired(_)) => Reaction::none(),
        }
    }
}

fn cancel(reason: &str) -> Effect {
    Effect::Cancel { reason: reason.to_owned() }
}
