//! Makes an empty log in a folder.

use super::unlisted::is_blank;
use crate::env::Mode;
use crate::error::{OpenError, io_error};
use crate::folder::{Folder, Manifest};

impl Folder<'_> {
    /// Makes an empty log. A first segment without a manifest is left of an attempt that a crash stopped: it holds nothing.
    pub(crate) fn create_over(&self, left: &[String]) -> Result<Manifest, OpenError> {
        let what = || io_error(format!("making a log in `{}`", self.root.display()));
        for name in left {
            self.env.remove(&self.root.join("segments").join(name)).map_err(what())?;
        }
        let store = self.env.entropy().map_err(what())?;
        let mut manifest = Manifest::new(store, self.env.entropy().map_err(what())?);
        // The first append makes the first segment.
        manifest.replace(self.env, self.root).map_err(what())?;
        Ok(manifest)
    }

    /// Makes an empty log, unless there is a sign of one that has lost its manifest.
    pub(crate) fn create(&self) -> Result<Manifest, OpenError> {
        let missing = || self.manifest_missing();
        let what = || io_error("looking for a log");
        let names = self.env.list(self.root).map_err(what())?;
        let segments = self.env.list(&self.root.join("segments")).map_err(what())?;
        if names.iter().any(|name| name == "manifest.previous") {
            return Err(missing());
        }
        // What is no segment is somebody else's: it says nothing of a log, and is left alone.
        let segments = segments.into_iter().filter(|name| name.ends_with(".seg")).collect::<Vec<_>>();
        for name in &segments {
            let file = self.env.open(&self.root.join("segments").join(name), Mode::Read).map_err(what())?;
            if !is_blank(file).map_err(self.recover_error())? {
                return Err(missing());
            }
        }
        self.create_over(&segments)
    }
}
