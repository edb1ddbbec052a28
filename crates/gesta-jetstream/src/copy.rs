//! A store as the source of a copy, and a copy that is being filled.
//!
//! *Choice:* the batches of a copy go through the writer of the store, as appends with their recorded places and times. So the same code decides
//! them, and doubts are settled as always. The metadata of the stream say that the copy is not finished.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use gesta_core::{
    BoxFuture, Checkpoint, CopyError, CopySource, CopyTarget, EventStore, ReadError, RecordedBatch,
    RecordedBatches, StoreId,
};

use gesta_log::Replica;

use crate::address::JetStreamUrl;
use crate::buckets::JetStreamBuckets;
use crate::error::OpenError;
use crate::link::Purpose;
use crate::options::Options;
use crate::store::JetStreamStore;

impl CopySource for JetStreamStore {
    fn batches(&self, partition: u16, after: u64, until: u64) -> Box<dyn RecordedBatches + '_> {
        let partition = self.partition(partition);
        Box::new(Raised { replica: partition.replica(), batches: partition.log().batches(0, after, until) })
    }
}

/// The batches of a copy, in the words of the store.
struct Raised<'a> {
    replica: &'a Replica,
    batches: Box<dyn RecordedBatches + 'a>,
}

impl RecordedBatches for Raised<'_> {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<RecordedBatch>, ReadError>> {
        Box::pin(async move {
            let batches = self.batches.next().await?;
            Ok(batches.iter().map(|batch| self.replica.raise_batch(batch)).collect())
        })
    }
}

/// A copy of a store on a cluster, to be filled from it. It gets the id of the store.
#[derive(Debug)]
pub struct JetStreamCopy {
    store: JetStreamStore,
    buckets: JetStreamBuckets,
    is_unfinished: AtomicBool,
}

impl JetStreamCopy {
    /// Opens the copy of a store with as many partitions, with the local copy in a folder. Begins one if there is none. Blocks until the folder
    /// has what the cluster has.
    ///
    /// # Errors
    /// [`OpenError`]; [`OpenError::Refused`] if another store has the name, or if there cannot be as many partitions.
    pub fn open(
        url: &JetStreamUrl,
        folder: &Path,
        (of, partitions): (StoreId, u16),
        options: &Options,
    ) -> Result<Self, OpenError> {
        let (store, is_unfinished) =
            JetStreamStore::open_for(url, folder, options, Purpose::Copy(of, partitions))?;
        let buckets = JetStreamBuckets::open(url, of, options)?;
        Ok(Self { store, buckets, is_unfinished: AtomicBool::new(is_unfinished) })
    }

    /// Returns what is kept beside the events on the cluster.
    #[must_use]
    pub const fn buckets(&self) -> &JetStreamBuckets {
        &self.buckets
    }

    async fn record(&self, batch: RecordedBatch) -> Result<(), CopyError> {
        let position = batch.first();
        let new = batch.to_batch().map_err(|source| CopyError::Name { position, source })?;
        let appended = self.store.write(new, Some(Box::new(batch))).await;
        let appended = appended.map_err(|source| CopyError::Append { position, source })?;
        let place = appended.places.first().map(|place| place.position);
        if place == Some(position) { Ok(()) } else { Err(CopyError::Moved { position }) }
    }

    async fn mark(&self, is_unfinished: bool) -> Result<(), CopyError> {
        let state = if is_unfinished { "unfinished" } else { "finished" };
        let marked = self.buckets.mark(is_unfinished).await;
        marked.map_err(|reason| CopyError::Mark { state, reason })?;
        self.is_unfinished.store(is_unfinished, Ordering::Relaxed);
        Ok(())
    }
}

impl CopyTarget for JetStreamCopy {
    fn head(&self) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        self.store.head_now()
    }

    fn batches(&self, partition: u16, after: u64, until: u64) -> Box<dyn RecordedBatches + '_> {
        CopySource::batches(&self.store, partition, after, until)
    }

    fn is_unfinished(&self) -> bool {
        self.is_unfinished.load(Ordering::Relaxed)
    }

    fn reopen(&self) -> BoxFuture<'_, Result<(), CopyError>> {
        Box::pin(self.mark(true))
    }

    fn append(&self, batches: Vec<RecordedBatch>) -> BoxFuture<'_, Result<(), CopyError>> {
        Box::pin(async move {
            // They are polled in this order, so they are written in this order.
            let recorded = join_all(batches.into_iter().map(|batch| self.record(batch))).await;
            recorded.into_iter().collect()
        })
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), CopyError>> {
        Box::pin(self.mark(false))
    }
}
