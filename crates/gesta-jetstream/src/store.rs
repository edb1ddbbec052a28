//! The store.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{select_all, try_join_all};
use gesta_core::{
    AppendError, Appended, AtomicScope, Batch, BoxFuture, Capabilities, Checkpoint, CommandKey, Direction,
    EventStore, Lane, Listing, Page, Place, Read, ReadError, RecordedBatch, Select, StoreId, StreamInfo,
    StreamName, StreamPage, When, check_batch, check_checkpoint, check_read,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use crate::address::JetStreamUrl;
use crate::error::OpenError;
use crate::limits::{QUEUE_BYTES_MAX, limits};
use crate::link::Purpose;
use crate::listing;
use crate::merged::LogRead;
use crate::open::{Opened, has_copy, open};
use crate::options::Options;
use crate::partition::Partition;
use crate::stopped::Stopped;

/// An event store on a cluster of NATS JetStream, with a copy in a folder of this process.
///
/// Any number of processes may have it open, each with a folder of its own. Each partition is a stream with a copy and a writer of its own. A
/// group of appends to a partition is one message, so a partition has one total order and no gaps.
///
/// - **Durable** means: on the disks of a majority of the servers, if they run with `sync_interval: always`.
/// - **Partitions** are made with the store, and their number never changes. With several, a batch stays in one of them. Pages of the log have
///   the order of each partition, and events of different partitions in the order of the times at which they were recorded.
/// - **Fresh reads.** Reads come from the copy: they show the appends of this process at once, and those of others as soon as they are
///   delivered. [`EventStore::head_now`] waits until the copy has everything that was acknowledged before the call, to any process.
/// - **Appends in doubt are settled** for 15 s: the election of a leader takes up to 9 s.
/// - **Losses are named.** A partition whose copy has messages that the cluster has lost or changed takes no more writes, and says why.
///
/// It has two threads, and those of each copy. The futures need no runtime. Dropping the store closes its connection and its copies.
pub struct JetStreamStore {
    id: StoreId,
    url: JetStreamUrl,
    capabilities: Capabilities,
    /// They are there until the store is dropped.
    partitions: Vec<Partition>,
    room: Arc<Semaphore>,
    /// Closed once the tasks of all partitions have ended.
    ended: Mutex<std::sync::mpsc::Receiver<()>>,
    /// It is there until the store is dropped.
    runtime: Option<Runtime>,
}

impl JetStreamStore {
    /// Opens the store, with the copy in a folder. Makes both if they are not there: the store with the partitions that the address names, or
    /// with one. If the folder has a copy, a store that is not there is refused: the copy may be all that is left of it. Blocks until the copy has what the cluster has, or until the cluster has delivered nothing for 45 s.
    ///
    /// # Errors
    /// [`OpenError`]; its `retry()` says if it helps to try again. [`OpenError::Refused`] if the store has another number of partitions than the
    /// address names.
    pub fn open(url: &JetStreamUrl, folder: &Path, options: &Options) -> Result<Self, OpenError> {
        let purpose = match options.only_existing {
            true => Purpose::Existing,
            false if has_copy(folder, 0) => Purpose::Kept,
            false => Purpose::Store,
        };
        Self::open_for(url, folder, options, purpose).map(|(store, _)| store)
    }

    /// Opens the store for a purpose. Returns also if it is an unfinished copy.
    pub(crate) fn open_for(
        url: &JetStreamUrl,
        folder: &Path,
        options: &Options,
        purpose: Purpose,
    ) -> Result<(Self, bool), OpenError> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(2).thread_name("gesta-jetstream").enable_io().enable_time();
        let runtime = builder.build().map_err(OpenError::Thread)?;
        let (opened, done) = std::sync::mpsc::channel();
        let (own_url, own_folder, own_options) = (url.clone(), folder.to_owned(), options.clone());
        runtime.spawn(async move {
            // The caller waits.
            let _ = opened.send(open(&own_url, &own_folder, &own_options, purpose).await);
        });
        let opened = done.recv().map_err(|_| OpenError::panicked()).and_then(|opened| opened);
        let Opened { id, partitions, ended, is_unfinished } = match opened {
            Ok(opened) => opened,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let number = u16::try_from(partitions.len()).expect("at most 64 partitions");
        let scope = if number == 1 { AtomicScope::Store } else { AtomicScope::Partition };
        let store = Self {
            id,
            url: url.clone(),
            capabilities: Capabilities::new(number, scope, limits()),
            partitions,
            ended: Mutex::new(ended),
            room: Arc::new(Semaphore::new(QUEUE_BYTES_MAX)),
            runtime: Some(runtime),
        };
        Ok((store, is_unfinished))
    }

    /// Returns the id of the store.
    #[must_use]
    pub const fn store_id(&self) -> StoreId {
        self.id
    }

    /// Describes this process to others that find the folder of the copy locked, for example with an address to use instead.
    ///
    /// # Errors
    /// The system's error from writing a lock file.
    pub fn describe_holder(&self, holder: &str) -> std::io::Result<()> {
        self.partitions.iter().try_for_each(|partition| partition.log().describe_holder(holder))
    }

    /// Returns why a partition takes no more writes, if one does not. Opening the store again is the only way on. An outage of the cluster is no
    /// such reason.
    #[must_use]
    pub fn stopped(&self) -> Option<Stopped> {
        self.partitions.iter().find_map(Stopped::of)
    }

    /// The partition with a number.
    pub(crate) fn partition(&self, number: u16) -> &Partition {
        &self.partitions[usize::from(number)]
    }

    /// The partition of a stream.
    fn partition_of(&self, stream: &StreamName) -> &Partition {
        self.partition(Lane::of(stream.as_str()).partition(self.capabilities.partitions))
    }

    /// Writes a batch, or the recorded batch that it came from, at its place and with its time.
    pub(crate) async fn write(
        &self,
        batch: Batch,
        recorded: Option<Box<RecordedBatch>>,
    ) -> Result<Appended, AppendError> {
        let partition = check_batch(&batch, self.id, &self.capabilities)?;
        let bytes = batch.events.iter().map(gesta_core::NewEvent::canonical_len).sum::<usize>();
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(permits);
        let room = room.map_err(|_| AppendError::Overloaded)?;
        self.catch_up_elsewhere(&batch, partition).await?;
        self.partition(partition).write(batch, recorded, (bytes, room)).await
    }

    /// Waits until the copies of other partitions have the places of a batch's conditions. Usually they do.
    async fn catch_up_elsewhere(&self, batch: &Batch, partition: u16) -> Result<(), AppendError> {
        let places = || batch.conditions.iter().filter_map(|condition| condition.after.as_ref());
        let is_behind = |other: &&Partition| {
            let (number, head) = (other.number(), other.replica().head().sequence(0));
            number != partition && places().any(|place| place.sequence(number) > head)
        };
        let caught_up =
            try_join_all(self.partitions.iter().filter(is_behind).map(Partition::prove_head)).await;
        caught_up.map(drop).map_err(|error| AppendError::Unavailable { reason: error.to_string() })
    }

    fn start(&self) -> Checkpoint {
        Checkpoint::start(self.id, self.capabilities.partitions)
    }

    /// The head of the copies.
    fn head(&self) -> Checkpoint {
        self.raised(self.partitions.iter().map(|partition| partition.replica().head()))
    }

    /// Puts a place of each copy together.
    fn raised(&self, places: impl IntoIterator<Item = Checkpoint>) -> Checkpoint {
        let pairs = self.partitions.iter().zip(places);
        pairs.fold(self.start(), |whole, (partition, place)| partition.raise(&place, whole))
    }

    async fn prove_head(&self) -> Result<Checkpoint, ReadError> {
        Ok(self.raised(try_join_all(self.partitions.iter().map(Partition::prove_head)).await?))
    }

    /// Asks the copies. A place that they do not have yet may have been given by another process, so they catch up and are asked again.
    async fn ask<T, F: Future<Output = Result<T, ReadError>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<T, ReadError> {
        match ask().await {
            Err(ReadError::CheckpointAhead { checkpoint, head }) => {
                let is_ahead = |partition: &&Partition| {
                    checkpoint.sequence(partition.number()) > head.sequence(partition.number())
                };
                let ahead = self.partitions.iter().filter(is_ahead);
                match try_join_all(ahead.map(Partition::prove_head)).await {
                    Ok(_) => ask().await,
                    Err(_) => Err(ReadError::CheckpointAhead { checkpoint, head }),
                }
            }
            answer => answer,
        }
    }

    async fn page(&self, read: Read) -> Result<Page, ReadError> {
        let head = self.head();
        check_read(&read, &head, &self.capabilities)?;
        for place in read.checkpoints() {
            self.check_marks(place).await?;
        }
        let from = match &read.select {
            Select::Stream { name, .. } => {
                return self.partition_of(name).read_stream(read.clone(), &head).await;
            }
            Select::Log { from, .. } => from,
        };
        let at = match from {
            Place::Start => self.start(),
            Place::End => head.clone(),
            Place::At(place) => place.clone(),
        };
        let end = read.until.clone().unwrap_or_else(|| match read.direction {
            Direction::Forward => head.clone(),
            Direction::Backward => self.start(),
        });
        LogRead { read, at, end }.page(&self.partitions, head).await
    }

    async fn check_marks(&self, place: &Checkpoint) -> Result<(), ReadError> {
        for partition in &self.partitions {
            partition.replica().check_place(place).await?;
        }
        Ok(())
    }

    async fn wait(&self, after: Checkpoint) -> Result<Checkpoint, ReadError> {
        check_checkpoint(&after, &self.head())?;
        self.check_marks(&after).await?;
        let waits = self.partitions.iter().map(|partition| {
            let place = partition.replica().lower(&after);
            partition.log().wait_past(place)
        });
        let (woken, at, _) = select_all(waits).await;
        woken.map_err(|error| self.partitions[at].replica().raise_error(error, &after))?;
        Ok(self.head())
    }
}

impl std::fmt::Debug for JetStreamStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JetStreamStore({} at {})", self.id, self.url)
    }
}

impl Drop for JetStreamStore {
    fn drop(&mut self) {
        // The tasks end without a caller, after at most one sync: then nobody writes to the copies, and their folders can be opened again.
        let replicas = self.partitions.drain(..).map(|partition| Arc::clone(partition.replica()));
        let replicas = replicas.collect::<Vec<_>>();
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Nothing is ever sent: the other ends are dropped.
        let _ = ended.recv();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        replicas.iter().for_each(|replica| replica.close());
    }
}

impl EventStore for JetStreamStore {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(self.write(batch, None))
    }

    fn repeat_of(
        &self,
        command: CommandKey,
        near: StreamName,
    ) -> BoxFuture<'_, Result<Option<Appended>, AppendError>> {
        Box::pin(self.partition_of(&near).repeat_of(command, near))
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        Box::pin(self.ask(move || self.page(read.clone())))
    }

    fn stream(&self, name: StreamName) -> BoxFuture<'_, Result<Option<StreamInfo>, ReadError>> {
        Box::pin(self.partition_of(&name).stream(name))
    }

    fn streams(&self, listing: Listing) -> BoxFuture<'_, Result<StreamPage, ReadError>> {
        Box::pin(listing::page(&self.partitions, listing))
    }

    fn locate(&self, at: When) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(async move {
            let located = self.partitions.iter().map(|partition| partition.locate(at));
            Ok(self.raised(try_join_all(located).await?))
        })
    }

    fn head_now(&self) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(self.prove_head())
    }

    fn wait_past(&self, after: Checkpoint) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(self.ask(move || self.wait(after.clone())))
    }
}
