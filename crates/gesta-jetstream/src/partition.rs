//! One partition of an open store: its copy, and the line to its writer.
//!
//! The log of a copy has one partition. Here its answers are translated into the words of the store.

use std::sync::{Arc, OnceLock};

use gesta_core::{
    AppendError, Appended, Batch, Checkpoint, CommandKey, EventStore, Listing, Page, Read, ReadError,
    RecordedBatch, Select, StreamInfo, StreamName, StreamPage, Timestamp, When,
};
use gesta_log::{LogStore, Replica};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::driver::{Call, HeadCall, Ticket, system_time};
use crate::limits::HEADS_MAX;
use crate::machine::Halt;
use crate::options::Clock;

/// One partition of an open store.
pub(crate) struct Partition {
    replica: Arc<Replica>,
    /// Each call has its room: an append among the bytes of the store, a call for the head in `heads`.
    calls: mpsc::UnboundedSender<Call>,
    heads: Arc<Semaphore>,
    /// The place before the first event of the store.
    start: Checkpoint,
    clock: Option<Clock>,
    /// Why its writer has halted, once it has.
    halted: Arc<OnceLock<Halt>>,
}

impl Partition {
    pub(crate) fn new(
        replica: Arc<Replica>,
        calls: mpsc::UnboundedSender<Call>,
        start: Checkpoint,
        (clock, halted): (Option<Clock>, Arc<OnceLock<Halt>>),
    ) -> Self {
        let heads = Arc::new(Semaphore::new(HEADS_MAX));
        Self { replica, calls, heads, start, clock, halted }
    }

    /// Why the writer has halted, if it has.
    pub(crate) fn halted(&self) -> Option<Halt> {
        self.halted.get().cloned()
    }

    /// The copy, which answers all reads.
    pub(crate) fn log(&self) -> &LogStore {
        self.replica.log()
    }

    pub(crate) fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    pub(crate) fn number(&self) -> u16 {
        self.replica.partition()
    }

    /// Writes a batch, or the recorded batch that it came from, at its place and with its time.
    pub(crate) async fn write(
        &self,
        batch: Batch,
        recorded: Option<Box<RecordedBatch>>,
        (bytes, room): (usize, OwnedSemaphorePermit),
    ) -> Result<Appended, AppendError> {
        let (reply, answer) = oneshot::channel();
        let ticket = Ticket { batch, recorded, bytes, reply, room };
        self.calls.send(Call::Append(ticket)).map_err(|_| AppendError::Closed)?;
        let panicked = |_| AppendError::InDoubt {
            reason: "the writer of the store has panicked: open the store anew".to_owned(),
        };
        answer.await.map_err(panicked)?
    }

    /// Returns the head of the partition, no older than the call, in the words of the log.
    pub(crate) async fn prove_head(&self) -> Result<Checkpoint, ReadError> {
        self.ask_for_head(None).await
    }

    async fn ask_for_head(&self, floor: Option<Timestamp>) -> Result<Checkpoint, ReadError> {
        let room = Arc::clone(&self.heads).try_acquire_owned().map_err(|_| ReadError::Overloaded)?;
        let (reply, answer) = oneshot::channel();
        let call = HeadCall { floor, reply, _room: room };
        self.calls.send(Call::Head(call)).map_err(|_| ReadError::Closed)?;
        answer.await.map_err(|_| ReadError::Closed)?
    }

    /// Makes all later events of the partition, from every process, later than a time.
    async fn close(&self, time: Timestamp) -> Result<Checkpoint, ReadError> {
        // The head first: an event that comes after the look may be of this time.
        let head = self.replica.head().sequence(0);
        let place = self.log().locate(When::RecordedUpTo(time)).await?;
        if place.sequence(0) < head {
            return Ok(place);
        }
        let now = self.clock.as_ref().map_or_else(system_time, |clock| clock());
        let floor = time.floor_after(now)?;
        // The copy has all messages before the floor then.
        self.ask_for_head(Some(floor)).await?;
        self.log().locate(When::RecordedUpTo(time)).await
    }

    pub(crate) async fn repeat_of(
        &self,
        command: CommandKey,
        near: StreamName,
    ) -> Result<Option<Appended>, AppendError> {
        let found = self.log().repeat_of(command, near).await?;
        Ok(found.map(|appended| self.replica.raise_appended(appended, &self.start)))
    }

    /// Returns one page of the streams of the partition. Its token is that of the log.
    pub(crate) async fn streams(&self, listing: Listing) -> Result<StreamPage, ReadError> {
        let page = self.log().streams(listing).await;
        page.map_err(|error| self.replica.raise_error(error, &self.start))
    }

    /// Returns the last version of one of the streams of the partition.
    pub(crate) async fn stream(&self, name: StreamName) -> Result<Option<StreamInfo>, ReadError> {
        let found = self.log().stream(name).await;
        found.map_err(|error| self.replica.raise_error(error, &self.start))
    }

    /// Locates a place in the partition, in the words of the log.
    pub(crate) async fn locate(&self, at: When) -> Result<Checkpoint, ReadError> {
        let located = match at {
            When::ClosedAt(time) => self.close(time).await,
            at => self.log().locate(at).await,
        };
        located.map_err(|error| self.replica.raise_error(error, &self.start))
    }

    /// Moves the place of this partition in `whole` to a place of the log.
    pub(crate) fn raise(&self, place: &Checkpoint, whole: Checkpoint) -> Checkpoint {
        self.replica.raise(place, whole)
    }

    /// Reads a page of the partition. The read is in the words of the log. Places of the other partitions are those of `whole`.
    pub(crate) async fn read(&self, read: Read, whole: &Checkpoint) -> Result<Page, ReadError> {
        let page = self.log().read(read).await;
        let page = page.map_err(|error| self.replica.raise_error(error, whole))?;
        Ok(Page {
            events: page.events.iter().map(|event| self.replica.raise_event(event)).collect(),
            scanned_to: self.raise(&page.scanned_to, whole.clone()),
            head: self.raise(&page.head, whole.clone()),
            ..page
        })
    }

    /// Reads a page of one of the streams of the partition. `head` is the head of the store.
    pub(crate) async fn read_stream(&self, read: Read, head: &Checkpoint) -> Result<Page, ReadError> {
        debug_assert!(matches!(read.select, Select::Stream { .. }), "a read of a stream");
        // It covers the stream only, so the places of other partitions are where the read was to end.
        let end = read.until.clone().unwrap_or_else(|| match read.direction {
            gesta_core::Direction::Forward => head.clone(),
            gesta_core::Direction::Backward => self.start.clone(),
        });
        let lowered = Read { until: read.until.as_ref().map(|until| self.replica.lower(until)), ..read };
        let page = self.read(lowered, &end).await?;
        let head = head.clone().with_place_of(self.number(), &page.head);
        Ok(Page { head, ..page })
    }
}
