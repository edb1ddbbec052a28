//! `gesta backup`: takes a backup of a log that nobody has open.

use std::num::NonZeroU64;
use std::path::PathBuf;

use gesta_log::{BackupError, BackupOptions, SealedSegments};

use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::rate::rate;
use crate::target::{IfInUse, LogFolder, cannot_open, is_within};

#[derive(clap::Args)]
pub(crate) struct TakeBackup {
    #[command(flatten)]
    log: LogFolder,
    /// The folder of the backup: an empty one, or one with an older backup of the same log, to which what is new is added.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// Give sealed segments a second name instead of copying them, where the file system can: fast, but the bytes are there once.
    #[arg(long)]
    link: bool,
    /// Bytes to copy a second at the most, such as 50M (or K, G), to leave the disk to others; without it, as fast as it goes.
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    rate: Option<NonZeroU64>,
}

impl TakeBackup {
    pub(crate) fn run(self) -> Outcome {
        let folder = &self.log.existing()?;
        if is_within(&self.to, folder) {
            return Err(Failure::usage(format!(
                "`{}` lies in the folder of the log: whatever takes the log takes the backup",
                self.to.display()
            ))
            .help("give a folder outside of it with `--to`, on another disk at best"));
        }
        let sealed = if self.link { SealedSegments::Link } else { SealedSegments::Copy };
        let options = BackupOptions { sealed, bytes_per_second: self.rate };
        let taken = gesta_log::backup(folder, &self.to, &options);
        let taken = taken.map_err(|error| match error {
            BackupError::Open(error) => cannot_open(folder, &error, IfInUse::Stop),
            error => {
                Failure::new(format!("cannot back up the log in `{}`", folder.display())).because(&error)
            }
        })?;
        let linked = if taken.linked > 0 { format!(", {} linked", taken.linked) } else { String::new() };
        say(&format!(
            "`{}` holds the log up to position {}: {} bytes in {} segments; {} bytes in {} segments copied now{linked}",
            self.to.display(),
            taken.position,
            taken.bytes,
            taken.segments,
            taken.copied_bytes,
            taken.copied,
        ))?;
        Ok(())
    }
}
