//! A snapshot store in Valkey or Redis, for services that share snapshots or have no disk of their own.
//!
//! [`open_snapshots`] opens a [`SnapshotStore`](gesta_core::SnapshotStore). It speaks RESP 2 over plain sockets, from threads of
//! its own.
//!
//! - The server may evict, expire or lose anything: a load folds more events then.
//! - It may be down when the store is opened, and later. Each request connects if there is no connection.
//! - With a cluster, redirections are followed once for each command. One stream is on one slot.
//! - There is no TLS. Put a TLS proxy beside the service where the network is not trusted.
//!
//! # Layout
//! The hash `gesta:{<stream>}:<store>:<kind>` has a field for each snapshot: its version in 20 digits, with the value of
//! [`Snapshot::to_value`](gesta_core::Snapshot::to_value). The sorted set `gesta:snapshots` has a member `<store>:<kind>:<stream>`
//! for each hash.
//!
//! # Example
//! ```
//! let url = "redis://gesta:secret@cache.example.com:6379/0?ttl=604800".parse::<gesta_valkey::ValkeyUrl>()?;
//! let snapshots = gesta_valkey::open_snapshots(url)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cluster;
mod connection;
mod keys;
mod limits;
mod resp;
mod store;
mod url;

use std::io;
use std::sync::Arc;

use gesta_core::SnapshotThreads;

use cluster::Cluster;
use store::Store;
pub use url::{ValkeyUrl, ValkeyUrlError};

/// Opens the snapshot store of a server. It connects with the first request.
///
/// # Errors
/// If the system has no thread left.
pub fn open_snapshots(url: ValkeyUrl) -> io::Result<SnapshotThreads> {
    let url = Arc::new(url);
    let store = || Store::new(Cluster::new(Arc::clone(&url)));
    SnapshotThreads::start("gesta-valkey", store(), (0..limits::READERS).map(|_| store()))
}
