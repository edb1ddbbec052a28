//! The store.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use gesta_core::{
    AppendError, Appended, AtomicScope, Batch, BoxFuture, Capabilities, Checkpoint, CommandKey, EventStore,
    Listing, Page, Read, ReadError, StoreId, StreamInfo, StreamName, StreamPage, When, check_batch,
    check_checkpoint, check_command,
};
use gesta_postgres_connect::ConnectError;

use crate::address::PostgresUrl;
use crate::error::OpenError;
use crate::fault::Fault;
use crate::limits::{READ_TIME, limits};
use crate::options::Options;
use crate::pool::{Pool, Unread};
use crate::runtime::{Task, Thread};
use crate::schema::{self, Found, Purpose};
use crate::session::{Session, State};
use crate::shared::{Shared, Target};
use crate::snapshots::PostgresSnapshots;
use crate::values::PostgresValues;
use crate::write::{Encoded, Queue, Searching, Ticket, Writer, close, search};
use crate::{listen, read};

/// An event store in a schema of a PostgreSQL database.
///
/// Any number of processes may have it open. One transaction at a time appends, so the log has one total order and no gaps.
///
/// - **Durable** means what the server means by it: its disk, and those of its synchronous standbys. A server with `fsync` off
///   is refused.
/// - **Appends in doubt are settled.** If the connection breaks during a commit, the batches are decided again, for
///   [`Options::settle_time`]. So a batch that was written may be answered as a repeat.
/// - **Order.** Appends are decided in the order of their first polls. One whose conditions are still searched lets others
///   pass that share no stream with it.
/// - **Fresh reads.** Every read asks the server, so it shows what any process has appended before.
///
/// It has one thread, which owns the connections: up to four for reads, one to append, one to listen. The futures need no
/// runtime. A dropped future drops its request. Dropping the store closes its connections.
///
/// # Example
/// ```no_run
/// use gesta_postgres::{Options, PostgresStore};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let url = "postgres://shop@localhost/shop?schema=log".parse()?;
/// let store = PostgresStore::open(&url, &Options::default())?;
/// # Ok(())
/// # }
/// ```
pub struct PostgresStore {
    pub(crate) inner: Arc<Inner>,
}

/// What the store shares with its key-value store.
pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pool: Arc<Pool>,
    pub(crate) queue: Arc<Queue>,
    /// The tasks that end with the store.
    tasks: Mutex<Vec<Task<()>>>,
    listening: OnceLock<()>,
    /// Dropped last: the tasks live on it.
    pub(crate) thread: Thread,
    url: PostgresUrl,
}

impl PostgresStore {
    /// Opens the store in a schema. Makes the schema and its tables if there is no such schema. Blocks until the server has
    /// answered.
    ///
    /// # Errors
    /// [`OpenError`]; its `retry()` says if it helps to try again.
    pub fn open(url: &PostgresUrl, options: &Options) -> Result<Self, OpenError> {
        let purpose = if options.makes_store { Purpose::Store } else { Purpose::Existing };
        Self::open_for(url, options, purpose).map(|(store, _)| store)
    }

    /// Opens the schema for a purpose. Returns also if it holds an unfinished copy.
    pub(crate) fn open_for(
        url: &PostgresUrl,
        options: &Options,
        purpose: Purpose,
    ) -> Result<(Self, bool), OpenError> {
        url.address().check_files().map_err(|error| match error {
            ConnectError::File(error) => OpenError::File(error),
            error => Fault::at_open(error).into(),
        })?;
        let target = Target {
            address: url.address().clone(),
            schema: url.schema().to_owned(),
            channel: url.channel(),
            waits_for: url.waits_for(),
            takes_unsafe_servers: options.takes_unsafe_servers,
        };
        let thread = Thread::start().map_err(OpenError::Thread)?;
        let panicked =
            || OpenError::Unreachable { reason: "the thread of the store has panicked".to_owned() };
        let (target, session, found, state) =
            thread.block_on(open(target, purpose)).ok_or_else(panicked)??;
        let id = StoreId::from_bytes(found.id);
        let capabilities = Capabilities::new(1, AtomicScope::Store, limits());
        let shared = Arc::new(Shared::new(id, capabilities, target, options.clone(), state));
        let pool = Arc::new(Pool::new(Arc::clone(&shared), session));
        let queue = Arc::new(Queue::new());
        let writer = Writer::new(Arc::clone(&shared), Arc::clone(&pool), Arc::clone(&queue));
        let tasks = Mutex::new(vec![thread.spawn(writer.run())]);
        let inner =
            Inner { shared, pool, queue, tasks, listening: OnceLock::new(), thread, url: url.clone() };
        Ok((Self { inner: Arc::new(inner) }, found.is_unfinished))
    }

    /// Returns the id of the store.
    #[must_use]
    pub fn store_id(&self) -> StoreId {
        self.inner.shared.id
    }

    /// Asks for the running server, the database and the schema. The text is the same for each address that leads there.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the server does not answer.
    pub async fn whereabouts(&self) -> Result<String, ReadError> {
        const WHERE: &str = "select concat_ws('/', pg_postmaster_start_time(),
            (select oid from pg_database where datname = current_database()),
            (select oid from pg_namespace where nspname = current_schema()))";
        let asked = self.inner.ask(|_, session| async move {
            Ok(session.client().query_one(WHERE, &[]).await?.get::<_, String>(0))
        });
        asked.await
    }

    /// Returns the key-value store in the same schema. It shares the thread of this store.
    #[must_use]
    pub fn values(&self) -> PostgresValues {
        PostgresValues::new(Arc::clone(&self.inner))
    }

    /// Returns the snapshot store in the same schema. It shares the thread of this store.
    #[must_use]
    pub fn snapshots(&self) -> PostgresSnapshots {
        PostgresSnapshots::new(Arc::clone(&self.inner))
    }
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PostgresStore({} at {})", self.inner.shared.id, self.inner.url)
    }
}

/// Connects, and finds or makes the tables.
async fn open(target: Target, purpose: Purpose) -> Result<(Target, Session, Found, State), OpenError> {
    let connected = target.address.connect().await.map_err(Fault::at_open)?;
    let session = Session::set_up(&target, connected, None).await?;
    let opening = async {
        let found = schema::open(session.client(), &target.schema, purpose).await?;
        Ok::<_, OpenError>((found, session.state().await?))
    };
    let late = || Err(Fault::timeout("opening the store").into());
    let (found, state) = tokio::time::timeout(READ_TIME, opening).await.unwrap_or_else(|_| late())?;
    Ok((target, session, found, state))
}

/// The answer to a batch whose writer is gone.
pub(crate) fn writer_panicked() -> AppendError {
    AppendError::InDoubt { reason: "the writer of the store has panicked: open the store anew".to_owned() }
}

impl Inner {
    /// Runs a read on the thread of the store.
    pub(crate) async fn ask<T, F>(
        &self,
        read: impl Fn(Arc<Shared>, Arc<Session>) -> F + Send + Sync + 'static,
    ) -> Result<T, ReadError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Unread>> + Send,
    {
        let (shared, pool) = (Arc::clone(&self.shared), Arc::clone(&self.pool));
        let run = async move { pool.run(|session| read(Arc::clone(&shared), session)).await };
        self.thread.spawn(run).await.unwrap_or_else(|| {
            Err(ReadError::Unavailable {
                reason: "the read has panicked: look at the log of the program".to_owned(),
            })
        })
    }

    /// Starts the search of a batch's conditions, if it has any.
    fn search(&self, batch: &Batch) -> Option<Searching> {
        if batch.conditions.is_empty() {
            return None;
        }
        let (shared, pool, conditions) =
            (Arc::clone(&self.shared), Arc::clone(&self.pool), batch.conditions.clone());
        let search = async move { search(&shared, &pool, &conditions, None).await };
        Some(Searching::start(&self.thread, Arc::clone(&self.queue), search))
    }

    async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        check_batch(&batch, self.shared.id, &self.shared.capabilities)?;
        let events = batch.events.iter().map(Encoded::of).collect::<Vec<_>>();
        let bytes = events.iter().map(|event| event.bytes.as_bytes().len()).sum();
        let room = self.queue.take_room(bytes)?;
        // A caller who is gone needs no search.
        let searching = self.search(&batch);
        let (mut ticket, answer) = Ticket::new(batch, events, bytes, room);
        ticket.search = searching.as_ref().map(Searching::result);
        self.queue.push(ticket);
        answer.await.unwrap_or_else(|_| Err(writer_panicked()))
    }

    async fn repeat_of(&self, command: CommandKey) -> Result<Option<Appended>, AppendError> {
        check_command(&command)?;
        let key = command.clone();
        let record = self.ask(move |shared, session| {
            let key = key.clone();
            async move {
                let record = read::command_record(&shared, &session, &key).await?;
                Ok(record.map(|record| {
                    let last = record.last();
                    (
                        record,
                        shared
                            .mark(last)
                            .map_or_else(|| shared.start().with(0, last), |mark| shared.marked(last, mark)),
                    )
                }))
            }
        });
        let unavailable = |error: ReadError| AppendError::Unavailable { reason: error.to_string() };
        let Some((record, checkpoint)) = record.await.map_err(unavailable)? else { return Ok(None) };
        let repeat = record.answer(&command, 0).map_err(|refused| refused.error)?;
        Ok(Some(Appended { places: repeat.places, checkpoint, repeated: true }))
    }

    async fn head(&self) -> Result<Checkpoint, ReadError> {
        self.ask(|shared, session| async move { Ok(shared.observe(&session.state().await?)?) }).await
    }

    async fn wait_past(&self, after: Checkpoint) -> Result<Checkpoint, ReadError> {
        let mut checked = None;
        loop {
            // Listen first and look second: a change between the two would be missed otherwise.
            let listener = self.shared.listen();
            let known = self.shared.known();
            let is_checked = checked == Some(known.era) || self.shared.knows(&after);
            let head = match is_checked && known.head.at_least(&after) {
                true => known.head,
                false => self.check_place(&after).await?,
            };
            if !after.at_least(&head) {
                return Ok(head);
            }
            checked = Some(known.era);
            self.listen();
            listener.await;
        }
    }

    async fn check_place(&self, place: &Checkpoint) -> Result<Checkpoint, ReadError> {
        check_checkpoint(place, &Checkpoint::new(self.shared.id, [u64::MAX]))?;
        let place = place.clone();
        let check = move |shared: Arc<Shared>, session: Arc<Session>| {
            let place = place.clone();
            async move { read::check_place(&shared, &session, &place).await }
        };
        self.ask(check).await
    }

    /// Starts to listen for commits of other processes, once.
    fn listen(&self) {
        self.listening.get_or_init(|| {
            let task = self.thread.spawn(listen::run(Arc::clone(&self.shared)));
            self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        });
    }
}

impl EventStore for PostgresStore {
    fn capabilities(&self) -> &Capabilities {
        &self.inner.shared.capabilities
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(self.inner.append(batch))
    }

    fn repeat_of(
        &self,
        command: CommandKey,
        _near: StreamName,
    ) -> BoxFuture<'_, Result<Option<Appended>, AppendError>> {
        Box::pin(self.inner.repeat_of(command))
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        let read = Arc::new(read);
        Box::pin(self.inner.ask(move |shared, session| {
            let read = Arc::clone(&read);
            async move { read::page(&shared, &session, &read).await }
        }))
    }

    fn stream(&self, name: StreamName) -> BoxFuture<'_, Result<Option<StreamInfo>, ReadError>> {
        Box::pin(self.inner.ask(move |shared, session| {
            let name = name.clone();
            async move { read::stream_head(&shared, &session, &name).await }
        }))
    }

    fn streams(&self, listing: Listing) -> BoxFuture<'_, Result<StreamPage, ReadError>> {
        Box::pin(self.inner.ask(move |shared, session| {
            let listing = listing.clone();
            async move { read::listing(&shared, &session, &listing).await }
        }))
    }

    fn locate(&self, at: When) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(async move {
            match at {
                When::Start => Ok(self.inner.shared.start()),
                When::Head => self.inner.head().await,
                When::RecordedUpTo(time) => {
                    let nanos = time.as_nanos();
                    let locate = move |shared: Arc<Shared>, session: Arc<Session>| async move {
                        read::position_at(&shared, &session, nanos).await
                    };
                    self.inner.ask(locate).await
                }
                When::ClosedAt(time) => {
                    let locate = move |shared: Arc<Shared>, session: Arc<Session>| async move {
                        // The head first: an event that comes after the look may be of this time.
                        let head = shared.known().head;
                        let place = read::position_at(&shared, &session, time.as_nanos()).await?;
                        if place.sequence(0) < head.sequence(0) {
                            return Ok(place);
                        }
                        close(&shared, &session, time).await?;
                        read::position_at(&shared, &session, time.as_nanos()).await
                    };
                    self.inner.ask(locate).await
                }
                _ => Err(ReadError::Unsupported { capability: "this kind of place".into() }),
            }
        })
    }

    fn wait_past(&self, after: Checkpoint) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(self.inner.wait_past(after))
    }
}
