//! The log as an event store: the handle that callers hold, and its threads.

mod append;
mod batches_in;
mod closing;
mod copy;
#[cfg(feature = "sim")]
mod inline;
mod launch;
mod open;
mod operations;
mod recorded;
mod replica;
#[cfg(test)]
mod tests;
mod threads;
#[cfg(test)]
mod watched;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use gesta_core::{
    AppendError, Appended, AtomicScope, Batch, BoxFuture, Capabilities, Checkpoint, CommandKey, EventStore,
    Listing, Page, Read, ReadError, RefusedBatch, Repeat, StoreId, StreamInfo, StreamName, StreamPage, When,
    check_batch, check_checkpoint, check_command,
};

use crate::env::{Env, Lock, OsEnv};
use crate::error::OpenError;
use crate::folder::Folder;
use crate::index::{Index, LookupError, ReadMode};
use crate::limits::limits;
use crate::locks;
use crate::operations::Background;
use crate::options::{Options, Scrub};
use crate::read::{self, LookError, PlannedPage, Pool, PoolFull};
use crate::read_only::{ReadOnly, ReadOnlyCause};
use crate::recover::Recovery;
use crate::shared::{Head, IndexProgress, Shared};
use crate::write::{Drive, Lookup, command_in_runs, in_doubt, unavailable};
use append::{Prepare, look_up, refused};
pub use batches_in::{BatchesError, batches_in};
pub use copy::LogCopy;
#[cfg(feature = "sim")]
pub use inline::{LookedUp, Pending};
use launch::{Late, Launch, Rebuilding};
pub(crate) use open::{Opened, Purpose, Stage, open};
pub use replica::{GroupLookUp, Replica, ReplicaError, SourcePlace, SourcePlaceTooLong};
use threads::{cores, spawning};

/// An event store over one folder. Every acknowledgement comes after a sync.
///
/// Dropping it finishes what was queued, and closes the log cleanly.
pub struct LogStore {
    shared: Arc<Shared>,
    boot_epoch: u64,
    /// Why nobody but its source writes to it, if it is a replica.
    replica: Option<ReadOnly>,
    /// What recovery found before the log was open.
    recovery: Recovery,
    pool: Pool,
    late: Arc<Late>,
    background: Background,
    /// [`Self::close`] ends its thread.
    rebuild: Mutex<Rebuilding>,
    env: Arc<dyn Env>,
    root: PathBuf,
    /// Released last.
    lock: Box<dyn Lock>,
}

impl LogStore {
    /// Opens the log in a folder, and recovers it if it was not closed. Creates the folder if it does not exist.
    ///
    /// A log with damage opens read-only: see [`Self::recovery`]. So does a log that this process may not write to,
    /// for example on a read-only mount.
    ///
    /// If a large part of the log has no index (for example because its files are gone, or after a restore from a
    /// backup), the index is built beside the open log. Until it is complete, events can be read by position, forward
    /// and backward; appends and all other calls return `Unavailable`. See [`Self::index_progress`] and
    /// [`Self::wait_for_index`].
    ///
    /// # Errors
    /// [`OpenError`] names the obstacle. No acknowledged event is changed.
    pub fn open(root: impl AsRef<Path>, options: &Options) -> Result<Self, OpenError> {
        Self::open_in(Arc::new(OsEnv), root.as_ref(), options)
    }

    /// Opens the log in a folder like [`Self::open`], and makes none. A folder without a log stays as it is.
    ///
    /// # Errors
    /// [`OpenError`]; [`OpenError::NotALog`] if there is no log.
    pub fn open_existing(root: impl AsRef<Path>, options: &Options) -> Result<Self, OpenError> {
        Self::start(
            open(Arc::new(OsEnv), root.as_ref(), options, Purpose::Existing)?,
            options,
            Drive::Threads,
        )
    }

    /// Opens a log on a machine that may be simulated.
    fn open_in(env: Arc<dyn Env>, root: &Path, options: &Options) -> Result<Self, OpenError> {
        Self::start(open(env, root, options, Purpose::Store)?, options, Drive::Threads)
    }

    /// Starts a recovered log, with its threads or without.
    fn start(opened: Opened, options: &Options, drive: Drive) -> Result<Self, OpenError> {
        let Opened { lock, is_writable, replica, env, root, store, boot_epoch, runs, recovery, stage } =
            opened;
        let clock = options.clock.clone().unwrap_or_else(|| {
            let env = Arc::clone(&env);
            Arc::new(move || env.now())
        });
        let capabilities = Capabilities::new(1, AtomicScope::Store, limits(options.segment_size_bytes));
        // A scrub needs to write down its findings.
        let scrub = if is_writable { options.scrub } else { Scrub::Off };
        let background = drive.background(&env, &root, store, scrub).map_err(spawning)?;
        let (index, building, durable) = match &stage {
            Stage::Ready(ready) => (Index::in_part(Vec::new(), 1), None, ready.tail.chain.position),
            Stage::Rebuild(work) => {
                let building = Arc::clone(work.building());
                let durable = building.frames.last_position();
                (work.index(), Some(building), durable)
            }
        };
        let id = StoreId::from_bytes(store);
        let shared = Arc::new(Shared::new(id, capabilities, clock, durable, index, building));
        if shared.building.is_some() {
            let mark = read::mark_at(&shared, durable, ReadMode::Disk).unwrap_or_default();
            shared.published.publish(Head { position: durable, mark });
        }
        // First, since nothing has to be undone if it fails.
        let pool = Pool::new(drive.read_threads(options), cores()).map_err(spawning)?;
        let late = Arc::new(Late::default());
        let launch = Launch {
            shared: Arc::clone(&shared),
            late: Arc::clone(&late),
            env: Arc::clone(&env),
            root: root.clone(),
            runs,
            options: options.clone(),
            drive,
        };
        let rebuild = Mutex::default();
        let mut log =
            Self { shared, boot_epoch, replica, recovery, pool, late, background, rebuild, env, root, lock };
        match stage {
            Stage::Ready(ready) => launch.go(*ready)?,
            Stage::Rebuild(work) => log.rebuild = Mutex::new(launch.rebuild_beside(work)?),
        }
        Ok(log)
    }

    /// The store's identity, which its checkpoints carry.
    #[must_use]
    pub fn id(&self) -> StoreId {
        self.shared.id
    }

    /// A number that each opening of the log for writing raises. What carries it is told apart from what an earlier opening
    /// made.
    #[must_use]
    pub const fn boot_epoch(&self) -> u64 {
        self.boot_epoch
    }

    /// What recovery found and did when the log was opened. While the index is built beside the open log, this covers
    /// only the end of the log. Damage elsewhere is known once the index is complete; the log is then read-only.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        self.late.recovery.get().unwrap_or(&self.recovery)
    }

    /// The progress of the index that is built beside the open log; `None` if the index is complete, as it is for
    /// most logs from the start.
    #[must_use]
    pub fn index_progress(&self) -> Option<IndexProgress> {
        self.shared.building.as_ref().and_then(|building| building.progress())
    }

    /// Waits until the index is complete. Returns `false` if an attempt to build it failed or the log was closed:
    /// [`Self::index_progress`] has the reason. Blocks its thread.
    #[must_use]
    pub fn wait_for_index(&self) -> bool {
        if let Some(building) = &self.shared.building {
            building.wait();
        }
        self.index_progress().is_none()
    }

    /// Why the log takes no writes; `None` if it does.
    #[must_use]
    pub fn read_only(&self) -> Option<ReadOnly> {
        let poison = &self.shared.poison;
        let displaced = || Some(ReadOnly::new(ReadOnlyCause::Displaced, poison.displaced()?));
        poison.cause().or_else(displaced).or_else(|| self.replica.clone())
    }

    /// Waits until a write or a sync fails or the folder is displaced, and returns what [`Self::read_only`] returns from then on. For a process
    /// that should end and be restarted rather than stay up without taking writes. Never returns for a log that was
    /// read-only when it was opened: opening it again would change nothing.
    pub async fn write_failed(&self) -> ReadOnly {
        self.shared.poison.stopped().await
    }

    /// Describes this process to others that find the folder locked, for example with an address to use instead.
    ///
    /// # Errors
    /// The system's error from writing the lock file.
    pub fn describe_holder(&self, holder: &str) -> std::io::Result<()> {
        self.lock.describe(holder)
    }

    /// [`EventStore::append`] as a call that blocks its thread. A lone caller commits its batch itself, without waking another
    /// thread: the fastest way to append one batch after the other.
    ///
    /// # Errors
    /// As [`EventStore::append`].
    pub fn append_blocking(&self, batch: Batch) -> Result<Appended, AppendError> {
        check_batch(&batch, self.shared.id, &self.shared.capabilities)?;
        let lookup =
            look_up(&self.shared, &batch, ReadMode::Disk).map_err(|fault| refused(&self.shared, &fault))?;
        let appended = match self.prepare(batch, lookup, None) {
            Prepare::Answered(answer) => answer,
            Prepare::Ready(role, ticket, reply) => role.submit_and_wait(ticket, reply)?,
        }?;
        if !appended.repeated {
            return Ok(appended);
        }
        let end = read::place_at(&self.shared, appended.checkpoint.sequence(0), ReadMode::Disk);
        let checkpoint = end.map_err(|fault| unavailable(&fault))?;
        Ok(Appended { checkpoint, ..appended })
    }

    /// [`EventStore::read`] as a call that reads on its own thread.
    ///
    /// # Errors
    /// As [`EventStore::read`].
    pub fn read_blocking(&self, read: &Read) -> Result<Page, ReadError> {
        self.check_open()?;
        let planned = read::plan(&self.shared, read, ReadMode::Disk).map_err(LookError::into_read_error)?;
        planned.fetch(&self.shared, self.pool.idle())
    }

    /// Refuses new batches, writes the queued ones, and closes the log cleanly. Further calls do nothing.
    pub fn close(&self) {
        self.background.cancel();
        if let Some(building) = &self.shared.building {
            building.stop();
        }
        let rebuild = std::mem::take(&mut *locks::lock(&self.rebuild));
        if let Rebuilding::Thread(thread) = rebuild
            && thread.join().is_err()
        {
            tracing::error!("building the index panicked");
        }
        if let Some(commit) = self.late.commit.get() {
            commit.close();
        }
        self.shared.published.close();
        self.background.close();
    }

    /// The background scrub.
    pub(crate) const fn background(&self) -> &Background {
        &self.background
    }

    /// The folder, for operations on its files while readers and the writer use them.
    pub(crate) fn folder(&self) -> Folder<'_> {
        Folder { env: &*self.env, root: &self.root }
    }

    /// The position of the last durable event.
    pub(crate) fn durable_position(&self) -> u64 {
        self.shared.published.position()
    }

    /// Looks up a batch: in memory, or, if that is not enough, on a thread that may wait for the disk.
    async fn look_up_pooled(&self, batch: Batch) -> Result<(Batch, Lookup), AppendError> {
        match look_up(&self.shared, &batch, ReadMode::Memory) {
            Ok(lookup) => return Ok((batch, lookup)),
            Err(LookupError::NotInMemory) => {}
            Err(fault) => return Err(refused(&self.shared, &fault)),
        }
        let shared = Arc::clone(&self.shared);
        let looked_up = self.pooled(move || {
            let lookup = look_up(&shared, &batch, ReadMode::Disk);
            lookup.map(|lookup| (batch, lookup)).map_err(|fault| unavailable(&fault))
        });
        looked_up.await?
    }

    /// Adds the mark of its place to the answer to a repeat. The mark comes from the record.
    async fn marked(&self, appended: Appended) -> Result<Appended, AppendError> {
        if !appended.repeated {
            return Ok(appended);
        }
        let end = appended.checkpoint.sequence(0);
        let look = move |shared: &Shared, mode| read::place_at(shared, end, mode).map_err(LookError::from);
        let checkpoint = self.look(look).await.map_err(|error| match error {
            ReadError::Overloaded => AppendError::Overloaded,
            error => AppendError::Unavailable { reason: error.to_string() },
        })?;
        Ok(Appended { checkpoint, ..appended })
    }

    /// Looks up a command. Waits until its events are durable.
    async fn find_command(&self, command: CommandKey) -> Result<Option<Appended>, AppendError> {
        check_command(&command)?;
        let mut waited = false;
        loop {
            let listener = self.shared.published.listen();
            let durable = self.shared.published.position();
            let found = match self.command_in_tables(&command)? {
                None => self.command_on_disk(&command).await?,
                found => found,
            };
            let speaks_of = match &found {
                None if waited => return Err(in_doubt()),
                None => return Ok(None),
                Some(Ok(repeat)) => repeat.end,
                Some(Err(refused)) => refused.speaks_of,
            };
            if speaks_of <= durable {
                return match found {
                    Some(Ok(repeat)) => self.marked(self.appended(repeat)).await.map(Some),
                    Some(Err(refused)) => Err(refused.error),
                    None => Ok(None),
                };
            }
            if self.shared.published.is_closed() {
                return Err(in_doubt());
            }
            waited = true;
            listener.await;
        }
    }

    async fn command_on_disk(
        &self,
        command: &CommandKey,
    ) -> Result<Option<Result<Repeat, RefusedBatch>>, AppendError> {
        let snapshot = self.shared.snapshot().map_err(|fault| refused(&self.shared, &fault))?;
        let found = match command_in_runs(&snapshot, command, ReadMode::Memory) {
            Err(LookupError::NotInMemory) => {
                let command = command.clone();
                self.pooled(move || command_in_runs(&snapshot, &command, ReadMode::Disk)).await?
            }
            found => found,
        };
        let entry = found.map_err(|fault| unavailable(&fault))?;
        Ok(entry.map(|entry| entry.record().answer(command, 0)))
    }

    fn check_open(&self) -> Result<(), ReadError> {
        if self.shared.published.is_closed() { Err(ReadError::Closed) } else { Ok(()) }
    }

    async fn read_pooled(&self, read: Read) -> Result<Page, ReadError> {
        self.check_open()?;
        let planned = match read::plan(&self.shared, &read, ReadMode::Memory) {
            Ok(mut planned) => match planned.fetch_cached(&self.shared) {
                Some(events) => return Ok(planned.into_page(events)),
                None => Some(planned),
            },
            Err(error) if error.is_not_in_memory() => None,
            Err(error) => return Err(error.into_read_error()),
        };
        let (shared, idle) = (Arc::clone(&self.shared), self.pool.idle().clone());
        let page = self.pooled(move || {
            let planned: PlannedPage = match planned {
                Some(planned) => planned,
                None => read::plan(&shared, &read, ReadMode::Disk).map_err(LookError::into_read_error)?,
            };
            planned.fetch(&shared, &idle)
        });
        page.await?
    }

    /// Looks something up: in memory, or, if that is not enough, on a thread that may wait for the disk.
    async fn look<T: Send + 'static>(
        &self,
        look: impl Fn(&Shared, ReadMode) -> Result<T, LookError> + Send + 'static,
    ) -> Result<T, ReadError> {
        match look(&self.shared, ReadMode::Memory) {
            Err(error) if error.is_not_in_memory() => {}
            found => return found.map_err(LookError::into_read_error),
        }
        let shared = Arc::clone(&self.shared);
        let found = self.pooled(move || look(&shared, ReadMode::Disk).map_err(LookError::into_read_error));
        found.await?
    }

    /// Runs `work` on a thread that may wait for the disk.
    async fn pooled<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        let (reply, answer) = oneshot::channel();
        let job = move || {
            // An error means that the caller is gone.
            let _ = reply.send(work());
        };
        self.pool.run(job).map_err(|PoolFull| NotDone::Overloaded)?;
        answer.await.map_err(|_| NotDone::BrokenOff)
    }

    async fn wait(&self, after: Checkpoint) -> Result<Checkpoint, ReadError> {
        check_checkpoint(&after, &self.shared.head())?;
        let place = after.clone();
        self.look(move |shared, mode| read::check_place(shared, &place, mode)).await?;
        loop {
            // Listen first, look second, so that a publication in between is not missed.
            let listener = self.shared.published.listen();
            let head = self.shared.head();
            if !after.at_least(&head) {
                return Ok(head);
            }
            if self.shared.published.is_closed() {
                return Err(ReadError::Closed);
            }
            listener.await;
        }
    }
}

/// Why `work` was not done on a thread that may wait for the disk.
#[derive(Debug, PartialEq, Eq)]
enum NotDone {
    /// Too many tasks wait for a thread.
    Overloaded,
    /// It panicked because of a bug in this program, which the next attempt may meet again. Nothing has happened.
    BrokenOff,
}

impl NotDone {
    fn broken_off() -> String {
        "a bug in this program stopped the call; nothing has happened".to_owned()
    }
}

impl From<NotDone> for ReadError {
    fn from(why: NotDone) -> Self {
        match why {
            NotDone::Overloaded => Self::Overloaded,
            NotDone::BrokenOff => Self::Unavailable { reason: NotDone::broken_off() },
        }
    }
}

impl From<NotDone> for AppendError {
    fn from(why: NotDone) -> Self {
        match why {
            NotDone::Overloaded => Self::Overloaded,
            NotDone::BrokenOff => Self::Unavailable { reason: NotDone::broken_off() },
        }
    }
}

impl Drop for LogStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl EventStore for LogStore {
    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(async move {
            check_batch(&batch, self.shared.id, &self.shared.capabilities)?;
            let (batch, lookup) = self.look_up_pooled(batch).await?;
            let appended = match self.prepare(batch, lookup, None) {
                Prepare::Answered(answer) => answer,
                Prepare::Ready(role, ticket, reply) => {
                    role.submit(ticket)?;
                    reply.await.unwrap_or_else(|_| Err(in_doubt()))
                }
            };
            self.marked(appended?).await
        })
    }

    fn repeat_of(
        &self,
        command: CommandKey,
        _near: StreamName,
    ) -> BoxFuture<'_, Result<Option<Appended>, AppendError>> {
        Box::pin(self.find_command(command))
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        Box::pin(self.read_pooled(read))
    }

    fn stream(&self, name: StreamName) -> BoxFuture<'_, Result<Option<StreamInfo>, ReadError>> {
        Box::pin(self.look(move |shared, mode| read::stream(shared, &name, mode)))
    }

    fn streams(&self, listing: Listing) -> BoxFuture<'_, Result<StreamPage, ReadError>> {
        Box::pin(self.look(move |shared, mode| read::streams(shared, &listing, mode)))
    }

    fn locate(&self, at: When) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        match at {
            When::ClosedAt(time) => Box::pin(self.close_at(time)),
            at => Box::pin(self.look(move |shared, mode| read::locate(shared, at, mode))),
        }
    }

    fn wait_past(&self, after: Checkpoint) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(self.wait(after))
    }
}
