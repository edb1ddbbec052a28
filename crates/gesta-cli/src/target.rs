//! Where the events are: the folder of a log, or the address of a server.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use gesta_client::{ClientOptions, ConnectError, RemoteServer, RemoteStore, RequestError};
use gesta_core::{EventStore, StreamName};
use gesta_jetstream::{JetStreamBuckets, JetStreamSnapshots, JetStreamUrl};
use gesta_log::{LogStore, OpenError, Options, Recovery, Scrub};
use gesta_postgres::{PostgresSnapshots, PostgresStore, PostgresUrl};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::cluster;
use crate::failure::{Failure, Outcome};
use crate::store::StoreUrl;

/// Lines of damage that a failure lists. `gesta verify` lists all.
const DAMAGE_LINES_MAX: usize = 5;

/// The flags of commands that work on a folder or on a server.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    /// The folder of a log that no server has open [env: GESTA_DIR].
    #[arg(long, value_name = "FOLDER", conflicts_with = "url")]
    pub(crate) dir: Option<PathBuf>,
    /// The address of a server, such as `http://127.0.0.1:2114` [env: GESTA_URL].
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
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

/// The flags of commands that work on a server, never on the files of a log.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServerUrl {
    /// The address of a server, such as `http://127.0.0.1:2114` [env: GESTA_URL].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Accepted only to explain that it does not work here.
    #[arg(long, value_name = "FOLDER", hide = true)]
    dir: Option<PathBuf>,
}

impl ServerUrl {
    /// The address, from the flag or the environment.
    pub(crate) fn url(&self) -> Outcome<String> {
        if self.dir.is_some() {
            return Err(Failure::usage("this command works on a server, not on the files of a log")
                .help("give `--url <address>` of the server that has the log open"));
        }
        let url = self.url.clone().or_else(|| variable("GESTA_URL"));
        url.ok_or_else(|| Failure::usage("no server given").help("give `--url <address>`, or set GESTA_URL"))
    }
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

/// A variable of the environment, unless it is empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A folder or a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Folder(PathBuf),
    Server(String),
}

impl Place {
    /// The folder; `None` for a server.
    pub(crate) fn folder(self) -> Option<PathBuf> {
        match self {
            Self::Folder(folder) => Some(folder),
            Self::Server(_) => None,
        }
    }
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
        if let Some(given) = self.given() {
            return Ok(given);
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

    /// The place that the flags name, if they name one. The environment does not count.
    pub(crate) fn given(&self) -> Option<Place> {
        let folder = self.dir.clone().map(Place::Folder);
        folder.or_else(|| self.url.clone().map(Place::Server))
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
            Self::Server(url) => Opened { store: Arc::new(connect(url)?), loss: None },
        })
    }
}

/// Connects to a server as a store.
pub(crate) fn connect(url: &str) -> Outcome<RemoteStore> {
    RemoteStore::connect(url, &ClientOptions::default()).map_err(|error| cannot_connect(&error))
}

/// Asks a server at a route that is not of its store.
pub(crate) fn ask_server(
    url: &str,
    ask: impl AsyncFnOnce(&RemoteServer) -> Result<Bytes, RequestError>,
) -> Outcome<Bytes> {
    let server = server_at(url)?;
    pollster::block_on(ask(&server)).map_err(|error| refused_by(url, error))
}

/// The answer of a server as JSON.
pub(crate) fn json_of(url: &str, answer: &[u8]) -> Outcome<Value> {
    serde_json::from_slice(answer).map_err(|error| {
        Failure::new(format!("the answer of the server at `{url}` is not JSON")).because(&error)
    })
}

/// A server, for its routes that are not of its store.
pub(crate) fn server_at(url: &str) -> Outcome<RemoteServer> {
    RemoteServer::new(url, &ClientOptions::default()).map_err(|error| cannot_connect(&error))
}

/// The failure for a request that a server did not answer.
pub(crate) fn refused_by(url: &str, error: RequestError) -> Failure {
    match error {
        RequestError::Refused { problem } => {
            Failure::new(format!("the server at `{url}` refused the request")).cause(problem.detail)
        }
        RequestError::Unreachable { reason } => unreachable_server(url, reason),
        other => unreachable_server(url, other.to_string()),
    }
}

/// The failure for a server that cannot be reached as a store.
pub(crate) fn cannot_connect(error: &ConnectError) -> Failure {
    match error {
        ConnectError::Address { url, reason } => {
            Failure::usage(format!("`{url}` is not the address of a server")).help(*reason)
        }
        ConnectError::Unreachable { url, reason } => unreachable_server(url, reason),
        ConnectError::Refused { url, reason, .. } => {
            Failure::new(format!("the server at `{url}` does not give access to its store")).cause(reason)
        }
        other => Failure::new("cannot connect to the server").because(other),
    }
}

fn unreachable_server(url: &str, reason: impl Into<String>) -> Failure {
    Failure::new(format!("cannot reach a server at `{url}`"))
        .cause(reason)
        .help("check the address; `gesta serve` starts a server")
}

/// Percent-encodes a text as part of an address.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
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

    /// The store of an address, which must be there.
    pub(crate) fn of_url(url: &StoreUrl) -> Outcome<Self> {
        match url {
            StoreUrl::File(folder) => Place::Folder(folder.clone()).open(IfMissing::Refuse),
            StoreUrl::Http(url) => Place::Server(url.clone()).open(IfMissing::Refuse),
            StoreUrl::Postgres(url) => Self::of_database(url),
            StoreUrl::JetStream(url) => Self::of_cluster(url),
            StoreUrl::Memory => {
                Err(Failure::usage("a store in memory ends with its process, so there is none to read")
                    .help("name the folder of a log, or the address of a server"))
            }
        }
    }

    /// A store in a database, which must be there.
    fn of_database(url: &PostgresUrl) -> Outcome<Self> {
        Self::with_snapshots(url).map(|(opened, _)| opened)
    }

    /// A store in a database, which must be there, and the snapshots beside it.
    pub(crate) fn with_snapshots(url: &PostgresUrl) -> Outcome<(Self, PostgresSnapshots)> {
        let mut options = gesta_postgres::Options::default();
        options.makes_store = false;
        let store = PostgresStore::open(url, &options);
        let store = store.map_err(|error| cannot_open_database(&url.to_string(), &error))?;
        let snapshots = store.snapshots();
        Ok((Self { store: Arc::new(store), loss: None }, snapshots))
    }

    /// A store on a cluster, which must be there.
    fn of_cluster(url: &JetStreamUrl) -> Outcome<Self> {
        Ok(Self { store: Arc::new(cluster::open_existing(url)?), loss: None })
    }

    /// A store on a cluster, which must be there, and the snapshots beside it.
    pub(crate) fn of_cluster_with_snapshots(url: &JetStreamUrl) -> Outcome<(Self, JetStreamSnapshots)> {
        let store = cluster::open_existing(url)?;
        let cannot_open = |error| cluster::cannot_open(url, Path::new(""), &error);
        let buckets = JetStreamBuckets::open(url, store.store_id(), &gesta_jetstream::Options::default());
        let snapshots = buckets.and_then(|buckets| buckets.snapshots()).map_err(cannot_open)?;
        Ok((Self { store: Arc::new(store), loss: None }, snapshots))
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
        failure = recovery.read_only.iter().fold(failure, |failure, reason| failure.cause(&reason.reason));
    }
    Some(failure.help(format!("`gesta verify --dir {name}` checks the whole log and explains what to do")))
}

/// Opens the log in a folder for one command. Waits until the index is built, which a server does not.
pub(crate) fn open_log(folder: &Path, if_missing: IfMissing, if_in_use: IfInUse) -> Outcome<LogStore> {
    match if_missing {
        IfMissing::Refuse => check_is_log(folder)?,
        IfMissing::Make if has_only_other_files(folder) => return Err(other_files(folder)),
        IfMissing::Make => {}
    }
    // A command ends before a scrub could read much.
    let options = Options { scrub: Scrub::Off, ..Options::default() };
    let log = match if_missing {
        IfMissing::Refuse => LogStore::open_existing(folder, &options),
        IfMissing::Make => LogStore::open(folder, &options),
    };
    let log = log.map_err(|error| cannot_open(folder, &error, if_in_use))?;
    if if_in_use == IfInUse::Talk && !log.wait_for_index() {
        // Requests that need the index fail with the reason. Others work.
        tracing::warn!("the index could not be built");
    }
    Ok(log)
}

/// The address of the server that has a log open.
pub(crate) fn served_at(folder: &Path) -> Outcome<String> {
    check_is_log(folder)?;
    let name = folder.display();
    match gesta_log::stat(folder) {
        Err(OpenError::Locked { holder, .. }) => server_of(&holder).map(str::to_owned).ok_or_else(|| {
            Failure::new(format!("the log in `{name}` is in use by {holder}, which is no server"))
                .help("wait until it ends, or give `--url <address>` of a server")
        }),
        Ok(_) => Err(Failure::new(format!("no server has the log in `{name}` open"))
            .help(format!("start one with `gesta serve --dir {name}`, or give `--url <address>`"))),
        Err(error) => Err(cannot_open(folder, &error, IfInUse::Talk)),
    }
}

/// The address of a server in the words of a lock file about its holder.
fn server_of(holder: &str) -> Option<&str> {
    holder.split_whitespace().find(|word| word.starts_with("http://"))
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
    if holds_part_of_backup(folder) {
        return Err(failure.help("it holds an unfinished one: run the same `gesta backup` again, it goes on"));
    }
    Err(match holds_log(folder) {
        true => failure
            .help(format!("it holds a log: check it with `gesta verify --dir {name}`"))
            .help(format!("take a backup of it with `gesta backup --dir {name} --to <folder>`")),
        false => failure.help("check the path; `gesta backup` takes a backup of a log"),
    })
}

/// True if a folder holds a log, whole or damaged: a manifest, or segments of no backup.
fn holds_log(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).exists();
    has("manifest") || has("manifest.previous") || holds_segments(folder)
}

fn holds_segments(folder: &Path) -> bool {
    any_segment(folder, |name| name.ends_with(".seg") && !name.contains('-'))
}

/// True if a folder holds a backup that was never finished. Its segments have a checksum in their names.
fn holds_part_of_backup(folder: &Path) -> bool {
    let is_other = ["manifest", "manifest.previous", "backup"].iter().any(|name| folder.join(name).exists());
    !is_other
        && any_segment(folder, |name| {
            name.contains('-') && (name.ends_with(".seg") || name.ends_with(".seg.tmp"))
        })
}

fn any_segment(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> bool {
    let Ok(mut entries) = std::fs::read_dir(folder.join("segments")) else { return false };
    entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_str().is_some_and(&is_wanted)))
}

/// True if a folder holds files and none of a log: the path is most likely wrong, and no log should be made there.
pub(crate) fn has_only_other_files(folder: &Path) -> bool {
    // A missing folder is made. Opening reports a folder that cannot be read.
    let Ok(mut entries) = std::fs::read_dir(folder) else { return false };
    let ours = ["LOCK", "segments", "index", "quarantine", "lost+found", "copying"];
    let is_other = |name: OsString| !ours.iter().any(|known| name == *known);
    // Opening a backup says what it is.
    let is_known = holds_log(folder) || holds_part_of_backup(folder) || folder.join("backup").is_file();
    !is_known && entries.any(|entry| entry.is_ok_and(|entry| is_other(entry.file_name())))
}

/// The failure for a folder of other files.
pub(crate) fn other_files(folder: &Path) -> Failure {
    Failure::new(format!("`{}` holds other files and no log", folder.display()))
        .help("check the path; a new log needs a folder that is empty or does not exist")
}

/// The failure for a store that a server cannot open.
pub(crate) fn cannot_open_store(error: &crate::store::OpenError) -> Failure {
    use crate::store::OpenError;
    match error {
        OpenError::OtherFiles { folder } => other_files(folder),
        OpenError::Log { folder, source } => cannot_open(folder, source, IfInUse::Stop),
        OpenError::Server(error) => cannot_connect(error),
        OpenError::Postgres { url, source } => cannot_open_database(url, source),
        OpenError::JetStream { url, copy, source } => cluster::cannot_open(url, copy, source),
        OpenError::NoCopy { url } => {
            cluster::no_copy(url).help("or give `--state FOLDER`: the copy is in `copy` there")
        }
        OpenError::StateOfFolder { folder } => Failure::usage(format!(
            "the log in `{}` keeps the state of its views beside it",
            folder.display()
        ))
        .help("leave out `--state`"),
        OpenError::Groups(error) => Failure::new("cannot start the consumer groups").because(error),
        OpenError::State { folder, source } => {
            Failure::new(format!("cannot make the folder `{}`", folder.display())).because(source)
        }
    }
}

/// The failure for a database that cannot be used as a store. `url` has no password.
pub(crate) fn cannot_open_database(url: &str, error: &gesta_postgres::OpenError) -> Failure {
    Failure::new(format!("cannot open the store `{url}`")).because(error)
}

/// Fails unless the folder holds a log.
pub(crate) fn check_is_log(folder: &Path) -> Outcome {
    // Opening a backup says how to use it.
    if holds_log(folder) || folder.join("backup").is_file() {
        return Ok(());
    }
    let name = folder.display();
    let message = match folder.metadata() {
        Ok(metadata) if metadata.is_dir() => format!("`{name}` holds no log"),
        Ok(_) => format!("`{name}` is not a folder"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => format!("there is no folder `{name}`"),
        Err(error) => return Err(Failure::new(format!("cannot read the folder `{name}`")).because(&error)),
    };
    if holds_part_of_backup(folder) {
        return Err(Failure::new(message)
            .help("it holds an unfinished backup: run the same `gesta backup` again, it goes on"));
    }
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
    match (server_of(holder), if_in_use) {
        (Some(url), IfInUse::Talk) => failure.help(format!("use the server: `--url {url}`")),
        (Some(_), IfInUse::Stop) => failure.help("stop that server first"),
        (None, _) => failure.help("wait until the other process ends, or stop it"),
    }
}
