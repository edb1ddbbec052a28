//! The producers of one connection, and what happens to a message.

use gesta_core::BoxFuture;
use tokio::sync::OnceCell;

use super::fate::{is_of_batch, of_delivery};
use super::producer::Producer;
use super::settings::{Batches, Settings};
use crate::broker::Connection;
use crate::fault::Fault;
use crate::message::Message;

/// A producer that messages share, and one for those that go alone.
pub(super) struct Producers {
    topic: String,
    settings: Settings,
    shared: Producer,
    /// Started for the first message whose batch is refused.
    alone: OnceCell<Producer>,
}

impl Producers {
    pub(super) fn new(topic: String, settings: Settings, shared: Producer) -> Self {
        Self { topic, settings, shared, alone: OnceCell::new() }
    }

    async fn send(&self, message: &Message<'_>) -> Result<(), Fault> {
        let refused = match self.shared.send(&self.topic, message).await {
            Ok(()) => return Ok(()),
            Err(refused) if is_of_batch(refused.code) => refused,
            Err(refused) => return Err(self.fault(&self.shared, &refused)),
        };
        tracing::debug!(topic = self.topic, reason = refused.words, "refused in a batch: sent alone");
        let start = async || Producer::start(&self.settings.to_client(Batches::Alone));
        let alone = self.alone.get_or_try_init(start).await?;
        alone.send(&self.topic, message).await.map_err(|refused| self.fault(alone, &refused))
    }

    fn fault(&self, producer: &Producer, refused: &super::producer::Refused) -> Fault {
        of_delivery(&self.topic, self.settings.answer_time, refused, &producer.last_notice())
    }
}

impl Connection for Producers {
    fn publish<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(self.send(message))
    }
}
