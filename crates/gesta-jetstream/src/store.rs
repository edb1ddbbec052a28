//! The store.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use gesta_core::{
    AppendError, Appended, AtomicScope, Batch, BoxFuture, Capabilities, Checkpoint, CommandKey, EventStore,
    Listing, Page, Read, ReadError, RecordedBatch, StoreId, StreamInfo, StreamName, StreamPage, When,
    check_batch,
};
use gesta_log::{LogStore, Replica};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::address::JetStreamUrl;
use crate::driver::{Call, Driver, Opening, Ticket};
use crate::error::OpenError;
use crate::limits::{INPUTS_MAX, QUEUE_BYTES_MAX, limits};
use crate::link::{Link, Purpose, connect, set_up};
use crate::machine::{Halt, Machine};
use crate::message::Tip;
use crate::options::Options;

/// An event store on a cluster of NATS JetStream, with a copy in a folder of this process.
///
/// Any number of processes may have it open, each with a folder of its own. A group of appends is one message, so the log has one total
/// order and no gaps.
///
/// - **Durable** means: on the disks of a majority of the servers, if they run with `sync_interval: always`.
/// - **Fresh reads.** Reads come from the copy: they show the appends of this process at once, and those of others as soon as they are
///   delivered. [`EventStore::head_now`] waits until the copy has everything that was acknowledged before the call, to any process.
/// - **Appends in doubt are settled** for 15 s: the election of a leader takes up to 9 s.
/// - **Losses are named.** A process whose copy has messages that the cluster has lost or changed takes no more writes, and says why.
///
/// It has two threads. The futures need no runtime. Dropping the store closes its connection and its copy.
pub struct JetStreamStore {
    id: StoreId,
    url: JetStreamUrl,
    capabilities: Capabilities,
    replica: Arc<Replica>,
    /// It is there until the store is dropped.
    calls: Option<mpsc::UnboundedSender<Call>>,
    room: Arc<Semaphore>,
    /// Closed once the task has ended.
    ended: Mutex<std::sync::mpsc::Receiver<()>>,
    /// It is there until the store is dropped.
    runtime: Option<Runtime>,
}

/// The one partition.
const PARTITION: u16 = 0;

impl JetStreamStore {
    /// Opens the store, with the copy in a folder. Makes both if they are not there. Blocks until the copy has what the cluster has.
    ///
    /// # Errors
    /// [`OpenError`]; its `retry()` says if it helps to try again.
    pub fn open(url: &JetStreamUrl, folder: &Path, options: &Options) -> Result<Self, OpenError> {
        let purpose = if options.only_existing { Purpose::Existing } else { Purpose::Store };
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
            let _ = opened.send(open(own_url, own_folder, own_options, purpose).await);
        });
        let panicked =
            |_| OpenError::Unreachable { reason: "the thread of the store has panicked".to_owned() };
        let opened = done.recv().map_err(panicked).and_then(|opened| opened);
        let Opened { id, replica, calls, ended, is_unfinished } = match opened {
            Ok(opened) => opened,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let store = Self {
            id,
            url: url.clone(),
            capabilities: Capabilities::new(1, AtomicScope::Store, limits()),
            replica,
            calls: Some(calls),
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
    /// The system's error from writing the lock file.
    pub fn describe_holder(&self, holder: &str) -> std::io::Result<()> {
        self.log().describe_holder(holder)
    }

    /// The copy, which answers all reads.
    pub(crate) fn log(&self) -> &LogStore {
        self.replica.log()
    }

    fn send(&self, call: Call) -> Result<(), ()> {
        self.calls.as_ref().ok_or(())?.send(call).map_err(|_| ())
    }

    /// Writes a batch, or the recorded batch that it came from, at its place and with its time.
    pub(crate) async fn write(
        &self,
        batch: Batch,
        recorded: Option<Box<RecordedBatch>>,
    ) -> Result<Appended, AppendError> {
        check_batch(&batch, self.id, &self.capabilities)?;
        let bytes = batch.events.iter().map(gesta_core::NewEvent::canonical_len).sum::<usize>();
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(permits);
        let room = room.map_err(|_| AppendError::Overloaded)?;
        let (reply, answer) = oneshot::channel();
        let ticket = Ticket { batch, recorded, bytes, reply, room };
        self.send(Call::Append(ticket)).map_err(|()| AppendError::Closed)?;
        let panicked = |_| AppendError::InDoubt {
            reason: "the writer of the store has panicked: open the store anew".to_owned(),
        };
        answer.await.map_err(panicked)?
    }

    /// Asks the copy. A place that it does not have yet may have been given by another process, so it catches up and is asked again.
    async fn ask<T>(
        &self,
        ask: impl Fn(&LogStore) -> BoxFuture<'_, Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        match ask(self.log()).await {
            Err(ReadError::CheckpointAhead { .. }) if self.prove_head().await.is_ok() => {
                ask(self.log()).await
            }
            answer => answer,
        }
    }

    async fn prove_head(&self) -> Result<Checkpoint, ReadError> {
        let (reply, answer) = oneshot::channel();
        self.send(Call::Head(reply)).map_err(|()| ReadError::Closed)?;
        answer.await.map_err(|_| ReadError::Closed)?
    }
}

/// What an opened store is made of.
struct Opened {
    id: StoreId,
    replica: Arc<Replica>,
    calls: mpsc::UnboundedSender<Call>,
    ended: std::sync::mpsc::Receiver<()>,
    is_unfinished: bool,
}

async fn open(
    url: JetStreamUrl,
    folder: PathBuf,
    options: Options,
    purpose: Purpose,
) -> Result<Opened, OpenError> {
    let (tell, inputs) = mpsc::channel(INPUTS_MAX);
    let client = connect(&url, tell.clone()).await?;
    let (context, found) = set_up(client, &url, PARTITION, purpose, options.takes_single_server).await?;
    let copy_folder = folder.join(format!("p{PARTITION}"));
    let opening = move || Replica::open(copy_folder, found.id, PARTITION, &options.copy);
    let replica = Arc::new(tokio::task::block_in_place(opening)?);
    let kept = replica.through().and_then(|place| Tip::from_bytes(place.as_bytes()).ok());
    let tip = kept.unwrap_or_else(|| Tip::start(found.id, PARTITION));
    let random = uuid::Uuid::new_v4().as_u64_pair().0;
    let machine = Machine::new(PARTITION, tip, replica.head().sequence(0), random);
    let link = Link::new(context, url.stream(PARTITION), url.subject(PARTITION), tell);
    let (calls, waiting) = mpsc::unbounded_channel();
    let (done, caught_up) = oneshot::channel();
    let (end, ended) = std::sync::mpsc::channel();
    let opening = (options.clock, Opening { last: found.last, done }, end);
    tokio::spawn(Driver::new(machine, Arc::clone(&replica), (link, inputs), waiting, opening).run());
    let lost = |halt: Halt| OpenError::Lost { folder: folder.display().to_string(), halt };
    match caught_up.await {
        Ok(caught_up) => caught_up.map_err(lost)?,
        Err(_) => {
            return Err(OpenError::Unreachable { reason: "the thread of the store has panicked".to_owned() });
        }
    }
    Ok(Opened { id: found.id, replica, calls, ended, is_unfinished: found.is_unfinished })
}

impl std::fmt::Debug for JetStreamStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JetStreamStore({} at {})", self.id, self.url)
    }
}

impl Drop for JetStreamStore {
    fn drop(&mut self) {
        // The task ends without a caller, after at most one sync: then nobody writes to the copy, and its folder can be opened again.
        self.calls = None;
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Nothing is ever sent: the other end is dropped.
        let _ = ended.recv();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        self.replica.close();
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
        self.log().repeat_of(command, near)
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        Box::pin(self.ask(move |log| log.read(read.clone())))
    }

    fn stream(&self, name: StreamName) -> BoxFuture<'_, Result<Option<StreamInfo>, ReadError>> {
        self.log().stream(name)
    }

    fn streams(&self, listing: Listing) -> BoxFuture<'_, Result<StreamPage, ReadError>> {
        self.log().streams(listing)
    }

    fn locate(&self, at: When) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        self.log().locate(at)
    }

    fn head_now(&self) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(self.prove_head())
    }

    fn wait_past(&self, after: Checkpoint) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(self.ask(move |log| log.wait_past(after.clone())))
    }
}
