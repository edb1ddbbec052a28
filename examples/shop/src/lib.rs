//! A shop on Gesta: orders, stock and payments, three services on one log.
//!
//! Each service has its own events, commands and view, and knows of the others only their events and their commands over HTTP.
//! [`orders`] also hosts the fulfilment, a process that spans all three: it reserves stock, waits for the payment, ships, or gives up
//! and undoes what it did.

pub mod demo;
pub mod orders;
pub mod payments;
pub mod stock;

use gesta_views::Definition;

/// The views of a service, from their names and texts.
///
/// # Panics
/// If a text is not a definition. Those of the shop are.
#[must_use]
pub fn views(texts: &[(&str, &str)]) -> Vec<Definition> {
    let parse = |(name, text): &(&str, &str)| {
        Definition::parse(name, text).unwrap_or_else(|error| panic!("view `{name}`: {error}"))
    };
    texts.iter().map(parse).collect()
}
