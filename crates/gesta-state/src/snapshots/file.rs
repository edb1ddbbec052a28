//! The file that the threads of a store share, and its replacement when it is damaged.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::database::Database;
use crate::error::StateError;

/// The files that SQLite keeps beside a database.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

pub(super) struct File {
    path: PathBuf,
    /// How often the file was replaced. A connection of an earlier number is to the file that was moved aside.
    replaced: Mutex<u64>,
}

impl File {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), replaced: Mutex::new(0) }
    }

    /// The number of the file that is in place.
    pub(super) fn number(&self) -> u64 {
        *self.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the file in place, with its number. A damaged one is moved aside first.
    pub(super) fn open(&self) -> Result<(Database, u64), StateError> {
        let mut number = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        match Database::open(&self.path) {
            Err(StateError::Damaged { what, .. }) => {
                self.move_aside(&what)?;
                *number += 1;
                Ok((Database::open(&self.path)?, *number))
            }
            opened => Ok((opened?, *number)),
        }
    }

    /// Moves the file of that number aside, if it is still in place.
    pub(super) fn replace(&self, number: u64, what: &str) -> Result<(), StateError> {
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        if *replaced == number {
            self.move_aside(what)?;
            *replaced += 1;
        }
        Ok(())
    }

    fn move_aside(&self, what: &str) -> Result<(), StateError> {
        let with = |suffix: &str| {
            let mut path = self.path.clone().into_os_string();
            path.push(suffix);
            PathBuf::from(path)
        };
        let aside = with(".damaged");
        tracing::warn!(
            file = %self.path.display(),
            moved_to = %aside.display(),
            %what,
            "the snapshots are damaged: they are moved aside, and taken anew"
        );
        std::fs::rename(&self.path, &aside)
            .map_err(|error| StateError::io("move aside", &self.path, &error))?;
        for suffix in BESIDE {
            match std::fs::rename(with(suffix), with(&format!(".damaged{suffix}"))) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StateError::io("move aside", &with(suffix), &error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
