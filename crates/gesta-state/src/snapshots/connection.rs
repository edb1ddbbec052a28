//! A thread's connection to the file: it opens again after errors, and has a damaged file replaced.

use std::num::NonZeroU32;
use std::sync::Arc;

use gesta_core::{
    BlockingSnapshots, Snapshot, SnapshotError, SnapshotInfo, SnapshotKey, SnapshotPage, StoreId, Version,
};
use rusqlite::{Error, ErrorCode};

use super::database::{Database, is_damage};
use super::file::File;
use crate::error::{StateError, message};

pub(super) struct Connection {
    file: Arc<File>,
    /// The open file with its number. `None` after an error: the next request opens it again.
    database: Option<(Database, u64)>,
}

impl Connection {
    pub(super) fn open(file: Arc<File>) -> Result<Self, StateError> {
        let database = Some(file.open()?);
        Ok(Self { file, database })
    }

    /// Asks the file in place. If that is damaged, asks the empty one that replaces it.
    fn ask<T>(&mut self, ask: impl Fn(&mut Database) -> rusqlite::Result<T>) -> Result<T, SnapshotError> {
        let number = self.file.number();
        let (mut database, number) = match self.database.take().filter(|(_, of)| *of == number) {
            Some(open) => open,
            None => self.file.open().map_err(|error| of_open(&error))?,
        };
        match ask(&mut database) {
            Ok(answer) => {
                self.database = Some((database, number));
                Ok(answer)
            }
            Err(error) if is_damage(&error) => {
                drop(database);
                self.file.replace(number, &message(&error)).map_err(|error| of_open(&error))?;
                let opened = self.file.open().map_err(|error| of_open(&error))?;
                let (database, _) = self.database.insert(opened);
                ask(database).map_err(|error| of_request(&error))
            }
            Err(error) => Err(of_request(&error)),
        }
    }
}

impl BlockingSnapshots for Connection {
    fn newest(
        &mut self,
        of: &SnapshotKey,
        at_most: Option<Version>,
    ) -> Result<Option<Snapshot>, SnapshotError> {
        self.ask(|database| database.newest(of, at_most))
    }

    fn put(&mut self, of: &SnapshotKey, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        self.ask(|database| database.put(of, snapshot))
    }

    fn list(&mut self, of: &SnapshotKey) -> Result<Vec<SnapshotInfo>, SnapshotError> {
        self.ask(|database| database.list(of))
    }

    fn remove(&mut self, of: &SnapshotKey, versions: &[Version]) -> Result<(), SnapshotError> {
        self.ask(|database| database.remove(of, versions))
    }

    fn streams(
        &mut self,
        within: Option<StoreId>,
        after: Option<&SnapshotKey>,
        limit: NonZeroU32,
    ) -> Result<SnapshotPage, SnapshotError> {
        self.ask(|database| database.streams(within, after, limit))
    }
}

fn of_open(error: &StateError) -> SnapshotError {
    match error {
        StateError::StorageFull { .. } => SnapshotError::StorageFull { reason: error.to_string() },
        _ => SnapshotError::Unavailable { reason: error.to_string() },
    }
}

fn of_request(error: &Error) -> SnapshotError {
    let reason = message(error);
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => SnapshotError::StorageFull { reason },
        _ => SnapshotError::Unavailable { reason },
    }
}
