//! The key-value store and the snapshot store of a server: two SQLite files, `state.db` and `snapshots.db`, beside a log.
//!
//! [`StateStore`] implements [`KeyValueStore`](gesta_core::KeyValueStore). It keeps what is not an event: progress and
//! settings of consumer groups, pauses, places of timers.
//!
//! - Every accepted write is synced before it is acknowledged. Writes that wait at the same time share one transaction
//!   and one sync.
//! - Each value carries a checksum, so a changed bit is reported and never returned.
//! - One process has the file open. A second one is refused.
//! - [`StateStore::copy_to`], [`back_up`], [`verify`] and [`restore`] make it part of a backup.
//!
//! [`open_snapshots`] opens a [`SnapshotStore`](gesta_core::SnapshotStore). Losing its file costs time, never an event, so nothing
//! of it is synced.
//!
//! # Example
//! ```
//! # use gesta_core::{KeyName, KeyValueStore};
//! # use pollster::block_on;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let state = gesta_state::StateStore::open(&folder.path().join(gesta_state::FILE_NAME))?;
//! let key = KeyName::new("groups/mail")?;
//! let first = block_on(state.put(key.clone(), "{\"v\":1}".into(), None))?;
//! let second = block_on(state.put(key, "{\"v\":1,\"paused\":true}".into(), Some(first)))?;
//! assert!(second > first);
//! # Ok(())
//! # }
//! ```

mod backup;
mod database;
mod error;
mod limits;
mod queue;
mod snapshots;
mod store;
mod worker;

pub use backup::{Restored, StateCopy, back_up, restore, verify};
pub use error::StateError;
pub use snapshots::{open_snapshots, open_snapshots_to_read};
pub use store::StateStore;

/// The name of the file in the folder of a log, and in the folder of a backup.
pub const FILE_NAME: &str = "state.db";
/// The name of the file of snapshots in the folder of a log. A backup leaves it out.
pub const SNAPSHOTS_FILE_NAME: &str = "snapshots.db";
