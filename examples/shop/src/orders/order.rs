//! An order of one article.

use gesta::{Command, Decider, Event, Key, Refusal, State};
use serde::{Deserialize, Serialize};

use {OrderCommand::*, OrderEvent::*, Refused::*};

/// The time to pay if the order names none.
const PAY_WITHIN_SECONDS: u64 = 15 * 60;

/// The id of an order. Its stream is `order-<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Key, Serialize, Deserialize)]
#[key("order")]
pub struct OrderId(pub String);

/// The events of an order.
#[derive(Debug, Clone, PartialEq, Event)]
#[event(prefix = "shop.order")]
pub enum OrderEvent {
    /// A customer ordered.
    Placed {
        /// The article.
        article: String,
        /// How many.
        count: u32,
        /// The price of all of them.
        cents: u64,
        /// The time to pay.
        pay_within_seconds: u64,
    },
    /// It is paid and on its way.
    Shipped {
        /// The article.
        article: String,
    },
    /// It will not be shipped.
    Cancelled {
        /// Why, for the customer.
        reason: String,
    },
}

/// The commands to an order.
#[derive(Debug, Clone, Command)]
pub enum OrderCommand {
    /// Orders.
    Place {
        /// The article.
        article: String,
        /// How many, at least one.
        count: u32,
        /// The price of all of them.
        cents: u64,
        /// The time to pay; 15 minutes if left out.
        #[serde(default)]
        pay_within_seconds: Option<u64>,
    },
    /// Sends it.
    Ship,
    /// Gives it up.
    Cancel {
        /// Why, for the customer.
        reason: String,
    },
}

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq, Refusal)]
pub enum Refused {
    /// The order was placed already.
    AlreadyPlaced,
    /// The order was not placed.
    NotPlaced,
    /// An order has at least one article.
    Empty,
    /// The order is shipped or cancelled.
    Ended,
}

/// An order.
#[derive(Debug, Default, Serialize)]
pub struct Order {
    /// The article.
    pub article: String,
    /// How far it is.
    pub status: Status,
}

/// How far an order is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Nobody ordered.
    #[default]
    New,
    /// Stock and payment are awaited.
    Placed,
    /// It is on its way.
    Shipped,
    /// It is given up.
    Cancelled,
}

impl State for Order {
    type Event = OrderEvent;

    fn evolve(&mut self, event: OrderEvent) {
        self.status = match event {
            Placed { article, .. } => {
                self.article = article;
                Status::Placed
            }
            Shipped { .. } => Status::Shipped,
            Cancelled { .. } => Status::Cancelled,
        }
    }
}

impl Decider for Order {
    type Id = OrderId;
    type Command = OrderCommand;
    type Error = Refused;

    fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, Refused> {
        match (self.status, command) {
            (Status::New, Place { count: 0, .. }) => Err(Empty),
            (Status::New, Place { article, count, cents, pay_within_seconds }) => {
                let pay_within_seconds = pay_within_seconds.unwrap_or(PAY_WITHIN_SECONDS);
                Ok(vec![Placed { article, count, cents, pay_within_seconds }])
            }
            (_, Place { .. }) => Err(AlreadyPlaced),
            (Status::New, _) => Err(NotPlaced),
            (Status::Placed, Ship) => Ok(vec![Shipped { article: self.article.clone() }]),
            (Status::Placed, Cancel { reason }) => Ok(vec![Cancelled { reason }]),
            (Status::Shipped | Status::Cancelled, Ship | Cancel { .. }) => Err(Ended),
        }
    }
}
