//! One connection to a server, and the stream that it was found to have.

use async_nats::Event;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use gesta_core::{BoxFuture, with_causes};
use tokio::sync::watch;

use super::fate::{of_no_responders, of_refusal};
use super::headers::headers_of;
use crate::broker::Connection;
use crate::fault::Fault;
use crate::message::Message;

/// Bytes of a subject. A server takes a line of 4,096 bytes with the subject, the one for the answer, and sizes.
const SUBJECT_BYTES_MAX: usize = 3_072;

/// What a client told about its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// Nothing that matters.
    Well,
    /// The connection is lost.
    Lost,
    /// The server refused something.
    Denied(String),
}

/// What an event of a client means for the messages under way.
pub(super) fn notice_of(event: &Event) -> Option<Notice> {
    match event {
        Event::Disconnected | Event::Closed | Event::LameDuckMode => Some(Notice::Lost),
        Event::ServerError(error) => {
            let text = error.to_string();
            text.to_ascii_lowercase().contains("permissions violation").then_some(Notice::Denied(text))
        }
        _ => None,
    }
}

/// A connection.
pub(super) struct Jetstream {
    pub(super) context: Context,
    pub(super) stream: String,
    /// The subjects of the stream when the connection was made.
    pub(super) subjects: Vec<String>,
    pub(super) notices: watch::Receiver<Notice>,
}

impl Jetstream {
    async fn send(&self, message: &Message<'_>) -> Result<(), Fault> {
        let headers = headers_of(message, &self.stream);
        if message.subject.len() > SUBJECT_BYTES_MAX {
            let bytes = message.subject.len();
            return Err(Fault::Unfit {
                reason: format!("the subject has {bytes} bytes: a server takes {SUBJECT_BYTES_MAX}"),
            });
        }
        let publish = PublishMessage::build().headers(headers).payload(message.event.data());
        let mut notices = self.notices.clone();
        tokio::select! {
            answer = self.publish(&message.subject, publish) => answer.map_err(|error| self.fault(&message.subject, &error)),
            notice = notices.wait_for(|notice| *notice != Notice::Well) => Err(match notice.as_deref() {
                Ok(Notice::Denied(text)) => Fault::Misdirected {
                    reason: format!("NATS refuses: {text}: give the user the right to publish there, then resume the group"),
                },
                _ => Fault::Broken { reason: "the connection to NATS is lost".to_owned() },
            }),
        }
    }

    /// Sends a message and waits for the acknowledgement of the stream.
    async fn publish(&self, subject: &str, publish: PublishMessage) -> Result<(), PublishError> {
        self.context.send_publish(subject.to_owned(), publish).await?.await.map(drop)
    }

    fn fault(&self, subject: &str, error: &PublishError) -> Fault {
        match error.kind() {
            PublishErrorKind::StreamNotFound => of_no_responders(&self.stream, &self.subjects, subject),
            PublishErrorKind::MaxPayloadExceeded => Fault::Unfit {
                reason: format!(
                    "the message is too large for the server (`max_payload`): {}",
                    with_causes(error)
                ),
            },
            PublishErrorKind::TimedOut => {
                Fault::Broken { reason: "NATS gave no acknowledgement in time".to_owned() }
            }
            _ => match code_of(error) {
                Some(code) => of_refusal(&self.stream, code, &error.to_string()),
                None => Fault::Broken { reason: format!("NATS took no message: {error}") },
            },
        }
    }
}

/// The code of JetStream's error within an error.
fn code_of(error: &PublishError) -> Option<u64> {
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref::<async_nats::jetstream::Error>() {
            return Some(error.error_code().0);
        }
        next = cause.source();
    }
    None
}

impl Connection for Jetstream {
    fn publish<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(self.send(message))
    }
}
