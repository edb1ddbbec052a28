//! Stores by their address: a folder, memory, a database, a cluster, or the store of a server. Nothing else in this crate names a store to serve.
//!
//! # Example
//! ```
//! use gesta_cli::store::{OpenOptions, open};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let opened = open(&"memory:".parse()?, &OpenOptions::default())?;
//! assert_eq!(opened.store.capabilities().partitions, 1);
//! opened.close();
//! # Ok(())
//! # }
//! ```

mod jetstream;
mod recovery;
mod snapshots;
mod url;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta::Gesta;
use gesta_client::{ClientOptions, ConnectError, RemoteGroups, RemoteStore};
use gesta_consumer::SystemClock;
use gesta_consumer::group::{Connect, Groups, LocalGroups, LocalGroupsOptions, SharedGroups, StartError};
use gesta_core::{
    BoxFuture, EventStore, KeyValueStore, MemoryKeyValueStore, MemoryStore, Retry, SnapshotStore,
    SnapshotThreads, StoreId,
};
use gesta_jetstream::JetStreamStore;
use gesta_log::{LogStore, Options, ReadOnlyCause, Scrub};
use gesta_postgres::{PostgresStore, PostgresUrl};
use gesta_state::StateStore;

use crate::cluster::stopped_with_help;
use crate::target::has_only_other_files;
use recovery::log_recovery;
pub(crate) use snapshots::Access;
pub use snapshots::Snapshots;
use snapshots::shared;
pub use url::{StoreUrl, StoreUrlParseError};

/// How a store is opened.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// The folder for what a host keeps beside a store that has no folder: tables of views, `state.db`. Made if it does not
    /// exist. A store in a folder keeps it there. A store on a cluster has its copy there, in `copy`, unless its address names a folder.
    pub state: Option<PathBuf>,
    /// How sealed segments of a log are checked in the background.
    pub scrub: Scrub,
    /// What to do after a failed write of a log.
    pub on_failed_write: OnFailedWrite,
    /// How a server is reached.
    pub client: ClientOptions,
    /// Where snapshots of states are kept.
    pub snapshots: Snapshots,
    /// The address of this process's server for other processes on the same store, such as `http://10.0.0.7:2114`. One process deals the
    /// consumer groups. With an address, this process asks for that role at once; without one, at the first call to groups. Only a store
    /// in a database or on a cluster uses it.
    pub advertise: Option<String>,
}

/// What to do after a failed write of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OnFailedWrite {
    /// Stay up: serve reads, refuse appends.
    #[default]
    ReadOnly,
    /// Exit with 1, so that a supervisor can start the server again.
    Exit,
}

/// An open store, with what a host keeps beside it.
#[non_exhaustive]
pub struct Opened {
    /// The store.
    pub store: Arc<dyn EventStore>,
    /// Its consumer groups: dealt here, by the server whose store it is, or by one of the processes that have a database or a cluster open.
    pub groups: Arc<dyn Groups>,
    /// Small values beside the store: `state.db` in its folder or in [`OpenOptions::state`], the schema of a store in a
    /// database, or the cluster of a store there. Otherwise they are in memory.
    pub values: Arc<dyn KeyValueStore>,
    /// Snapshots of states, for [`gesta::Gesta::snapshots`]; `None` if none are kept.
    pub snapshots: Option<Arc<dyn SnapshotStore>>,
    /// The folder for tables of views; `None` for a store without a folder if [`OpenOptions::state`] was not given.
    pub state: Option<PathBuf>,
    /// The store in words for people. It has no credentials.
    pub described: String,
    backing: Backing,
    dealt: Dealt,
    /// The values as a file, to close it.
    file: Option<Arc<StateStore>>,
    /// The threads of the snapshots, to end them.
    snapshot_threads: Option<Arc<SnapshotThreads>>,
}

/// The groups that this process has open, to close them.
enum Dealt {
    /// This process alone deals them.
    Here(Arc<LocalGroups>),
    /// One of the processes on the store deals them.
    Shared(Arc<SharedGroups>),
    /// By a server.
    There,
}

/// What is behind the store.
enum Backing {
    Log(Arc<LogStore>, OnFailedWrite),
    Memory,
    Server(Arc<RemoteStore>),
    Postgres,
    /// With the folder of the copy.
    JetStream(Arc<JetStreamStore>, PathBuf),
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder holds files, and none of them belongs to a log.
    #[error(
        "`{}` holds other files and no log: check the path; a new log needs a folder that is empty or does not exist",
        folder.display()
    )]
    OtherFiles {
        /// The folder.
        folder: PathBuf,
    },
    /// The log in the folder cannot be opened.
    #[error("cannot open the log in `{}`", folder.display())]
    Log {
        /// The folder.
        folder: PathBuf,
        /// The cause.
        source: gesta_log::OpenError,
    },
    /// The server cannot be reached as a store.
    #[error(transparent)]
    Server(#[from] ConnectError),
    /// The database cannot be reached, or not be used as a store.
    #[error("cannot open the store `{url}`")]
    Postgres {
        /// The address, without a password.
        url: String,
        /// The cause.
        source: gesta_postgres::OpenError,
    },
    /// The cluster cannot be reached, or not be used as a store.
    #[error("cannot open the store `{url}`")]
    JetStream {
        /// The address, without a password.
        url: String,
        /// The folder of the copy.
        copy: PathBuf,
        /// The cause.
        source: gesta_jetstream::OpenError,
    },
    /// A store on a cluster needs a folder for the copy of this process.
    #[error("the store `{url}` needs a folder for the copy of this process")]
    NoCopy {
        /// The address, without a password.
        url: String,
    },
    /// The folder for what is kept beside the store cannot be made.
    #[error("cannot make the folder `{}`", folder.display())]
    State {
        /// The folder.
        folder: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The consumer groups cannot be started.
    #[error("cannot start the consumer groups")]
    Groups(#[from] StartError),
    /// The folder for what is kept beside the store was given for a store that keeps it in its own folder.
    #[error("the store in `{}` keeps its state there: leave out the folder for it", folder.display())]
    StateOfFolder {
        /// The folder of the store.
        folder: PathBuf,
    },
}

impl OpenError {
    /// Returns the advice on opening again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::OtherFiles { .. } | Self::StateOfFolder { .. } | Self::NoCopy { .. } => Retry::Never,
            Self::Log { source, .. } => source.retry(),
            Self::Server(error) => error.retry(),
            Self::Postgres { source, .. } => source.retry(),
            Self::JetStream { source, .. } => source.retry(),
            Self::State { .. } | Self::Groups(_) => Retry::AfterPause,
        }
    }
}

/// Opens a store.
///
/// The log of a folder is made if there is none. What its recovery found is logged. A server must answer.
///
/// # Errors
/// [`OpenError`]; its `retry()` says if it helps to try again.
pub fn open(url: &StoreUrl, options: &OpenOptions) -> Result<Opened, OpenError> {
    match url {
        StoreUrl::File(folder) => open_folder(folder, options),
        StoreUrl::Memory => open_memory(options),
        StoreUrl::Http(url) => open_server(url, options),
        StoreUrl::Postgres(url) => open_postgres(url, options),
        StoreUrl::JetStream(url) => jetstream::open(url, options),
    }
}

fn open_folder(folder: &Path, options: &OpenOptions) -> Result<Opened, OpenError> {
    let folder = || folder.to_owned();
    if options.state.is_some() {
        return Err(OpenError::StateOfFolder { folder: folder() });
    }
    if has_only_other_files(&folder()) {
        return Err(OpenError::OtherFiles { folder: folder() });
    }
    let log_options = Options { scrub: options.scrub, ..Options::default() };
    let log = LogStore::open(folder(), &log_options);
    let log = Arc::new(log.map_err(|source| OpenError::Log { folder: folder(), source })?);
    log_recovery(&log);
    let file = open_values(&folder());
    let store: Arc<dyn EventStore> = Arc::clone(&log) as _;
    let values: Arc<dyn KeyValueStore> = Arc::clone(&file) as _;
    let alone =
        LocalGroupsOptions { boot_epoch: log.boot_epoch(), is_alone: true, ..LocalGroupsOptions::default() };
    let local = local_groups(&store, &values, alone)?;
    let snapshot_threads = options.snapshots.open(Some(&folder()));
    Ok(Opened {
        store,
        groups: Arc::clone(&local) as _,
        values,
        snapshots: shared(snapshot_threads.as_ref()),
        state: Some(folder()),
        described: folder().display().to_string(),
        backing: Backing::Log(log, options.on_failed_write),
        dealt: Dealt::Here(local),
        file: Some(file),
        snapshot_threads,
    })
}

fn open_memory(options: &OpenOptions) -> Result<Opened, OpenError> {
    options.state.as_deref().map(make_folder).transpose()?;
    let id = StoreId::from_bytes(uuid::Uuid::now_v7().into_bytes());
    let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new(id, 1, gesta_server::now));
    let values: Arc<dyn KeyValueStore> = Arc::new(MemoryKeyValueStore::default());
    let alone = LocalGroupsOptions { is_alone: true, ..LocalGroupsOptions::default() };
    let local = local_groups(&store, &values, alone)?;
    let snapshot_threads = options.snapshots.open(options.state.as_deref());
    Ok(Opened {
        store,
        groups: Arc::clone(&local) as _,
        values,
        snapshots: shared(snapshot_threads.as_ref()),
        state: options.state.clone(),
        described: StoreUrl::Memory.to_string(),
        backing: Backing::Memory,
        dealt: Dealt::Here(local),
        file: None,
        snapshot_threads,
    })
}

fn open_server(url: &str, options: &OpenOptions) -> Result<Opened, OpenError> {
    options.state.as_deref().map(make_folder).transpose()?;
    let client = Arc::new(RemoteStore::connect(url, &options.client)?);
    let file = options.state.as_deref().map(open_values);
    let values: Arc<dyn KeyValueStore> = match &file {
        Some(file) => Arc::clone(file) as _,
        None => Arc::new(MemoryKeyValueStore::default()),
    };
    let snapshot_threads = options.snapshots.open(options.state.as_deref());
    Ok(Opened {
        store: Arc::clone(&client) as _,
        groups: Arc::new(client.groups()),
        values,
        snapshots: shared(snapshot_threads.as_ref()),
        state: options.state.clone(),
        described: url.to_owned(),
        backing: Backing::Server(client),
        dealt: Dealt::There,
        file,
        snapshot_threads,
    })
}

/// Opens a store in PostgreSQL. Its values and snapshots are in the same schema, so several processes share them.
fn open_postgres(url: &PostgresUrl, options: &OpenOptions) -> Result<Opened, OpenError> {
    options.state.as_deref().map(make_folder).transpose()?;
    let opened = PostgresStore::open(url, &gesta_postgres::Options::default());
    let postgres = opened.map_err(|source| OpenError::Postgres { url: url.to_string(), source })?;
    let beside = (options.snapshots == Snapshots::Beside).then(|| Arc::new(postgres.snapshots()) as _);
    let shared = SharedStore {
        id: postgres.store_id(),
        values: Arc::new(postgres.values()),
        beside,
        described: url.to_string(),
        backing: Backing::Postgres,
        store: Arc::new(postgres),
    };
    shared.open(options)
}

/// A store that several processes have open, with the values that they share.
struct SharedStore {
    id: StoreId,
    store: Arc<dyn EventStore>,
    values: Arc<dyn KeyValueStore>,
    /// The snapshots there, if they are asked for.
    beside: Option<Arc<dyn SnapshotStore>>,
    described: String,
    backing: Backing,
}

impl SharedStore {
    /// Adds the groups, which one of the processes deals, and the snapshots.
    fn open(self, options: &OpenOptions) -> Result<Opened, OpenError> {
        let Self { id, store, values, beside, described, backing } = self;
        let groups = Arc::new(shared_groups(id, &store, &values, options)?);
        let snapshot_threads = match options.snapshots {
            Snapshots::Beside => None,
            _ => options.snapshots.open(options.state.as_deref()),
        };
        Ok(Opened {
            store,
            groups: Arc::clone(&groups) as _,
            values,
            snapshots: beside.or_else(|| shared(snapshot_threads.as_ref())),
            state: options.state.clone(),
            described,
            backing,
            dealt: Dealt::Shared(groups),
            file: None,
            snapshot_threads,
        })
    }
}

/// Starts the groups that this process deals.
fn local_groups(
    store: &Arc<dyn EventStore>,
    values: &Arc<dyn KeyValueStore>,
    options: LocalGroupsOptions,
) -> Result<Arc<LocalGroups>, OpenError> {
    let clock = Arc::new(SystemClock);
    Ok(Arc::new(LocalGroups::start(Arc::clone(store), Arc::clone(values), clock, options)?))
}

/// The groups of a store that several processes have open. Other processes are reached over HTTP.
fn shared_groups(
    id: StoreId,
    store: &Arc<dyn EventStore>,
    values: &Arc<dyn KeyValueStore>,
    options: &OpenOptions,
) -> Result<SharedGroups, OpenError> {
    let client = options.client.clone();
    let connect: Connect = Box::new(move |peer| {
        let groups = RemoteGroups::of_holder(peer, id, &client);
        groups.map(|groups| Arc::new(groups) as _).map_err(|error| error.to_string())
    });
    let (process, secret) = (uuid::Uuid::now_v7().to_string(), uuid::Uuid::new_v4().simple().to_string());
    let clock = Arc::new(SystemClock);
    let groups = SharedGroups::new(process, secret, Arc::clone(store), Arc::clone(values), clock, connect);
    options.advertise.iter().try_for_each(|address| groups.announce(address.clone()))?;
    Ok(groups)
}

fn make_folder(folder: &Path) -> Result<(), OpenError> {
    let made = std::fs::create_dir_all(folder);
    made.map_err(|source| OpenError::State { folder: folder.to_owned(), source })
}

/// Opens the key-value store in a folder. If it cannot be opened, the store is served without it.
fn open_values(folder: &Path) -> Arc<StateStore> {
    let opened = StateStore::open(&folder.join(gesta_state::FILE_NAME));
    Arc::new(opened.unwrap_or_else(|error| {
        tracing::error!(%error, "serving without what was kept: no consumer can be paused, and none starts paused");
        StateStore::refusing(&error)
    }))
}

impl Opened {
    /// Ends, with the reason, when the store has failed for good and must be opened again. Never ends for a store that heals by
    /// itself: a server that is away comes back.
    pub fn failed(&self) -> BoxFuture<'static, String> {
        match &self.backing {
            Backing::Memory
            | Backing::Postgres
            | Backing::JetStream(..)
            | Backing::Log(_, OnFailedWrite::ReadOnly) => Box::pin(std::future::pending()),
            Backing::Log(log, OnFailedWrite::Exit) => {
                let log = Arc::clone(log);
                Box::pin(async move {
                    format!("the log cannot be written any more: {}", log.write_failed().await.reason)
                })
            }
            Backing::Server(client) => {
                let replaced = client.replaced();
                Box::pin(async move { format!("the store cannot be reached any more: {}", replaced.await) })
            }
        }
    }

    /// A handle for commands and loads, with the snapshots of the store. Drop its clones before [`Self::close`].
    #[must_use]
    pub fn gesta(&self) -> Gesta {
        let gesta = Gesta::new(Arc::clone(&self.store));
        match &self.snapshots {
            Some(snapshots) => gesta.snapshots(Arc::clone(snapshots)),
            None => gesta,
        }
    }

    /// True if [`Self::values`] outlives the process.
    pub(crate) const fn keeps_values(&self) -> bool {
        self.file.is_some() || self.is_shared()
    }

    /// What helps after [`Self::failed`].
    pub(crate) const fn remedy(&self) -> &'static str {
        match &self.backing {
            Backing::Server(_) => "check the address, then start the service again",
            Backing::Postgres => "check the database, then start the server again",
            Backing::JetStream(..) => "check the cluster, then start the server again",
            Backing::Log(..) | Backing::Memory => {
                "check the disk, then start the server again: it settles the appends in flight"
            }
        }
    }

    /// True if other processes may have the store open, with the same values.
    pub(crate) const fn is_shared(&self) -> bool {
        matches!(self.backing, Backing::Postgres | Backing::JetStream(..))
    }

    /// True if the store is that of another server.
    pub(crate) const fn is_remote(&self) -> bool {
        matches!(self.backing, Backing::Server(_))
    }

    /// Describes this process to others that find the folder of the store locked, for example with an address to use instead.
    ///
    /// # Errors
    /// The system's error from writing the lock file.
    pub fn describe_holder(&self, holder: &str) -> io::Result<()> {
        match &self.backing {
            Backing::Log(log, _) => log.describe_holder(holder),
            Backing::JetStream(store, _) => store.describe_holder(holder),
            Backing::Memory | Backing::Postgres | Backing::Server(_) => Ok(()),
        }
    }

    /// Tells why the folder of the log is not the log's any more, or why the copy of a cluster does not follow it any more, if that is so; `None`
    /// for another store.
    pub(crate) fn unready(&self) -> Option<Box<dyn Fn() -> Option<String> + Send + Sync>> {
        match &self.backing {
            Backing::Log(log, _) => {
                let log = Arc::downgrade(log);
                Some(Box::new(move || displaced(&*log.upgrade()?)))
            }
            Backing::JetStream(store, copy) => {
                let (store, url, copy) = (Arc::downgrade(store), self.described.clone(), copy.clone());
                Some(Box::new(move || Some(stopped_with_help(&store.upgrade()?.stopped()?, &url, &copy))))
            }
            Backing::Memory | Backing::Postgres | Backing::Server(_) => None,
        }
    }

    /// Closes the groups, the values, the snapshots, and then the store, after everything that is queued. Stop what uses them first.
    pub fn close(self) {
        self.close_and_look();
    }

    /// [`Self::close`]. Returns why the folder of the log was not the log's any more, if that was so.
    pub(crate) fn close_and_look(self) -> Option<String> {
        match &self.dealt {
            Dealt::Here(groups) => groups.close(),
            Dealt::Shared(groups) => groups.close(),
            Dealt::There => {}
        }
        self.file.iter().for_each(|file| file.close());
        self.snapshot_threads.iter().for_each(|snapshots| snapshots.close());
        let Backing::Log(log, _) = &self.backing else { return None };
        log.close();
        displaced(log)
    }
}

/// Why the folder of a log is not the log's any more, if that is so.
fn displaced(log: &LogStore) -> Option<String> {
    log.read_only().filter(|own| own.cause == ReadOnlyCause::Displaced).map(|own| own.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_in(url: &str, options: &OpenOptions) -> Result<Opened, OpenError> {
        open(&url.parse().unwrap(), options)
    }

    #[test]
    fn a_folder_keeps_its_state_and_memory_keeps_it_where_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log").display().to_string();
        let opened = open_in(&log, &OpenOptions::default()).unwrap();
        assert_eq!(opened.state, Some(log.clone().into()));
        opened.close();
        let state = folder.path().join("state");
        let options = OpenOptions { state: Some(state.clone()), ..OpenOptions::default() };
        let opened = open_in("memory:", &options).unwrap();
        assert!(state.is_dir());
        assert_eq!(opened.state, Some(state));
        let error = open_in(&log, &options).err().unwrap();
        assert!(matches!(error, OpenError::StateOfFolder { .. }), "{error}");
    }

    #[test]
    fn a_closed_log_can_be_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().display().to_string();
        let opened = open_in(&log, &OpenOptions::default()).unwrap();
        let error = open_in(&log, &OpenOptions::default()).err().unwrap();
        assert!(matches!(&error, OpenError::Log { .. }), "{error}");
        opened.close();
        open_in(&log, &OpenOptions::default()).unwrap().close();
    }

    #[test]
    fn a_log_is_not_opened_among_other_files_and_a_server_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("letter.txt"), "Dear").unwrap();
        let error = open_in(&folder.path().display().to_string(), &OpenOptions::default()).err().unwrap();
        assert!(matches!(error, OpenError::OtherFiles { .. }), "{error}");
        assert_eq!(error.retry(), Retry::Never);
        let free = test_servers::free_address();
        let error = open_in(&format!("http://{free}"), &OpenOptions::default()).err().unwrap();
        assert!(matches!(error, OpenError::Server(_)), "{error}");
        assert_eq!(error.retry(), Retry::AfterPause);
    }
}
