//! Where a command's data is: the folder of a log, or the address of a server.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta_core::EventStore;
use gesta_log::{LogStore, OpenError, Options, Scrub};

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

/// The folder of a log, for commands that work on its files and on no server.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LogFolder {
    /// The folder of the log, which no server may have open [env: GESTA_DIR].
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Taken only to say that it is of no use here.
    #[arg(long, value_name = "URL", hide = true)]
    url: Option<String>,
}

impl LogFolder {
    /// Decides: the flag first, then the environment. There has to be a log in it.
    pub(crate) fn existing(&self) -> Outcome<PathBuf> {
        if self.url.is_some() {
            return Err(Failure::usage("this works on the files of a log, and not on a server")
                .help("give `--dir <folder>` of a log that no server has open"));
        }
        let folder = self.dir.clone().or_else(|| variable("GESTA_DIR").map(PathBuf::from));
        let folder = folder.ok_or_else(|| {
            Failure::usage("it is not said where the log is").help("give `--dir <folder>`, or set GESTA_DIR")
        })?;
        check_is_log(&folder)?;
        Ok(folder)
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
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

/// What helps where another process has the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfInUse {
    /// The command works on a server as well.
    Talk,
    /// It works on a folder only.
    Stop,
}

impl Target {
    /// Decides: flags first, then the environment.
    pub(crate) fn place(&self) -> Outcome<Place> {
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
        self.place()?.open(if_missing)
    }
}

impl Place {
    /// Opens it as a store.
    pub(crate) fn open(&self, if_missing: IfMissing) -> Outcome<Arc<dyn EventStore>> {
        Ok(match self {
            Self::Folder(folder) => Arc::new(open_log(folder, if_missing, IfInUse::Talk)?),
            Self::Server(url) => Arc::new(Remote::connect(url)?),
        })
    }
}

/// Opens the log in a folder, and says what helps where that fails. A server answers while its index is built anew; a single command
/// waits for it.
pub(crate) fn open_log(folder: &Path, if_missing: IfMissing, if_in_use: IfInUse) -> Outcome<LogStore> {
    // A command is over before a scrub has read anything worth it.
    open_log_and_scrub(folder, if_missing, if_in_use, Scrub::Off)
}

/// Opens the log in a folder for as long as a server runs.
pub(crate) fn open_log_and_scrub(
    folder: &Path,
    if_missing: IfMissing,
    if_in_use: IfInUse,
    scrub: Scrub,
) -> Outcome<LogStore> {
    match if_missing {
        IfMissing::Refuse => check_is_log(folder)?,
        IfMissing::Make => check_has_nothing_else(folder)?,
    }
    let log = LogStore::open(folder, &Options { scrub, ..Options::default() });
    let log = log.map_err(|error| cannot_open(folder, &error, if_in_use))?;
    if if_in_use == IfInUse::Talk && !log.wait_for_index() {
        // Whatever needs it says why it is not there; the rest goes on.
        tracing::warn!("the index could not be built");
    }
    Ok(log)
}

/// Whether a path lies in a folder, or is that folder, whatever names lead there.
pub(crate) fn is_within(path: &Path, folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    let Ok(path) = std::path::absolute(path) else { return false };
    // What is not there yet lies where the nearest of its parents does that is.
    path.ancestors()
        .find_map(|parent| parent.canonicalize().ok())
        .is_some_and(|path| path.starts_with(&folder))
}

/// Refuses a folder without a backup in it, and says what it holds instead.
pub(crate) fn check_is_backup(folder: &Path) -> Outcome {
    if folder.join("backup").is_file() {
        return Ok(());
    }
    let name = folder.display();
    let failure = Failure::new(format!("`{name}` holds no backup, or none that was finished"));
    Err(match holds_log(folder) {
        true => failure
            .help(format!("it holds a log: `gesta verify --dir {name}` proves it"))
            .help(format!("`gesta backup --dir {name} --to <folder>` takes a backup of it")),
        false => failure.help("check the path; `gesta backup` takes a backup of a log"),
    })
}

fn holds_log(folder: &Path) -> bool {
    ["manifest", "manifest.previous", "segments"].iter().any(|name| folder.join(name).exists())
}

/// Refuses to make a log among somebody's other files: most likely the path is wrong.
fn check_has_nothing_else(folder: &Path) -> Outcome {
    // A folder that is not there is made; for one that cannot be read, opening says why.
    let Ok(mut entries) = std::fs::read_dir(folder) else { return Ok(()) };
    let own = ["LOCK", "quarantine", "lost+found"];
    let is_other = |name: OsString| !own.iter().any(|own| name == *own);
    if holds_log(folder) || !entries.any(|entry| entry.is_ok_and(|entry| is_other(entry.file_name()))) {
        return Ok(());
    }
    Err(Failure::new(format!("`{}` holds other files, and no log", folder.display()))
        .help("check the path; a new log is made in a folder that is empty or not there yet"))
}

/// Refuses a folder without a log in it, rather than making one there.
pub(crate) fn check_is_log(folder: &Path) -> Outcome {
    if holds_log(folder) {
        return Ok(());
    }
    Err(Failure::new(format!("`{}` holds no log", folder.display()))
        .help("check the path; `gesta import`, `gesta append` and `gesta serve` make a log"))
}

/// Says why a log cannot be opened, and how to reach it where a server has it.
pub(crate) fn cannot_open(folder: &Path, error: &OpenError, if_in_use: IfInUse) -> Failure {
    let name = folder.display();
    let cannot = Failure::new(format!("cannot open the log in `{name}`"));
    let holder = match error {
        OpenError::Locked { holder, .. } => holder,
        OpenError::IsABackup { .. } => {
            return cannot.because(error).help(format!("`gesta verify --backup {name}` proves it"));
        }
        _ => return cannot.because(error),
    };
    let failure = Failure::new(format!("the log in `{name}` is in use by {holder}"));
    let url = holder.split_whitespace().find(|word| word.starts_with("http://"));
    match (url, if_in_use) {
        (Some(url), IfInUse::Talk) => failure.help(format!("talk to the server that has it: `--url {url}`")),
        (Some(_), IfInUse::Stop) => failure.help("stop that server first"),
        (None, _) => failure.help("wait until the other process ends, or stop it"),
    }
}
