//! The file in a backup: copies, their verification, and the way back under a new store id.
//!
//! *Invariant.* A backup never holds a file that is newer than its log. So the copy is made before the log's backup and
//! put in place after it; if the process dies in between, the older copy stays, which only repeats work.

use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use gesta_core::{Entry, KeyName, KeyPrefix, KeyValueError, StoreId};

use crate::database::{Database, WriteError, sync_folder_of};
use crate::error::StateError;

/// Beside a file, the one that takes its place.
const NEW: &str = ".new";
/// Beside a new copy, a copy of the file that cannot be opened where it is.
const TWIN: &str = ".twin";
/// Values in one page while they are all read.
const PAGE: NonZeroU32 = NonZeroU32::new(1_024).expect("above 0");

/// A verified copy of a key-value store that is not in its place yet. Dropping it removes it.
#[derive(Debug)]
pub struct StateCopy {
    to: PathBuf,
    /// `None` if there was nothing to copy.
    new: Option<PathBuf>,
}

impl StateCopy {
    pub(crate) fn make(
        to: &Path,
        copy: impl FnOnce(&Path) -> Result<bool, StateError>,
    ) -> Result<Self, StateError> {
        let new = beside(to, NEW);
        remove(&new)?;
        let mut made = Self { to: to.to_owned(), new: Some(new.clone()) };
        if !copy(&new)? {
            made.new = None;
            return Ok(made);
        }
        sync(&new)?;
        verify(&new)?;
        Ok(made)
    }

    /// Puts the copy in its place, durably, and returns `true`. If there was nothing to copy, removes what is there
    /// and returns `false`.
    ///
    /// # Errors
    /// [`StateError`]. What was there stays.
    pub fn keep(mut self) -> Result<bool, StateError> {
        let Some(new) = &self.new else {
            if self.to.exists() {
                remove(&self.to)?;
                sync_folder_of(&self.to)?;
            }
            return Ok(false);
        };
        std::fs::rename(new, &self.to).map_err(|error| StateError::io("replace", &self.to, &error))?;
        self.new = None;
        sync_folder_of(&self.to)?;
        Ok(true)
    }
}

impl Drop for StateCopy {
    fn drop(&mut self) {
        if let Some(new) = &self.new {
            // The next copy removes what cannot be removed now.
            let _ = remove(new);
        }
    }
}

/// Copies `file`, which no process has open, beside `to`, and verifies the copy. [`StateCopy::keep`] puts it in place.
///
/// The folder of `to` must exist.
///
/// # Errors
/// [`StateError`]. Nothing was changed.
pub fn back_up(file: &Path, to: &Path) -> Result<StateCopy, StateError> {
    let is_there = match std::fs::metadata(file) {
        // A process that died while it made the file left it empty.
        Ok(metadata) => metadata.len() > 0,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(StateError::io("look for", file, &error)),
    };
    let copy = |new: &Path| match is_there.then(|| Database::open(file)) {
        None => Ok(false),
        Some(Ok(database)) => database.copy_to(new).map(|()| true),
        // Opening writes, and this device takes no writes: a full disk, or a read-only mount.
        Some(Err(StateError::Io { .. } | StateError::StorageFull { .. })) => {
            copy_unopened(file, new).map(|()| true)
        }
        Some(Err(error)) => Err(error),
    };
    StateCopy::make(to, copy)
}

/// Copies a file with its write-ahead log, and opens the copy instead.
fn copy_unopened(file: &Path, new: &Path) -> Result<(), StateError> {
    let twin = beside(new, TWIN);
    remove(&twin)?;
    let made = Made(&twin);
    for suffix in ["", "-wal"] {
        let (from, to) = (beside(file, suffix), beside(made.0, suffix));
        // Not `fs::copy`: the copy must be writable, whatever the file is.
        let mut source = match std::fs::File::open(&from) {
            Err(error) if error.kind() == ErrorKind::NotFound && !suffix.is_empty() => continue,
            opened => opened.map_err(|error| StateError::io("read", &from, &error))?,
        };
        let copied =
            std::fs::File::create(&to).and_then(|mut target| std::io::copy(&mut source, &mut target));
        copied.map_err(|error| StateError::io("write", &to, &error))?;
    }
    Database::open(&twin)?.copy_to(new)
}

/// Verifies a copy: its structure and every value. Returns the number of values. Nothing is changed, and nothing is
/// made beside it.
///
/// # Errors
/// [`StateError`]; [`StateError::Damaged`] names the first damage.
pub fn verify(copy: &Path) -> Result<u64, StateError> {
    // Opening verifies.
    Database::open_copy(copy)?.verify()
}

/// A restored key-value store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Its values.
    pub values: u64,
    /// The values that named the store that was backed up, and now name the new one.
    pub renamed: u64,
}

/// Makes a key-value store of a copy, for a log that was restored under a new id.
///
/// A value that holds places of the log is a JSON object with a member `store`, the id of the log. In each one that
/// names `origin`, the id is replaced by `store`, in this member and at the start of every checkpoint. The file is
/// complete and durable once this returns. Returns `None` if there is no copy.
///
/// # Errors
/// [`StateError`]; the file was not made then.
pub fn restore(
    copy: &Path,
    file: &Path,
    origin: StoreId,
    store: StoreId,
) -> Result<Option<Restored>, StateError> {
    if !copy.try_exists().map_err(|error| StateError::io("look for", copy, &error))? {
        return Ok(None);
    }
    let values = verify(copy)?;
    let new = beside(file, NEW);
    remove(&new)?;
    let made = Made(&new);
    std::fs::copy(copy, &new).map_err(|error| StateError::io("write", &new, &error))?;
    let renamed = rename(&mut Database::open(&new)?, origin, store)?;
    sync(&new)?;
    std::fs::rename(&new, file).map_err(|error| StateError::io("make", file, &error))?;
    std::mem::forget(made);
    sync_folder_of(file)?;
    Ok(Some(Restored { values, renamed }))
}

/// A file that is removed again unless the restore succeeds.
struct Made<'a>(&'a Path);

impl Drop for Made<'_> {
    fn drop(&mut self) {
        let _ = remove(self.0);
    }
}

/// Replaces the id of a store in every value that names it. Returns the number of these values.
fn rename(database: &mut Database, origin: StoreId, store: StoreId) -> Result<u64, StateError> {
    let (mut renamed, mut after) = (0, None);
    loop {
        let page = database.list(&KeyPrefix::all(), after.as_ref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(renamed) };
        after = Some(last.clone());
        database.begin()?;
        for (key, entry) in page {
            renamed += u64::from(rename_one(database, &key, &entry, origin, store)?);
        }
        database.commit().map_err(|error| written(database, &error))?;
    }
}

fn rename_one(
    database: &mut Database,
    key: &KeyName,
    entry: &Entry,
    origin: StoreId,
    store: StoreId,
) -> Result<bool, StateError> {
    let Some(value) = renamed(&entry.value, origin, store) else { return Ok(false) };
    match database.put(key, value.as_bytes(), Some(entry.revision)) {
        Ok(_) => Ok(true),
        Err(WriteError::Failed(error)) => Err(error),
        Err(WriteError::Changed(_)) => unreachable!("nobody else writes to a file that is being made"),
    }
}

fn written(database: &Database, error: &KeyValueError) -> StateError {
    StateError::Io { action: "write", path: database.path().to_owned(), message: error.to_string() }
}

/// A value that names a store, with another one in its place. `None` if it does not name `origin`.
///
/// *Choice:* the id is replaced in the text, not in parsed JSON, so all other bytes stay as they are. Ids are 32
/// hexadecimal digits drawn at random, so no other text looks like one.
fn renamed(value: &[u8], origin: StoreId, store: StoreId) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let members = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).ok()?;
    let is_named = members.get("store")?.as_str()? == origin.to_string();
    is_named.then(|| text.replace(&format!("\"{origin}"), &format!("\"{store}")))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes a file with its write-ahead log, if it is there.
fn remove(path: &Path) -> Result<(), StateError> {
    for suffix in ["", "-wal", "-journal", "-shm"] {
        let path = beside(path, suffix);
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(StateError::io("remove", &path, &error)),
        }
    }
    Ok(())
}

fn sync(path: &Path) -> Result<(), StateError> {
    let synced = std::fs::File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| StateError::io("sync", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_opened_where_it_is_is_copied_with_its_write_ahead_log() {
        let (folder, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = folder.path().join("state.db");
        let mut database = Database::open(&file).unwrap();
        database.begin().unwrap();
        let put = database.put(&KeyName::new("a").unwrap(), b"1", None);
        assert!(put.is_ok());
        database.commit().unwrap();
        let names = ["state.db", "state.db-wal"];
        for name in names {
            std::fs::copy(folder.path().join(name), killed.path().join(name)).unwrap();
        }
        let before = names.map(|name| std::fs::read(killed.path().join(name)).unwrap());
        let to = tempfile::tempdir().unwrap();
        copy_unopened(&killed.path().join("state.db"), &to.path().join("copy")).unwrap();
        assert_eq!(verify(&to.path().join("copy")).unwrap(), 1);
        assert_eq!(names.map(|name| std::fs::read(killed.path().join(name)).unwrap()), before);
        let left = |folder: &Path| std::fs::read_dir(folder).unwrap().count();
        assert_eq!((left(killed.path()), left(to.path())), (2, 1), "nothing is left beside them");
    }

    #[test]
    fn an_empty_file_is_no_store() {
        let folder = tempfile::tempdir().unwrap();
        let (file, to) = (folder.path().join("state.db"), folder.path().join("copy"));
        std::fs::write(&file, "").unwrap();
        assert!(!back_up(&file, &to).unwrap().keep().unwrap());
        assert!(std::fs::read(&file).unwrap().is_empty() && !to.exists());
    }

    #[test]
    fn only_a_value_that_names_the_store_is_renamed_with_its_checkpoints() {
        let (old, new) = (StoreId::from_bytes([0xab; 16]), StoreId::from_bytes([0xcd; 16]));
        let (of_old, of_new) = ("ab".repeat(16), "cd".repeat(16));
        let cases = [
            (format!("{{\"v\":1,\"store\":\"{of_old}\"}}"), true),
            (format!("{{\"scanned\":\"{of_old}.7-0000abcd\",  \"store\":\"{of_old}\",\"n\":1e2}}\n"), true),
            (format!("{{\"v\":1,\"store\":\"{of_new}\",\"was\":\"{of_old}\"}}"), false),
            (format!("{{\"inner\":{{\"store\":\"{of_old}\"}}}}"), false),
            (format!("[\"{of_old}\"]"), false),
            (format!("\"{of_old}\""), false),
            ("{\"v\":1}".to_owned(), false),
            (String::new(), false),
        ];
        for (value, is_renamed) in cases {
            let expected = is_renamed.then(|| value.replace(&of_old, &of_new));
            assert_eq!(renamed(value.as_bytes(), old, new), expected, "{value}");
        }
        assert_eq!(renamed(&[0xff, 0xfe], old, new), None);
    }
}
