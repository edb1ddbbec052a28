//! What a consumer logs.

use std::fmt;

use super::state::{Failure, Paused, Why};

/// A change that operators should see.
#[derive(Debug)]
pub enum Notice<'n, E> {
    /// The log could not be read. It is tried again, as often as it takes.
    ReadFails(&'n Failure<E>),
    /// The handler failed with another error than before. It is tried again.
    HandlerFails(&'n Failure<E>),
    /// It stands still from now on.
    Paused(&'n Paused),
    /// A pause is over.
    Resumed,
    /// It has stopped, and not because it was shut down.
    Stopped(&'n Why<E>),
}

impl<E: fmt::Display> Notice<'_, E> {
    /// Logs the notice in the words of this crate.
    pub fn log(&self, consumer: &str) {
        match self {
            Self::ReadFails(error) => tracing::warn!(consumer, %error, "the consumer tries again"),
            Self::HandlerFails(error) => {
                tracing::warn!(consumer, %error, "the consumer tries again until this has passed");
            }
            Self::Paused(paused) => tracing::info!(consumer, by = &*paused.by, "the consumer is paused"),
            Self::Resumed => tracing::info!(consumer, "the consumer goes on"),
            Self::Stopped(error) => tracing::error!(consumer, %error, "the consumer has stopped"),
        }
    }
}
