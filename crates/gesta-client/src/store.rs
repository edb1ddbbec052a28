//! A store over HTTP.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use gesta_core::{
    AppendError, Appended, Batch, BoxFuture, Capabilities, Checkpoint, CommandKey, EventStore, Listing, Page,
    Query, Read, ReadError, StoreId, StreamInfo, StreamName, StreamPage, When, check_batch, check_checkpoint,
    check_command, check_read,
};
use gesta_wire::StoreInfo;

use crate::answer;
use crate::connect::{ConnectError, connect};
use crate::groups::RemoteGroups;
use crate::options::ClientOptions;
use crate::order::streams_of;
use crate::request::Request;
use crate::shared::Shared;
use crate::thread::{ENDED, Thread};
use crate::waiting::{Answer, is_past};

/// A store behind a server of Gesta, with every promise of a local one.
///
/// It has one thread, which owns the connections. The futures need no runtime.
///
/// - **The same store.** If another store answers at the address, every later call is answered `Closed`. Open the
///   store anew.
/// - **Appends in doubt are settled.** A batch whose answer was lost is sent again, for
///   [`ClientOptions::settle_time`]. So a batch that was written may be answered as a repeat.
/// - **Order.** Appends that share a stream are sent one after the other, in the order of their first polls.
/// - **Waits are shared.** Any number of waiters cost one open request.
/// - **Time.** No call but a wait takes longer than [`ClientOptions::request_time`]; an append may take
///   [`ClientOptions::settle_time`] more.
///
/// A dropped future drops its request. Dropping the store closes its connections.
///
/// # Example
/// ```no_run
/// use gesta_client::{ClientOptions, RemoteStore};
/// # fn main() -> Result<(), gesta_client::ConnectError> {
/// let store = RemoteStore::connect("http://127.0.0.1:2114", &ClientOptions::default())?;
/// # Ok(())
/// # }
/// ```
pub struct RemoteStore {
    thread: Arc<Thread>,
    shared: Arc<Shared>,
    info: StoreInfo,
    page_events_max: NonZeroU32,
    page_bytes_max: NonZeroU64,
}

impl RemoteStore {
    /// Connects to the server at an address such as `http://127.0.0.1:2114`. Blocks until it has answered.
    ///
    /// # Errors
    /// [`ConnectError`]; its `retry()` says if it helps to try again.
    pub fn connect(url: &str, options: &ClientOptions) -> Result<Self, ConnectError> {
        let (thread, shared, info) = connect(url, options)?;
        let page_events_max = NonZeroU32::new(info.page_events_max).unwrap_or(NonZeroU32::MIN);
        let half = options.answers_bytes_max as u64 / 2;
        let page_bytes_max = NonZeroU64::new(half).unwrap_or(NonZeroU64::MIN);
        Ok(Self { thread: Arc::new(thread), shared, info, page_events_max, page_bytes_max })
    }

    /// Returns the id of the store.
    #[must_use]
    pub fn store_id(&self) -> StoreId {
        self.info.store
    }

    /// Returns the names of the server's features beyond the store, such as `groups`.
    #[must_use]
    pub fn features(&self) -> &[String] {
        &self.info.features
    }

    /// Returns the consumer groups of the server. They share the connections of this store.
    ///
    /// A server without groups answers every call as if it did not exist; see [`Self::features`].
    #[must_use]
    pub fn groups(&self) -> RemoteGroups {
        RemoteGroups::new(Arc::clone(&self.thread), self.info.store)
    }

    /// Ends, with the reason, when another store answers at the address. Until then it waits.
    pub fn replaced(&self) -> BoxFuture<'static, String> {
        let identity = Arc::clone(&self.shared.identity);
        Box::pin(async move { identity.lost().await })
    }

    /// A place beyond every place of the store: forms are checked here, places by the server.
    fn beyond(&self) -> Checkpoint {
        Checkpoint::new(self.info.store, (0..self.info.capabilities.partitions).map(|_| u64::MAX))
    }

    async fn page(&self, read: Read) -> Result<Page, ReadError> {
        check_read(&read, &self.beyond(), &self.info.capabilities)?;
        let request = Request::read(read, self.page_events_max, self.page_bytes_max);
        let page = answer::page(&self.thread.ask(request).await?)?;
        self.shared.raise(&page.head);
        Ok(page)
    }

    async fn stream_info(&self, name: StreamName) -> Result<Option<StreamInfo>, ReadError> {
        let page = answer::page(&self.thread.ask(Request::stream(name.clone())).await?)?;
        match page.last_version {
            Some(version) => Ok(Some(StreamInfo::new(name, version))),
            None if page.events.is_empty() && page.end => Ok(None),
            None => Err(self.damage_of(name).await?),
        }
    }

    /// The damage that may hide the last event of a stream. Reads the stream up to it.
    async fn damage_of(&self, name: StreamName) -> Result<ReadError, ReadError> {
        let mut read = Read::log(Query::stream(name.clone()));
        loop {
            let page = match self.page(read).await {
                Err(damage @ ReadError::DataLoss { .. }) => return Ok(damage),
                page => page?,
            };
            if page.end {
                let reason = format!("damage may hide the last event of stream `{name}`");
                return Err(ReadError::Unavailable { reason });
            }
            read = Read::log_from(Query::stream(name.clone()), gesta_core::Place::At(page.scanned_to));
        }
    }

    async fn wait(&self, after: &Checkpoint) -> Result<Checkpoint, ReadError> {
        check_checkpoint(after, &self.beyond())?;
        loop {
            if let Some(sitting) = self.shared.sit(after) {
                match sitting.answer().await {
                    Answer::Past(head) => return Ok(head),
                    Answer::Failed(error) => return Err(error),
                    Answer::Ask => {}
                }
            }
            let asked = self.shared.moment();
            let head = answer::checkpoint(&self.thread.ask(Request::wait(after, 0)).await?)?;
            self.shared.report(&head, asked);
            if is_past(&head, after) {
                return Ok(head);
            }
        }
    }
}

impl std::fmt::Debug for RemoteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RemoteStore({} at {})", self.info.store, self.shared.exchange.address.authority)
    }
}

impl EventStore for RemoteStore {
    fn capabilities(&self) -> &Capabilities {
        &self.info.capabilities
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(async move {
            check_batch(&batch, self.info.store, &self.info.capabilities)?;
            let (request, streams) = (Request::append(&batch), streams_of(&batch));
            drop(batch);
            let answer = self.thread.append(request, streams)?;
            let ended = |_| Err(AppendError::InDoubt { reason: ENDED.to_owned() });
            let appended = answer.await.unwrap_or_else(ended)?;
            self.shared.raise(&appended.checkpoint);
            Ok(appended)
        })
    }

    fn repeat_of(
        &self,
        command: CommandKey,
        near: StreamName,
    ) -> BoxFuture<'_, Result<Option<Appended>, AppendError>> {
        Box::pin(async move {
            check_command(&command)?;
            answer::repeat(&self.thread.ask(Request::repeat_of(&command, &near)).await?)
        })
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        Box::pin(self.page(read))
    }

    fn stream(&self, name: StreamName) -> BoxFuture<'_, Result<Option<StreamInfo>, ReadError>> {
        Box::pin(self.stream_info(name))
    }

    fn streams(&self, listing: Listing) -> BoxFuture<'_, Result<StreamPage, ReadError>> {
        Box::pin(async move {
            let request = Request::streams(&listing, self.page_events_max);
            answer::streams(&self.thread.ask(request).await?)
        })
    }

    fn locate(&self, at: When) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(async move {
            if at == When::Start {
                // Known without a question.
                let start = Checkpoint::start(self.info.store, self.info.capabilities.partitions);
                return self.shared.identity.loss().map_or(Ok(start), |_| Err(ReadError::Closed));
            }
            let Some(request) = Request::locate(at) else {
                return Err(ReadError::Unsupported { capability: "this kind of place".into() });
            };
            let place = answer::checkpoint(&self.thread.ask(request).await?)?;
            if at == When::Head {
                self.shared.raise(&place);
            }
            Ok(place)
        })
    }

    fn wait_past(&self, after: Checkpoint) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(async move { self.wait(&after).await })
    }
}
