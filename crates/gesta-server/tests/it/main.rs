//! The server over real connections: every route's answers and errors, subscriptions, hostile clients.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod append;
mod batches;
mod building;
mod damage;
mod feed;
mod harness;
mod hosted;
mod hostile;
mod read;
mod sites;
mod views;
