//! Where snapshots of states are kept.

use std::convert::Infallible;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use gesta_core::{SnapshotStore, SnapshotThreads};
use gesta_valkey::ValkeyUrl;

use crate::failure::{Failure, Outcome};

/// Where snapshots of states are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Snapshots {
    /// Nowhere: states are folded from their events each time.
    #[default]
    Off,
    /// In the schema of a store in PostgreSQL, or on the cluster of a store there. Otherwise in `snapshots.db`, in the folder of the store or of
    /// [`OpenOptions::state`](super::OpenOptions::state). Nowhere if there is no folder.
    Beside,
    /// In an SQLite file. It is made if it does not exist.
    File(PathBuf),
    /// In Valkey or Redis: `redis://HOST:PORT`.
    Server(ValkeyUrl),
}

/// The use that a command makes of a snapshot store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Its file is never changed.
    Read,
    Change,
}

impl FromStr for Snapshots {
    type Err = gesta_valkey::ValkeyUrlError;

    /// `off`, `beside`, the address of a server, or a file.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            "beside" => Ok(Self::Beside),
            _ if text.contains("://") => text.parse().map(Self::Server),
            _ => Ok(text.parse::<PathBuf>().map_or_else(|never: Infallible| match never {}, Self::File)),
        }
    }
}

impl Snapshots {
    /// Opens the snapshot store. If it cannot be opened, states are folded: nothing is wrong without it.
    pub(super) fn open(&self, folder: Option<&Path>) -> Option<Arc<SnapshotThreads>> {
        let opened = self.try_open(folder).inspect_err(|error| {
            tracing::error!(%error, "serving without snapshots: states are folded from their events");
        });
        opened.ok().flatten().map(Arc::new)
    }

    /// Opens a snapshot store that exists, for a command; `None` if there is none.
    pub(crate) fn open_existing(
        &self,
        folder: Option<&Path>,
        access: Access,
    ) -> Outcome<Option<SnapshotThreads>> {
        match self.file(folder) {
            Some(file) if !file.exists() => Ok(None),
            Some(file) if access == Access::Read => {
                gesta_state::open_snapshots_to_read(&file).map(Some).map_err(Into::into)
            }
            _ => self.try_open(folder),
        }
        .map_err(|error: Box<dyn Error>| Failure::new("cannot open the snapshots").because(&*error))
    }

    fn try_open(&self, folder: Option<&Path>) -> Result<Option<SnapshotThreads>, Box<dyn Error>> {
        if let Self::Server(url) = self {
            return Ok(Some(gesta_valkey::open_snapshots(url.clone())?));
        }
        Ok(self.file(folder).map(|file| gesta_state::open_snapshots(&file)).transpose()?)
    }

    fn file(&self, folder: Option<&Path>) -> Option<PathBuf> {
        match self {
            Self::Off | Self::Server(_) => None,
            Self::Beside => Some(folder?.join(gesta_state::SNAPSHOTS_FILE_NAME)),
            Self::File(file) => Some(file.clone()),
        }
    }
}

/// The snapshot store as others use it.
pub(super) fn shared(store: Option<&Arc<SnapshotThreads>>) -> Option<Arc<dyn SnapshotStore>> {
    store.map(|store| Arc::clone(store) as _)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_kept_where_the_text_says() {
        assert_eq!("off".parse(), Ok(Snapshots::Off));
        assert_eq!("beside".parse(), Ok(Snapshots::Beside));
        assert_eq!("data/snapshots.db".parse(), Ok(Snapshots::File("data/snapshots.db".into())));
        let server = "redis://localhost/1".parse::<Snapshots>().unwrap();
        assert_eq!(server, Snapshots::Server("redis://localhost/1".parse().unwrap()));
        let error = "http://localhost".parse::<Snapshots>().unwrap_err().to_string();
        assert!(error.contains("neither `redis` nor `valkey`"), "{error}");
    }

    #[test]
    fn without_a_folder_nothing_is_kept_beside_a_store() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Snapshots::Beside.open(None).is_none());
        assert!(Snapshots::Off.open(Some(folder.path())).is_none());
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
        assert!(Snapshots::Beside.open(Some(folder.path())).is_some());
        assert!(folder.path().join("snapshots.db").exists());
    }
}
