//! One version of a view in SQLite: how it follows an older one, and how it takes over.

use std::sync::Arc;

use gesta_core::Checkpoint;
use rusqlite::{Connection, OpenFlags};

use crate::run_error::RunError;
use crate::sqlite::connection::read_checkpoint;
use crate::sqlite::database::{MARK_CAUGHT_UP, ViewFile, database};
use crate::sqlite::files::remove_version;
use crate::sqlite::pool::Pool;
use crate::sqlite::writer::Writer;
use crate::target::{Reads, Serving, Version, fitting};

impl Version for ViewFile {
    type Writer<'v> = Writer<'v>;

    fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    fn reads(&self) -> Arc<dyn Reads> {
        Arc::clone(&self.pool) as _
    }

    /// The newest other version that had caught up.
    fn predecessor(&self, head: &Checkpoint) -> Result<Option<Serving>, RunError> {
        let mut versions = self.other_versions();
        versions
            .sort_by_key(|(path, _)| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
        let found = versions.into_iter().rev().find_map(|(path, version)| {
            let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
            let caught_up =
                connection.query_row("select caught_up from gesta_view", [], |row| row.get::<_, bool>(0));
            let checkpoint = read_checkpoint(&connection).ok().filter(|_| caught_up.unwrap_or(false))?;
            let checkpoint = fitting(checkpoint, head).ok()?;
            Some(Serving { reads: Arc::new(Pool::new(path, version)), checkpoint })
        });
        // A version that this one has taken over from, and whose file could not be removed, shows older rows.
        let is_behind = |older: &Serving| self.caught_up && self.checkpoint.at_least(&older.checkpoint);
        Ok(found.filter(|older| !is_behind(older)))
    }

    fn take_over(&self) -> Result<(), RunError> {
        let marked = self.connection.execute(MARK_CAUGHT_UP, []);
        marked.map(|_| ()).map_err(|error| database(&self.path, "write to", &error))
    }

    fn remove_others(&self, old: Option<&dyn Reads>) {
        let old = old.map(Reads::version);
        let others = self.other_versions().into_iter().filter(|(_, version)| Some(version.as_str()) != old);
        others.for_each(|(path, _)| remove_version(&path));
    }

    fn writer(&self) -> Result<Writer<'_>, RunError> {
        Writer::new(self)
    }
}
