//! Appends: batches are gathered into groups, and each group is one transaction of two round trips.
//!
//! 1. `begin`, the lock of the store, and all look-ups of the group, as later statements of one pipeline. Under READ COMMITTED
//!    each of them sees what was committed before the lock was given.
//! 2. The group is decided (`group`): the rules are those of `gesta_core`, the facts are the look-ups and the batches accepted
//!    before in the group.
//! 3. The rows, the notification, `commit`.
//!
//! *Invariants:*
//! - The row lock orders groups, so commit order is position order, and positions have no gaps.
//! - A group is answered only if every statement succeeded. After a lost connection it is decided again from step 1: once the
//!   lock is held, the old transaction has ended, and what it wrote is found by ids and keys.

mod close;
mod facts;
mod group;
mod insert;
mod look_up;
mod queue;
mod search;
mod ticket;
mod writer;

pub(crate) use close::close;
pub(crate) use queue::Queue;
pub(crate) use search::{Searching, search};
pub(crate) use ticket::{Answer, Encoded, RecordedPlace, Ticket};
pub(crate) use writer::Writer;
