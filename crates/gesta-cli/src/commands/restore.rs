//! `gesta restore`: makes a log from a backup.

use std::path::PathBuf;

use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::target::{check_is_backup, is_within};

#[derive(clap::Args)]
pub(crate) struct RestoreBackup {
    /// The folder of the backup.
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// The folder to make the log in: one that is empty or not there yet.
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
}

impl RestoreBackup {
    pub(crate) fn run(self) -> Outcome {
        check_is_backup(&self.from)?;
        if is_within(&self.dir, &self.from) {
            return Err(Failure::usage(format!("`{}` lies in the folder of the backup", self.dir.display()))
                .help("give a folder outside of it with `--dir`"));
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
            "`{}` holds the log of store {} up to position {}: {} bytes in {} segments",
            self.dir.display(),
            restored.origin,
            restored.position,
            restored.bytes,
            restored.segments,
        ))?;
        say(&format!("it is a new store, {}: checkpoints of the old one are refused", restored.store))?;
        Ok(())
    }
}
