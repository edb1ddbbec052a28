//! The way of a batch into the log: prepared by its caller, decided by the single writer, written and synced in a group,
//! published once, answered.

mod decide;
mod queue;
mod tail;
mod writer;

pub(crate) use decide::{Refused, Repeat, Scope, repeat_of, repeat_of_command};
pub(crate) use queue::{Answer, Queue, Ticket};
pub(crate) use tail::{ActiveSegment, HeadersChecksum, Tail};
pub(crate) use writer::Writer;
