//! What the machine is told, and what it says to do.

use std::time::Duration;

use bytes::Bytes;
use gesta_core::Timestamp;

use super::Halt;
use crate::message::{Draft, DraftError, Message, MessageDigest, Place};

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A group waits to be written. The one before was settled.
    Begin,
    /// The answer to [`Output::Probe`] or [`Output::Decide`].
    Decided {
        /// The number of the copy's last message when the group was decided.
        at: u64,
        /// What to publish; `None` if nothing is to be written or proven.
        draft: Option<Draft>,
    },
    /// The copy has the message of [`Output::Apply`].
    Applied,
    /// The copy does not take the message of [`Output::Apply`].
    NotApplied {
        /// Why.
        reason: String,
    },
    /// A publish was acknowledged.
    Acknowledged {
        /// The number of the publish.
        sending: u64,
        /// The number of the message in the stream.
        number: u64,
    },
    /// A publish was refused. This sending of the message was not written.
    Refused {
        /// The number of the publish.
        sending: u64,
        /// Why.
        refusal: Refusal,
    },
    /// The connection was lost. The client may send again what it had sent.
    ConnectionLost,
    /// A consumer delivered a message.
    Delivered {
        /// The number of the consumer, from [`Output::Follow`].
        consumer: u64,
        /// The number of the message in the stream.
        number: u64,
        /// Its bytes.
        bytes: Bytes,
        /// When the server took it, by the server's clock.
        stored_at: Timestamp,
    },
    /// The leader was asked for its last message.
    LeaderAt {
        /// Its number.
        last: u64,
        /// A number that differs between two leaders, and between two terms of one.
        term: u64,
        /// When the question was sent. What the copy got since then says nothing about the leader.
        asked_at: Duration,
    },
    /// Nothing happened until the time of [`Machine::wake`](super::Machine::wake).
    Tick,
}

/// Why a publish was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The last message has another number (10071).
    OtherNumber,
    /// The leader has another message before, or could not tell its digest. Nothing was published.
    OtherDigest,
    /// The leader has not finished what came before (10164).
    Busy,
    /// No leader took it: no responders (503), or JetStream is unavailable (10008).
    Unreached,
    /// There is no room (10023, 10047, 10077).
    Full,
    /// It can never be taken: no such stream, another stream, too large.
    Never(String),
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Give an empty draft back.
    Probe,
    /// Decide the waiting group against the copy. If `may_write` is false, nothing can be written: see [`Machine::read_only`](super::Machine::read_only).
    Decide {
        /// True if a draft will be published.
        may_write: bool,
    },
    /// Ask the leader for the digest of the message before, if the publish names one, and then publish the message. Answer with
    /// [`Input::Acknowledged`] or [`Input::Refused`], or not at all.
    Publish(Publish),
    /// Apply a message to the copy, which is then at this place. Answer with [`Input::Applied`] or [`Input::NotApplied`] before anything
    /// else.
    Apply(Message, Place),
    /// The waiting group is settled.
    Settled(Settled),
    /// Follow the stream with a new consumer, from this message on. What the one before delivers is ignored.
    Follow {
        /// The number of the consumer.
        consumer: u64,
        /// The number of the first message to deliver.
        from: u64,
    },
    /// Nothing is applied or written any more.
    Halted(Halt),
}

/// One publish of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The number of the publish.
    pub sending: u64,
    /// The message.
    pub bytes: Bytes,
    /// Its `Nats-Msg-Id`.
    pub digest: MessageDigest,
    /// `Nats-Expected-Last-Sequence`.
    pub after: u64,
    /// The digest that the leader is asked for before. If its message `after` has another one, or it does not answer, the message is not
    /// published. None if the leader acknowledged that message a moment ago, before the first message, and if only the number counts.
    pub after_digest: Option<MessageDigest>,
}

/// How a group ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Its message is in the stream and in the copy.
    Written,
    /// Nothing was to be written.
    NothingToWrite,
    /// It is surely not written.
    NotWritten(NotWritten),
    /// It may be written. Sending its batches again settles it.
    InDoubt,
}

/// Why a group is surely not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotWritten {
    /// There was no leader, or other writers were always earlier, until the time was over.
    Unavailable,
    /// There is no room.
    Full,
    /// The stream takes no such message.
    Refused(String),
    /// No copy would take its message.
    Malformed(DraftError),
    /// Nothing is written any more.
    Halted,
}
