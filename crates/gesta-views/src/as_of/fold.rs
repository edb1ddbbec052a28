//! A view that is folded on in a temporary database, and read between two steps.

use std::path::PathBuf;

use gesta_consumer::Stop;
use gesta_core::{Checkpoint, RecordedEvent};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{Budget, EvaluateError};
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
    /// Streams are parked, so each page is a transaction of its own: a handler may roll it back itself. Otherwise one is always open.
    parks: bool,
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
        Ok(Self { definition, connection, path, folder, parks, parked: ParkedStreams::default() })
    }

    /// Applies events, in the order of the log. What a running view would park is parked.
    pub(super) fn apply(
        &mut self,
        events: &[RecordedEvent],
        budget: &Budget<'_>,
    ) -> Result<(), EvaluateError> {
        let (name, policy) = (self.definition.name(), self.definition.on_error());
        let before = self.parked.clone();
        let mut parking = Parking::new(name, policy, &before, events);
        loop {
            match self.try_apply(&parking.events(), parking.pieces()) {
                Ok(()) => break,
                Err(error) => match parking.failed(error) {
                    Then::Again => budget.check()?,
                    Then::Fail(error) => return Err(error.into()),
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
        if self.parks {
            run("begin")?;
        }
        let mut pieces = pieces.of(events).into_iter();
        let applied = pieces.try_for_each(|events| applier.apply(events, &Stop::new()).map(|_| ()));
        match &applied {
            Ok(()) if self.parks => run("commit")?,
            Err(_) if self.parks && !self.connection.is_autocommit() => run("rollback")?,
            _ => {}
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
            if self.parks { Ok(()) } else { self.connection.execute_batch("commit; begin") }
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
