//! The connections that read one database file of a view, and the hold that lets its write-ahead log be emptied.
//!
//! SQLite starts its write-ahead log anew only when no reader needs it, so queries that overlap without a gap let it grow
//! without bound. Once it is too large, the view's thread holds new queries back, waits for the running ones, whose time is
//! limited, and empties it.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use event_listener::{Event, Listener};

use crate::limits::IDLE_READERS_MAX;
use crate::query::{QueryError, QueryLimits, Rows, SqlValue};
use crate::sqlite::reader::Reader;
use crate::target::Reads;

/// The connections that read one database file.
pub(crate) struct Pool {
    path: PathBuf,
    version: String,
    readers: Mutex<Readers>,
    /// Notified when the last running query ends, and when a hold ends.
    changed: Event,
}

#[derive(Default)]
struct Readers {
    idle: Vec<Reader>,
    /// Queries that are running.
    running: usize,
    /// New queries wait.
    held: bool,
}

impl Pool {
    pub(crate) fn new(path: PathBuf, version: String) -> Self {
        Self { path, version, readers: Mutex::default(), changed: Event::new() }
    }

    /// Holds new queries back until the guard is dropped.
    pub(crate) fn hold(&self) -> Hold<'_> {
        self.readers().held = true;
        Hold { pool: self }
    }

    /// Ends a hold, also one that is waiting for running queries.
    pub(crate) fn release(&self) {
        self.readers().held = false;
        self.changed.notify(usize::MAX);
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, deadline: Instant) -> Result<Running<'_>, QueryError> {
        loop {
            // Listen first, look second: a change in between is not missed.
            let listener = self.changed.listen();
            let mut readers = self.readers();
            if !readers.held {
                readers.running += 1;
                return Ok(Running { pool: self });
            }
            drop(readers);
            if listener.wait_deadline(deadline).is_none() {
                return Err(QueryError::Busy { message: "its write-ahead log is being emptied".to_owned() });
            }
        }
    }
}

impl Reads for Pool {
    fn version(&self) -> &str {
        &self.version
    }

    /// Answers a query, waiting for a hold to end within the deadline.
    fn query(
        &self,
        sql: &str,
        parameters: &[(String, SqlValue)],
        limits: &QueryLimits,
        deadline: Instant,
    ) -> Result<Rows, QueryError> {
        let running = self.enter(deadline)?;
        let idle = self.readers().idle.pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => Reader::open(&self.path).map_err(|error| QueryError::of_database(&error))?,
        };
        let rows = reader.query(sql, parameters, limits, deadline)?;
        let mut readers = self.readers();
        if readers.idle.len() < IDLE_READERS_MAX {
            readers.idle.push(reader);
        }
        drop(readers);
        drop(running);
        Ok(rows)
    }

    /// Closes the connections that no query uses. The view's thread then closes the last one, which leaves no write-ahead log.
    fn close_idle(&self) {
        self.readers().idle.clear();
    }
}

/// A query that is running.
struct Running<'p> {
    pool: &'p Pool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut readers = self.pool.readers();
        readers.running -= 1;
        let is_last = readers.running == 0;
        drop(readers);
        if is_last {
            self.pool.changed.notify(usize::MAX);
        }
    }
}

/// New queries wait while this is held.
pub(crate) struct Hold<'p> {
    pool: &'p Pool,
}

impl Hold<'_> {
    /// Waits until no query is running, the hold is released, or the deadline has passed.
    pub(crate) fn drain(&self, deadline: Instant) {
        loop {
            let listener = self.pool.changed.listen();
            let readers = self.pool.readers();
            let is_over = readers.running == 0 || !readers.held;
            drop(readers);
            if is_over || listener.wait_deadline(deadline).is_none() {
                return;
            }
        }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.pool.release();
    }
}
