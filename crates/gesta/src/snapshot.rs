//! Snapshots of states: a load begins from one, and a thread takes them beside the commands.
//!
//! *Invariant:* a load with snapshots gives the state of a load without. A snapshot is used only if its kind is exactly
//! that of the running code ([`declared`]) and the log still has its last event ([`start`]).
//!
//! *Choice: never on the path of a write.* Loads and appends only note that a stream has passed a multiple ([`line`]). The
//! thread reads it again by itself, so it keeps durable states only, and a slow snapshot store delays nobody.

mod back_off;
mod declared;
mod kinds;
mod limits;
mod line;
pub(crate) mod planted;
mod service;
#[cfg(test)]
mod simulation;
mod start;
mod take;
mod thin;
mod verify;

pub use declared::Snapshots;
pub(crate) use declared::{Declared, restored};
pub use kinds::SnapshotMetrics;
pub use service::SnapshotOptions;
pub(crate) use service::{Shared as SnapshotUse, SnapshotService};
pub(crate) use start::Bounds;
pub use verify::Verify;
