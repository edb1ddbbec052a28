//! The transaction of rows and checkpoint, and the write-ahead log between two of them.

use std::sync::Arc;
use std::time::Instant;

use gesta_consumer::{Interrupter, Reach, Stop};
use rusqlite::{Error, Statement};

use crate::limits::WAL_DRAIN_TIME_MAX;
use crate::run_error::RunError;
use crate::sqlite::apply::Applier;
use crate::sqlite::database::{TAKE_OVER, ViewFile, database};
use crate::sqlite::parked::write_parked;
use crate::target::{self, Durability, Outcome, PageWrite};

/// Writes pages. The rows of a page and its checkpoint become visible and durable together, or not at all.
pub(crate) struct Writer<'c> {
    file: &'c ViewFile,
    applier: Applier<'c>,
    begin: Statement<'c>,
    advance: Statement<'c>,
    take_over: Statement<'c>,
    commit: Statement<'c>,
    /// The size of the write-ahead log at which it is emptied.
    wal_bytes_max: u64,
}

impl<'c> Writer<'c> {
    pub(crate) fn new(file: &'c ViewFile) -> Result<Self, RunError> {
        let connection = &file.connection;
        let prepare = || {
            Ok(Self {
                file,
                applier: Applier::new(connection, &file.definition)?,
                begin: connection.prepare("begin immediate")?,
                advance: connection.prepare("update gesta_checkpoint set at = ?2 where at = ?1")?,
                take_over: connection.prepare(TAKE_OVER)?,
                commit: connection.prepare("commit")?,
                wal_bytes_max: file.wal_bytes_max,
            })
        };
        prepare().map_err(|error| database(&file.path, "prepare", &error))
    }

    fn apply_within(&mut self, page: &PageWrite<'_>, stop: &Stop) -> Result<Outcome, RunError> {
        let PageWrite { events, pieces, from, to, reach, parked, .. } = page;
        let failed = |error: Error| database(&self.file.path, "write to", &error);
        self.begin.raw_execute().map_err(failed)?;
        for events in pieces.of(events) {
            if self.applier.apply(events, stop)? == Outcome::Interrupted {
                return Ok(Outcome::Interrupted);
            }
        }
        write_parked(&self.file.connection, parked).map_err(failed)?;
        // Compare and set, so that two runners of one view never both commit.
        let advanced = self.advance.execute((from.to_string(), to.to_string())).map_err(failed)?;
        if advanced != 1 {
            let (expected, path) = ((*from).clone(), self.file.path.clone());
            return Err(RunError::CheckpointMoved { expected, path });
        }
        if *reach == Reach::Head {
            self.take_over.execute([self.file.serves_as]).map_err(failed)?;
        }
        self.commit.raw_execute().map_err(failed)?;
        self.applier.committed();
        Ok(Outcome::Applied)
    }
}

impl Writer<'_> {
    /// Sets when commits are synced, outside of a transaction.
    fn synchronous(&self, value: &str) -> Result<(), RunError> {
        let set = self.file.connection.pragma_update(None, "synchronous", value);
        set.map_err(|error| database(&self.file.path, "write to", &error))
    }
}

impl target::Writer for Writer<'_> {
    /// Applies a page in one transaction. The mark that the view has caught up is part of it: a stop or a crash must not come
    /// between a checkpoint that callers can see and the mark.
    fn commit(&mut self, page: &PageWrite<'_>, stop: &Stop) -> Result<Outcome, RunError> {
        if page.durability == Durability::Synced {
            self.synchronous("full")?;
        }
        let outcome = self.apply_within(page, stop);
        // After some errors, such as a full disk, SQLite has ended the transaction itself.
        if !matches!(outcome, Ok(Outcome::Applied)) && !self.file.connection.is_autocommit() {
            let rolled_back = self.file.connection.execute_batch("rollback");
            rolled_back.map_err(|error| database(&self.file.path, "roll back", &error))?;
        }
        if page.durability == Durability::Synced {
            self.synchronous("normal")?;
        }
        outcome
    }

    fn interrupter(&self) -> Option<Interrupter> {
        let (pool, statement) = (Arc::clone(&self.file.pool), self.file.connection.get_interrupt_handle());
        Some(Box::new(move || {
            statement.interrupt();
            pool.release();
        }))
    }

    /// Empties a write-ahead log that has grown too large, while new queries wait. If the running ones take too long, it is
    /// tried again after as much growth.
    fn tidy_up(&mut self, stop: &Stop) -> Result<(), RunError> {
        let bytes = self.file.wal_bytes();
        if bytes <= self.wal_bytes_max {
            return Ok(());
        }
        let hold = self.file.pool.hold();
        hold.drain(Instant::now() + WAL_DRAIN_TIME_MAX);
        if stop.is_raised() {
            return Ok(());
        }
        let emptied = self.file.empty_wal()?;
        drop(hold);
        self.wal_bytes_max = self.file.wal_bytes_max + if emptied { 0 } else { bytes };
        Ok(())
    }

    fn close(&mut self) {
        // What stays in the write-ahead log is not lost. The next open finds it there.
        if let Err(error) = self.file.empty_wal() {
            tracing::warn!(view = self.file.definition.name(), %error, "the write-ahead log stays");
        }
    }
}
