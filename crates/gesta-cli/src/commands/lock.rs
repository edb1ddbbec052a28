//! `HOST lock`: writes the released schemas of the host's events to a file, and samples of them beside it.

use std::path::PathBuf;

use gesta::schema::{Finding, LockFiles, LockOptions, lock, stored_samples};

use super::prove::cannot_use;
use crate::failure::{Failure, Outcome};
use crate::host::Host;
use crate::output::{count, say};
use crate::store::StoreUrl;
use crate::target::Opened;
use crate::unread::Unread;

/// The file of the lock, unless another is named.
pub(super) const LOCK_FILE: &str = "events.lock";

#[derive(clap::Args)]
pub(crate) struct LockEvents {
    /// The file of the lock. The samples are in a folder beside it: `events.samples` for `events.lock`.
    #[arg(long, value_name = "FILE", default_value = LOCK_FILE)]
    lock: PathBuf,
    /// Make a sample of each version that has none: the smallest value that fits its schema. Where a sample names a version that is not
    /// written any more, write anew what it is read as: look at the difference before you commit it.
    #[arg(long)]
    samples: bool,
    /// Take the first stored event of each version that has no sample. It is real data: look at it before you commit it. A folder, or
    /// the address of a server.
    #[arg(long, value_name = "STORE")]
    from: Option<Unread<StoreUrl>>,
    /// Make all schemas anew, after Gesta makes them in another way. Each sample must still be read as it was.
    #[arg(long)]
    regenerate: bool,
}

impl LockEvents {
    pub(crate) fn run(self, host: &Host) -> Outcome {
        let (catalog, files) = (host.catalog()?, LockFiles::at(&self.lock));
        let mut options = LockOptions::default();
        options.regenerate = self.regenerate;
        let locked = match &self.from {
            None => {
                options.samples = self.samples;
                lock(&catalog, &files, &options).map_err(|error| cannot_use(&error))?
            }
            Some(url) => {
                // The lock first: it says which versions need a sample.
                let first = lock(&catalog, &files, &options).map_err(|error| cannot_use(&error))?;
                failed(&first.findings)?;
                let opened = Opened::of_url(&url.read("--from")?)?;
                let released = files.read().map_err(|error| cannot_use(&error))?;
                let stored = pollster::block_on(stored_samples(&**opened.store(), &released, &files));
                options = LockOptions::default();
                options.stored = stored.map_err(|error| cannot_use(&error))?;
                opened.finish()?;
                options.samples = self.samples;
                let mut locked = lock(&catalog, &files, &options).map_err(|error| cannot_use(&error))?;
                locked.is_changed |= first.is_changed;
                locked
            }
        };
        failed(&locked.findings)?;
        let changed = if locked.is_changed { "written" } else { "as it was" };
        let (path, versions) = (files.path().display(), count(locked.versions, "version"));
        let samples = count(locked.samples, "new sample file");
        let rewritten = match locked.rewritten {
            0 => String::new(),
            number => format!(", {} written anew", count(number, "sample file")),
        };
        Ok(say(&format!("`{path}` is {changed}: {versions}, {samples}{rewritten}"))?)
    }
}

/// Prints findings. Fails if one is an error.
fn failed(findings: &[Finding]) -> Outcome {
    findings.iter().try_for_each(|finding| say(&finding.to_string()))?;
    match findings.iter().filter(|finding| finding.is_error()).count() {
        0 => Ok(()),
        errors => Err(Failure::new(format!("nothing was locked: {}", count(errors, "error")))
            .help("what was released must stay readable as it is: see the remedies above")),
    }
}
