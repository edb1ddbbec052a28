//! A snapshot store in one SQLite file, `snapshots.db`, beside a log.
//!
//! *Choice:* nothing is synced. A crash of the machine may damage the file. Damage is found by SQLite or by the checksum
//! of a value, and costs snapshots only. In return, no put waits for the disk.
//!
//! *Choice:* several connections, unlike `state.db`: reads do not wait for a large put, and `gesta snapshot` looks into
//! the file of a server that runs.

mod connection;
mod database;
mod file;

use std::path::Path;
use std::sync::Arc;

use gesta_core::SnapshotThreads;

use crate::error::StateError;
use connection::Connection;
use file::File;

/// Threads that answer reads, so that a large snapshot does not hold up all the others.
const READERS: usize = 2;

/// Opens the snapshot store in `file`, or makes it.
///
/// A damaged file is moved aside, to `<file>.damaged` or, if that is taken, `<file>.damaged-2` and so on, and an empty one takes
/// its place. A file that this store has not made is refused and stays as it is. Several processes may have the file open.
///
/// # Errors
/// [`StateError`] if the file is of something else, of a newer version, or cannot be made.
pub fn open_snapshots(file: &Path) -> Result<SnapshotThreads, StateError> {
    start(File::new(file))
}

/// Opens the snapshot store in `file`, which must exist, to read it. The file is never changed, and a damaged one stays where it
/// is: requests fail.
///
/// # Errors
/// [`StateError`] if the file is missing, damaged, of something else or of a newer version.
pub fn open_snapshots_to_read(file: &Path) -> Result<SnapshotThreads, StateError> {
    start(File::to_read(file))
}

fn start(file: File) -> Result<SnapshotThreads, StateError> {
    let shared = Arc::new(file);
    let writer = Connection::open(Arc::clone(&shared))?;
    let readers = (0..READERS).map(|_| Connection::open(Arc::clone(&shared)));
    let readers = readers.collect::<Result<Vec<_>, _>>()?;
    let threads = SnapshotThreads::start("gesta-snapshots", writer, readers);
    threads.map_err(|error| StateError::io("start a thread of", shared.path(), &error))
}
