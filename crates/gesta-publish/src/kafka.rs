//! Kafka: each event is a record in binary mode from an idempotent producer, and the delivery report of the client confirms it.
//!
//! *Choice: a record that the broker refused goes once more, alone.* The client sends several records in one batch, and the broker
//! refuses a batch as a whole: because of its size, or because of one of its records. Only what is refused alone does not fit.

mod connection;
mod fate;
mod producer;
mod record;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use gesta_core::BoxFuture;

use crate::broker::{Broker, Connection};
use crate::fault::Fault;
use crate::secret::Secret;
use connection::Producers;
use fate::{of_connect, of_topic};
use producer::Producer;
use settings::{Batches, Settings, servers_of};

pub(crate) use settings::check_topic;

/// A topic that events are sent to.
pub(crate) struct Kafka {
    settings: Settings,
    topic: String,
}

impl Kafka {
    /// Takes the addresses of brokers and the name of a topic there. The secret is `user:password`. The error is the key that is wrong, and
    /// what is wrong with it.
    pub(crate) fn new(
        to: &str,
        topic: &str,
        secret: Option<&Secret>,
        answer_time: Duration,
    ) -> Result<Self, (&'static str, String)> {
        let servers = servers_of(to).map_err(|reason| ("to", reason))?;
        let user = secret.map(|secret| match secret.reveal().split_once(':') {
            Some((user, password)) => Ok((user.to_owned(), password.to_owned())),
            None => Err(("secret_env", "names a secret that is not `user:password`: write both".to_owned())),
        });
        let settings = Settings { servers, user: user.transpose()?, answer_time };
        Ok(Self { settings, topic: topic.to_owned() })
    }

    async fn open(&self) -> Result<Arc<dyn Connection>, Fault> {
        let producer = Producer::start(&self.settings.to_client(Batches::Shared))?;
        let looked_up = tokio::select! {
            looked_up = producer.look_up(&self.topic) => looked_up,
            refused = producer.refused() => return Err(refused),
        };
        match looked_up {
            Ok(None) => {}
            Ok(Some(code)) => return Err(of_topic(&self.topic, code)),
            Err(error) => return Err(of_connect(&error, &producer.last_notice())),
        }
        Ok(Arc::new(Producers::new(self.topic.clone(), self.settings.clone(), producer)))
    }
}

impl Broker for Kafka {
    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn Connection>, Fault>> {
        Box::pin(self.open())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_a_user_and_a_password() {
        let user = |secret: &str| {
            let kafka = Kafka::new("kafka://h", "shop", Secret::new(secret).as_ref(), Duration::from_secs(1));
            kafka.map(|kafka| kafka.settings.user)
        };
        assert_eq!(user(""), Ok(None));
        assert_eq!(user("ann:a:b@c/"), Ok(Some(("ann".to_owned(), "a:b@c/".to_owned()))));
        assert_eq!(user("ann").unwrap_err().0, "secret_env");
    }
}
