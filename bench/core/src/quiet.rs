//! Waits until a store and its disk have come to rest, so that no round pays for what came before it.
//!
//! Stores do work ahead or behind (a segment zeroed, tables merged, pages written back), and the host of a virtual machine may
//! slow its disk down after a burst. Neither is what a short round means to measure.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::latency::Latencies;
use crate::usage::{Meter, Process};

/// How long a store must have written nothing.
const STILL: Duration = Duration::from_millis(200);
/// How long rest is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until the process writes nothing and a small sync takes about as long as it does when the disk is at rest.
pub(crate) fn wait(process: Process, folder: &Path) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let meter = Meter::start(process, folder);
        std::thread::sleep(STILL);
        if meter.stop().dirtied_bytes == 0 && disk_is_at_rest(folder) {
            return;
        }
    }
    println!("(the disk was not at rest within {} s: judge the next row with care)", PATIENCE.as_secs());
}

/// Whether a small sync takes at most half as long again as it ever did.
pub(crate) fn disk_is_at_rest(folder: &Path) -> bool {
    static BEST: Mutex<Duration> = Mutex::new(Duration::MAX);
    let file = tempfile::tempfile_in(folder.parent().unwrap_or(folder)).expect("a file");
    let now = small_syncs(&file);
    let mut best = BEST.lock().expect("no panic");
    *best = now.min(*best);
    now <= *best * 3 / 2
}

/// The usual time to write 4 KiB in place and sync them.
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
