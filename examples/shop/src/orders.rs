//! The service of orders, which also fulfils them.

mod fulfilment;
mod order;
mod services;
#[cfg(test)]
mod tests;

use gesta::App;

pub use fulfilment::{Effect, Fact, Fulfilment, FulfilmentEvent, Outcome, Timer};
pub use order::{Order, OrderCommand, OrderEvent, OrderId, Refused, Status};
pub use services::{Answer, Command, HttpServices, Services, Shop};

/// The orders as an application.
#[must_use]
pub fn app() -> App {
    App::new("orders").decider::<Order>()
}

/// The view of orders, as name and SQL definition.
pub const VIEWS: [(&str, &str); 1] = [("orders", include_str!("../views/orders.sql"))];
