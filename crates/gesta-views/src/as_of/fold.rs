//! A view that is folded on in a temporary database, and read between two steps.

use std::path::PathBuf;

use gesta_consumer::Stop;
use gesta_core::{Checkpoint, RecordedEvent};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::definition::Definition;
use crate::parked::{OnError, ParkedStreams, Parking, Pieces, Then};
use crate::run_error::{DatabaseErrorKind, RunError};
use crate::sqlite::apply::Applier;
use crate::sqlite::connection::harden;
use crate::sqlite::database::{create, database};
use crate::sqlite::purity;
use crate::sqlite::reader::Reader;

/// A view and the connection that applies its events.
pub(super) struct Fold {
    definition: Definition,
    connection: Connection,
    path: PathBuf,
    folder: TempDir,
    /// The streams that are not shown to the end.
    parked: ParkedStreams,
}

impl Fold {
    /// The view without events.
    pub(super) fn begin(definition: &Definition, start: &Checkpoint) -> Result<Self, RunError> {
        let no_past = || RunError::NoPast { view: definition.name().to_owned() };
        let definition = definition.in_sqlite().ok_or_else(no_past)?;
        let folder = TempDir::new().map_err(|error| RunError::Database {
            action: "make a folder for",
            path: std::env::temp_dir(),
            message: error.to_string(),
            kind: DatabaseErrorKind::Transient,
        })?;
        let path = folder.path().join("view.db");
        let open = || {
            let connection = Connection::open(&path)?;
            harden(&connection)?;
            purity::install(&connection)?;
            // Without parking, nothing outlives an error, so nothing is rolled back.
            let journal = if definition.on_error() == OnError::Park { "memory" } else { "off" };
            connection.pragma_update(None, "journal_mode", journal)?;
            connection.pragma_update(None, "synchronous", "off")?;
            connection.execute_batch("begin")?;
            create(&connection, &definition, start)?;
            Ok(connection)
        };
        let connection = open().map_err(|error| database(&path, "create", &error))?;
        Ok(Self { definition, connection, path, folder, parked: ParkedStreams::default() })
    }

    /// Applies events, in the order of the log. What a running view would park is parked.
    pub(super) fn apply(&mut self, events: &[RecordedEvent]) -> Result<(), RunError> {
        let (name, policy) = (self.definition.name(), self.definition.on_error());
        let before = self.parked.clone();
        let mut parking = Parking::new(name, policy, &before, events);
        loop {
            match self.try_apply(&parking.events(), parking.pieces()) {
                Ok(()) => break,
                Err(error) => match parking.failed(error) {
                    Then::Again => {}
                    Then::Fail(error) => return Err(error),
                },
            }
        }
        self.parked.apply(&parking.changes());
        Ok(())
    }

    /// Applies events. After an error that parks a stream, none of them is.
    fn try_apply(&self, events: &[RecordedEvent], pieces: Pieces) -> Result<(), RunError> {
        let run = |sql: &str| {
            let done = self.connection.execute_batch(sql);
            done.map_err(|error| database(&self.path, "write to", &error))
        };
        let applier = Applier::new(&self.connection, &self.definition);
        let mut applier = applier.map_err(|error| database(&self.path, "prepare", &error))?;
        let parks = self.definition.on_error() == OnError::Park;
        if parks {
            run("savepoint page")?;
        }
        let mut pieces = pieces.of(events).into_iter();
        let applied = pieces.try_for_each(|events| applier.apply(events, &Stop::new()).map(|_| ()));
        match (&applied, parks) {
            (_, false) => {}
            (Ok(()), true) => run("release page")?,
            (Err(_), true) => run("rollback to page; release page")?,
        }
        applied
    }

    /// The streams that are not shown to the end, by name.
    pub(super) fn parked(&self) -> Vec<String> {
        self.parked.names()
    }

    /// Shows readers what was applied, as of a place in the log.
    pub(super) fn commit(&mut self, at: &Checkpoint) -> Result<(), RunError> {
        let commit = || {
            self.connection.execute("update gesta_checkpoint set at = ?1", [at.to_string()])?;
            self.connection.execute_batch("commit; begin")
        };
        commit().map_err(|error| database(&self.path, "write to", &error))
    }

    /// A connection that sees what was committed.
    pub(super) fn reader(&self) -> Result<Reader, RunError> {
        Reader::open(&self.path).map_err(|error| database(&self.path, "open", &error))
    }

    /// The reading connection alone, with the folder that it needs.
    pub(super) fn into_reader(self) -> Result<(Reader, TempDir), RunError> {
        Ok((self.reader()?, self.folder))
    }
}
