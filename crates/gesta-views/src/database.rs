//! The database file of one version of a view: created, opened, checked against the log, removed.
//!
//! Durability: write-ahead log with `synchronous=normal`. After a loss of power the last transactions may be missing, but
//! rows and checkpoint always together. The runner goes on from that checkpoint.

use std::path::{Path, PathBuf};

use gesta_core::Checkpoint;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags};

use crate::definition::Definition;
use crate::limits::{BUSY_TIMEOUT, WAL_BYTES_KEPT, WAL_CHECKPOINT_PAGES, WRITER_CACHE_KIB};
use crate::parts::Parts;
use crate::purity::{self, Clock};
use crate::run_error::RunError;
use crate::sqlite::{DatabaseErrorKind, harden, message};

/// The runner's tables, in every view's database.
const RUNNER_TABLES: &str = "
    create table gesta_view (name text not null, version integer not null, hash text not null, caught_up integer not null);
    create table gesta_checkpoint (at text not null);";

/// Records that a version has shown everything, so that it may serve while a newer one is built.
pub(crate) const MARK_CAUGHT_UP: &str = "update gesta_view set caught_up = 1 where caught_up = 0";

/// Creates the tables of a view in an empty database, at a checkpoint.
pub(crate) fn create(
    connection: &Connection,
    definition: &Definition,
    at: &Checkpoint,
) -> rusqlite::Result<()> {
    connection.execute_batch(RUNNER_TABLES)?;
    for statement in &definition.parts().schema {
        connection.prepare(&statement.sql)?.raw_execute()?;
    }
    connection.execute(
        "insert into gesta_view values (?1, ?2, ?3, 0)",
        (definition.name(), definition.version(), definition.hash()),
    )?;
    connection.execute("insert into gesta_checkpoint values (?1)", [at.to_string()])?;
    Ok(())
}

/// A view's database, open for its runner.
pub(crate) struct ViewFile {
    pub(crate) path: PathBuf,
    pub(crate) connection: Connection,
    pub(crate) checkpoint: Checkpoint,
    /// It has shown everything once, and so taken over from any version before it.
    pub(crate) caught_up: bool,
}

/// What there is of a view's database.
pub(crate) enum Found {
    /// There is no file.
    Nothing,
    /// A file to go on with.
    Usable(ViewFile),
    /// A file that must be built anew, and why.
    Unusable(String),
}

impl ViewFile {
    /// Opens the database of a definition, if there is one. `head` is the end of the log.
    pub(crate) fn find(folder: &Path, definition: &Definition, head: &Checkpoint) -> Result<Found, RunError> {
        let path = folder.join(definition.file_name());
        if !path.exists() {
            return Ok(Found::Nothing);
        }
        let read = || {
            let connection = open_for_runner(&path)?;
            let (hash, caught_up) =
                connection.query_row("select hash, caught_up from gesta_view", [], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?))
                })?;
            let checkpoint = read_checkpoint(&connection)?;
            Ok((connection, hash, caught_up, checkpoint))
        };
        let (connection, hash, caught_up, checkpoint) = match read() {
            Ok(read) => read,
            Err(error) if is_no_view(&error) => {
                return Ok(Found::Unusable(format!("its file is damaged: {}", message(&error))));
            }
            Err(error) => return Err(database(&path, "open", &error)),
        };
        if hash != definition.hash() {
            return Ok(Found::Unusable("its file belongs to another definition".to_owned()));
        }
        Ok(match fitting(checkpoint, head) {
            Ok(checkpoint) => Found::Usable(Self { path, connection, checkpoint, caught_up }),
            Err(reason) => Found::Unusable(reason),
        })
    }

    /// Creates the database of a definition at the start of the log, in place of any that is there.
    pub(crate) fn make(folder: &Path, definition: &Definition, start: &Checkpoint) -> Result<Self, RunError> {
        let path = folder.join(definition.file_name());
        remove(&path).map_err(|error| io(&path, "remove", &error))?;
        let failed = |error: Error| database(&path, "create", &error);
        let connection = open_for_runner(&path).map_err(failed)?;
        let transaction = connection.unchecked_transaction().map_err(failed)?;
        create(&transaction, definition, start).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(Self { path, connection, checkpoint: start.clone(), caught_up: false })
    }

    /// The size of the write-ahead log.
    pub(crate) fn wal_bytes(&self) -> u64 {
        std::fs::metadata(beside(&self.path, "-wal")).map_or(0, |metadata| metadata.len())
    }

    /// Writes the write-ahead log into the database and empties it. Gives `false` if a reader still needs it.
    pub(crate) fn empty_wal(&self) -> Result<bool, RunError> {
        let emptied =
            self.connection.query_row("pragma wal_checkpoint(truncate)", [], |row| row.get::<_, i64>(0));
        match emptied {
            Ok(blocked) => Ok(blocked == 0),
            Err(error) => Err(database(&self.path, "empty the write-ahead log of", &error)),
        }
    }

    /// Marks a version that is at the head of the log when it is opened.
    pub(crate) fn mark_caught_up(&self) -> Result<(), RunError> {
        let marked = self.connection.execute(MARK_CAUGHT_UP, []);
        marked.map(|_| ()).map_err(|error| database(&self.path, "write to", &error))
    }
}

/// The newest other version of a view that had caught up, with its checkpoint: it serves until the wanted one has.
pub(crate) fn predecessor(
    folder: &Path,
    definition: &Definition,
    head: &Checkpoint,
) -> Option<(PathBuf, Checkpoint)> {
    let mut paths = other_versions(folder, definition);
    paths.sort_by_key(|path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
    paths.into_iter().rev().find_map(|path| {
        let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        let caught_up =
            connection.query_row("select caught_up from gesta_view", [], |row| row.get::<_, bool>(0));
        let checkpoint = read_checkpoint(&connection).ok().filter(|_| caught_up.unwrap_or(false))?;
        Some((path, fitting(checkpoint, head).ok()?))
    })
}

/// Removes the files of all other versions of a view, except one.
pub(crate) fn remove_other_versions(folder: &Path, definition: &Definition, keep: Option<&Path>) {
    let paths = other_versions(folder, definition).into_iter();
    paths.filter(|path| Some(path.as_path()) != keep).for_each(|path| remove_version(&path));
}

/// Removes an old version of a view. A file that cannot be removed is tried again when the view is opened.
pub(crate) fn remove_version(path: &Path) {
    if let Err(error) = remove(path) {
        tracing::warn!(path = %path.display(), %error, "an old version of a view was not removed");
    }
}

fn other_versions(folder: &Path, definition: &Definition) -> Vec<PathBuf> {
    let wanted = folder.join(definition.file_name());
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let paths = entries.map(|entry| entry.path()).filter(|path| *path != wanted);
    paths.filter(|path| is_version_of(path, definition.parts())).collect()
}

/// Whether a file name has the form `<view>.<8 hexadecimal digits>.db`.
fn is_version_of(path: &Path, parts: &Parts) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let hash = name.strip_prefix(parts.name.as_str()).and_then(|rest| rest.strip_prefix('.'));
    let hash = hash.and_then(|rest| rest.strip_suffix(".db")).unwrap_or_default();
    hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Removes the file first, then its write-ahead log. A crash in between leaves a log without a file; it is never taken for
/// the log of a new file, since this also runs before a file is created.
fn remove(path: &Path) -> std::io::Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        match std::fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn open_for_runner(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    harden(&connection)?;
    purity::install(&connection, Clock::Refused)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "cache_size", -i64::from(WRITER_CACHE_KIB))?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    Ok(connection)
}

pub(crate) fn read_checkpoint(connection: &Connection) -> rusqlite::Result<Checkpoint> {
    connection.prepare_cached("select at from gesta_checkpoint")?.query_row([], |row| {
        let token = row.get::<_, String>(0)?;
        token
            .parse()
            .map_err(|error| Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error)))
    })
}

/// The checkpoint if it lies in this log; otherwise the reason why not.
fn fitting(checkpoint: Checkpoint, head: &Checkpoint) -> Result<Checkpoint, String> {
    if !checkpoint.is_comparable(head) {
        return Err(format!("its checkpoint {checkpoint} belongs to another store"));
    }
    if !head.at_least(&checkpoint) {
        return Err(format!("its checkpoint {checkpoint} lies beyond the head of the log, {head}"));
    }
    Ok(checkpoint)
}

/// Whether the file is damaged or was never a view's database.
fn is_no_view(error: &Error) -> bool {
    // `Unknown` is SQLite's general error: here, a table of the runner that is not there.
    DatabaseErrorKind::of(error) == DatabaseErrorKind::Damaged
        || error.sqlite_error_code() == Some(ErrorCode::Unknown)
}

pub(crate) fn database(path: &Path, action: &'static str, error: &Error) -> RunError {
    let kind = DatabaseErrorKind::of(error);
    RunError::Database { action, path: path.to_owned(), message: message(error), kind }
}

fn io(path: &Path, action: &'static str, error: &std::io::Error) -> RunError {
    let kind = DatabaseErrorKind::Transient;
    RunError::Database { action, path: path.to_owned(), message: error.to_string(), kind }
}
