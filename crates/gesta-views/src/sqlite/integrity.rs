//! The check of a view's database at open: in the background, since it reads every page.
//!
//! *Choice:* SQLite's `quick_check`, not checksums of pages. It finds a damaged structure. It cannot find a changed value
//! inside an intact row; only a rebuild would.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::damage::Damage;
use crate::limits::STEPS_PER_LOOK;
use crate::run_error::DatabaseErrorKind;
use crate::sqlite::connection::{harden, message};

/// A check on a background thread. Dropping it ends the check.
pub(crate) struct BackgroundCheck {
    cancelled: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl BackgroundCheck {
    /// Starts a check that reports damage to the view's thread.
    pub(crate) fn start(path: &Path, damage: &Arc<Damage>) -> std::io::Result<Self> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let (path, damage, is_cancelled) = (path.to_owned(), Arc::clone(damage), Arc::clone(&cancelled));
        let thread = std::thread::Builder::new().name("view-check".to_owned()).spawn(move || {
            match find_damage(&path, is_cancelled) {
                Ok(Some(found)) => damage.report(&found),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(path = %path.display(), error = message(&error), "a view's database was not checked");
                }
            }
        })?;
        Ok(Self { cancelled, thread: Some(thread) })
    }
}

impl Drop for BackgroundCheck {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A panic there is printed by the panic hook, and costs the check only.
            drop(thread.join());
        }
    }
}

/// The first damage that SQLite finds in the structure of a database.
fn find_damage(path: &Path, cancelled: Arc<AtomicBool>) -> rusqlite::Result<Option<String>> {
    let check = || {
        let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        harden(&connection)?;
        let is_cancelled = Arc::clone(&cancelled);
        connection.progress_handler(STEPS_PER_LOOK, Some(move || is_cancelled.load(Ordering::SeqCst)))?;
        connection.query_row("pragma quick_check(1)", [], |row| row.get::<_, String>(0))
    };
    match check() {
        // A cancelled check reports that it was interrupted, as an error or as a finding.
        _ if cancelled.load(Ordering::SeqCst) => Ok(None),
        Ok(found) => Ok((found != "ok").then_some(found)),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(None),
        Err(error) if DatabaseErrorKind::of(&error) == DatabaseErrorKind::Damaged => {
            Ok(Some(message(&error)))
        }
        Err(error) => Err(error),
    }
}
