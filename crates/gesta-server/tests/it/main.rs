//! The server over real connections: every route's answers and errors, subscriptions, hostile clients.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod append;
mod batches;
mod binary;
mod building;
mod caching;
mod damage;
mod feed;
mod harness;
mod headers;
mod hosted;
mod hostile;
mod read;
mod sites;
mod stopping;
mod views;
