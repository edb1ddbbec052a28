//! Creates an empty log in a folder.

use super::unlisted::is_blank;
use crate::env::Mode;
use crate::error::{OpenError, io_error};
use crate::folder::Folder;
use crate::format::Manifest;

impl Folder<'_> {
    /// Creates an empty log. A first segment without a manifest is left over from an interrupted create, and holds
    /// nothing.
    pub(crate) fn create_over(
        &self,
        left: &[String],
        store: Option<[u8; 16]>,
        replica_of: Option<u16>,
    ) -> Result<Manifest, OpenError> {
        let what = || io_error(format!("making a log in `{}`", self.root.display()));
        for name in left {
            self.env.remove(&self.root.join("segments").join(name)).map_err(what())?;
        }
        let store = store.map_or_else(|| self.env.entropy(), Ok).map_err(what())?;
        let mut manifest = Manifest {
            is_replica: replica_of.is_some(),
            partition: replica_of.unwrap_or_default(),
            ..Manifest::new(store, self.env.entropy().map_err(what())?)
        };
        // The first append creates the first segment.
        manifest.replace(self.env, self.root).map_err(what())?;
        Ok(manifest)
    }

    /// Creates an empty log with an id, a new one if none is given, unless the folder has signs of a log that lost its manifest.
    pub(crate) fn create(&self, store: Option<[u8; 16]>) -> Result<Manifest, OpenError> {
        self.create_over(&self.left_of_create()?, store, None)
    }

    /// The segments that an interrupted create has left. Refuses a folder with signs of a log that lost its manifest.
    pub(crate) fn left_of_create(&self) -> Result<Vec<String>, OpenError> {
        let missing = || self.manifest_missing();
        let what = || io_error("looking for a log");
        let names = self.env.list(self.root).map_err(what())?;
        let segments = self.env.list(&self.root.join("segments")).map_err(what())?;
        if names.iter().any(|name| name == "manifest.previous") {
            return Err(missing());
        }
        // Other files are not part of a log and are left alone.
        let segments = segments.into_iter().filter(|name| name.ends_with(".seg")).collect::<Vec<_>>();
        for name in &segments {
            let file = self.env.open(&self.root.join("segments").join(name), Mode::Read).map_err(what())?;
            if !is_blank(file).map_err(self.recover_error())? {
                return Err(missing());
            }
        }
        Ok(segments)
    }
}
