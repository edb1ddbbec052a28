//! A producer of the client: it sends records, looks topics up, and keeps what the client reports beside them.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, ClientContext};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::fate::of_refused_user;
use super::record::headers_of;
use crate::fault::Fault;
use crate::limits::CONNECT_TIME;
use crate::message::Message;

/// The time to look a topic up. It ends before that for a connection, so that the client names the cause.
const LOOK_UP_TIME: Duration = CONNECT_TIME.saturating_sub(Duration::from_secs(1));

/// What the client reported last about its connections, with its code.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Notice {
    pub(super) code: Option<RDKafkaErrorCode>,
    pub(super) words: String,
}

/// A record was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) code: Option<RDKafkaErrorCode>,
    pub(super) words: String,
}

/// Takes what the client reports.
struct Notices(watch::Sender<Notice>);

impl ClientContext for Notices {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, words: &str) {
        tracing::debug!(facility, "librdkafka: {words}");
    }

    fn error(&self, error: KafkaError, words: &str) {
        // Its causes came before.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            self.0.send_replace(Notice { code: error.rdkafka_error_code(), words: words.to_owned() });
        }
    }
}

type Client = FutureProducer<Notices>;

/// A producer.
pub(super) struct Producer {
    client: Arc<Ended>,
    notices: watch::Receiver<Notice>,
}

/// A client that ends on a thread of its own: it waits for its threads, and may wait for half a second.
struct Ended(Option<Client>);

impl Ended {
    fn client(&self) -> &Client {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let client = self.0.take();
        // Without a thread, the failed closure drops the client here.
        drop(thread::Builder::new().name("kafka-end".to_owned()).spawn(move || drop(client)));
    }
}

impl Producer {
    /// Starts a producer. It connects on its own.
    pub(super) fn start(settings: &ClientConfig) -> Result<Self, Fault> {
        let (tell, notices) = watch::channel(Notice::default());
        let client = Client::from_config_and_context(settings, Notices(tell))
            .map_err(|error| Fault::Broken { reason: format!("cannot start a client of Kafka: {error}") })?;
        Ok(Self { client: Arc::new(Ended(Some(client))), notices })
    }

    /// Asks a broker for a topic: `None` if it is there, else what is wrong with it.
    pub(super) async fn look_up(&self, topic: &str) -> Result<Option<RDKafkaErrorCode>, KafkaError> {
        let (client, topic) = (Arc::clone(&self.client), topic.to_owned());
        let look_up = spawn_blocking(move || {
            let found = client.client().client().fetch_metadata(Some(&topic), LOOK_UP_TIME)?;
            let found = found.topics().iter().find(|found| found.name() == topic);
            let error = found.map_or(Some(RDKafkaErrorCode::UnknownTopicOrPartition), |found| {
                found.error().map(RDKafkaErrorCode::from)
            });
            Ok(error)
        });
        look_up.await.unwrap_or(Err(KafkaError::Canceled))
    }

    /// Waits until the brokers refuse the user.
    pub(super) async fn refused(&self) -> Fault {
        let mut notices = self.notices.clone();
        let refused = notices.wait_for(|notice| of_refused_user(notice).is_some()).await;
        match refused.ok().and_then(|notice| of_refused_user(&notice)) {
            Some(fault) => fault,
            // The client is gone: nothing comes any more.
            None => std::future::pending().await,
        }
    }

    /// What the client reported last.
    pub(super) fn last_notice(&self) -> Notice {
        self.notices.borrow().clone()
    }

    /// Sends a message and waits for its delivery report.
    pub(super) async fn send(&self, topic: &str, message: &Message<'_>) -> Result<(), Refused> {
        let (client, data) = (self.client.client(), message.event.data());
        let record = FutureRecord::to(topic)
            .key(message.event.stream())
            .payload(&data[..])
            .headers(headers_of(message));
        let delivery = client.send_result(record).map_err(|(error, _)| self.refusal(&error))?;
        match delivery.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((error, _))) => Err(self.refusal(&error)),
            Err(_) => Err(self.refusal(&KafkaError::Canceled)),
        }
    }

    /// Why a record was not confirmed. After a fatal error, the client ends all records, each with a code of its own.
    fn refusal(&self, error: &KafkaError) -> Refused {
        let of_error = || {
            let code = error.rdkafka_error_code();
            Refused { code, words: code.map_or_else(|| error.to_string(), |code| code.to_string()) }
        };
        let fatal = self.client.client().client().fatal_error();
        fatal.map_or_else(of_error, |(code, words)| Refused { code: Some(code), words })
    }
}
