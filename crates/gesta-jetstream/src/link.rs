//! What a partition asks of the cluster: its stream, publishes, deliveries, and the last message.

mod answer;
mod connect;
mod monitor;
mod set_up;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::Info;
use async_nats::{HeaderMap, Request, header};
use futures_util::StreamExt;
use gesta_core::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::limits::ANSWER_TIME;
use crate::machine::{Input, Publish, Refusal};
use crate::message::MessageDigest;

pub(crate) use answer::outcome_of;
pub(crate) use connect::{check_server, connect, join, why};
pub(crate) use monitor::{Settings, health_of, settings_of};
pub(crate) use set_up::{
    COPYING, DUPLICATE_WINDOW, Found, IfMissing, Purpose, STORE, find_or_make, is_begun, partitions_of,
    set_up,
};

/// How long to wait before a consumer is asked for again.
const CONSUMER_PAUSE: Duration = Duration::from_millis(200);

/// The stream of one partition, over one connection.
#[derive(Clone)]
pub(crate) struct Link {
    context: Context,
    stream: String,
    subject: String,
    /// Where answers and deliveries go.
    inputs: mpsc::Sender<Input>,
}

impl Link {
    pub(crate) const fn new(
        context: Context,
        stream: String,
        subject: String,
        inputs: mpsc::Sender<Input>,
    ) -> Self {
        Self { context, stream, subject, inputs }
    }

    /// Publishes a message, if the leader has the one before. Its answer is told, unless there is none.
    ///
    /// *Choice*: the leader is asked for the message before, and not to expect its digest. Each server checks that expectation when it applies the
    /// message. One that was started again may know another digest than the leader, and then stops to follow the stream (NATS 2.15.1).
    pub(crate) fn publish(&self, publish: Publish) {
        let link = self.clone();
        tokio::spawn(async move {
            let sending = publish.sending;
            let outcome = match link.has_message_before(&publish).await {
                true => link.request(&publish).await,
                false => Some(Err(Refusal::OtherDigest)),
            };
            if let Some(outcome) = outcome {
                link.tell(match outcome {
                    Ok(number) => Input::Acknowledged { sending, number },
                    Err(refusal) => Input::Refused { sending, refusal },
                })
                .await;
            }
        });
    }

    /// Publishes a message. Returns its number, or the refusal; `None` if the message may be written.
    pub(crate) async fn request(&self, publish: &Publish) -> Option<Result<u64, Refusal>> {
        let request = Request::new()
            .headers(self.headers(publish))
            .payload(publish.bytes.clone())
            .timeout(Some(ANSWER_TIME));
        outcome_of(self.context.client().send_request(self.subject.clone(), request).await)
    }

    /// True if the leader has the message that a publish follows. False also if it cannot tell: a large message does not fit in its answer.
    async fn has_message_before(&self, publish: &Publish) -> bool {
        let Some(digest) = publish.after_digest else { return true };
        let Ok(stream) = self.context.get_stream_no_info(&self.stream).await else { return false };
        let message = stream.get_raw_message(publish.after).await;
        message.is_ok_and(|message| MessageDigest::of(&message.payload) == digest)
    }

    fn headers(&self, publish: &Publish) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, publish.digest.to_string());
        headers.insert(header::NATS_EXPECTED_STREAM, self.stream.clone());
        headers.insert(header::NATS_EXPECTED_LAST_SEQUENCE, publish.after.to_string());
        headers
    }

    /// Delivers messages from a number on, until the task is ended.
    pub(crate) fn follow(&self, consumer: u64, from: u64) -> JoinHandle<()> {
        let link = self.clone();
        tokio::spawn(async move {
            let mut next = from;
            loop {
                if let Err(error) = link.deliver(consumer, &mut next).await {
                    tracing::debug!("the consumer of {} ended at {next}: {error}", link.stream);
                }
                tokio::time::sleep(CONSUMER_PAUSE).await;
            }
        })
    }

    /// Delivers with one consumer until it fails.
    async fn deliver(&self, consumer: u64, next: &mut u64) -> Result<(), async_nats::Error> {
        let mut messages = self.messages(*next).await?;
        while let Some(message) = messages.next().await {
            let message = message?;
            let info = message.info()?;
            let nanos = info.published.unix_timestamp_nanos();
            let stored_at = Timestamp::from_nanos(i64::try_from(nanos)?);
            let number = info.stream_sequence;
            let bytes = message.payload.clone();
            *next = number + 1;
            self.tell(Input::Delivered { consumer, number, bytes, stored_at }).await;
        }
        Ok(())
    }

    /// The messages of the stream from a number on, by a new consumer.
    pub(crate) async fn messages(&self, from: u64) -> Result<pull::Ordered, async_nats::Error> {
        let config = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from },
            ..pull::OrderedConfig::default()
        };
        let stream = self.context.get_stream_no_info(&self.stream).await?;
        Ok(stream.create_consumer(config).await?.messages().await?)
    }

    /// Asks the leader for its last message.
    pub(crate) fn ask_for_last(&self, asked_at: Duration) {
        let link = self.clone();
        tokio::spawn(async move {
            if let Ok(stream) = link.context.get_stream(&link.stream).await {
                let info = stream.cached_info();
                if let Some(term) = term_of(info) {
                    let last = info.state.last_sequence;
                    link.tell(Input::LeaderAt { last, term, asked_at }).await;
                }
            }
        });
    }

    async fn tell(&self, input: Input) {
        // The store may be closed.
        let _ = self.inputs.send(input).await;
    }
}

/// A number that is another one after each election, and once the stream was made anew. None if the answer is not from a leader: during an
/// election, a server answers that knows none.
fn term_of(info: &Info) -> Option<u64> {
    let leader = match &info.cluster {
        Some(cluster) => Some((cluster.leader.as_ref()?, cluster.leader_since)),
        // A server that stands alone.
        None => None,
    };
    let mut hasher = DefaultHasher::new();
    (info.created, leader).hash(&mut hasher);
    Some(hasher.finish())
}
