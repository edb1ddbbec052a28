//! An event store on a NATS JetStream cluster: [`JetStreamStore`] is an [`EventStore`](gesta_core::EventStore).
//!
//! Each partition of the store is one JetStream stream, and each of its messages is one group of batches. A process keeps a copy of it, a
//! [`Replica`](gesta_log::Replica). It decides a group against the copy, and publishes it with the expectation that the last message is the
//! one the copy ends with. So an acknowledgement proves that nobody wrote in between, and that everything was decided on the newest state.
//! All reads are answered from the copy.
//!
//! The protocol does no input or output: a [`Machine`] is told what happened, and says what to do. The simulation in `sim` drives it through
//! lost answers, elections, other writers and lost messages. The store drives it with a cluster.
//!
//! Where to look: `message` has the bytes of a group, `decide` its decision, `machine` append, doubt, catch-up and loss; `link` what is asked
//! of the cluster (`set_up`: which servers and streams are refused; `answer`: what its answers mean), `driver` the task that brings all of
//! them together. `buckets` has what is kept beside the events: `values` is the key-value store and `snapshots` the snapshot store, each on a
//! `bucket`.

#[cfg(feature = "store")]
mod address;
#[cfg(feature = "store")]
mod bucket;
#[cfg(feature = "store")]
mod buckets;
mod bugs;
#[cfg(feature = "store")]
mod copy;
mod decide;
#[cfg(feature = "store")]
mod doctor;
#[cfg(feature = "store")]
mod driver;
#[cfg(feature = "store")]
mod error;
#[cfg_attr(not(feature = "store"), expect(dead_code, reason = "some are of the store"))]
mod limits;
#[cfg(feature = "store")]
mod link;
#[cfg(feature = "store")]
mod listing;
mod machine;
#[cfg(feature = "store")]
mod merged;
mod message;
#[cfg(feature = "store")]
mod open;
#[cfg(feature = "store")]
mod options;
#[cfg(feature = "store")]
mod partition;
#[cfg(feature = "store")]
mod repair;
#[cfg(feature = "store")]
mod snapshots;
#[cfg(feature = "store")]
mod stopped;
#[cfg(feature = "store")]
mod store;
#[cfg(feature = "store")]
mod token;
#[cfg(feature = "store")]
mod values;

#[cfg(feature = "store")]
pub use address::{JetStreamUrl, JetStreamUrlParseError};
#[cfg(feature = "store")]
pub use buckets::JetStreamBuckets;
#[cfg(feature = "planted-bugs")]
pub use bugs::{Bug, plant};
#[cfg(feature = "store")]
pub use copy::JetStreamCopy;
pub use decide::{CopyGroup, Decided, Outcome, decide};
#[cfg(feature = "store")]
pub use doctor::{Finding, Grade, examine};
#[cfg(feature = "store")]
pub use error::OpenError;
pub use limits::{MESSAGE_BATCHES_MAX, MESSAGE_BYTES_MAX};
pub use machine::{Halt, Input, Machine, NotWritten, Output, Publish, Refusal, Settled};
pub use message::{
    ChainError, Draft, DraftError, Encoded, Message, MessageDigest, MessageError, Place, Tip, TipError,
};
#[cfg(feature = "store")]
pub use options::{Clock, Options};
#[cfg(feature = "store")]
pub use repair::{Comparison, CopyState, Mend, RepairError, Repaired, repair};
#[cfg(feature = "store")]
pub use snapshots::JetStreamSnapshots;
#[cfg(feature = "store")]
pub use stopped::Stopped;
#[cfg(feature = "store")]
pub use store::JetStreamStore;
#[cfg(feature = "store")]
pub use values::JetStreamValues;
