//! Publishers on real targets that are stopped, slowed and misconfigured.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod bench;
mod demo;
mod hook;
mod ids;
mod judge;
mod nats;
mod rabbitmq;
mod rates;
mod tls;
mod webhook;
