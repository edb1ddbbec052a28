//! Tests of consumers on the store in memory, with a clock that stands still until a test moves it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod chance;
mod consumers;
mod failing;
mod group_laws;
mod lag;
mod local_groups;
mod pausing;
mod running;
mod shared_groups;
mod sharing;
mod support;
mod working;
