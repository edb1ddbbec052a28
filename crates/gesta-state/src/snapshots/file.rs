//! The file that the threads of a store share, and its replacement when it is damaged.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::database::Database;
use crate::error::StateError;

/// The files that SQLite keeps beside a database.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

pub(super) struct File {
    path: PathBuf,
    /// False if it is only read.
    is_writable: bool,
    /// How often the file was replaced. A connection of an earlier number is to the file that was moved aside.
    replaced: Mutex<u64>,
}

impl File {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), is_writable: true, replaced: Mutex::new(0) }
    }

    /// A file that is only read.
    pub(super) fn to_read(path: &Path) -> Self {
        Self { is_writable: false, ..Self::new(path) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The number of the file that is in place.
    pub(super) fn number(&self) -> u64 {
        *self.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the file in place, with its number. A damaged one is moved aside first.
    pub(super) fn open(&self) -> Result<(Database, u64), StateError> {
        let mut number = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        Database::check_is_database(&self.path)?;
        if !self.is_writable {
            let opened = Database::open_copy(&self.path);
            return opened.map(|opened| (opened, *number)).map_err(|error| match error {
                StateError::Damaged { what, .. } => self.damaged(&what),
                error => error,
            });
        }
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

    /// The error for a damaged file that is only read.
    fn damaged(&self, what: &str) -> StateError {
        let message = format!(
            "it is damaged ({what}); a server that opens it moves it aside, and takes the snapshots anew"
        );
        StateError::Io { action: "read", path: self.path.clone(), message }
    }

    fn move_aside(&self, what: &str) -> Result<(), StateError> {
        if !self.is_writable {
            return Err(self.damaged(what));
        }
        // A file that somebody else has made stays where it is.
        Database::check_is_own(&self.path)?;
        let with = |suffix: &str| {
            let mut path = self.path.clone().into_os_string();
            path.push(suffix);
            PathBuf::from(path)
        };
        let names = (1..).map(|number| match number {
            1 => ".damaged".to_owned(),
            _ => format!(".damaged-{number}"),
        });
        let mut free = names.filter(|name| with(name).symlink_metadata().is_err());
        let name = free.next().expect("there is always another number");
        let aside = with(&name);
        tracing::warn!(
            file = %self.path.display(),
            moved_to = %aside.display(),
            %what,
            "the snapshots are damaged: they are moved aside, and taken anew"
        );
        std::fs::rename(&self.path, &aside)
            .map_err(|error| StateError::io("move aside", &self.path, &error))?;
        for suffix in BESIDE {
            match std::fs::rename(with(suffix), with(&format!("{name}{suffix}"))) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StateError::io("move aside", &with(suffix), &error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
