//! Imports a file of CloudEvents with the program. Every batch is synced before the next.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bare;
use crate::figure::{Round, compare};

/// Events in the file, and the bytes that they take in the log, rounded.
const EVENTS: u64 = 262_200;
const BYTES: u64 = 86 << 20;
/// Events in each append of the import.
const BATCH: u64 = 1_000;

pub fn run() {
    let Some(file) = file() else {
        println!(
            "import: not measured, `loan-applications.jsonl.gz` is not there (set GESTA_BENCH_DATA to its folder)"
        );
        return;
    };
    let program = bench_core::gesta_program();
    let ours = || {
        let folder = tempfile::tempdir().expect("a folder");
        Round::time(|| {
            let run = Command::new(program).arg("import").arg(&file).arg("--dir").arg(folder.path()).output();
            let run = run.expect("the program runs");
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
            EVENTS
        })
    };
    let folder = tempfile::tempdir().expect("a folder");
    let pieces = EVENTS / BATCH;
    let bytes = usize::try_from(BYTES / pieces).expect("small");
    compare("import: 262,200 events, gzip, whole process", "events/s", ours, || {
        bare::write_synced(folder.path(), pieces, bytes, BATCH)
    });
}

/// The file, in the folder that the environment names, or in `shared/data` beside the checkout or above it.
fn file() -> Option<PathBuf> {
    let named = std::env::var_os("GESTA_BENCH_DATA").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("shared/data"));
    let mut files = named.into_iter().chain(beside).map(|folder| folder.join("loan-applications.jsonl.gz"));
    files.find(|file| file.is_file())
}
