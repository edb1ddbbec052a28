//! A view in a database in a temporary folder, for a view in the past.
//!
//! One connection applies events and another reads. So a query at a moment runs behind the same walls as one on a live view. What
//! a crash leaves behind is in the folder of the system for temporary files.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use gesta_consumer::Stop;
use gesta_core::{Checkpoint, RecordedEvent};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::definition::Definition;
use crate::parked::{OnError, Pieces};
use crate::query::{QueryError, QueryLimits, Rows, SqlValue};
use crate::run_error::{DatabaseErrorKind, RunError};
use crate::scratch::Scratch;
use crate::sqlite::apply::Applier;
use crate::sqlite::connection::harden;
use crate::sqlite::database::{create, database};
use crate::sqlite::purity;
use crate::sqlite::reader::Reader;
use crate::target::Reads;

/// A view and the connection that applies its events.
pub(crate) struct SqliteScratch {
    definition: Definition,
    connection: Connection,
    path: PathBuf,
    folder: Arc<TempDir>,
    /// Streams are parked, so each page is a transaction of its own: a handler may roll it back itself. Otherwise one is always open.
    parks: bool,
}

impl SqliteScratch {
    /// A database with the view's tables, which shows the start of the log. The definition is one for SQLite.
    pub(crate) fn make(definition: Definition, start: &Checkpoint) -> Result<Self, RunError> {
        let folder = TempDir::new().map_err(|error| RunError::Database {
            action: "make a folder for",
            path: std::env::temp_dir(),
            message: error.to_string(),
            kind: DatabaseErrorKind::Transient,
        })?;
        let path = folder.path().join("view.db");
        let parks = definition.on_error() == OnError::Park;
        let open = || {
            let connection = Connection::open(&path)?;
            harden(&connection)?;
            purity::install(&connection)?;
            // Without parking, nothing outlives an error, so nothing is rolled back.
            let journal = if parks { "memory" } else { "off" };
            connection.pragma_update(None, "journal_mode", journal)?;
            connection.pragma_update(None, "synchronous", "off")?;
            connection.execute_batch("begin")?;
            create(&connection, &definition, start)?;
            if parks {
                connection.execute_batch("commit")?;
            }
            Ok(connection)
        };
        let connection = open().map_err(|error| database(&path, "create", &error))?;
        Ok(Self { definition, connection, path, folder: Arc::new(folder), parks })
    }

    fn run(&self, sql: &str) -> Result<(), RunError> {
        self.connection.execute_batch(sql).map_err(|error| database(&self.path, "write to", &error))
    }
}

impl Scratch for SqliteScratch {
    fn apply(&mut self, events: &[RecordedEvent], pieces: Pieces) -> Result<(), RunError> {
        let applier = Applier::new(&self.connection, &self.definition);
        let mut applier = applier.map_err(|error| database(&self.path, "prepare", &error))?;
        if self.parks {
            self.run("begin")?;
        }
        let mut pieces = pieces.of(events).into_iter();
        let applied = pieces.try_for_each(|events| applier.apply(events, &Stop::new()).map(|_| ()));
        match &applied {
            Ok(()) if self.parks => self.run("commit")?,
            Err(_) if self.parks && !self.connection.is_autocommit() => self.run("rollback")?,
            _ => {}
        }
        applied
    }

    fn show(&mut self, at: &Checkpoint) -> Result<(), RunError> {
        let show = || {
            self.connection.execute("update gesta_checkpoint set at = ?1", [at.to_string()])?;
            if self.parks { Ok(()) } else { self.connection.execute_batch("commit; begin") }
        };
        show().map_err(|error| database(&self.path, "write to", &error))
    }

    fn reads(&self) -> Result<Box<dyn Reads>, RunError> {
        let reader = Reader::open(&self.path).map_err(|error| database(&self.path, "open", &error))?;
        let version = self.definition.short_hash();
        Ok(Box::new(ScratchReads { reader: Mutex::new(reader), version, _folder: Arc::clone(&self.folder) }))
    }
}

/// The connection that reads, with the folder that it needs.
struct ScratchReads {
    reader: Mutex<Reader>,
    version: String,
    _folder: Arc<TempDir>,
}

impl Reads for ScratchReads {
    fn version(&self) -> &str {
        &self.version
    }

    fn query(
        &self,
        sql: &str,
        parameters: &[(String, SqlValue)],
        limits: &QueryLimits,
        deadline: Instant,
    ) -> Result<Rows, QueryError> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader.query(sql, parameters, limits, deadline)
    }
}
