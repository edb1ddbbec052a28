//! A view as of an earlier place in the log: folded from its definition, beside the live one.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use gesta_core::{Checkpoint, EventStore, Place, Read, When};
use rusqlite::Connection;

use crate::apply::Applier;
use crate::database::{create, database};
use crate::definition::Definition;
use crate::limits::PAGE;
use crate::purity::{self, Clock};
use crate::run_error::RunError;
use crate::sandbox::{Cancel, QueryError, QueryLimits, Reader, Rows, SqlValue};
use crate::signal::Signal;
use crate::sqlite::harden;

/// The name of a database without a file, for messages.
const TEMPORARY: &str = "a temporary database";

/// A view as it was at one place in the log. Its database is temporary and goes when this is dropped.
pub struct AsOf {
    reader: Mutex<Reader>,
}

/// Folds a view from the start of the log up to and including a checkpoint. The definition need not have run before.
///
/// Blocks its thread, for a time in proportion to the log.
///
/// # Errors
/// The [`RunError`] that a running view would stop with; [`ReadError::CheckpointAhead`](gesta_core::ReadError::CheckpointAhead)
/// for a checkpoint beyond the head.
pub fn evaluate(
    store: &dyn EventStore,
    definition: &Definition,
    until: &Checkpoint,
    cancel: &Cancel,
) -> Result<AsOf, RunError> {
    let failed = |error: rusqlite::Error| database(Path::new(TEMPORARY), "use", &error);
    let start = pollster::block_on(store.locate(When::Start))?;
    // SQLite keeps a small one in memory, and a larger one in a file that it has already removed.
    let connection = Connection::open("").map_err(failed)?;
    let prepare = || {
        harden(&connection)?;
        purity::install(&connection, Clock::Refused)?;
        connection.pragma_update(None, "synchronous", "off")?;
        connection.execute_batch("begin")?;
        create(&connection, definition, &start)
    };
    prepare().map_err(failed)?;
    fold(store, definition, until, start, &connection, cancel)?;
    let finish = || {
        connection.execute("update gesta_checkpoint set at = ?1", [until.to_string()])?;
        connection.execute_batch("commit")?;
        purity::install(&connection, Clock::Allowed)
    };
    finish().map_err(failed)?;
    let reader = Reader::new(connection).map_err(failed)?;
    Ok(AsOf { reader: Mutex::new(reader) })
}

fn fold(
    store: &dyn EventStore,
    definition: &Definition,
    until: &Checkpoint,
    mut at: Checkpoint,
    connection: &Connection,
    cancel: &Cancel,
) -> Result<(), RunError> {
    let failed = |error: rusqlite::Error| database(Path::new(TEMPORARY), "use", &error);
    let mut applier = Applier::new(connection, definition.parts()).map_err(failed)?;
    let never = Signal::default();
    loop {
        let read = Read::log_from(definition.query(), Place::At(at)).until(until.clone()).limit(PAGE);
        let page = pollster::block_on(store.read(read))?;
        applier.apply(&page.events, &never)?;
        if cancel.is_cancelled() {
            return Err(RunError::Cancelled);
        }
        if page.end {
            return Ok(());
        }
        at = page.scanned_to;
    }
}

impl AsOf {
    /// Answers one SQL query, as [`Views::query`](crate::Views::query) does; one at a time.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn query(
        &self,
        sql: &str,
        parameters: &[(String, SqlValue)],
        limits: &QueryLimits,
    ) -> Result<Rows, QueryError> {
        let deadline = Instant::now() + limits.time;
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader.query(sql, parameters, limits, deadline)
    }
}
