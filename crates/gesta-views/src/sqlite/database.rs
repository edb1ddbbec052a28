//! The database file of one version of a view: created, opened, checked against the log, removed.
//!
//! Durability: write-ahead log with `synchronous=normal`. After a loss of power the last transactions may be missing, but
//! rows and checkpoint always together. The runner goes on from that checkpoint.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta_core::Checkpoint;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags};

use crate::definition::Definition;
use crate::kept::{Kept, Rollback, Source};
use crate::limits::{BUSY_TIMEOUT, WAL_BYTES_KEPT, WAL_CHECKPOINT_PAGES, WRITER_CACHE_KIB};
use crate::parked::ParkedStreams;
use crate::parts::Parts;
use crate::run_error::{DatabaseErrorKind, RunError};
use crate::sqlite::connection::{harden, message, read_checkpoint};
use crate::sqlite::files::{beside, file_name, remove, versions};
use crate::sqlite::parked::{PARKED_TABLE, read_parked};
use crate::sqlite::pool::Pool;
use crate::sqlite::purity;
use crate::target::{Found, fitting};

/// What the runner keeps of a version.
///
/// `served` is 0 until the version has shown everything, and then its number in the order of switches. `instead_of` and `since` are the
/// rollback to this version.
const VERSION_TABLE: &str = "
    create table gesta_version (name text not null, version integer not null, hash text not null, served integer not null,
        instead_of text, since integer, file text not null, definition text);";

const CHECKPOINT_TABLE: &str = "create table gesta_checkpoint (at text not null);";

/// The name of `gesta_version` in a file of a release that parks no streams. Such a release would apply the later events of a parked
/// stream; without a table of this name it takes the file for damaged, and builds the view anew.
const BEFORE_PARKING: &str = "gesta_view";

/// Fills `gesta_version` from the table before. No statement looks at the view's own tables.
const MOVE_VERSION: &str = "
    insert into gesta_version select name, version, hash, served, instead_of, since, file, definition from gesta_view;
    drop table gesta_view;";

/// Records that a version has shown everything, and serves from now on.
pub(crate) const TAKE_OVER: &str = "update gesta_version set served = ?1 where served < ?1";

/// Creates the tables of a view in an empty database, at a checkpoint.
pub(crate) fn create(
    connection: &Connection,
    definition: &Definition,
    at: &Checkpoint,
) -> rusqlite::Result<()> {
    for table in [VERSION_TABLE, CHECKPOINT_TABLE, PARKED_TABLE] {
        connection.execute_batch(table)?;
    }
    for statement in &definition.parts().schema {
        connection.prepare(&statement.sql)?.raw_execute()?;
    }
    let parts = definition.parts();
    connection.execute(
        "insert into gesta_version values (?1, ?2, ?3, 0, null, null, ?4, ?5)",
        (definition.name(), definition.version(), definition.hash(), &parts.file, &parts.text),
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
    /// The streams that it holds back.
    pub(crate) parked: ParkedStreams,
    /// Its number once it serves: higher than that of any other version.
    pub(crate) serves_as: i64,
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
            let connection = open_present(&path)?;
            let kept = read_kept(&connection)?;
            Ok((connection, kept))
        };
        let (connection, kept) = match read() {
            Ok(read) => read,
            Err(error) if is_no_view(&error) => {
                return Ok(Found::Unusable(format!("its file is damaged: {}", message(&error))));
            }
            Err(error) => return Err(database(&path, "open", &error)),
        };
        if kept.hash != self.definition.hash() {
            return Ok(Found::Unusable("its file belongs to another definition".to_owned()));
        }
        self.keep_text(&connection, kept.source.as_ref())
            .map_err(|error| database(&path, "write to", &error))?;
        let checkpoint = kept.checkpoint.expect("it was read");
        Ok(match fitting(checkpoint, head) {
            Ok(checkpoint) => Found::Usable(self.file(connection, checkpoint, kept.parked)?),
            Err(reason) => Found::Unusable(reason),
        })
    }

    /// Keeps the text of the definition. With the same hash, it may say something else about events that cannot be applied.
    fn keep_text(&self, connection: &Connection, kept: Option<&Source>) -> rusqlite::Result<()> {
        let Parts { file, text, .. } = self.definition.parts();
        let is_kept = |text: &String| kept.is_some_and(|kept| kept.file == *file && kept.text == *text);
        if let Some(text) = text.as_ref().filter(|text| !is_kept(text)) {
            connection.execute("update gesta_version set file = ?1, definition = ?2", (file, text))?;
        }
        Ok(())
    }

    /// The versions of the view that have shown everything. A damaged file has none.
    ///
    /// An error that may pass is given: a version that is not seen for a moment would be taken for none, and removed.
    pub(crate) fn kept(&self) -> Result<Vec<Kept>, RunError> {
        let found = versions(&self.folder, self.definition.name());
        let mut kept = Vec::new();
        for (path, _) in found.map_err(|error| io(&self.folder, "list", &error))? {
            match open_to_read(&path).and_then(|connection| read_kept(&connection)) {
                Ok(version) if version.served > 0 => kept.push(version),
                Ok(_) => {}
                Err(error) if is_no_view(&error) => {}
                Err(error) => return Err(database(&path, "open", &error)),
            }
        }
        Ok(kept)
    }

    /// Records a rollback in the file of its version, and takes any other one back.
    pub(crate) fn roll_back(&self, to: Option<(&str, &Rollback)>) -> Result<(), RunError> {
        for kept in self.kept()? {
            let rollback = to.filter(|(hash, _)| *hash == kept.hash).map(|(_, rollback)| rollback);
            if kept.rollback.as_ref() == rollback {
                continue;
            }
            let path = self.folder.join(file_name(self.definition.name(), &kept.hash));
            let (instead_of, since) = rollback.map(|to| (&to.instead_of, to.since)).unzip();
            let write = || {
                let connection = open_present(&path)?;
                connection.pragma_update(None, "synchronous", "full")?;
                connection
                    .execute("update gesta_version set instead_of = ?1, since = ?2", (instead_of, since))
            };
            write().map_err(|error| database(&path, "write to", &error))?;
        }
        Ok(())
    }

    /// Removes the file of a version.
    pub(crate) fn remove(&self, hash: &str) -> Result<(), RunError> {
        let path = self.folder.join(file_name(self.definition.name(), hash));
        remove(&path).map_err(|error| io(&path, "remove", &error))
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
        self.file(connection, start.clone(), ParkedStreams::default())
    }

    fn file(
        &self,
        connection: Connection,
        checkpoint: Checkpoint,
        parked: ParkedStreams,
    ) -> Result<ViewFile, RunError> {
        let (definition, path, wal_bytes_max) = (self.definition.clone(), self.path(), self.wal_bytes_max);
        let hash = definition.hash();
        let others = self.kept()?.into_iter().filter(|kept| kept.hash != hash);
        let serves_as = others.map(|kept| kept.served).max().unwrap_or(0) + 1;
        let pool = self.pool(&hash);
        Ok(ViewFile { definition, path, connection, checkpoint, parked, serves_as, pool, wal_bytes_max })
    }

    /// The connections that read a version.
    pub(crate) fn pool(&self, hash: &str) -> Arc<Pool> {
        let path = self.folder.join(file_name(self.definition.name(), hash));
        Arc::new(Pool::new(path, hash[..8].to_owned()))
    }

    fn path(&self) -> PathBuf {
        self.folder.join(file_name(self.definition.name(), &self.definition.hash()))
    }
}

/// Opens a version's database without changing it.
pub(crate) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// Opens a version's database for its runner, in the present form.
fn open_present(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open_for_runner(path)?;
    let transaction = connection.unchecked_transaction()?;
    if has_table(&transaction, BEFORE_PARKING)? {
        for statements in [VERSION_TABLE, MOVE_VERSION, PARKED_TABLE] {
            transaction.execute_batch(statements)?;
        }
    }
    transaction.commit()?;
    Ok(connection)
}

fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql = "select exists (select 1 from sqlite_schema where type = 'table' and name = ?1)";
    connection.query_row(sql, [name], |row| row.get(0))
}

/// Reads what a version's database says of it, in the present form or in that of a release that parks no streams.
pub(crate) fn read_kept(connection: &Connection) -> rusqlite::Result<Kept> {
    let checkpoint = read_checkpoint(connection)?;
    let table = if has_table(connection, BEFORE_PARKING)? { BEFORE_PARKING } else { "gesta_version" };
    let parked = match has_table(connection, "gesta_parked")? {
        true => read_parked(connection)?,
        false => ParkedStreams::default(),
    };
    let sql = format!("select hash, served, instead_of, since, file, definition from {table}");
    connection.query_row(&sql, [], |row| {
        let (hash, served, instead_of) = (row.get(0)?, row.get(1)?, row.get::<_, Option<String>>(2)?);
        let since = row.get::<_, Option<i64>>(3)?;
        let rollback = instead_of.zip(since).map(|(instead_of, since)| Rollback { instead_of, since });
        let (file, text) = (row.get(4)?, row.get::<_, Option<String>>(5)?);
        let source = text.map(|text| Source { file, text });
        let (checkpoint, parked) = (Some(checkpoint), parked.clone());
        Ok(Kept { hash, served, checkpoint, parked, rollback, source })
    })
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
    pub(crate) fn other_versions(&self) -> std::io::Result<Vec<(PathBuf, String)>> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let versions = versions(folder, self.definition.name())?;
        Ok(versions.into_iter().filter(|(path, _)| *path != self.path).collect())
    }
}

pub(crate) fn open_for_runner(path: &Path) -> rusqlite::Result<Connection> {
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
