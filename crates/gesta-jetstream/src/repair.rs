//! Repair after a loss on the cluster: compares a copy with its streams, and publishes what only the copy has.
//!
//! A copy has the batches of lost messages. It has neither their random bytes nor empty groups, so the messages themselves cannot come back.
//! The batches are published as new messages, with their places, times, ids and command keys. So positions and marks are what they were, and
//! every checkpoint that was given for them is good again. Other copies, which know the lost messages, are compared in the same way, and go on.
//!
//! *Invariants:*
//! - A batch is published only if all batches of the stream are in the copy, in their order, and the stream has no later floor: then
//!   nobody has written since the loss.
//! - A copy that has other batches than its stream is moved aside as it is.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::StreamExt;
use gesta_core::{CopySource, ReadError, RecordedBatch, RecordedBatches, RecordedEvent, Retry, Timestamp};
use gesta_log::{Replica, ReplicaError, SourcePlace};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::address::JetStreamUrl;
use crate::driver::draft;
use crate::error::OpenError;
use crate::limits::{
    BUSY_PAUSE, CATCH_UP_TIME, GROUP_BYTES_MAX, MESSAGE_BATCHES_MAX, SETTLE_TIME, UNREACHED_PAUSE_MAX,
};
use crate::link::{Link, Purpose, connect, set_up, why};
use crate::machine::{Publish, Refusal};
use crate::message::{ChainError, DraftError, Message, MessageError, Place, Tip};
use crate::open::{has_copy, open_copies};
use crate::options::Options;

/// How the copy of a partition compares with its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The last position of the copy.
    pub copy: u64,
    /// The last position of the stream.
    pub stream: u64,
    /// The state of the copy.
    pub state: CopyState,
}

/// The state of the copy of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyState {
    /// The stream has all events of the copy.
    Whole,
    /// The stream has lost the last events of the copy, and nobody has written since.
    Ahead,
    /// The stream has other events than the copy.
    Diverged {
        /// The position of the first batch that differs.
        from: u64,
    },
}

/// The outcome of a repair in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// The difference between the copy and its stream.
    pub found: Comparison,
    /// The new folder of the copy, if it had diverged.
    pub aside: Option<PathBuf>,
}

/// The treatment of the differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mend {
    /// Nothing.
    Nothing,
    /// What only the copy has is published, and a copy that has diverged is moved aside.
    All,
}

/// Why a repair cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// The cluster or the copy cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The folder holds no copy of the store.
    #[error("`{}` holds no copy of partition {partition}: check the folder", folder.display())]
    NoCopy {
        /// The folder.
        folder: PathBuf,
        /// The partition.
        partition: u16,
    },
    /// The stream gave no message.
    #[error("the stream of partition {partition} cannot be read: {reason}")]
    Stream {
        /// The partition.
        partition: u16,
        /// The cause.
        reason: String,
    },
    /// A message of the stream is damaged.
    #[error("message {number} of partition {partition} cannot be read")]
    Damaged {
        /// The partition.
        partition: u16,
        /// The number of the message.
        number: u64,
        /// The cause.
        source: MessageError,
    },
    /// The messages of the stream are no chain.
    #[error("the messages of partition {partition} are no history")]
    Broken {
        /// The partition.
        partition: u16,
        /// The cause.
        source: ChainError,
    },
    /// The copy cannot be read.
    #[error("the copy of partition {partition} cannot be read")]
    Copy {
        /// The partition.
        partition: u16,
        /// The cause.
        source: ReadError,
    },
    /// The copy takes no place.
    #[error("the copy of partition {partition} cannot be written")]
    Place {
        /// The partition.
        partition: u16,
        /// The cause.
        source: ReplicaError,
    },
    /// A batch of the copy is no message.
    #[error("a batch of the copy of partition {partition} cannot be published")]
    Draft {
        /// The partition.
        partition: u16,
        /// The cause.
        source: DraftError,
    },
    /// A message was not taken.
    #[error("partition {partition} took no message after {after}: {reason}")]
    NotPublished {
        /// The partition.
        partition: u16,
        /// The number of the last message before it.
        after: u64,
        /// The cause.
        reason: String,
    },
    /// The copy cannot be moved aside.
    #[error("the copy of partition {partition} cannot be moved aside")]
    Aside {
        /// The partition.
        partition: u16,
        /// The cause.
        source: std::io::Error,
    },
}

impl RepairError {
    /// Returns the advice on a repair again. What was published stays, and the next one goes on after it.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Open(error) => error.retry(),
            Self::Stream { .. } | Self::NotPublished { .. } => Retry::AfterPause,
            _ => Retry::Never,
        }
    }
}

/// Compares the copy in a folder with the streams of its store, and mends it or the streams, if that is asked for.
///
/// No process may have the folder open. `only_here` gets the events that only the copy has, in the order of their partition. Every message of the
/// streams is read. Blocks until it is done.
///
/// # Errors
/// [`RepairError`].
pub fn repair(
    url: &JetStreamUrl,
    folder: &Path,
    options: &Options,
    (mend, only_here): (Mend, &mut dyn FnMut(&RecordedEvent)),
) -> Result<Vec<Repaired>, RepairError> {
    let mut builder = Builder::new_multi_thread();
    let builder = builder.worker_threads(1).thread_name("gesta-jetstream").enable_io().enable_time();
    let runtime = builder.build().map_err(OpenError::Thread)?;
    runtime.block_on(async {
        let connection = connect(url).await?;
        let purpose = Purpose::Existing;
        let found = set_up(connection.client, url, purpose, options.takes_single_server).await?;
        check_copies(folder, found.last.len())?;
        let mut repaired = Vec::new();
        for (replica, last) in open_copies(folder, &found, &options.copy).await?.into_iter().zip(&found.last)
        {
            let partition = replica.partition();
            // What the link would tell on its own is not needed.
            let (tell, _) = mpsc::channel(1);
            let link = Link::new(found.context.clone(), url.stream(partition), url.subject(partition), tell);
            let start = Tip::start(found.id, partition);
            repaired.push(Bench { link, replica, start }.repair(*last, mend, only_here).await?);
        }
        Ok(repaired)
    })
}

/// Refuses a folder without a copy of each partition. An open would begin them.
fn check_copies(folder: &Path, partitions: usize) -> Result<(), RepairError> {
    let mut partitions = 0..u16::try_from(partitions).expect("at most 64 partitions");
    match partitions.find(|partition| !has_copy(folder, *partition)) {
        Some(partition) => Err(RepairError::NoCopy { folder: folder.to_owned(), partition }),
        None => Ok(()),
    }
}

/// One partition in repair.
struct Bench {
    link: Link,
    replica: Replica,
    start: Tip,
}

/// The stream beside the copy.
struct Compared {
    /// The last message of the stream.
    end: Tip,
    /// The last message whose events the copy has, and all before it.
    common: Tip,
    /// The position of the first batch that differs.
    differs: Option<u64>,
}

impl Bench {
    async fn repair(
        self,
        last: u64,
        mend: Mend,
        only_here: &mut dyn FnMut(&RecordedEvent),
    ) -> Result<Repaired, RepairError> {
        let compared = self.compare(last).await?;
        let (copy, stream) = (self.replica.head().sequence(0), compared.end.position);
        let missing = self.batches(stream.min(copy)).next().await?;
        let state = match (compared.differs, missing) {
            (Some(from), _) => CopyState::Diverged { from },
            (None, None) => CopyState::Whole,
            // A time was closed since, and the batch would come before it.
            (None, Some(batch)) if batch.recorded_at() < compared.end.recorded_at => {
                CopyState::Diverged { from: stream + 1 }
            }
            (None, Some(_)) => CopyState::Ahead,
        };
        let found = Comparison { copy, stream, state };
        let after = match found.state {
            CopyState::Whole => copy,
            CopyState::Ahead => stream,
            CopyState::Diverged { from } => from - 1,
        };
        self.list(after, only_here).await?;
        let aside = match (mend, &found.state) {
            (Mend::Nothing, _) => None,
            (Mend::All, CopyState::Whole) => {
                self.publish_floor(compared.end).await?;
                self.keep(&compared.common).map(|()| None)?
            }
            (Mend::All, CopyState::Ahead) => self.publish(compared.end).await.map(|()| None)?,
            (Mend::All, CopyState::Diverged { .. }) => {
                self.publish_floor(compared.end).await?;
                Some(self.set_aside()?)
            }
        };
        Ok(Repaired { found, aside })
    }

    /// Reads the whole stream beside the copy.
    async fn compare(&self, last: u64) -> Result<Compared, RepairError> {
        let partition = self.replica.partition();
        let head = self.replica.head().sequence(0);
        let mut own = self.batches(0);
        let mut compared = Compared { end: self.start, common: self.start, differs: None };
        if last == 0 {
            return Ok(compared);
        }
        let unreadable = |reason| RepairError::Stream { partition, reason };
        let mut messages = self.link.messages(1).await.map_err(|error| unreadable(why(&*error)))?;
        while compared.end.number < last {
            let message = timeout(CATCH_UP_TIME, messages.next()).await;
            let silent = |_| format!("it has delivered nothing for {} s", CATCH_UP_TIME.as_secs());
            let message = message.map_err(|late| unreadable(silent(late)))?;
            let message = message.ok_or_else(|| unreadable("it ended early".to_owned()))?;
            let message = message.map_err(|error| unreadable(why(&error)))?;
            let number = message.info().map_err(|error| unreadable(why(&*error)))?.stream_sequence;
            let message = Message::decode(&message.payload, partition)
                .map_err(|source| RepairError::Damaged { partition, number, source })?;
            let follows = message.follow(&compared.end, number);
            compared.end = follows.map_err(|source| RepairError::Broken { partition, source })?;
            for batch in message.batches().iter().take_while(|batch| batch.first().sequence <= head) {
                if compared.differs.is_none() && own.next().await?.as_ref() != Some(batch) {
                    compared.differs = Some(batch.first().sequence);
                }
            }
            if compared.differs.is_none() && compared.end.position <= head {
                compared.common = compared.end;
            }
        }
        Ok(compared)
    }

    /// The batches of the copy after a position.
    fn batches(&self, after: u64) -> OwnBatches<'_> {
        let until = self.replica.head().sequence(0);
        let batches = self.replica.log().batches(0, after, until);
        OwnBatches { replica: &self.replica, batches, ahead: VecDeque::new() }
    }

    async fn list(&self, after: u64, only_here: &mut dyn FnMut(&RecordedEvent)) -> Result<(), RepairError> {
        let mut batches = self.batches(after);
        while let Some(batch) = batches.next().await? {
            batch.events().iter().for_each(&mut *only_here);
        }
        Ok(())
    }

    /// Publishes the batches after the end of the stream.
    async fn publish(&self, mut tip: Tip) -> Result<(), RepairError> {
        let mut batches = self.batches(tip.position);
        loop {
            let group = batches.group().await?;
            if group.is_empty() {
                return self.keep(&self.publish_floor(tip).await?);
            }
            tip = self.publish_group(group, None, &tip).await?;
        }
    }

    /// Publishes the floor that the copy knows, if the stream has lost it.
    async fn publish_floor(&self, tip: Tip) -> Result<Tip, RepairError> {
        let kept = self.replica.through().and_then(|place| Place::from_bytes(place.as_bytes()).ok());
        match kept.map(|kept| kept.tip.recorded_at).filter(|floor| *floor > tip.recorded_at) {
            Some(floor) => self.publish_group(Vec::new(), Some(floor), &tip).await,
            None => Ok(tip),
        }
    }

    async fn publish_group(
        &self,
        group: Vec<RecordedBatch>,
        floor: Option<Timestamp>,
        tip: &Tip,
    ) -> Result<Tip, RepairError> {
        let partition = self.replica.partition();
        let (bytes, message) = draft(group, floor)
            .message_after(tip, partition)
            .map_err(|source| RepairError::Draft { partition, source })?;
        let refused = |reason: String| RepairError::NotPublished { partition, after: tip.number, reason };
        let number = self.send(bytes, &message, tip).await.map_err(refused)?;
        if number != tip.number + 1 {
            return Err(refused(format!("it was acknowledged as message {number}")));
        }
        message.follow(tip, number).map_err(|source| RepairError::Broken { partition, source })
    }

    /// Publishes a message until it is acknowledged. A server that has it already answers with its number.
    async fn send(&self, bytes: Bytes, message: &Message, tip: &Tip) -> Result<u64, String> {
        // The stream was read up to this message a moment ago, so its number is enough.
        let publish =
            Publish { sending: 1, bytes, digest: message.digest(), after: tip.number, after_digest: None };
        let begun = Instant::now();
        loop {
            match self.link.request(&publish).await {
                Some(Ok(number)) => return Ok(number),
                Some(Err(Refusal::Busy)) => sleep(BUSY_PAUSE).await,
                Some(Err(Refusal::Unreached)) | None => sleep(UNREACHED_PAUSE_MAX).await,
                Some(Err(Refusal::OtherNumber | Refusal::OtherDigest)) => {
                    return Err("another process has written meanwhile: run the repair again".to_owned());
                }
                Some(Err(Refusal::Full)) => return Err("the cluster has no room".to_owned()),
                Some(Err(Refusal::Never(reason))) => return Err(reason),
            }
            if begun.elapsed() > SETTLE_TIME {
                return Err("a majority of the servers must run".to_owned());
            }
        }
    }

    /// Keeps the place of the stream that the copy has reached.
    fn keep(&self, tip: &Tip) -> Result<(), RepairError> {
        let partition = self.replica.partition();
        let place = SourcePlace::new(Place::at(*tip).to_bytes()).expect("a place is short enough");
        self.replica.append(&[], &place).map_err(|source| RepairError::Place { partition, source })
    }

    fn set_aside(self) -> Result<PathBuf, RepairError> {
        let partition = self.replica.partition();
        self.replica.set_aside().map_err(|source| RepairError::Aside { partition, source })
    }
}

/// The batches of a copy, in the words of the store.
struct OwnBatches<'a> {
    replica: &'a Replica,
    batches: Box<dyn RecordedBatches + 'a>,
    ahead: VecDeque<RecordedBatch>,
}

impl OwnBatches<'_> {
    async fn next(&mut self) -> Result<Option<RecordedBatch>, RepairError> {
        if self.ahead.is_empty() {
            let partition = self.replica.partition();
            let batches = self.batches.next().await;
            let batches = batches.map_err(|source| RepairError::Copy { partition, source })?;
            self.ahead.extend(batches.iter().map(|batch| self.replica.raise_batch(batch)));
        }
        Ok(self.ahead.pop_front())
    }

    /// The batches of the next message; none at the end.
    async fn group(&mut self) -> Result<Vec<RecordedBatch>, RepairError> {
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = self.next().await? {
            let is_full = group.len() == MESSAGE_BATCHES_MAX || bytes + batch.bytes() > GROUP_BYTES_MAX;
            if is_full && !group.is_empty() {
                self.ahead.push_front(batch);
                break;
            }
            bytes += batch.bytes();
            group.push(batch);
        }
        Ok(group)
    }
}
