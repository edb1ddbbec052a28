//! A snapshot store in Valkey or Redis, for services that share snapshots or have no disk of their own.
//!
//! [`open_snapshots`] opens a [`SnapshotStore`](gesta_core::SnapshotStore). It speaks RESP 2 over blocking sockets, from threads of
//! its own.
//!
//! - The server may evict, expire or lose anything: a load folds more events then.
//! - It may be down when the store is opened, and later. Each request connects if there is no connection.
//! - With a cluster, redirections are followed once for each command. One stream is on one slot.
//! - `rediss://` encrypts, and takes only servers with a certificate for the host that they are reached by.
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
mod socket;
mod store;
mod url;

use std::io;
use std::sync::Arc;

use gesta_core::SnapshotThreads;
use gesta_tls::Client;

use cluster::Cluster;
use store::Store;
pub use url::{ValkeyUrl, ValkeyUrlError};

/// Opens the snapshot store of a server. It connects with the first request.
///
/// # Errors
/// If the system has no thread left, or the certificates of authorities for `rediss` cannot be read.
pub fn open_snapshots(url: ValkeyUrl) -> io::Result<SnapshotThreads> {
    let client = match &url.tls {
        Some(authorities) => Some(Client::new(authorities.file(), "`ca`").map_err(io::Error::other)?),
        None => None,
    };
    let url = Arc::new(url);
    let store = || Store::new(Cluster::new(Arc::clone(&url), client.clone()));
    SnapshotThreads::start("gesta-valkey", store(), (0..limits::READERS).map(|_| store()))
}
