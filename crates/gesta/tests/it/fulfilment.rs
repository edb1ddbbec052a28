//! The fulfilment of an order: a process over orders and payments, with stock to reserve, a deadline, and compensation.

use std::sync::Mutex;
use std::time::Duration;

use gesta::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Key, Serialize, Deserialize)]
#[key("order")]
pub(crate) struct OrderId(pub(crate) String);

#[derive(Debug, Clone, PartialEq, Key, Serialize, Deserialize)]
#[key("stock")]
pub(crate) struct StockId(pub(crate) String);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Items {
    pub(crate) sku: StockId,
    pub(crate) count: u32,
}

/// What the process reads of orders and payments.
#[derive(Debug, Clone, PartialEq, Event)]
pub(crate) enum Fact {
    #[event(name = "shop.order.placed")]
    Placed { order: OrderId, items: Items },
    #[event(name = "shop.payment.paid")]
    Paid { order: OrderId },
}

impl Fact {
    const fn order(&self) -> &OrderId {
        match self {
            Self::Placed { order, .. } | Self::Paid { order } => order,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Event)]
#[event(prefix = "shop.fulfilment")]
pub(crate) enum FulfilmentEvent {
    Began { items: Items },
    AwaitsPayment,
    Paid,
    Failed,
    Expired,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Effect {
    Reserve { items: Items },
    Unreserve { items: Items },
    Cancel,
    Ship,
    Refund,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Reserved,
    OutOfStock,
    Done,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Timer {
    Payment,
}

#[derive(Debug, Default, Clone, PartialEq)]
enum Step {
    #[default]
    New,
    Began,
    AwaitsPayment(Items),
    Paid,
    Failed,
    Expired,
}

#[derive(Debug, Default)]
pub(crate) struct Fulfilment {
    step: Step,
    items: Option<Items>,
}

impl State for Fulfilment {
    type Event = FulfilmentEvent;

    fn evolve(&mut self, event: FulfilmentEvent) {
        self.step = match event {
            FulfilmentEvent::Began { items } => {
                self.items = Some(items);
                Step::Began
            }
            FulfilmentEvent::AwaitsPayment => Step::AwaitsPayment(self.items.clone().expect("it began")),
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
        Some(fact.event.order().clone())
    }

    fn react(&self, _: &OrderId, trigger: Trigger<Self>) -> Reaction<Self> {
        use FulfilmentEvent::{AwaitsPayment, Began, Expired, Failed, Paid};
        use Trigger::{Event, Outcome as Done, Timer as Fired};
        match (&self.step, trigger) {
            (Step::New, Event(Fact::Placed { items, .. })) => {
                Reaction::record(Began { items: items.clone() })
                    .effect(Effect::Reserve { items })
                    .timer(Timer::Payment, Duration::from_mins(15))
            }
            // Paid before the order came, or while stock is asked.
            (Step::New | Step::Began, Event(Fact::Paid { .. }) | Fired(Timer::Payment)) => Reaction::defer(),
            (Step::Began, Done(Outcome::Reserved)) => Reaction::record(AwaitsPayment),
            (Step::Began, Done(Outcome::OutOfStock)) => {
                Reaction::record(Failed).effect(Effect::Cancel).cancel(Timer::Payment)
            }
            (Step::AwaitsPayment(_), Event(Fact::Paid { .. })) => {
                Reaction::record(Paid).effect(Effect::Ship).cancel(Timer::Payment)
            }
            (Step::AwaitsPayment(items), Fired(Timer::Payment)) => Reaction::record(Expired)
                .effect(Effect::Unreserve { items: items.clone() })
                .effect(Effect::Cancel),
            // Too late, or twice.
            (Step::Paid | Step::Failed | Step::Expired, Event(Fact::Paid { .. })) => {
                Reaction::perform(Effect::Refund)
            }
            (_, Event(Fact::Placed { .. }) | Done(_) | Fired(_)) => Reaction::none(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Event)]
#[event(prefix = "shop.stock")]
pub(crate) enum StockEvent {
    Received { count: u32 },
    Reserved { count: u32 },
    Released { count: u32 },
}

#[derive(Debug, Clone, Command)]
pub(crate) enum StockCommand {
    Reserve { count: u32 },
    Release { count: u32 },
}

#[derive(Debug, PartialEq, Refusal)]
pub(crate) enum StockRefused {
    OutOfStock,
}

#[derive(Debug, Default)]
pub(crate) struct Stock {
    pub(crate) left: u32,
}

impl State for Stock {
    type Event = StockEvent;

    fn evolve(&mut self, event: StockEvent) {
        match event {
            StockEvent::Received { count } | StockEvent::Released { count } => self.left += count,
            StockEvent::Reserved { count } => self.left -= count,
        }
    }
}

impl Decider for Stock {
    type Id = StockId;
    type Command = StockCommand;
    type Error = StockRefused;

    fn decide(&self, command: StockCommand) -> Result<Vec<StockEvent>, StockRefused> {
        match command {
            StockCommand::Reserve { count } if count > self.left => Err(StockRefused::OutOfStock),
            StockCommand::Reserve { count } => Ok(vec![StockEvent::Reserved { count }]),
            StockCommand::Release { count } => Ok(vec![StockEvent::Released { count }]),
        }
    }
}

type Fails = dyn Fn(&Effect) -> Option<Failure> + Send + Sync;

/// Performs the effects: stock in the store, everything else by a note. It fails as the test wishes.
pub(crate) struct Shop {
    pub(crate) fails: Box<Fails>,
    /// The effects that were performed, with their keys.
    pub(crate) notes: std::sync::Arc<Mutex<Vec<(Effect, String)>>>,
}

impl Shop {
    pub(crate) fn new() -> Self {
        Self::failing(|_| None)
    }

    pub(crate) fn failing(fails: impl Fn(&Effect) -> Option<Failure> + Send + Sync + 'static) -> Self {
        Self { fails: Box::new(fails), notes: std::sync::Arc::default() }
    }
}

impl Perform<Fulfilment> for Shop {
    async fn perform(&self, cx: &EffectContext<'_>, effect: Effect) -> Result<Outcome, Failure> {
        if let Some(failure) = (self.fails)(&effect) {
            return Err(failure);
        }
        self.notes.lock().unwrap().push((effect.clone(), cx.key().to_owned()));
        let (items, command) = match effect {
            Effect::Reserve { items } => {
                let count = items.count;
                (items, StockCommand::Reserve { count })
            }
            Effect::Unreserve { items } => {
                let count = items.count;
                (items, StockCommand::Release { count })
            }
            Effect::Cancel | Effect::Ship | Effect::Refund => {
                cx.id::<OrderId>()?;
                return Ok(Outcome::Done);
            }
        };
        match cx.send::<Stock>(&items.sku, command).await {
            Ok(_) => Ok(Outcome::Reserved),
            Err(SendError::Refused(StockRefused::OutOfStock)) => Ok(Outcome::OutOfStock),
            Err(error) => Err(error.into()),
        }
    }
}
