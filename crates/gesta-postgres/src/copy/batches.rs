//! The batches of a range of the log, as one statement on a connection of its own.
//!
//! The table of commands has no index by position: it would cost every append. So a statement sorts the commands of the range
//! once, and merges them with the events. The connection keeps its snapshot until the range is read; rows are only added, so
//! nothing is held up by that.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{TryStreamExt, pin_mut};
use gesta_core::{BoxFuture, CommandKey, ReadError, RecordedBatch, RecordedBatches, RecordedEvent};
use tokio::sync::mpsc;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::fault::Fault;
use crate::limits::{COPY_BATCHES_MAX, COPY_BYTES_MAX, READ_TIME};
use crate::read::recorded_event;
use crate::runtime::Task;
use crate::session::{Session, within};
use crate::shared::{Shared, sequence_column};
use crate::store::Inner;

/// One merge of two sorted lists, for as long as it takes. The server must wait for a slow target.
const SETTINGS: &str = "set enable_mergejoin to on; set enable_seqscan to on; set enable_nestloop to off; \
                        set statement_timeout to 0; set tcp_user_timeout to 0";
/// Known by PostgreSQL 17 and later.
const SETTINGS_17: &str = "do $$ begin perform set_config('transaction_timeout', '0', false); \
                           exception when undefined_object then null; end $$";

const BATCHES: &str = "select e.position, e.batch_end, e.version, e.recorded_at, e.record, c.key, c.request \
     from (select position, batch_end, version, recorded_at, record from event where position > $1 and position <= $2) e \
     left join (select first, key, request from command where first > $1 and first <= $2) c on c.first = e.position \
     order by e.position";

type Step = Result<Vec<RecordedBatch>, ReadError>;

/// The batches of a range, read ahead by a few steps.
pub(super) struct PostgresBatches<'a> {
    inner: &'a Inner,
    after: u64,
    until: u64,
    /// Absent before the first step.
    steps: Option<(mpsc::Receiver<Step>, Task<()>)>,
}

impl<'a> PostgresBatches<'a> {
    pub(super) const fn new(inner: &'a Inner, after: u64, until: u64) -> Self {
        Self { inner, after, until, steps: None }
    }
}

impl RecordedBatches for PostgresBatches<'_> {
    fn next(&mut self) -> BoxFuture<'_, Step> {
        Box::pin(async move {
            let (steps, _) = self.steps.get_or_insert_with(|| {
                let (sender, steps) = mpsc::channel(2);
                let reading = read(Arc::clone(&self.inner.shared), self.after, self.until, sender);
                (steps, self.inner.thread.spawn(reading))
            });
            steps.recv().await.unwrap_or_else(|| Ok(Vec::new()))
        })
    }
}

/// Sends the batches of a range, or the error that ended them.
async fn read(shared: Arc<Shared>, after: u64, until: u64, steps: mpsc::Sender<Step>) {
    if let Err(error) = send_all(&shared, after, until, &steps).await {
        // The reader may be gone.
        let _ = steps.send(Err(error)).await;
    }
}

async fn send_all(
    shared: &Shared,
    after: u64,
    until: u64,
    steps: &mpsc::Sender<Step>,
) -> Result<(), ReadError> {
    if after >= until {
        return Ok(());
    }
    let session = within(READ_TIME, "connecting", Session::connect(&shared.target, None)).await?;
    let client = session.client();
    client.batch_execute(SETTINGS).await.map_err(Fault::from)?;
    client.batch_execute(SETTINGS_17).await.map_err(Fault::from)?;
    let (low, high) = (sequence_column(after), sequence_column(until));
    let bounds: [&(dyn ToSql + Sync); 2] = [&low, &high];
    let rows = client.query_raw(BATCHES, bounds).await.map_err(Fault::from)?;
    pin_mut!(rows);
    let mut gathered = Gathered { next: after + 1, ..Gathered::default() };
    while let Some(row) = rows.try_next().await.map_err(Fault::from)? {
        gathered.add(&row)?;
        if gathered.is_full() && steps.send(Ok(gathered.take())).await.is_err() {
            return Ok(());
        }
    }
    if gathered.next <= until {
        return Err(unreadable(gathered.next, "it is missing"));
    }
    if !gathered.batches.is_empty() {
        // The reader may be gone.
        let _ = steps.send(Ok(gathered.take())).await;
    }
    Ok(())
}

/// The batches of the next step, and the one that is not complete.
#[derive(Default)]
struct Gathered {
    next: u64,
    batches: Vec<RecordedBatch>,
    bytes: usize,
    events: Vec<RecordedEvent>,
    command: Option<CommandKey>,
}

impl Gathered {
    fn add(&mut self, row: &Row) -> Result<(), ReadError> {
        let sequence = row.try_get::<_, i64>(0).map_err(Fault::from)?.cast_unsigned();
        if sequence != self.next {
            return Err(unreadable(self.next, "it is missing"));
        }
        let (end, event, command) = parse(row, sequence)?;
        if self.events.is_empty() {
            self.command = command;
        }
        self.bytes += event.as_bytes().len();
        self.events.push(event);
        self.next += 1;
        if sequence == end {
            let batch = RecordedBatch::new(std::mem::take(&mut self.events), self.command.take());
            self.batches.push(batch.map_err(|error| unreadable(sequence, &error.to_string()))?);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.events.is_empty() && (self.bytes >= COPY_BYTES_MAX || self.batches.len() >= COPY_BATCHES_MAX)
    }

    fn take(&mut self) -> Vec<RecordedBatch> {
        self.bytes = 0;
        std::mem::take(&mut self.batches)
    }
}

/// The end of its batch, the event, and the command of a batch that begins with it.
fn parse(row: &Row, sequence: u64) -> Result<(u64, RecordedEvent, Option<CommandKey>), ReadError> {
    let end = row.try_get::<_, i64>(1).map_err(Fault::from)?.cast_unsigned();
    let event = recorded_event(row)?;
    let command = match row.try_get::<_, Option<&[u8]>>(5).map_err(Fault::from)? {
        None => None,
        Some(key) => {
            let request = row.try_get::<_, &[u8]>(6).map_err(Fault::from)?.try_into();
            let request =
                request.map_err(|_| unreadable(sequence, "its command has no request of 32 bytes"))?;
            Some(CommandKey { key: Bytes::copy_from_slice(key), request })
        }
    };
    Ok((end, event, command))
}

fn unreadable(sequence: u64, reason: &str) -> ReadError {
    ReadError::Unavailable { reason: format!("the event at position {sequence} cannot be read: {reason}") }
}
