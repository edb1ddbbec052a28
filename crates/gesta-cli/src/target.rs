//! Where the events are: the folder of a log, or the address of a server.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta_core::{EventStore, StreamName};
use gesta_log::{LogStore, OpenError, Options, Recovery, Scrub};

use crate::failure::{Failure, Outcome};
use crate::remote::Remote;

/// Lines of damage that a failure lists. `gesta verify` lists all.
const DAMAGE_LINES_MAX: usize = 5;

/// The flags of commands that work on a folder or on a server.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    /// The folder of a log that no server has open [env: GESTA_DIR].
    #[arg(long, value_name = "FOLDER", conflicts_with = "url")]
    dir: Option<PathBuf>,
    /// The address of a server, such as `http://127.0.0.1:2114` [env: GESTA_URL].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// The flags of commands that work on the files of a log, never on a server.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LogFolder {
    /// The folder of a log that no server has open [env: GESTA_DIR].
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Accepted only to explain that it does not work here.
    #[arg(long, value_name = "URL", hide = true)]
    url: Option<String>,
}

impl LogFolder {
    /// The folder, from the flag or the environment. It must hold a log.
    pub(crate) fn existing(&self) -> Outcome<PathBuf> {
        if self.url.is_some() {
            return Err(Failure::usage("this command works on the files of a log, not on a server")
                .help("give `--dir <folder>` of a log that no server has open"));
        }
        let folder = self.dir.clone().or_else(|| variable("GESTA_DIR").map(PathBuf::from));
        let folder = folder
            .ok_or_else(|| Failure::usage("no log given").help("give `--dir <folder>`, or set GESTA_DIR"))?;
        check_is_log(&folder)?;
        Ok(folder)
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A folder or a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Folder(PathBuf),
    Server(String),
}

/// What to do with a folder that holds no log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfMissing {
    /// Make a log.
    Make,
    /// Fail: there is nothing to read.
    Refuse,
}

/// What to advise if another process has the folder open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfInUse {
    /// Use the server: the command works on one.
    Talk,
    /// Stop the server: the command needs the folder.
    Stop,
}

impl Target {
    /// The place, from the flags or the environment.
    pub(crate) fn place(&self) -> Outcome<Place> {
        match (&self.dir, &self.url) {
            (Some(dir), _) => return Ok(Place::Folder(dir.clone())),
            (_, Some(url)) => return Ok(Place::Server(url.clone())),
            (None, None) => {}
        }
        match (variable("GESTA_DIR"), variable("GESTA_URL")) {
            (Some(dir), None) => Ok(Place::Folder(dir.into())),
            (None, Some(url)) => Ok(Place::Server(url)),
            (Some(_), Some(_)) => Err(Failure::usage("GESTA_DIR and GESTA_URL are both set")
                .help("choose one with `--dir <folder>` or `--url <address>`")),
            (None, None) => Err(Failure::usage("no log or server given")
                .help("give `--dir <folder>` for a log, or `--url <address>` for a server")),
        }
    }

    /// Opens it as a store.
    pub(crate) fn open(&self, if_missing: IfMissing) -> Outcome<Opened> {
        self.place()?.open(if_missing)
    }
}

impl Place {
    /// Opens it as a store.
    pub(crate) fn open(&self, if_missing: IfMissing) -> Outcome<Opened> {
        Ok(match self {
            Self::Folder(folder) => Opened::of_log(folder, open_log(folder, if_missing, IfInUse::Talk)?),
            Self::Server(url) => Opened { store: Arc::new(Remote::connect(url)?), loss: None },
        })
    }
}

/// An open store, and what is known to be lost from it.
pub(crate) struct Opened {
    store: Arc<dyn EventStore>,
    loss: Option<Failure>,
}

impl Opened {
    /// An open log.
    pub(crate) fn of_log(folder: &Path, log: LogStore) -> Self {
        let loss = loss(folder, log.recovery());
        Self { store: Arc::new(log), loss }
    }

    /// The store.
    pub(crate) fn store(&self) -> &Arc<dyn EventStore> {
        &self.store
    }

    /// The failure for a stream without events. A log with known loss cannot deny that there were some.
    pub(crate) fn no_event(self, stream: &StreamName) -> Failure {
        match self.loss {
            None => Failure::new(format!("stream `{stream}` has no event")),
            Some(loss) => loss.under(format!("stream `{stream}` has no readable event")),
        }
    }

    /// Ends a command that has read what there is: fails if events are known to be lost. A server reports a loss itself.
    pub(crate) fn finish(self) -> Outcome {
        self.loss.map_or(Ok(()), Err)
    }
}

/// The failure for a log that lacks acknowledged events, or may lack them.
pub(crate) fn loss(folder: &Path, recovery: &Recovery) -> Option<Failure> {
    let name = folder.display();
    let lost = match (recovery.damage.is_empty(), recovery.may_miss_events) {
        (true, false) => return None,
        (true, true) => "events may be missing from",
        (false, _) => "events are lost from",
    };
    let mut failure = Failure::new(format!("{lost} the log in `{name}`"));
    for damage in recovery.damage.iter().take(DAMAGE_LINES_MAX) {
        failure = failure.cause(damage.to_string());
    }
    let more = recovery.damage.len().saturating_sub(DAMAGE_LINES_MAX);
    if more > 0 {
        failure = failure.cause(format!("{more} more damaged places"));
    }
    if recovery.may_miss_events {
        failure = recovery.read_only.iter().fold(failure, |failure, reason| failure.cause(reason));
    }
    Some(failure.help(format!("`gesta verify --dir {name}` checks the whole log and explains what to do")))
}

/// Opens the log in a folder for one command. Waits until the index is built, which a server does not.
pub(crate) fn open_log(folder: &Path, if_missing: IfMissing, if_in_use: IfInUse) -> Outcome<LogStore> {
    // A command ends before a scrub could read much.
    open_log_and_scrub(folder, if_missing, if_in_use, Scrub::Off)
}

/// Opens the log in a folder for a server.
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
        // Requests that need the index fail with the reason. Others work.
        tracing::warn!("the index could not be built");
    }
    Ok(log)
}

/// True if a path lies in a folder or is that folder. Resolves links and relative parts.
pub(crate) fn is_within(path: &Path, folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    let Ok(path) = std::path::absolute(path) else { return false };
    // A path that does not exist yet lies where its nearest existing parent does.
    path.ancestors()
        .find_map(|parent| parent.canonicalize().ok())
        .is_some_and(|path| path.starts_with(&folder))
}

/// Fails unless the folder holds a backup.
pub(crate) fn check_is_backup(folder: &Path) -> Outcome {
    if folder.join("backup").is_file() {
        return Ok(());
    }
    let name = folder.display();
    let failure = Failure::new(format!("`{name}` holds no finished backup"));
    Err(match holds_log(folder) {
        true => failure
            .help(format!("it holds a log: check it with `gesta verify --dir {name}`"))
            .help(format!("take a backup of it with `gesta backup --dir {name} --to <folder>`")),
        false => failure.help("check the path; `gesta backup` takes a backup of a log"),
    })
}

fn holds_log(folder: &Path) -> bool {
    ["manifest", "manifest.previous", "segments"].iter().any(|name| folder.join(name).exists())
}

/// Refuses to make a log among other files: the path is most likely wrong.
fn check_has_nothing_else(folder: &Path) -> Outcome {
    // A missing folder is made. Opening reports a folder that cannot be read.
    let Ok(mut entries) = std::fs::read_dir(folder) else { return Ok(()) };
    let ours = ["LOCK", "quarantine", "lost+found"];
    let is_other = |name: OsString| !ours.iter().any(|known| name == *known);
    if holds_log(folder) || !entries.any(|entry| entry.is_ok_and(|entry| is_other(entry.file_name()))) {
        return Ok(());
    }
    Err(Failure::new(format!("`{}` holds other files and no log", folder.display()))
        .help("check the path; a new log needs a folder that is empty or does not exist"))
}

/// Fails unless the folder holds a log.
pub(crate) fn check_is_log(folder: &Path) -> Outcome {
    if holds_log(folder) {
        return Ok(());
    }
    let name = folder.display();
    let message = match folder.metadata() {
        Ok(metadata) if metadata.is_dir() => format!("`{name}` holds no log"),
        Ok(_) => format!("`{name}` is not a folder"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => format!("there is no folder `{name}`"),
        Err(error) => return Err(Failure::new(format!("cannot read the folder `{name}`")).because(&error)),
    };
    Err(Failure::new(message)
        .help("check the path; `gesta import`, `gesta append` and `gesta serve` make a new log"))
}

/// The failure for a log that does not open, with the way to reach it if a server has it.
pub(crate) fn cannot_open(folder: &Path, error: &OpenError, if_in_use: IfInUse) -> Failure {
    let name = folder.display();
    let cannot = Failure::new(format!("cannot open the log in `{name}`"));
    let holder = match error {
        OpenError::Locked { holder, .. } => holder,
        OpenError::IsABackup { .. } => {
            return cannot
                .because(error)
                .help(format!("check the backup with `gesta verify --backup {name}`"));
        }
        _ => return cannot.because(error),
    };
    let failure = Failure::new(format!("the log in `{name}` is in use by {holder}"));
    let url = holder.split_whitespace().find(|word| word.starts_with("http://"));
    match (url, if_in_use) {
        (Some(url), IfInUse::Talk) => failure.help(format!("use the server: `--url {url}`")),
        (Some(_), IfInUse::Stop) => failure.help("stop that server first"),
        (None, _) => failure.help("wait until the other process ends, or stop it"),
    }
}
