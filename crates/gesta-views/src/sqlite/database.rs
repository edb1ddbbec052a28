//! The database file of one version of a view: created, opened, checked against the log, removed.
//!
//! Durability: write-ahead log with `synchronous=normal`. After a loss of power the last transactions may be missing, but
//! rows and checkpoint always together. The runner goes on from that checkpoint.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta_core::Checkpoint;
use rusqlite::{Connection, Error, ErrorCode};

use crate::definition::Definition;
use crate::limits::{BUSY_TIMEOUT, WAL_BYTES_KEPT, WAL_CHECKPOINT_PAGES, WRITER_CACHE_KIB};
use crate::run_error::{DatabaseErrorKind, RunError};
use crate::sqlite::connection::{harden, message, read_checkpoint};
use crate::sqlite::files::{beside, file_name, remove, version_of};
use crate::sqlite::pool::Pool;
use crate::sqlite::purity;
use crate::target::{Found, fitting};

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
    pub(crate) definition: Definition,
    pub(crate) path: PathBuf,
    pub(crate) connection: Connection,
    pub(crate) checkpoint: Checkpoint,
    /// It has shown everything once, and so taken over from any version before it.
    pub(crate) caught_up: bool,
    /// The connections that read it.
    pub(crate) pool: Arc<Pool>,
    /// Bytes of the write-ahead log before it is emptied.
    pub(crate) wal_bytes_max: u64,
}

/// Where the databases of a view are.
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) definition: Definition,
    /// Bytes of the write-ahead log before it is emptied.
    pub(crate) wal_bytes_max: u64,
}

impl Place {
    /// Opens the database of the definition, if there is one. `head` is the end of the log.
    pub(crate) fn find(&self, head: &Checkpoint) -> Result<Found<ViewFile>, RunError> {
        let path = self.path();
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
        if hash != self.definition.hash() {
            return Ok(Found::Unusable("its file belongs to another definition".to_owned()));
        }
        Ok(match fitting(checkpoint, head) {
            Ok(checkpoint) => Found::Usable(self.file(connection, checkpoint, caught_up)),
            Err(reason) => Found::Unusable(reason),
        })
    }

    /// Creates the database of the definition at the start of the log, in place of any that is there.
    pub(crate) fn make(&self, start: &Checkpoint) -> Result<ViewFile, RunError> {
        let path = self.path();
        remove(&path).map_err(|error| io(&path, "remove", &error))?;
        let failed = |error: Error| database(&path, "create", &error);
        let connection = open_for_runner(&path).map_err(failed)?;
        let transaction = connection.unchecked_transaction().map_err(failed)?;
        create(&transaction, &self.definition, start).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(self.file(connection, start.clone(), false))
    }

    fn file(&self, connection: Connection, checkpoint: Checkpoint, caught_up: bool) -> ViewFile {
        let (definition, path, wal_bytes_max) = (self.definition.clone(), self.path(), self.wal_bytes_max);
        let pool = Arc::new(Pool::new(path.clone(), definition.short_hash()));
        ViewFile { definition, path, connection, checkpoint, caught_up, pool, wal_bytes_max }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(file_name(&self.definition))
    }
}

impl ViewFile {
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

    /// The versions of the view in other files.
    pub(crate) fn other_versions(&self) -> Vec<(PathBuf, String)> {
        let folder = self.path.parent().into_iter().flat_map(std::fs::read_dir);
        let paths = folder.flatten().filter_map(Result::ok).map(|entry| entry.path());
        let others = paths.filter(|path| *path != self.path);
        others
            .filter_map(|path| {
                let version = version_of(&path, self.definition.name())?;
                Some((path, version))
            })
            .collect()
    }
}

fn open_for_runner(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    harden(&connection)?;
    purity::install(&connection)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "cache_size", -i64::from(WRITER_CACHE_KIB))?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    Ok(connection)
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
