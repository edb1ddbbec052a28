//! The laws of an event store on the embedded log: with and without a restart before every call.

use std::path::Path;
use std::sync::Arc;

use gesta_conformance::{Clock, Harness, Restarting, Snapshot};
use gesta_core::EventStore;
use gesta_log::{LogStore, Options};
use tempfile::TempDir;

/// A log in a temporary folder, with the largest segments that a test can afford to zero.
struct Log {
    folder: TempDir,
    clock: Clock,
    segment_size_bytes: u64,
    index_run_bytes: u64,
    /// True if each restart deletes the index files.
    loses_index: bool,
}

impl Log {
    fn new(segment_size_bytes: u64, index_run_bytes: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, clock: Clock::default(), segment_size_bytes, index_run_bytes, loses_index: false }
    }
}

impl Harness for Log {
    fn store(&self) -> Arc<dyn EventStore> {
        let clock = self.clock.clone();
        let clock = Some(Arc::new(move || clock.now()) as gesta_log::Clock);
        let (segment_size_bytes, index_run_bytes) = (self.segment_size_bytes, self.index_run_bytes);
        let options = Options { segment_size_bytes, clock, index_run_bytes, ..Options::default() };
        let log = LogStore::open(self.folder.path(), &options).expect("a sound log opens");
        assert!(log.wait_for_index(), "{:?}", log.index_progress());
        Arc::new(log)
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn restart(&self, store: Arc<dyn EventStore>) -> Arc<dyn EventStore> {
        drop(store);
        if self.loses_index {
            std::fs::remove_dir_all(self.folder.path().join("index")).expect("a log has an index");
        }
        self.store()
    }

    fn snapshot(&self, store: Arc<dyn EventStore>) -> (Arc<dyn EventStore>, Snapshot) {
        drop(store);
        let copy = tempfile::tempdir().expect("a folder");
        copy_folder(self.folder.path(), copy.path());
        (self.store(), Box::new(copy))
    }

    fn put_back(&self, snapshot: Snapshot) -> Option<Arc<dyn EventStore>> {
        let copy = snapshot.downcast::<TempDir>().expect("a snapshot of this harness");
        std::fs::remove_dir_all(self.folder.path()).expect("the folder goes");
        copy_folder(copy.path(), self.folder.path());
        Some(self.store())
    }
}

/// Copies a folder with its content, like `cp -a`.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

mod in_large_segments {
    use super::Log;
    gesta_conformance::laws!(Log::new(64 << 20, 64 << 20));
}

/// Most look-ups read the disk, in runs that are merged all the time.
mod in_small_segments_and_runs {
    use super::Log;
    gesta_conformance::laws!(Log::new(64 << 10, 1 << 10));
}

/// The index is rebuilt at each restart, beside the open log if there are more than a few batches.
mod without_index {
    use super::{Log, Restarting};
    gesta_conformance::laws!(Restarting::every(12, Log { loses_index: true, ..Log::new(64 << 10, 4 << 10) }));
}

mod under_restarts {
    use super::{Log, Restarting};
    gesta_conformance::laws!(Restarting::every(3, Log::new(1 << 20, 2 << 10)));
}
