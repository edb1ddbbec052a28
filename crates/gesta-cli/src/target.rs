//! Where a command's data is: the folder of a log, or the address of a server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta_core::EventStore;
use gesta_log::{LogStore, OpenError, Options};

use crate::failure::{Failure, Outcome};
use crate::remote::Remote;

/// Where the data is.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    /// The folder of a log that no server has open [env: GESTA_DIR].
    #[arg(long, value_name = "FOLDER", conflicts_with = "url")]
    dir: Option<PathBuf>,
    /// The address of a server, such as `http://127.0.0.1:2114` [env: GESTA_URL].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// Where the data is, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Folder(PathBuf),
    Server(String),
}

/// What becomes of a folder that holds no log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfMissing {
    /// It is made.
    Make,
    /// It is a mistake: there would be nothing to see.
    Refuse,
}

impl Target {
    /// Decides: flags first, then the environment.
    pub(crate) fn place(&self) -> Outcome<Place> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        match (&self.dir, &self.url) {
            (Some(dir), _) => return Ok(Place::Folder(dir.clone())),
            (_, Some(url)) => return Ok(Place::Server(url.clone())),
            (None, None) => {}
        }
        match (variable("GESTA_DIR"), variable("GESTA_URL")) {
            (Some(dir), None) => Ok(Place::Folder(dir.into())),
            (None, Some(url)) => Ok(Place::Server(url)),
            (Some(_), Some(_)) => Err(Failure::usage("both GESTA_DIR and GESTA_URL are set")
                .help("say which is meant with `--dir` or `--url`")),
            (None, None) => Err(Failure::usage("it is not said where the data is")
                .help("give `--dir <folder>` for a log, or `--url <address>` for a server")),
        }
    }

    /// Opens it as a store.
    pub(crate) fn open(&self, if_missing: IfMissing) -> Outcome<Arc<dyn EventStore>> {
        Ok(match self.place()? {
            Place::Folder(folder) => Arc::new(open_log(&folder, if_missing)?),
            Place::Server(url) => Arc::new(Remote::connect(&url)?),
        })
    }
}

/// Opens the log in a folder, and says what helps where that fails.
pub(crate) fn open_log(folder: &Path, if_missing: IfMissing) -> Outcome<LogStore> {
    if if_missing == IfMissing::Refuse {
        check_is_log(folder)?;
    }
    let log = LogStore::open(folder, &Options::default()).map_err(|error| cannot_open(folder, &error))?;
    if let Some(reason) = log.read_only() {
        tracing::error!(folder = %folder.display(), reason, "the log is read-only");
    }
    Ok(log)
}

/// Refuses a folder without a log in it, rather than making one there.
pub(crate) fn check_is_log(folder: &Path) -> Outcome {
    let holds_log =
        ["manifest", "manifest.previous", "segments"].iter().any(|name| folder.join(name).exists());
    if holds_log {
        return Ok(());
    }
    Err(Failure::new(format!("`{}` holds no log", folder.display()))
        .help("check the path; `gesta import`, `gesta append` and `gesta serve` make a log"))
}

/// Says why a log cannot be opened, and how to reach it where a server has it.
pub(crate) fn cannot_open(folder: &Path, error: &OpenError) -> Failure {
    let failure = Failure::new(format!("cannot open the log in `{}`", folder.display())).because(error);
    let OpenError::Locked { holder, .. } = error else { return failure };
    match holder.split_whitespace().find(|word| word.starts_with("http://")) {
        Some(url) => failure.help(format!("talk to the server that has it: `--url {url}`")),
        None => failure.help("wait until the other process ends, or stop it"),
    }
}
