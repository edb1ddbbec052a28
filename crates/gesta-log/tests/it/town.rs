//! A small log as material for tests: options, appends and reads.

use std::fs;
use std::path::{Path, PathBuf};

use gesta_conformance::sample::{self, Sample as _};
use gesta_core::{Batch, Checkpoint, NewEvent, Place, Query, Read, ReadError, RecordedEvent, StreamName};
use gesta_log::{LogStore, Options};
use tempfile::TempDir;

/// The smallest segments, so that a few appends fill several.
pub(crate) fn options() -> Options {
    Options { segment_size_bytes: 64 << 10, ..Options::default() }
}

pub(crate) fn open(folder: impl AsRef<Path>) -> LogStore {
    LogStore::open(folder, &options()).expect("the log opens")
}

/// The `number`-th event, in one of three streams in turn, with `size` bytes of data.
pub(crate) fn event(number: u64, size: usize) -> NewEvent {
    let event = sample::event(stream(number % 3).as_str(), number);
    event.of_type("town.happened").with_data(format!("{number:>size$}"))
}

pub(crate) fn stream(number: u64) -> StreamName {
    format!("town-{number}").parse().expect("a name")
}

/// Makes a closed log of `batches` batches of two events each, numbered from 1.
pub(crate) fn log_of(batches: u64, size: usize) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(&folder);
    for batch in 0..batches {
        append(&log, batch, size);
    }
    folder
}

pub(crate) fn append(log: &LogStore, batch: u64, size: usize) {
    let events = [event(2 * batch + 1, size), event(2 * batch + 2, size)];
    log.append_blocking(Batch::new(events)).expect("an append succeeds");
}

/// Reads everything forward and continues after damage. Returns the events and the damage.
pub(crate) fn read_all(log: &LogStore, query: &Query) -> (Vec<RecordedEvent>, Vec<ReadError>) {
    let (mut events, mut damage, mut from) = (Vec::new(), Vec::new(), Place::Start);
    loop {
        match log.read_blocking(&Read::log_from(query.clone(), from.clone())) {
            Ok(page) => {
                events.extend(page.events);
                if page.end {
                    return (events, damage);
                }
                from = Place::At(page.scanned_to);
            }
            Err(error) => {
                from = Place::At(resume(&error).expect("only damage is met"));
                damage.push(error);
            }
        }
    }
}

pub(crate) fn resume(error: &ReadError) -> Option<Checkpoint> {
    match error {
        ReadError::DataLoss { resume, .. } => Some(resume.clone()),
        _ => None,
    }
}

/// Returns the segment files of a log, in order.
pub(crate) fn segments(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.as_ref().join("segments")).expect("a log has segments");
    let mut paths = entries.map(|entry| entry.expect("an entry").path()).collect::<Vec<_>>();
    paths.sort();
    paths
}

/// Changes the bytes of a file.
pub(crate) fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("the file is there");
    change(&mut bytes);
    fs::write(path, bytes).expect("the file takes bytes");
}

/// Returns the offset of the first occurrence of a text.
pub(crate) fn find(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).expect("the text occurs")
}

/// Returns the segment that holds the data of an event, and the offset of the data in it.
pub(crate) fn data_of(folder: impl AsRef<Path>, number: u64, size: usize) -> (PathBuf, usize) {
    let text = format!("{number:>size$}");
    let at = |path: &PathBuf| {
        let bytes = fs::read(path).expect("the file is there");
        bytes.windows(text.len()).position(|window| window == text.as_bytes())
    };
    let place = segments(folder).into_iter().rev().find_map(|path| at(&path).map(|at| (path, at)));
    place.expect("a segment holds the event")
}

/// Makes a log whose last batch was acknowledged, while neither a later frame nor the manifest shows it: a crash
/// directly after the acknowledgement leaves such a log.
pub(crate) fn uncovered(batches: u64, size: usize) -> TempDir {
    let folder = log_of(batches - 1, size);
    let log = open(&folder);
    let path = folder.path().join("manifest");
    let manifest = fs::read(&path).expect("a log has a manifest");
    append(&log, batches - 1, size);
    // An idle frame covers the batch 75 ms later, or when the log is closed. A copy of the open log would be a race
    // with it, so both are undone in the closed log.
    drop(log);
    fs::write(&path, manifest).expect("the file takes bytes");
    let (segment, at) = data_of(&folder, 2 * batches, size);
    change(&segment, |bytes| {
        let idle = at + find(&bytes[at..], "GFRM");
        bytes[idle..].fill(0);
    });
    folder
}

/// Copies a log in its current state, as a crash would leave it.
pub(crate) fn crash_copy(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    fs::create_dir(copy.path().join("segments")).expect("a folder");
    fs::copy(folder.join("manifest"), copy.path().join("manifest")).expect("a copy");
    for path in segments(folder) {
        let name = path.file_name().expect("a name");
        fs::copy(&path, copy.path().join("segments").join(name)).expect("a copy");
    }
    copy
}
