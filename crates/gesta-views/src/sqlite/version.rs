//! One version of a view in SQLite: how it takes over, and what it removes.

use std::sync::Arc;

use gesta_core::Checkpoint;

use crate::parked::ParkedStreams;
use crate::run_error::RunError;
use crate::sqlite::database::{TAKE_OVER, ViewFile, database};
use crate::sqlite::files::remove_version;
use crate::sqlite::writer::Writer;
use crate::target::{Reads, Version};

impl Version for ViewFile {
    type Writer<'v> = Writer<'v>;

    fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    fn reads(&self) -> Arc<dyn Reads> {
        Arc::clone(&self.pool) as _
    }

    fn take_over(&self) -> Result<(), RunError> {
        let marked = self.connection.execute(TAKE_OVER, [self.serves_as]);
        marked.map(|_| ()).map_err(|error| database(&self.path, "write to", &error))
    }

    fn remove_others(&self, old: Option<&str>) {
        let is_old = |version: &str| old.is_some_and(|old| old[..8] == *version);
        match self.other_versions() {
            Ok(others) => {
                let others = others.into_iter().filter(|(_, version)| !is_old(version));
                others.for_each(|(path, _)| remove_version(&path));
            }
            Err(error) => {
                let view = self.definition.name();
                tracing::warn!(view, %error, "the old versions of a view were not looked for");
            }
        }
    }

    fn parked(&self) -> Result<ParkedStreams, RunError> {
        Ok(self.parked.clone())
    }

    fn writer(&self) -> Result<Writer<'_>, RunError> {
        Writer::new(self)
    }
}
