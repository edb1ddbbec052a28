//! RabbitMQ: each event is a persistent message in binary mode to a topic exchange, and the broker's confirm ends it.
//!
//! *Choice: one channel for all messages in flight, and a channel of its own for a message whose fault is unclear.* The
//! broker confirms the messages of one channel many at once. An error that closes it is about one message, and does not say which. Each
//! message that was in flight is then sent once more on a channel of its own, where the broker means nothing else.

mod fate;
mod properties;
mod shared;
mod tls;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gesta_core::BoxFuture;
use gesta_tls::Client;
use lapin::options::{ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection as AmqpConnection, ConnectionProperties, ExchangeKind};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::authorities::{client_of, of_certificate};
use crate::broker::{Broker, Connection};
use crate::fault::Fault;
use crate::message::Message;
use crate::secret::Secret;
use fate::{is_of_one_channel, of_answer_to, of_connect, of_exchange, of_publish};
use properties::properties_of;
use shared::SharedChannel;

/// An exchange that events are sent to.
pub(crate) struct Rabbitmq {
    /// The address, without TLS: the library has none.
    uri: AMQPUri,
    /// For a broker with TLS.
    tls: Option<Client>,
    exchange: ShortString,
    answer_time: Duration,
}

impl Rabbitmq {
    /// Takes the address of a broker and the name of an exchange there. The secret is `user:password`. `ca` is the file with the
    /// authorities of `amqps`. The error is the key that is wrong, and what is wrong with it.
    pub(crate) fn new(
        to: &str,
        exchange: &str,
        secret: Option<&Secret>,
        ca: Option<&Path>,
        answer_time: Duration,
    ) -> Result<Self, (&'static str, String)> {
        let uri = to.parse::<AMQPUri>();
        let mut uri = uri.map_err(|error| ("to", format!("is no address of a broker: {error}")))?;
        // `amqp://host` and `amqp://host/` alike mean the virtual host `/`.
        if uri.vhost.is_empty() {
            uri.vhost = "/".to_owned();
        }
        let tls = match std::mem::replace(&mut uri.scheme, AMQPScheme::AMQP) {
            AMQPScheme::AMQP => None,
            AMQPScheme::AMQPS => Some(client_of(ca)?),
        };
        if let Some(secret) = secret {
            let (user, password) = secret
                .reveal()
                .split_once(':')
                .ok_or(("secret_env", "names a secret that is not `user:password`: write both".to_owned()))?;
            user.clone_into(&mut uri.authority.userinfo.username);
            password.clone_into(&mut uri.authority.userinfo.password);
        }
        let exchange = ShortString::try_new(exchange)
            .map_err(|_| ("exchange", "is longer than 255 bytes: name one that exists".to_owned()))?;
        Ok(Self { uri, tls, exchange, answer_time })
    }

    async fn open(&self) -> Result<Arc<dyn Connection>, Fault> {
        let properties = ConnectionProperties::default().with_connection_name("gesta".into());
        let connected = match &self.tls {
            None => AmqpConnection::connect_uri(self.uri.clone(), properties).await,
            Some(client) => {
                let runtime = tls::runtime(client, &self.uri.authority.host)
                    .map_err(|error| Fault::Misdirected { reason: error.to_string() })?;
                AmqpConnection::connect_uri_with_runtime(self.uri.clone(), properties, runtime).await
            }
        };
        let connection = connected.map_err(|error| {
            let refused = self.tls.as_ref().and_then(|client| client.explain(&error));
            refused.map_or_else(|| of_connect(&error), |reason| of_certificate("RabbitMQ", &reason))
        })?;
        let channel = connection.create_channel().await.map_err(|error| of_connect(&error))?;
        let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let declared = channel.exchange_declare(
            self.exchange.clone(),
            ExchangeKind::Topic,
            passive,
            FieldTable::default(),
        );
        declared.await.map_err(|error| of_exchange(self.exchange.as_str(), &error))?;
        Ok(Arc::new(Channels {
            connection,
            exchange: self.exchange.clone(),
            answer_time: self.answer_time,
            shared: Mutex::default(),
        }))
    }
}

impl Broker for Rabbitmq {
    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn Connection>, Fault>> {
        Box::pin(self.open())
    }
}

/// A connection with its channels.
struct Channels {
    connection: AmqpConnection,
    exchange: ShortString,
    answer_time: Duration,
    /// The channel that messages share, in confirm mode. An error on it closes it, and the next message opens another.
    shared: Mutex<Option<SharedChannel>>,
}

impl Channels {
    async fn send(&self, message: &Message<'_>) -> Result<(), Fault> {
        let sent = timeout(self.answer_time, self.send_on_some_channel(message)).await;
        sent.unwrap_or_else(|_| {
            Err(Fault::Broken { reason: format!("RabbitMQ gave no confirm within {:?}", self.answer_time) })
        })
    }

    async fn send_on_some_channel(&self, message: &Message<'_>) -> Result<(), Fault> {
        let frame_bytes_max = self.connection.configuration().frame_max();
        let properties = properties_of(message, usize::try_from(frame_bytes_max).unwrap_or(usize::MAX))?;
        let key = ShortString::try_new(&message.subject).map_err(|_| Fault::Unfit {
            reason: format!("the routing key has {} bytes: 255 are allowed", message.subject.len()),
        })?;
        let data = message.event.data();
        let shared = self.shared().await?;
        let answer = match shared.publish(&self.exchange, &key, &data, &properties).await {
            Some(Err(error)) if is_of_one_channel(&error) => {
                self.close(&shared).await;
                self.open_channel().await?.publish(&self.exchange, &key, &data, &properties).await
            }
            answer => answer,
        };
        match answer {
            Some(Ok(answer)) => of_answer_to(self.exchange.as_str(), &message.subject, answer),
            Some(Err(error)) => Err(of_publish(self.exchange.as_str(), &error)),
            None => Err(Fault::Broken { reason: "the connection to RabbitMQ is lost".to_owned() }),
        }
    }

    /// The channel that messages share.
    async fn shared(&self) -> Result<SharedChannel, Fault> {
        let mut shared = self.shared.lock().await;
        if let Some(shared) = &*shared {
            return Ok(shared.clone());
        }
        let opened = self.open_channel().await?;
        *shared = Some(opened.clone());
        Ok(opened)
    }

    /// Lets the next message open another channel, if they still share this one.
    async fn close(&self, closed: &SharedChannel) {
        self.shared.lock().await.take_if(|shared| shared.is(closed));
    }

    /// Opens a channel in confirm mode.
    async fn open_channel(&self) -> Result<SharedChannel, Fault> {
        let of_error = |error: lapin::Error| of_publish(self.exchange.as_str(), &error);
        let channel = self.connection.create_channel().await.map_err(of_error)?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(of_error)?;
        Ok(SharedChannel::start(channel))
    }
}

impl Connection for Channels {
    fn publish<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(self.send(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rabbitmq(to: &str, secret: &str) -> Result<AMQPUri, (&'static str, String)> {
        let secret = Secret::new(secret);
        Rabbitmq::new(to, "shop", secret.as_ref(), None, Duration::from_secs(1)).map(|rabbitmq| rabbitmq.uri)
    }

    #[test]
    fn an_address_has_a_virtual_host_and_the_secret_a_user() {
        for (to, vhost) in [
            ("amqp://h:5672", "/"),
            ("amqp://h", "/"),
            ("amqp://h/", "/"),
            ("amqp://h/%2f", "/"),
            ("amqp://h/shop", "shop"),
        ] {
            assert_eq!(rabbitmq(to, "").unwrap().vhost, vhost, "{to}");
        }
        let uri = rabbitmq("amqp://h:5673/v", "ann:a:b@c/").unwrap();
        let userinfo = &uri.authority.userinfo;
        assert_eq!((userinfo.username.as_str(), userinfo.password.as_str()), ("ann", "a:b@c/"));
        assert_eq!(rabbitmq("amqp://h", "ann").unwrap_err().0, "secret_env");
        assert_eq!(rabbitmq("amqp://h:port", "").unwrap_err().0, "to");
    }
}
