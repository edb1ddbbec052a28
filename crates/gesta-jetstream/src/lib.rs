//! An event store on a NATS JetStream cluster: its messages, and the protocol of append, doubt and catch-up.
//!
//! A partition of the store is one JetStream stream, and each of its messages is one group of batches. A process keeps a copy of the
//! partition. It decides a group against the copy, and publishes it with the expectation that the last message is the one the copy ends
//! with. So an acknowledgement proves that nobody wrote in between, and that everything was decided on the newest state.
//!
//! Nothing here does input or output: a [`Machine`] is told what happened, and says what to do. The simulation in `sim` drives it through
//! lost answers, elections, other writers and lost messages.
//!
//! - [`Draft`] and [`Message`] are the bytes: versioned, chained by digest, with a checksum.
//! - [`decide`] decides the batches of a group.
//! - [`Machine`] publishes groups, settles doubts, follows the stream, and finds losses.

mod bugs;
mod decide;
mod limits;
mod machine;
mod message;

#[cfg(feature = "planted-bugs")]
pub use bugs::{Bug, plant};
pub use decide::{CopyGroup, Decided, Outcome, decide};
pub use limits::{MESSAGE_BATCHES_MAX, MESSAGE_BYTES_MAX};
pub use machine::{Halt, Input, Machine, NotWritten, Output, Publish, Refusal, Settled};
pub use message::{ChainError, Draft, Encoded, Message, MessageDigest, MessageError, Tip, TipError};
