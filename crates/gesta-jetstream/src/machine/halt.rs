//! Why a machine halts: the stream has lost or changed messages, or the copy takes none.

use crate::message::{ChainError, MessageError};

/// Why nothing is applied or written any more. The copy holds what it had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Halt {
    /// The stream ends before the copy.
    #[error("the cluster has lost messages: its stream ends at message {last}, and this copy has {copy}")]
    Behind {
        /// The last message of the stream.
        last: u64,
        /// The last message of the copy.
        copy: u64,
    },
    /// The stream has another message than the copy.
    #[error("the cluster has lost messages: message {number} is another one than in this copy")]
    Changed {
        /// Its number.
        number: u64,
    },
    /// A message does not follow the one before.
    #[error("the cluster has lost or changed messages")]
    Broken(#[source] ChainError),
    /// A message is missing.
    #[error("the stream has message {number}, but not {expected}: it was deleted or lost")]
    Gap {
        /// The message that was delivered.
        number: u64,
        /// The message that should have been.
        expected: u64,
    },
    /// A message cannot be read.
    #[error("message {number} cannot be read")]
    Damaged {
        /// Its number.
        number: u64,
        /// Why.
        #[source]
        error: MessageError,
    },
    /// The copy does not take a message.
    #[error("this copy does not take message {number}: {reason}")]
    Copy {
        /// The number of the message.
        number: u64,
        /// Why.
        reason: String,
    },
    /// A publish was acknowledged at another place than the one that it expected.
    #[error(
        "a publish that expected to be message {expected} was acknowledged as {number}: the server is not one that this program knows"
    )]
    Moved {
        /// The number of the acknowledgement.
        number: u64,
        /// The expected number.
        expected: u64,
    },
}
