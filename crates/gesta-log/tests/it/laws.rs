//! The laws of an event store, held against the embedded log: as it is, and closed and opened again before every call.

use std::sync::Arc;

use gesta_conformance::{Clock, Harness, Restarting};
use gesta_core::EventStore;
use gesta_log::{LogStore, Options};
use tempfile::TempDir;

/// A log in a folder of its own, with the largest segments that a test can afford to fill with zeros.
struct Log {
    folder: TempDir,
    clock: Clock,
    segment_size_bytes: u64,
    index_run_bytes: u64,
}

impl Log {
    fn new(segment_size_bytes: u64, index_run_bytes: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, clock: Clock::default(), segment_size_bytes, index_run_bytes }
    }
}

impl Harness for Log {
    fn store(&self) -> Arc<dyn EventStore> {
        let clock = self.clock.clone();
        let clock = Some(Arc::new(move || clock.now()) as gesta_log::Clock);
        let (segment_size_bytes, index_run_bytes) = (self.segment_size_bytes, self.index_run_bytes);
        let options = Options { segment_size_bytes, clock, index_run_bytes, ..Options::default() };
        Arc::new(LogStore::open(self.folder.path(), &options).expect("a sound log opens"))
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn restart(&self, store: Arc<dyn EventStore>) -> Arc<dyn EventStore> {
        drop(store);
        self.store()
    }
}

mod in_large_segments {
    use super::Log;
    gesta_conformance::laws!(Log::new(64 << 20, 64 << 20));
}

/// Almost everything is looked up on the disk, in runs that are merged all the time.
mod in_small_segments_and_runs {
    use super::Log;
    gesta_conformance::laws!(Log::new(64 << 10, 1 << 10));
}

mod under_restarts {
    use super::{Log, Restarting};
    gesta_conformance::laws!(Restarting::every(3, Log::new(1 << 20, 2 << 10)));
}
