//! Views in SQLite: a file for each version, in one folder.

pub(crate) mod apply;
mod authorize;
mod check;
mod clock;
pub(crate) mod connection;
pub(crate) mod database;
mod files;
mod integrity;
pub(crate) mod parked;
mod pool;
pub(crate) mod purity;
pub(crate) mod reader;
mod rows;
mod scratch;
mod values;
mod version;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use gesta_consumer::Stop;
use gesta_core::Checkpoint;

pub(crate) use check::check;
pub(crate) use scratch::SqliteScratch;

use crate::damage::Damage;
use crate::definition::Definition;
use crate::kept::{Kept, Rollback};
use crate::options::Options;
use crate::run_error::RunError;
use crate::target::{Found, Reads, Target};
use database::{Place, ViewFile};
use integrity::BackgroundCheck;

/// The databases of one view during one run.
pub(crate) struct Sqlite {
    place: Place,
    /// The check of a file from before this run. It reads every page, so it goes on while the view tries again.
    check: Option<BackgroundCheck>,
}

impl Sqlite {
    pub(crate) fn new(definition: Definition, folder: PathBuf, options: &Options) -> Self {
        Self { place: Place { folder, definition, wal_bytes_max: options.wal_bytes_max }, check: None }
    }

    fn start_check(&self, file: &ViewFile, damage: &Arc<Damage>) -> Option<BackgroundCheck> {
        let check = BackgroundCheck::start(&file.path, damage);
        let check = check.inspect_err(|error| {
            tracing::warn!(view = self.place.definition.name(), %error, "a view's database is not checked");
        });
        check.ok()
    }
}

impl Target for Sqlite {
    type Version = ViewFile;

    const READS_EVERY_VERSION: bool = true;

    fn survey(&mut self, _: &Checkpoint, _: &Stop) -> Result<Vec<Kept>, RunError> {
        self.place.kept()
    }

    fn reads(&self, hash: &str) -> Arc<dyn Reads> {
        self.place.pool(hash)
    }

    fn roll_back(&mut self, to: Option<(&str, &Rollback)>, _: &Checkpoint, _: &Stop) -> Result<(), RunError> {
        self.place.roll_back(to)
    }

    fn remove(&mut self, hash: &str, _: &Checkpoint, _: &Stop) -> Result<(), RunError> {
        self.place.remove(hash)
    }

    /// A file from before this run is checked in the background.
    fn find(
        &mut self,
        head: &Checkpoint,
        damage: &Arc<Damage>,
        _: &Stop,
    ) -> Result<Found<ViewFile>, RunError> {
        let found = self.place.find(head)?;
        if let (Found::Usable(file), None) = (&found, &self.check) {
            self.check = self.start_check(file, damage);
        }
        Ok(found)
    }

    fn make(&mut self, start: &Checkpoint, _: &Stop) -> Result<ViewFile, RunError> {
        self.check = None;
        self.place.make(start)
    }

    fn close(&mut self) {
        self.check = None;
    }
}
