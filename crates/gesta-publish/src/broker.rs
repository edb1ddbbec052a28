//! What a broker's adapter has to do.

use std::sync::Arc;

use gesta_core::BoxFuture;

use crate::fault::Fault;
use crate::message::Message;

/// A target that messages are sent to. It runs on the runtime of its publisher.
pub(crate) trait Broker: Send + Sync {
    /// Connects, and checks that the target takes messages.
    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn Connection>, Fault>>;
}

/// A connection to a broker.
pub(crate) trait Connection: Send + Sync {
    /// Sends a message and waits until the broker has confirmed it: it has it for good, as far as the broker gives that.
    ///
    /// # Cancel safety
    /// The message may arrive.
    fn publish<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<(), Fault>>;
}
