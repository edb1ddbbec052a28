//! The machine for the files of one open log: it touches nothing in a folder that took the place of the log's own.
//!
//! A log is opened by a path. Its folder may be moved or removed while it is open, and another one may be made at the
//! path. Open files stay those of the log, but names then lead into the other folder. So each call by name first checks
//! that the folder is still the one that was opened. The lock keeps that folder open, so its number is not given to
//! another one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta_core::Timestamp;

use super::{Env, File, FileId, Lock, Mode, Turn};

/// A machine, and the folder of an open log on it.
pub(crate) struct Placed {
    env: Arc<dyn Env>,
    root: PathBuf,
    id: FileId,
}

impl Placed {
    /// The folder that is at `root` now. The caller holds its lock.
    pub(crate) fn at(env: Arc<dyn Env>, root: &Path) -> io::Result<Arc<dyn Env>> {
        let id = env.id_of(root)?;
        Ok(Arc::new(Self { env, root: root.to_owned(), id }))
    }

    /// Fails if the path leads into the folder, and that is another one by now or gone.
    fn check(&self, path: &Path) -> io::Result<()> {
        if !path.starts_with(&self.root) {
            return Ok(());
        }
        self.displaced().map_or(Ok(()), |why| Err(io::Error::other(why)))
    }
}

impl Env for Placed {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.check(path)?;
        self.env.create_dir(path)
    }

    fn is_writable(&self, folder: &Path) -> bool {
        self.env.is_writable(folder)
    }

    fn id_of(&self, path: &Path) -> io::Result<FileId> {
        self.env.id_of(path)
    }

    fn displaced(&self) -> Option<String> {
        let root = self.root.display();
        let what = match self.env.id_of(&self.root) {
            Ok(id) if id == self.id => return None,
            Ok(_) => "was replaced by another folder",
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                "was moved or removed"
            }
            // It may still be there. The calls that need it report the error.
            Err(_) => return None,
        };
        Some(format!(
            "`{root}` {what} while the log was open: close the log, put its folder back, open the log again"
        ))
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn File>> {
        self.check(path)?;
        self.env.open(path, mode)
    }

    fn open_cold(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.check(path)?;
        self.env.open_cold(path)
    }

    fn open_on_demand(&self, path: &Path, mode: Mode, turn: Turn) -> io::Result<Arc<dyn File>> {
        self.check(path)?;
        self.env.open_on_demand(path, mode, turn)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.check(folder)?;
        self.env.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(from)?;
        self.check(to)?;
        self.env.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check(path)?;
        self.env.remove(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(from)?;
        self.check(to)?;
        self.env.link(from, to)
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        self.check(folder)?;
        self.env.sync_dir(folder)
    }

    fn lock(&self, path: &Path) -> io::Result<Result<Box<dyn Lock>, String>> {
        self.check(path)?;
        self.env.lock(path)
    }

    fn now(&self) -> Timestamp {
        self.env.now()
    }

    fn entropy(&self) -> io::Result<[u8; 16]> {
        self.env.entropy()
    }
}
