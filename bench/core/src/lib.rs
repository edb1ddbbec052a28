//! The common parts of all figures: loads, meters, the trait of a store under load, and Gesta as such a store.
//!
//! A [`Rival`] is a store as its clients see it. [`measure`] puts one under a [`Load`] and returns its throughput,
//! latencies and resource use. [`compare`] does that in turns, so that noise hits all stores, and prints a table.
//! Gesta is a rival like the others.

mod event;
mod gesta;
mod http;
mod latency;
mod load;
mod program;
mod quiet;
mod rival;
mod scratch;
mod table;
mod usage;

pub use event::{DATA, Event, Events, Growing, Ids, Streams, mix};
pub use gesta::{Call, Gesta, batch_of, stream_name, tag_name};
pub use http::GestaServer;
pub use latency::Latencies;
pub use load::{Load, Measured, Work, measure};
pub use program::{free_port, gesta_program};
pub use rival::{BoxFuture, Client, Drive, Guard, Rival, ready, runtime};
pub use scratch::{append_line, drop_caches, folder};
pub use table::{Contender, Open, ROUNDS, Sheet, compare, median_by};
pub use usage::{Disk, Meter, Process, Used, resident_bytes};
