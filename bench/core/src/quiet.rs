//! Waits until a store and its disk are at rest, so that a round does not pay for earlier work.
//!
//! Stores work ahead and afterwards (zeroing segments, merging tables, writing back pages), and the host of a virtual
//! machine may slow its disk down after a burst. A short round must not measure either.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::latency::Latencies;
use crate::usage::{Meter, Process};

/// The time without writes after which a store is at rest.
const STILL: Duration = Duration::from_millis(200);
/// The longest wait for rest.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until the process writes nothing and a small sync takes about as long as on a disk at rest.
pub(crate) fn wait(process: Process, folder: &Path) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let meter = Meter::start(process, folder);
        std::thread::sleep(STILL);
        if meter.stop().dirtied_bytes == 0 && disk_is_at_rest(folder) {
            return;
        }
    }
    println!(
        "(the disk was not at rest within {} s: the next row may be slower than usual)",
        PATIENCE.as_secs()
    );
}

/// True if a small sync takes at most 1.5 times its shortest duration so far.
pub(crate) fn disk_is_at_rest(folder: &Path) -> bool {
    static BEST: Mutex<Duration> = Mutex::new(Duration::MAX);
    let file = tempfile::tempfile_in(folder.parent().unwrap_or(folder)).expect("a file");
    let now = small_syncs(&file);
    let mut best = BEST.lock().expect("no panic");
    *best = now.min(*best);
    now <= *best * 3 / 2
}

/// The median time to write 4 KiB in place and sync them.
fn small_syncs(file: &File) -> Duration {
    let piece = [7; 4096];
    let mut calls = Latencies::default();
    file.write_all_at(&piece, 0).expect("a write");
    file.sync_all().expect("a sync");
    for _ in 0..50 {
        calls.time(|| file.write_all_at(&piece, 0).and_then(|()| file.sync_data())).expect("a sync");
    }
    Latencies::merge([calls]).quantile(0.5)
}
