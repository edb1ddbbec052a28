//! The service of stock: what is there of each article, and what is reserved for which order.

use std::collections::BTreeMap;

use gesta::{App, Command, Decider, Event, Failure, GroupContext, Key, Recorded, Refusal, State};
use serde::{Deserialize, Serialize};

use {Refused::*, StockCommand::*, StockEvent::*};

/// The name of an article. Its stream is `stock-<article>`.
#[derive(Debug, Clone, Key, Deserialize)]
#[key("stock")]
pub struct Article(pub String);

/// The events of an article.
#[derive(Debug, Clone, PartialEq, Event)]
#[event(prefix = "shop.stock")]
pub enum StockEvent {
    /// A delivery came in.
    Received {
        /// How many.
        count: u32,
    },
    /// Some are kept for an order.
    Reserved {
        /// The order.
        order: String,
        /// How many.
        count: u32,
    },
    /// A reservation is given back.
    Released {
        /// The order.
        order: String,
        /// How many.
        count: u32,
    },
    /// What was reserved for an order has left the house.
    Shipped {
        /// The order.
        order: String,
        /// How many.
        count: u32,
    },
}

/// The commands to an article.
#[derive(Debug, Clone, Command)]
pub enum StockCommand {
    /// Takes a delivery in.
    Receive {
        /// How many.
        count: u32,
    },
    /// Keeps some for an order.
    Reserve {
        /// The order.
        order: String,
        /// How many.
        count: u32,
    },
    /// Gives the reservation of an order back. Without one, nothing happens.
    Release {
        /// The order.
        order: String,
    },
    /// Sends what is reserved for an order. Without a reservation, nothing happens.
    Ship {
        /// The order.
        order: String,
    },
}

/// Why a command is refused.
#[derive(Debug, PartialEq, Eq, Refusal)]
pub enum Refused {
    /// Only {left} are left.
    OutOfStock {
        /// How many are left.
        left: u64,
    },
    /// The order has a reservation already.
    AlreadyReserved,
}

/// What is there of an article.
#[derive(Debug, Default, Serialize)]
pub struct Stock {
    /// How many can be reserved.
    pub left: u64,
    /// How many are reserved, by order.
    pub reserved: BTreeMap<String, u32>,
}

impl State for Stock {
    type Event = StockEvent;

    fn evolve(&mut self, event: StockEvent) {
        match event {
            Received { count } => self.left += u64::from(count),
            Reserved { order, count } => {
                self.left -= u64::from(count);
                self.reserved.insert(order, count);
            }
            Released { order, count } => {
                self.left += u64::from(count);
                self.reserved.remove(&order);
            }
            Shipped { order, .. } => {
                self.reserved.remove(&order);
            }
        }
    }
}

impl Decider for Stock {
    type Id = Article;
    type Command = StockCommand;
    type Error = Refused;

    fn decide(&self, command: StockCommand) -> Result<Vec<StockEvent>, Refused> {
        match command {
            Receive { count } => Ok(vec![Received { count }]),
            Reserve { order, .. } if self.reserved.contains_key(&order) => Err(AlreadyReserved),
            Reserve { count, .. } if u64::from(count) > self.left => Err(OutOfStock { left: self.left }),
            Reserve { order, count } => Ok(vec![Reserved { order, count }]),
            Release { order } => match self.reserved.get(&order) {
                Some(count) => Ok(vec![Released { order, count: *count }]),
                None => Ok(vec![]),
            },
            Ship { order } => match self.reserved.get(&order) {
                Some(count) => Ok(vec![Shipped { order, count: *count }]),
                None => Ok(vec![]),
            },
        }
    }
}

/// What stock reads of orders.
#[derive(Debug, Event)]
#[event(prefix = "shop.order")]
pub enum Order {
    /// An order is paid and on its way.
    #[event(name = "shop.order.shipped")]
    OnItsWay {
        /// The article.
        article: String,
    },
}

/// The orders that are on their way: what is reserved for them leaves the house.
///
/// # Errors
/// [`Failure`], by the error of the command.
pub async fn send_out(order: Recorded<Order>, context: GroupContext) -> Result<(), Failure> {
    let Order::OnItsWay { article } = &order.event;
    let id = order.stream().strip_prefix("order-").unwrap_or_default().to_owned();
    context.send::<Stock>(&Article(article.clone()), Ship { order: id }).await?;
    Ok(())
}

/// Stock as an application.
#[must_use]
pub fn app() -> App {
    App::new("stock").decider::<Stock>()
}

/// The view of stock, as name and SQL definition.
pub const VIEWS: [(&str, &str); 1] = [("stock", include_str!("../views/stock.sql"))];

#[cfg(test)]
mod tests {
    use gesta::NewFact;
    use gesta::testing::{given, holding, hot, http, json};
    use gesta_views::testing::view;

    use super::*;

    fn pens() -> Article {
        Article("pen".to_owned())
    }

    fn reserved() -> StockEvent {
        Reserved { order: "7".to_owned(), count: 2 }
    }

    #[test]
    fn what_is_there_can_be_reserved_once_for_each_order() {
        let reserve = |count| Reserve { order: "7".to_owned(), count };
        given::<Stock>([Received { count: 2 }]).when(reserve(2)).then([reserved()]);
        given::<Stock>([Received { count: 2 }]).when(reserve(3)).then_refused(OutOfStock { left: 2 });
        given::<Stock>([Received { count: 9 }, reserved()]).when(reserve(2)).then_refused(AlreadyReserved);
    }

    #[test]
    fn customers_who_order_at_once_over_a_bad_network_never_get_more_than_there_is() {
        let orders = (0..12).map(|order| Reserve { order: (order % 9).to_string(), count: 2 });
        let commands = [Receive { count: 8 }].into_iter().chain(orders);
        hot::<Stock>(&pens(), commands.chain([Release { order: "0".to_owned() }]), 6);
    }

    #[test]
    fn a_reservation_over_http_is_recorded_once_and_a_second_one_refused() {
        let reserve = json!({"order": "7", "count": 2});
        http(app())
            .given([NewFact::new(&pens(), Received { count: 3 })])
            .post_with_key("/commands/stock/pen/reserve", "k", reserve.clone())
            .then_status(200)
            .then_events([NewFact::new(&pens(), reserved())])
            .and()
            .post_with_key("/commands/stock/pen/reserve", "k", reserve.clone())
            .then_status(200)
            .then_events([])
            .and()
            .post("/commands/stock/pen/reserve", reserve)
            .then_status(422)
            .then_value("/code", json!("AlreadyReserved"))
            .and()
            .get("/states/stock/pen")
            .then_value("/state/left", json!(1));
    }

    #[test]
    fn the_view_shows_what_came_in_is_reserved_and_has_left() {
        let shipped = Shipped { order: "7".to_owned(), count: 2 };
        let (name, sql) = VIEWS[0];
        let rows = |events: &[StockEvent]| {
            let log = holding(events.iter().map(|event| NewFact::new(&pens(), event.clone())));
            view(name, sql).given(&log).when("select * from stock")
        };
        rows(&[]).then(json!([]));
        rows(&[Received { count: 5 }, reserved()]).then(json!([["pen", 5, 2, 0]]));
        rows(&[Received { count: 5 }, reserved(), shipped]).then(json!([["pen", 5, 0, 2]]));
    }

    #[test]
    fn what_is_reserved_leaves_the_house_once() {
        let ship = || Ship { order: "7".to_owned() };
        let shipped = Shipped { order: "7".to_owned(), count: 2 };
        given::<Stock>([Received { count: 2 }, reserved()]).when(ship()).then([shipped.clone()]);
        given::<Stock>([Received { count: 2 }, reserved(), shipped]).when(ship()).then_nothing();
    }

    #[test]
    fn a_reservation_is_given_back_once() {
        let release = || Release { order: "7".to_owned() };
        let released = Released { order: "7".to_owned(), count: 2 };
        let given_back = given::<Stock>([Received { count: 2 }, reserved(), released.clone()]);
        assert_eq!(given_back.state().left, 2);
        given_back.when(release()).then_nothing();
        given::<Stock>([Received { count: 2 }, reserved()]).when(release()).then([released]);
    }
}
