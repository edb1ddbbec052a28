//! The bare work that figures are compared with: writing and syncing, or reading, the same bytes.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::figure::Round;

/// Writes `pieces` pieces of `bytes` bytes into a file of zeros, with a sync after each. A piece counts as `per_piece` events.
pub fn write_synced(folder: &Path, pieces: u64, bytes: usize, per_piece: u64) -> Round {
    let path = folder.join("bare");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path).expect("a file");
    let piece = vec![7; bytes];
    let zeros = vec![0; 1 << 20];
    let total = pieces * bytes as u64;
    for at in (0..total).step_by(zeros.len()) {
        file.write_all_at(&zeros, at).expect("zeros");
    }
    file.sync_all().expect("a sync");
    Round::time(|| {
        for at in 0..pieces {
            file.write_all_at(&piece, at * bytes as u64).expect("a write");
            file.sync_data().expect("a sync");
        }
        pieces * per_piece
    })
}

/// Reads the segments of a log from beginning to end. Counts as `events` events.
pub fn read_segments(folder: &Path, events: u64) -> Round {
    Round::time(|| {
        let mut buffer = vec![0; 1 << 20];
        for entry in std::fs::read_dir(folder.join("segments")).expect("segments") {
            let mut file = File::open(entry.expect("an entry").path()).expect("a segment");
            while file.read(&mut buffer).expect("a read") > 0 {}
        }
        events
    })
}
