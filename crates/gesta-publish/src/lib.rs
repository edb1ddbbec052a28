//! Publishers: they send the events of a store to message brokers and webhooks, as CloudEvents, at least once and in the order of each
//! stream.
//!
//! A publisher is the [consumer group](gesta_consumer::group) `publish-{name}` with a broker as its handler. An event is acknowledged once
//! the broker has confirmed it. [`read_file`] reads the publishers of a file, and [`Publisher::start`] runs one.
//!
//! # Guarantee
//! Every event that the publisher selects arrives at the target at least once. Of each stream, an event is sent for the first time only
//! after the one before it was confirmed. What arrives twice has the same [`message_id`] and the same `source` and `id`.
//!
//! Each broker is a feature of this crate: `nats`, `rabbitmq`, `webhook`, and `kafka`, which is not a default one.
#![cfg_attr(
    not(all(feature = "nats", feature = "rabbitmq", feature = "webhook")),
    allow(dead_code, reason = "adapters that are left out use it")
)]

#[cfg(any(feature = "nats", feature = "rabbitmq", feature = "webhook"))]
mod authorities;
mod broker;
mod config;
mod fault;
#[cfg(feature = "kafka")]
mod kafka;
mod limits;
mod link;
mod message;
#[cfg(feature = "nats")]
mod nats;
mod publisher;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
mod running;
mod secret;
mod subject;
#[cfg(feature = "webhook")]
mod webhook;

pub use config::{ConfigError, read_file, read_text};
pub use message::{MESSAGE_NAMESPACE, message_id};
pub use publisher::Publisher;
pub use running::Running;
