//! Copies: the store as a source of recorded batches, and a schema that is filled with those of another store.

mod batches;

use std::sync::atomic::{AtomicBool, Ordering};

use gesta_core::{
    BoxFuture, Checkpoint, CopyError, CopySource, CopyTarget, EventStore, ReadError, RecordedBatch,
    RecordedBatches, StoreId, check_batch,
};
use tokio::sync::oneshot;

use crate::address::PostgresUrl;
use crate::error::OpenError;
use crate::options::Options;
use crate::schema::{BEGIN_COPY, END_COPY, Purpose};
use crate::store::PostgresStore;
use crate::values::PostgresValues;
use crate::write::{Answer, Encoded, RecordedPlace, Ticket};
use batches::PostgresBatches;

impl CopySource for PostgresStore {
    fn batches(&self, partition: u16, after: u64, until: u64) -> Box<dyn RecordedBatches + '_> {
        assert_eq!(partition, 0, "a store in PostgreSQL has one partition");
        Box::new(PostgresBatches::new(&self.inner, after, until))
    }
}

/// An unfinished copy of another store in a schema. [`CopyTarget::finish`] makes it a store; until then no program opens it as one.
pub struct PostgresCopy {
    store: PostgresStore,
    is_unfinished: AtomicBool,
}

impl PostgresCopy {
    /// Begins a copy of a store in a schema that is empty or does not exist, or opens the one that is there.
    ///
    /// # Errors
    /// [`OpenError`]; [`OpenError::Refused`] if the schema holds another store.
    pub fn open(url: &PostgresUrl, of: StoreId, options: &Options) -> Result<Self, OpenError> {
        let purpose = Purpose::Copy(*of.as_bytes());
        let (store, is_unfinished) = PostgresStore::open_for(url, options, purpose)?;
        Ok(Self { store, is_unfinished: AtomicBool::new(is_unfinished) })
    }

    /// As [`PostgresStore::whereabouts`].
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the server does not answer.
    pub async fn whereabouts(&self) -> Result<String, ReadError> {
        self.store.whereabouts().await
    }

    /// Returns the key-value store of the copy.
    #[must_use]
    pub fn values(&self) -> PostgresValues {
        self.store.values()
    }

    /// Adds batches at their places, all on their way at once.
    async fn add(&self, batches: Vec<RecordedBatch>) -> Result<(), CopyError> {
        let mut waiting = Vec::with_capacity(batches.len());
        for recorded in batches {
            let answer = self.send(&recorded)?;
            waiting.push((recorded, answer));
        }
        for (recorded, answer) in waiting {
            let position = recorded.first();
            let answer = answer.await.unwrap_or_else(|_| Err(crate::store::writer_panicked()));
            let appended = answer.map_err(|source| CopyError::Append { position, source })?;
            let places = appended.places.iter().map(|place| (place.position, place.version));
            if !places.eq(recorded.events().iter().map(|event| (event.position(), event.version()))) {
                return Err(CopyError::Moved { position });
            }
        }
        Ok(())
    }

    fn send(&self, recorded: &RecordedBatch) -> Result<oneshot::Receiver<Answer>, CopyError> {
        let position = recorded.first();
        let refused = |source| CopyError::Append { position, source };
        let batch = recorded.to_batch().map_err(|source| CopyError::Name { position, source })?;
        let inner = &self.store.inner;
        check_batch(&batch, inner.shared.id, &inner.shared.capabilities).map_err(refused)?;
        let bytes = recorded.bytes();
        let room = inner.queue.take_room(bytes).map_err(refused)?;
        let events = recorded.events().iter().map(|event| Encoded::of_bytes((**event).clone())).collect();
        let (mut ticket, answer) = Ticket::new(batch, events, bytes, room);
        let place = RecordedPlace { first: position.sequence, recorded_at: recorded.recorded_at() };
        ticket.recorded = Some(place);
        inner.queue.push(ticket);
        Ok(answer)
    }

    async fn mark(
        &self,
        statement: &'static str,
        is_unfinished: bool,
        state: &'static str,
    ) -> Result<(), CopyError> {
        let marked = self.store.inner.ask(move |_, session| async move {
            session.client().batch_execute(statement).await?;
            Ok(())
        });
        marked.await.map_err(|error| CopyError::Mark { state, reason: error.to_string() })?;
        self.is_unfinished.store(is_unfinished, Ordering::Release);
        Ok(())
    }
}

impl CopyTarget for PostgresCopy {
    fn head(&self) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        self.store.head_now()
    }

    fn batches(&self, partition: u16, after: u64, until: u64) -> Box<dyn RecordedBatches + '_> {
        self.store.batches(partition, after, until)
    }

    fn is_unfinished(&self) -> bool {
        self.is_unfinished.load(Ordering::Acquire)
    }

    fn reopen(&self) -> BoxFuture<'_, Result<(), CopyError>> {
        Box::pin(self.mark(BEGIN_COPY, true, "unfinished"))
    }

    fn append(&self, batches: Vec<RecordedBatch>) -> BoxFuture<'_, Result<(), CopyError>> {
        Box::pin(self.add(batches))
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), CopyError>> {
        Box::pin(self.mark(END_COPY, false, "finished"))
    }
}
