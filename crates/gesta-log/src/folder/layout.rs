//! Names and paths in a log's folder.

use std::path::{Path, PathBuf};

use crate::env::{Env, Mode, read_exact_at};
use crate::format::BACKUP_MAGIC;

pub(crate) const NAME: &str = "backup";

/// Whether a folder holds the manifest of a backup. Checks the content: a user's file may have the same name.
pub(crate) fn has_backup(env: &dyn Env, root: &Path) -> bool {
    let mut magic = [0; BACKUP_MAGIC.len()];
    let read = env.open(&root.join(NAME), Mode::Read).and_then(|file| read_exact_at(&*file, &mut magic, 0));
    read.is_ok() && magic == BACKUP_MAGIC
}

/// The path of a segment, from its id alone.
pub(crate) fn segment_path(root: &Path, id: u64) -> PathBuf {
    root.join("segments").join(segment_name(id))
}

/// The file name of a segment.
pub(crate) fn segment_name(id: u64) -> String {
    format!("{id:012}.seg")
}

/// Whether a file in `segments/` is of a backup: the names there have a checksum after the number. It may be a part only.
pub(crate) fn is_segment_of_backup(name: &str) -> bool {
    name.contains('-') && (name.ends_with(".seg") || name.ends_with(".seg.tmp"))
}

/// The folders of a log.
pub(crate) fn folders(root: &Path) -> [PathBuf; 3] {
    [root.join("segments"), root.join("quarantine"), folder(root)]
}

/// The folder of the runs.
pub(crate) fn folder(root: &Path) -> PathBuf {
    root.join("index")
}
