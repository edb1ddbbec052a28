//! `gesta backup`: takes a backup of a log that no process has open.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use gesta_log::{BackupError, BackupOptions, SealedSegments};
use gesta_state::{StateCopy, StateError};

use crate::failure::{Failure, Outcome};
use crate::output::{count, say};
use crate::rate::rate;
use crate::target::{IfInUse, LogFolder, cannot_open, is_within};

#[derive(clap::Args)]
pub(crate) struct TakeBackup {
    #[command(flatten)]
    log: LogFolder,
    /// The folder of the backup. It is empty, missing, or holds an older backup of the same log, which gets the new events.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// Hard-link sealed segments instead of copying them, if the file system can. Fast, but the bytes exist only once.
    #[arg(long)]
    link: bool,
    /// Copy at most this many bytes per second, such as 500K, 50M or 1G; unlimited by default.
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    rate: Option<NonZeroU64>,
}

impl TakeBackup {
    pub(crate) fn run(self) -> Outcome {
        let folder = &self.log.existing()?;
        if is_within(&self.to, folder) {
            return Err(Failure::usage(format!(
                "`{}` lies in the folder of the log, so both would be lost together",
                self.to.display()
            ))
            .help("give a folder outside the log with `--to`, if possible on another disk"));
        }
        let sealed = if self.link { SealedSegments::Link } else { SealedSegments::Copy };
        let options = BackupOptions { sealed, bytes_per_second: self.rate };
        // The key-value store first: all its places are in the log's backup then.
        let state = copy_state(folder, &self.to)?;
        let taken = gesta_log::backup(folder, &self.to, &options);
        let taken = taken.map_err(|error| match error {
            BackupError::Open(error) => cannot_open(folder, &error, IfInUse::Stop),
            error => {
                Failure::new(format!("cannot back up the log in `{}`", folder.display())).because(&error)
            }
        })?;
        let with_state = state.keep().map_err(|error| no_state(&error))?;
        let linked = if taken.linked > 0 { format!(", {} linked", taken.linked) } else { String::new() };
        say(&format!(
            "the backup in `{}` ends at position {}: {} bytes in {}; copied now: {} bytes in {}{linked}",
            self.to.display(),
            taken.position,
            taken.bytes,
            count(taken.segments, "segment"),
            taken.copied_bytes,
            count(taken.copied, "segment"),
        ))?;
        if with_state {
            say(&format!("with the groups and pauses of its server, in `{}`", gesta_state::FILE_NAME))?;
        }
        Ok(())
    }
}

/// Copies the key-value store beside the log, if there is one. It is put into the backup once the log's is there.
fn copy_state(folder: &Path, to: &Path) -> Outcome<StateCopy> {
    let file = folder.join(gesta_state::FILE_NAME);
    if file.exists() {
        std::fs::create_dir_all(to).map_err(|error| {
            Failure::new(format!("cannot make the folder `{}`", to.display())).because(&error)
        })?;
    }
    gesta_state::back_up(&file, &to.join(gesta_state::FILE_NAME)).map_err(|error| no_state(&error))
}

fn no_state(error: &StateError) -> Failure {
    Failure::new("cannot back up the key-value store of the log's server").because(error)
}
