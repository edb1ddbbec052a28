//! The `gesta` binary as its users run it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod audit;
mod bench;
mod clustered;
mod consumers;
mod copying;
mod data;
mod demo;
mod descriptions;
mod docs;
mod excerpt;
mod full_disk;
mod groups;
mod harness;
mod hosts;
mod import;
#[cfg(feature = "publish-kafka")]
mod kafka;
mod local;
mod operations;
mod past;
mod postgres_views;
mod publishing;
mod readme;
mod real_data;
mod real_past;
mod rolling;
mod rows;
mod served;
mod sharing;
mod snapshots;
mod stopping;
mod why;
mod years;
