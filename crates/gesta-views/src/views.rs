//! The handle on all views of a store: open, status, wait, query, restart, shut down.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use gesta_consumer::{AnyConsumer, check_history, events_between};
use gesta_core::{Checkpoint, EventStore, ReadError, Retry, StreamName, Version, When};

use crate::catalog::DefinitionWarning;
use crate::consumer::ViewConsumer;
use crate::definition::{Definition, LoadError};
use crate::dialect::Dialect;
use crate::hosted::Hosted;
use crate::operate::{DropOldError, RollBackError, RolledBack};
use crate::options::Options;
use crate::parked::ParkedStream;
#[cfg(feature = "postgres")]
use crate::postgres::{Database, Postgres, PostgresUrl, excess_bytes};
use crate::query::{QueryError, QueryLimits, Rows, SqlValue};
use crate::reload::{Given, RefusedDefinition, Reloaded};
use crate::replay::{HeldStream, ParkedError, Replayed, Skip, Task};
use crate::run_error::RunError;
use crate::runner::HeldEvents;
use crate::sqlite::Sqlite;
use crate::status::{Progress, State, Status};
use crate::view::View;

/// The views of one store. Each has its own thread, and its own database in a common folder or schema in PostgreSQL.
///
/// Rows and checkpoint of a page are committed in one transaction, so a view shows every event exactly once, also after a
/// crash. Dropping the handle shuts the views down and waits for their threads.
pub struct Views {
    store: Arc<dyn EventStore>,
    folder: PathBuf,
    options: Options,
    views: RwLock<BTreeMap<String, Arc<Hosted>>>,
    /// That of the views in PostgreSQL, if an address was given.
    #[cfg(feature = "postgres")]
    database: Option<Arc<Database>>,
    /// Held during a reload.
    reloading: Mutex<()>,
    /// Locked while this is open: one process runs a folder.
    _locks: [File; 2],
}

impl Views {
    /// Opens the folder, creates it if needed, and starts every view. Does not wait for any of them.
    ///
    /// A definition that changed is built beside the old version, which goes on following the log and answers queries until the new one
    /// has caught up. It is kept for [`Self::roll_back`] until the next switch. Files of views that are no longer defined are left alone.
    ///
    /// # Errors
    /// [`OpenError`]. An error in a single view stops that view only, and its [`Status`] has it.
    pub fn open(
        store: Arc<dyn EventStore>,
        folder: PathBuf,
        definitions: Vec<Definition>,
    ) -> Result<Self, OpenError> {
        Self::open_with(store, folder, definitions, &Options::default())
    }

    /// As [`Self::open`], with options.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_with(
        store: Arc<dyn EventStore>,
        folder: PathBuf,
        definitions: Vec<Definition>,
        options: &Options,
    ) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Folder { path: folder.clone(), source };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        // An absolute path is never read as a `file:` address by SQLite.
        let folder = std::path::absolute(&folder).map_err(failed)?;
        let locks = lock(&folder)?;
        let mut by_name = BTreeMap::new();
        for definition in definitions {
            let name = definition.name().to_owned();
            check_database(&definition, options)?;
            if by_name.insert(name.clone(), definition).is_some() {
                return Err(OpenError::Duplicate { name });
            }
        }
        let opened = Self {
            store,
            #[cfg(feature = "postgres")]
            database: start_database(&folder, options)?,
            folder,
            options: options.clone(),
            views: RwLock::default(),
            reloading: Mutex::default(),
            _locks: locks,
        };
        by_name.into_values().try_for_each(|definition| opened.add(definition))?;
        Ok(opened)
    }

    /// Starts a view. No other one has its name.
    fn add(&self, definition: Definition) -> Result<(), OpenError> {
        check_database(&definition, &self.options)?;
        self.warn(&definition);
        let name = definition.name().to_owned();
        let hosted = self.start(definition).map_err(|source| OpenError::Thread { source })?;
        let mut views = self.views.write().unwrap_or_else(PoisonError::into_inner);
        views.insert(name, Arc::new(hosted));
        Ok(())
    }

    /// The names in a definition that the host does not know, if it knows any.
    fn warnings(&self, definition: &Definition) -> Vec<DefinitionWarning> {
        let known = &self.options.known_events;
        if known.is_empty() { Vec::new() } else { definition.warnings(known) }
    }

    fn warn(&self, definition: &Definition) {
        for warning in self.warnings(definition) {
            tracing::warn!(view = definition.name(), "{warning}");
        }
    }

    fn start(&self, definition: Definition) -> io::Result<Hosted> {
        let (folder, options) = (&self.folder, &self.options);
        let paused = options.paused.get(definition.name()).cloned();
        let page = if definition.parts().code().is_some() { options.row_page } else { options.page };
        let dialect = definition.dialect();
        let (view, store) = (View::new(definition, page), Arc::clone(&self.store));
        match dialect {
            #[cfg(feature = "postgres")]
            Dialect::Postgres => {
                let database =
                    Arc::clone(self.database.as_ref().expect("checked when the views were opened"));
                Hosted::start(view, store, paused, move |definition, role| {
                    Postgres::new(Arc::clone(&database), definition.clone(), role)
                })
            }
            _ => {
                let (folder, options) = (folder.clone(), options.clone());
                let target = move |definition: &Definition, _| {
                    Sqlite::new(definition.clone(), folder.clone(), &options)
                };
                Hosted::start(view, store, paused, target)
            }
        }
    }

    /// The names of the views, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.views.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// The definition of a view: that of the version that is wanted.
    #[must_use]
    pub fn definition(&self, name: &str) -> Option<Definition> {
        self.view(name).ok().map(|hosted| hosted.view.wanted())
    }

    /// The status of a view, measured against the head of the log at this moment.
    ///
    /// # Errors
    /// [`UnknownView`]. If the store does not answer, `head` and `lag_events` are `None`.
    pub async fn status(&self, name: &str) -> Result<Status, UnknownView> {
        let hosted = self.view(name)?;
        // The view first, the head second: the lag may be a little too large, never too small.
        let (state, now, old) = (hosted.state(), hosted.view.snapshot(), hosted.old());
        let events_per_second = hosted.consumer.events_per_second();
        let head = self.store.locate(When::Head).await.ok();
        let lag_events = match (&now.checkpoint, &head) {
            (Some(checkpoint), Some(head)) => Some(events_between(checkpoint, head)),
            _ => None,
        };
        let done = now.checkpoint.as_ref().filter(|_| now.is_being_built).map(sum);
        let progress = done.zip(lag_events).map(|(done, lag)| Progress::new(done, lag, events_per_second));
        let (given, hash) = (now.given.hash(), now.wanted.hash());
        Ok(Status {
            name: name.to_owned(),
            version: now.wanted.version(),
            progress,
            old,
            rolled_back: Some(given).filter(|given| *given != hash),
            hash,
            state,
            checkpoint: now.checkpoint,
            serving: now.served,
            serves_predecessor: now.serves_predecessor,
            rebuilt: now.rebuilt,
            parked: hosted.view.parked().all(),
            warnings: self.warnings(&now.wanted),
            refused: now.refused,
            head,
            lag_events,
        })
    }

    /// What a view is doing. Does not ask the store, so it can accompany every answer.
    ///
    /// # Errors
    /// [`UnknownView`].
    pub fn state(&self, name: &str) -> Result<State, UnknownView> {
        Ok(self.view(name)?.state())
    }

    /// Waits until queries on a view show everything up to a checkpoint, and gives the place that they show then. To read
    /// your own write, wait for the checkpoint that the append returned. The view wakes the waiter; nothing polls.
    ///
    /// # Errors
    /// [`WaitError`], at once if the wait would never end.
    ///
    /// # Cancel safety
    /// Dropping it has no effect.
    pub async fn wait_for(&self, name: &str, checkpoint: &Checkpoint) -> Result<Checkpoint, WaitError> {
        let hosted = self.view(name)?;
        // Rows of this history say nothing of a place in another one, however far they are.
        let mut is_checked = checkpoint.marks().next().is_some();
        if is_checked {
            self.check_reachable(checkpoint).await?;
        }
        loop {
            // Listen first, look second: a change in between is not missed. And the state before the rows: a run shows its
            // rows before it stops.
            let listener = hosted.view.changed.listen();
            let state = hosted.state_of_serving();
            match (hosted.view.snapshot().served, state) {
                (Some(served), _) if served.at_least(checkpoint) => return Ok(served),
                (_, State::Stopped { error }) => {
                    return Err(WaitError::Stopped { name: name.to_owned(), error });
                }
                _ if is_checked => listener.await,
                _ => {
                    self.check_reachable(checkpoint).await?;
                    is_checked = true;
                }
            }
        }
    }

    /// Waits until the version of the view's definition answers queries: no older one does any more. If another process runs the view,
    /// that one decides, and this does not wait.
    ///
    /// # Errors
    /// [`WaitError::UnknownView`] and [`WaitError::Stopped`].
    ///
    /// # Cancel safety
    /// Dropping it has no effect.
    pub async fn wait_until_built(&self, name: &str) -> Result<(), WaitError> {
        let hosted = self.view(name)?;
        loop {
            let listener = hosted.view.changed.listen();
            match hosted.state() {
                State::Stopped { error } => {
                    return Err(WaitError::Stopped { name: name.to_owned(), error });
                }
                State::Retrying { error } if matches!(*error, RunError::StandsBy { .. }) => return Ok(()),
                _ if hosted.view.serves_wanted(&hosted.view.wanted().short_hash()) => return Ok(()),
                _ => listener.await,
            }
        }
    }

    /// Waits until the view fails and tries again, as it does on a full disk, and returns the error. A view that only stands by does
    /// not fail. For a process that should report the error rather than wait.
    ///
    /// # Errors
    /// [`WaitError::UnknownView`].
    ///
    /// # Cancel safety
    /// Dropping it has no effect.
    pub async fn wait_until_failing(&self, name: &str) -> Result<Arc<RunError>, WaitError> {
        let hosted = self.view(name)?;
        loop {
            let listener = hosted.view.changed.listen();
            match hosted.state() {
                State::Retrying { error } if !matches!(*error, RunError::StandsBy { .. }) => {
                    return Ok(error);
                }
                _ => listener.await,
            }
        }
    }

    async fn check_reachable(&self, checkpoint: &Checkpoint) -> Result<(), WaitError> {
        let head = self.store.locate(When::Head).await?;
        if !checkpoint.is_comparable(&head) {
            return Err(WaitError::ForeignCheckpoint { checkpoint: checkpoint.clone() });
        }
        if !head.at_least(checkpoint) {
            return Err(WaitError::CheckpointAhead { checkpoint: checkpoint.clone(), head });
        }
        Ok(check_history(&*self.store, checkpoint, &head).await?)
    }

    /// Answers one SQL query on a view: read-only, within limits, with the checkpoint that its rows show.
    ///
    /// A parameter is written `:name` and given by its name. Blocks its thread.
    ///
    /// # Errors
    /// [`QueryError`] names what is not allowed or which limit was met, and what helps.
    pub fn query(
        &self,
        name: &str,
        sql: &str,
        parameters: &[(String, SqlValue)],
        limits: &QueryLimits,
    ) -> Result<Rows, QueryError> {
        let view = self.view(name).map_err(|error| QueryError::UnknownView { name: error.name })?;
        view.query(sql, parameters, limits)
    }

    /// Restarts a view that has stopped. A running view is left alone. It goes on from its checkpoint, with the definition
    /// that it was opened with: to use an edited file, load it and open the views anew.
    ///
    /// # Errors
    /// [`RestartError`].
    pub fn restart(&self, name: &str) -> Result<(), RestartError> {
        self.view(name)?.restart().map_err(|source| RestartError::Thread { source })
    }

    /// Takes definitions that changed or are new, while all views run. A changed view is built beside its old version, as by
    /// [`Self::open`]. An error leaves the definition before in place, and the view's [`Status`] has it. Blocks its thread.
    pub fn reload(&self, loaded: Vec<Result<Definition, LoadError>>) -> Reloaded {
        let _reloading = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reloaded = Reloaded::default();
        let running = self.all();
        let (mut definitions, mut named) = (Vec::new(), BTreeSet::new());
        for one in loaded {
            match one {
                Ok(definition) => definitions.push(definition),
                Err(error) => {
                    let concerned = running.iter().find(|hosted| error.concerns(&hosted.view.given()));
                    let view = concerned.map(|hosted| hosted.view.name.clone());
                    named.extend(view.clone());
                    self.refuse(&mut reloaded, view, error.to_string());
                }
            }
        }
        definitions.retain(|definition| named.insert(definition.name().to_owned()));
        for definition in definitions {
            self.take(definition, &mut reloaded);
        }
        reloaded.undefined = self.names().into_iter().filter(|name| !named.contains(name)).collect();
        let Reloaded { added, changed, undefined, .. } = &reloaded;
        tracing::info!(?added, ?changed, ?undefined, "the views are reloaded");
        reloaded
    }

    /// Starts a view, or gives the definition to the one that runs.
    fn take(&self, definition: Definition, reloaded: &mut Reloaded) {
        let name = definition.name().to_owned();
        match self.view(&name) {
            Ok(hosted) => match hosted.give(definition.clone()) {
                Ok(Given::Changed) => {
                    self.warn(&definition);
                    reloaded.changed.push(name);
                }
                Ok(Given::Unchanged) => reloaded.unchanged.push(name),
                Err(error) => self.refuse(reloaded, Some(name), error.to_string()),
            },
            Err(_) => match self.add(definition) {
                Ok(()) => reloaded.added.push(name),
                Err(error) => self.refuse(reloaded, None, error.to_string()),
            },
        }
    }

    fn refuse(&self, reloaded: &mut Reloaded, view: Option<String>, error: String) {
        if let Some(hosted) = view.as_ref().and_then(|view| self.view(view).ok()) {
            hosted.view.refuse(&error);
        }
        let refused = RefusedDefinition { view, error };
        tracing::error!("a view's definition is not taken: {refused}");
        reloaded.refused.push(refused);
    }

    /// Goes back to the version of a view that served before, or takes such a rollback back. The versions change places: the one that is
    /// wanted now serves as soon as it shows as much, which is at once if it is at the head of the log, and the other one is kept.
    ///
    /// A rollback outlives a restart. It ends when the host gives another definition. Blocks its thread.
    ///
    /// # Errors
    /// [`RollBackError`]: nothing was changed, unless the database was in doubt.
    pub fn roll_back(&self, name: &str) -> Result<RolledBack, RollBackError> {
        let hosted = self.view(name)?;
        hosted.roll_back(&pollster::block_on(self.store.locate(When::Head))?)
    }

    /// Removes the version of a view that served before, which follows the log for [`Self::roll_back`]. Returns the first digits of its
    /// hash. Blocks its thread.
    ///
    /// # Errors
    /// [`DropOldError`].
    pub fn drop_old(&self, name: &str) -> Result<String, DropOldError> {
        let hosted = self.view(name)?;
        hosted.drop_old(&pollster::block_on(self.store.locate(When::Head))?)
    }

    /// The streams that a view holds back, by name. Does not ask the store.
    ///
    /// # Errors
    /// [`UnknownView`].
    pub fn parked(&self, name: &str) -> Result<Vec<Arc<ParkedStream>>, UnknownView> {
        Ok(self.view(name)?.view.parked().all())
    }

    /// A parked stream with its first held events, at most 1,000; `None` if it is not parked. Blocks its thread.
    ///
    /// # Errors
    /// [`ParkedError::UnknownView`], and [`ParkedError::Read`] if the store does not answer.
    pub fn held(&self, name: &str, stream: &StreamName) -> Result<Option<HeldStream>, ParkedError> {
        let hosted = self.view(name)?;
        let query = hosted.view.wanted().query();
        let Some((parked, until)) = hosted.view.held(stream) else { return Ok(None) };
        let held = HeldEvents { store: &*self.store, query: &query, until: &until };
        let page = pollster::block_on(self.store.read(held.read(stream, parked.version)))?;
        Ok(Some(HeldStream { parked, events: held.taken(page) }))
    }

    /// Applies the held events of parked streams, once what they failed for is mended; of all streams if none is named. Each stream's
    /// events are applied in their order, and later ones of the log follow. A stream whose events fail again stays parked, from the
    /// event that fails on. A view that has stopped is started. Blocks its thread, for 10 s at most.
    ///
    /// What is applied is committed with the parked streams, so a crash loses nothing and applies nothing twice.
    ///
    /// # Errors
    /// [`ParkedError`]. With [`ParkedError::GoesOn`], the events are applied all the same.
    pub fn replay(&self, name: &str, streams: Vec<StreamName>) -> Result<Replayed, ParkedError> {
        self.view(name)?.release(Task::Replay(streams))
    }

    /// Skips the held events of a parked stream up to a version, for good, and applies the others. A rebuild of the view meets the
    /// skipped events again. The log of the process says who skipped what, and why. Blocks its thread, for 10 s at most.
    ///
    /// # Errors
    /// As [`Self::replay`], and [`ParkedError::NotHeld`] and [`ParkedError::NotReached`].
    pub fn skip(
        &self,
        name: &str,
        stream: StreamName,
        through: Version,
        by: &str,
        reason: &str,
    ) -> Result<Replayed, ParkedError> {
        let (by, reason) = (by.to_owned(), reason.to_owned());
        self.view(name)?.release(Task::Skip(Skip { stream, through, by, reason }))
    }

    /// Returns the views as consumers, for operators. Each keeps the views alive.
    #[must_use]
    pub fn consumers(self: &Arc<Self>) -> Vec<Arc<dyn AnyConsumer>> {
        let of = |hosted| Arc::new(ViewConsumer::new(Arc::clone(self), hosted)) as _;
        self.all().into_iter().map(of).collect()
    }

    /// Stops all views and waits for their threads. A page that is being applied is rolled back, and applied again when the
    /// views are opened the next time.
    pub fn shut_down(&self) {
        let all = self.all();
        all.iter().for_each(|hosted| hosted.request_stop());
        all.iter().for_each(|hosted| hosted.join());
        #[cfg(feature = "postgres")]
        self.database.iter().for_each(|database| database.release());
    }

    /// The database of views in PostgreSQL.
    #[cfg(feature = "postgres")]
    pub(crate) fn postgres(&self) -> Option<&PostgresUrl> {
        self.options.postgres.as_ref()
    }

    fn all(&self) -> Vec<Arc<Hosted>> {
        self.views.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn view(&self, name: &str) -> Result<Arc<Hosted>, UnknownView> {
        let views = self.views.read().unwrap_or_else(PoisonError::into_inner);
        views.get(name).cloned().ok_or_else(|| UnknownView { name: name.to_owned() })
    }
}

/// The events before a place, of any type.
fn sum(at: &Checkpoint) -> u64 {
    at.sequences().sum()
}

impl Drop for Views {
    fn drop(&mut self) {
        self.shut_down();
    }
}

/// Refuses a definition whose database was not given.
fn check_database(definition: &Definition, options: &Options) -> Result<(), OpenError> {
    if definition.dialect() != Dialect::Postgres {
        return Ok(());
    }
    let name = definition.name().to_owned();
    #[cfg(feature = "postgres")]
    if let Some(url) = &options.postgres {
        let excess = excess_bytes(&url.prefix, definition);
        let prefix = url.prefix.clone();
        return if excess > 0 { Err(OpenError::LongName { name, prefix, excess }) } else { Ok(()) };
    }
    let _ = options;
    Err(OpenError::NoDatabase { name })
}

/// The database of the views in PostgreSQL, if an address was given. Does not connect.
#[cfg(feature = "postgres")]
fn start_database(folder: &Path, options: &Options) -> Result<Option<Arc<Database>>, OpenError> {
    let Some(url) = &options.postgres else { return Ok(None) };
    let failed = |source| OpenError::Folder { path: folder.to_owned(), source };
    Database::start(url.clone(), folder).map(|database| Some(Arc::new(database))).map_err(failed)
}

/// Locks the folder, and a file in it. The folder stays locked if somebody removes the file; an earlier version locks the file alone.
fn lock(folder: &Path) -> Result<[File; 2], OpenError> {
    let path = folder.join("LOCK");
    let failed = |source| OpenError::Folder { path: path.clone(), source };
    let lock = |file: File| match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    };
    let of_folder = lock(File::open(folder).map_err(failed)?)?;
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    Ok([of_folder, lock(file)?])
}

/// No view has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no view `{name}`")]
pub struct UnknownView {
    /// The name in the request.
    pub name: String,
}

/// Why views could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder could not be created or locked.
    #[error("cannot open the views' folder `{}`", path.display())]
    Folder {
        /// The folder, or the file in it.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Another process, or another handle in this one, runs the views of the folder.
    #[error("another process runs the views in `{}`: end it, or use another folder", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Two definitions have the same name.
    #[error("two definitions are named `{name}`: rename one of them")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A view's dialect needs a database that was not given.
    #[error(
        "the view `{name}` is one for PostgreSQL, and no database was given: name it with `--views-db postgres://…` (in the library, `Options::postgres`), or let the dialect be `sqlite`"
    )]
    NoDatabase {
        /// The view.
        name: String,
    },
    /// The names of a view's schemas would be too long for PostgreSQL.
    #[error(
        "the view `{name}` with the prefix `{prefix}` needs names that are {excess} bytes too long for PostgreSQL: shorten one of them"
    )]
    LongName {
        /// The view.
        name: String,
        /// The prefix.
        prefix: String,
        /// How many bytes must go.
        excess: usize,
    },
    /// The system could not start a thread.
    #[error("cannot start a thread for a view")]
    Thread {
        /// Why not.
        source: std::io::Error,
    },
}

impl OpenError {
    /// Whether, and when, it helps to try again.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::InUse { .. } | Self::Thread { .. } => Retry::AfterPause,
            _ => Retry::Never,
        }
    }
}

/// Why a view could not be restarted.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// No view has this name.
    #[error(transparent)]
    UnknownView(#[from] UnknownView),
    /// The system could not start a thread.
    #[error("cannot start a thread for the view")]
    Thread {
        /// Why not.
        source: std::io::Error,
    },
}

/// Why a wait for a view would never end.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// No view has this name.
    #[error(transparent)]
    UnknownView(#[from] UnknownView),
    /// The view has stopped before the checkpoint.
    #[error("the view `{name}` stopped before the checkpoint: {error}")]
    Stopped {
        /// The view.
        name: String,
        /// Why it stopped.
        error: Arc<RunError>,
    },
    /// The checkpoint belongs to another store.
    #[error("checkpoint {checkpoint} belongs to another store: take one from this store")]
    ForeignCheckpoint {
        /// The checkpoint.
        checkpoint: Checkpoint,
    },
    /// The checkpoint lies beyond the head of the log.
    #[error("checkpoint {checkpoint} lies beyond the head of the log, {head}: it may never be reached")]
    CheckpointAhead {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The head of the log.
        head: Checkpoint,
    },
    /// The store did not answer.
    #[error("cannot read the log: {0}")]
    Read(#[from] ReadError),
}

impl WaitError {
    /// Whether, and when, it helps to wait again.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Read(error) => error.retry(),
            _ => Retry::Never,
        }
    }
}
