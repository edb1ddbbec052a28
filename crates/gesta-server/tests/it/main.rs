//! The server over real connections: every route's answers and errors, subscriptions, hostile clients.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod append;
mod batches;
mod binary;
mod building;
mod caching;
mod causes;
mod consumers;
mod contract;
mod damage;
mod feed;
mod groups;
mod harness;
mod headers;
mod hosted;
mod hostile;
mod read;
mod scripted;
mod sites;
mod stopping;
mod store;
mod views;
mod waiting;
