//! One channel for all messages in flight, and which message the broker means.
//!
//! The client hands a returned message to the next confirm of the channel, which can be that of another message. The broker returns a
//! message before it confirms it. So a confirm ends its message only after every confirm that came before it was looked at, and a returned
//! message is known by its id.
//!
//! *Invariants*
//! - Only the task of the channel looks at confirms. It looks at all of them in one pass.
//! - A confirm that a pass finds is settled after the next whole pass: whatever came before it is found by then.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Error};
use tokio::sync::{mpsc, oneshot};

/// What the broker said about a message.
#[derive(Debug)]
pub(super) enum Answer {
    /// It keeps the message.
    Confirmed,
    /// No queue takes the message. The text is the broker's.
    Returned(String),
    /// It cannot keep the message now.
    Refused,
}

/// A message on its way, up to the confirm.
type Publishing = Pin<Box<dyn Future<Output = Result<Confirmation, Error>> + Send>>;

struct Outgoing {
    id: ShortString,
    publishing: Publishing,
    answer: oneshot::Sender<Result<Answer, Error>>,
}

/// A message whose confirm, or error, was found.
struct Ended {
    id: ShortString,
    confirmation: Result<Confirmation, Error>,
    answer: oneshot::Sender<Result<Answer, Error>>,
}

/// A channel in confirm mode, and the way to its task, which ends with it.
#[derive(Debug, Clone)]
pub(super) struct SharedChannel {
    channel: Channel,
    messages: mpsc::UnboundedSender<Outgoing>,
}

impl SharedChannel {
    /// Starts the task of a channel in confirm mode that nobody else uses.
    pub(super) fn start(channel: Channel) -> Self {
        let (sender, messages) = mpsc::unbounded_channel();
        tokio::spawn(InFlight { messages, publishing: Vec::new(), returned: HashMap::new() }.run());
        Self { channel, messages: sender }
    }

    /// True if both are one. The number of a channel is given again, so it does not tell.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.messages.same_channel(&other.messages)
    }

    /// Publishes a message with an id of its own, and waits for what the broker says about it. `None` if the task has ended.
    pub(super) async fn publish(
        &self,
        exchange: &ShortString,
        key: &ShortString,
        data: &[u8],
        properties: &BasicProperties,
    ) -> Option<Result<Answer, Error>> {
        let id = properties.message_id().clone().unwrap_or_default();
        let (channel, exchange, key) = (self.channel.clone(), exchange.clone(), key.clone());
        let (data, properties) = (data.to_vec(), properties.clone());
        let publishing = Box::pin(async move {
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            channel.basic_publish(exchange, key, options, &data, properties).await?.await
        });
        let (answer, answered) = oneshot::channel();
        self.messages.send(Outgoing { id, publishing, answer }).ok()?;
        answered.await.ok()
    }
}

/// The messages in flight on a channel.
struct InFlight {
    messages: mpsc::UnboundedReceiver<Outgoing>,
    publishing: Vec<Outgoing>,
    /// Returned messages whose own confirm is not settled yet, with the broker's words.
    returned: HashMap<ShortString, String>,
}

impl InFlight {
    async fn run(mut self) {
        let mut found = Vec::new();
        while let Some(ended) = self.pass(found.is_empty()).await {
            for ended in &ended {
                self.note_returned(&ended.confirmation);
            }
            for ended in std::mem::replace(&mut found, ended) {
                self.settle(ended);
            }
        }
    }

    /// Looks at all messages once, and at least until one has ended if `waits`. `None` once nobody can send any more.
    async fn pass(&mut self, waits: bool) -> Option<Vec<Ended>> {
        poll_fn(|context| {
            while let Poll::Ready(outgoing) = self.messages.poll_recv(context) {
                match outgoing {
                    Some(outgoing) => self.publishing.push(outgoing),
                    None => return Poll::Ready(None),
                }
            }
            let ended = self.look(context);
            if waits && ended.is_empty() { Poll::Pending } else { Poll::Ready(Some(ended)) }
        })
        .await
    }

    fn look(&mut self, context: &mut Context<'_>) -> Vec<Ended> {
        let mut all = Vec::new();
        let mut at = 0;
        while let Some(outgoing) = self.publishing.get_mut(at) {
            match outgoing.publishing.as_mut().poll(context) {
                Poll::Pending => at += 1,
                Poll::Ready(confirmation) => {
                    let Outgoing { id, answer, .. } = self.publishing.swap_remove(at);
                    all.push(Ended { id, confirmation, answer });
                }
            }
        }
        all
    }

    fn note_returned(&mut self, confirmation: &Result<Confirmation, Error>) {
        if let Ok(Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned))) = confirmation
            && let Some(id) = returned.delivery.properties.message_id()
        {
            self.returned.insert(id.clone(), returned.reply_text.to_string());
        }
    }

    /// Answers the sender, who may be gone.
    fn settle(&mut self, ended: Ended) {
        let returned = self.returned.remove(&ended.id);
        let answer = ended.confirmation.map(|confirmation| match returned {
            Some(words) => Answer::Returned(words),
            None if confirmation.is_ack() => Answer::Confirmed,
            None => Answer::Refused,
        });
        let _ = ended.answer.send(answer);
    }
}
