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
        let state = self.from.join(gesta_state::FILE_NAME);
        if state.exists() {
            // Before the log is made, so that a damaged copy leaves an empty folder.
            gesta_state::verify(&state).map_err(|error| {
                Failure::new("cannot restore the key-value store of the log's server").because(&error).help(
                    "to restore the log without it, move it out of the backup; groups have to be made again then",
                )
            })?;
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
        let file = self.dir.join(gesta_state::FILE_NAME);
        let values = gesta_state::restore(&state, &file, restored.origin, restored.store);
        let values = values.map_err(|error| {
            Failure::new("the log was restored, and the key-value store of its server was not")
                .because(&error)
                .help(format!("empty `{}` and restore again", self.dir.display()))
        })?;
        if let Some(values) = values {
            say(&format!("with the groups and pauses of its server: {}", count(values.values, "value")))?;
        }
        say(&format!("it is a new store, {}: it refuses checkpoints of the old store", restored.store))?;
        Ok(())
    }
}
