//! Folders for stores under load, the page cache, and files of figures.

use std::io::Write as _;
use std::path::Path;

use tempfile::TempDir;

/// An empty folder for one store, deleted when dropped. `GESTA_BENCH_FOLDER` selects the disk.
///
/// # Panics
/// If it cannot be made.
#[must_use]
pub fn folder() -> TempDir {
    let parent = std::env::var_os("GESTA_BENCH_FOLDER").map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::Builder::new().prefix("gesta-bench-").tempdir_in(&parent);
    folder.unwrap_or_else(|error| panic!("a folder in `{}`: {error}", parent.display()))
}

/// Makes the next reads in a folder come from the disk: drops the page cache, or without root the pages of the
/// folder's files.
///
/// # Panics
/// If the folder cannot be read.
pub fn drop_caches(folder: &Path) {
    rustix::fs::sync();
    if std::fs::write("/proc/sys/vm/drop_caches", "1").is_err() {
        forget(folder);
    }
}

fn forget(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            forget(&path);
        } else if let Ok(file) = std::fs::File::open(&path) {
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("pages are given back");
        }
    }
}

/// Appends a line to a file of figures, after the heading if the file is new.
///
/// # Panics
/// If the file cannot be written.
pub fn append_line(file: &Path, heading: &str, line: &str) {
    std::fs::create_dir_all(file.parent().expect("a file in a folder")).expect("a folder for figures");
    let fresh = !file.exists();
    let mut file = std::fs::File::options().create(true).append(true).open(file).expect("a file of figures");
    if fresh {
        writeln!(file, "{heading}").expect("a heading");
    }
    writeln!(file, "{line}").expect("a line");
}
