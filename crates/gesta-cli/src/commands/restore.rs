//! `gesta restore`: makes a log from a backup.

use std::path::PathBuf;

use crate::failure::{Failure, Outcome};
use crate::output::{count, say};
use crate::target::{check_is_backup, is_within};

#[derive(clap::Args)]
pub(crate) struct RestoreBackup {
    /// The folder of the backup.
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// The folder for the log. It must be empty or missing.
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
}

impl RestoreBackup {
    pub(crate) fn run(self) -> Outcome {
        check_is_backup(&self.from)?;
        if is_within(&self.dir, &self.from) {
            return Err(Failure::usage(format!("`{}` lies in the folder of the backup", self.dir.display()))
                .help("give a folder outside the backup with `--dir`"));
        }
        let restored = gesta_log::restore(&self.from, &self.dir).map_err(|error| {
            Failure::new(format!(
                "cannot restore the backup in `{}` into `{}`",
                self.from.display(),
                self.dir.display()
            ))
            .because(&error)
        })?;
        say(&format!(
            "restored the events of store {} up to position {} into `{}`: {} bytes in {}",
            restored.origin,
            restored.position,
            self.dir.display(),
            restored.bytes,
            count(restored.segments, "segment"),
        ))?;
        say(&format!("it is a new store, {}: it refuses checkpoints of the old store", restored.store))?;
        Ok(())
    }
}
