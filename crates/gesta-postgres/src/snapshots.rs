//! The snapshot store in the schema of an event store.
//!
//! *Choice:* an unlogged table. A put writes no WAL and waits for no disk and no standby. A crash or a failover leaves the table empty,
//! which a snapshot store may be at any time.
//!
//! *Choice:* the table is no part of the format. It is made where it is missing, so older programs go on with the schema.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use gesta_core::{
    BoxFuture, Fingerprint, SNAPSHOT_BYTES_MAX, Snapshot, SnapshotError, SnapshotInfo, SnapshotKey,
    SnapshotPage, SnapshotStore, SnapshotStream, StoreId, StreamName, Version,
};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::fault::Fault;
use crate::limits::READ_TIME;
use crate::line::Line;
use crate::schema;
use crate::session::{Session, within};
use crate::shared::sequence_column;
use crate::store::Inner;

/// A snapshot store in the schema of an event store, for all processes that have it open.
///
/// Its futures need no runtime. They live on the thread of the [`PostgresStore`](crate::PostgresStore) that gave it, and keep that
/// store open. It has two connections, so that a large snapshot holds up no read of events, nor a put a load.
#[derive(Clone)]
pub struct PostgresSnapshots {
    inner: Arc<Inner>,
    reads: Arc<Table>,
    writes: Arc<Table>,
}

/// A connection to the table.
#[derive(Default)]
struct Table {
    line: Line,
    /// Held by a request: one at a time is in memory here.
    turn: tokio::sync::Mutex<HasTable>,
}

/// The table was found or made.
#[derive(Default)]
struct HasTable(bool);

const NEWEST: &str = "select version, value from snapshot \
     where store = $1 and kind = $2 and stream = $3 and version <= $4 order by version desc limit 1";
const PUT: &str = "insert into snapshot (store, kind, stream, version, state_bytes, value) values ($1, $2, $3, $4, $5, $6) \
     on conflict (store, kind, stream, version) do update set state_bytes = excluded.state_bytes, value = excluded.value";
const LIST: &str = "select version, state_bytes from snapshot \
     where store = $1 and kind = $2 and stream = $3 order by version";
const REMOVE: &str =
    "delete from snapshot where store = $1 and kind = $2 and stream = $3 and version = any($4::bigint[])";
const STREAMS: &str = "select store, kind, stream, count(*), sum(state_bytes)::bigint, max(version) from snapshot \
     where (store, kind, stream) > ($1, $2, $3) and store <= $4 \
     group by store, kind, stream order by store, kind, stream limit $5";

impl PostgresSnapshots {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, reads: Arc::default(), writes: Arc::default() }
    }

    /// Runs a request on the thread of the store.
    async fn run<T, F>(
        &self,
        table: &Arc<Table>,
        request: impl FnOnce(Arc<Session>) -> F + Send + 'static,
    ) -> Result<T, SnapshotError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Fault>> + Send,
    {
        let (inner, table) = (Arc::clone(&self.inner), Arc::clone(table));
        let running = async move {
            let mut has_table = table.turn.lock().await;
            let session = table.line.session(&inner.shared.target).await?;
            let answering = async {
                if !has_table.0 {
                    schema::make_snapshots(session.client()).await?;
                    has_table.0 = true;
                }
                request(Arc::clone(&session)).await
            };
            let answer = within(READ_TIME, "a request of the snapshot store", answering).await;
            if answer.is_err() {
                table.line.leave(&session).await;
                // Somebody may have dropped it.
                has_table.0 = false;
            }
            answer
        };
        let panicked = || Fault::Lost("the request has panicked: look at the log of the program".to_owned());
        Ok(self.inner.thread.spawn(running).await.unwrap_or_else(|| Err(panicked()))?)
    }
}

impl From<Fault> for SnapshotError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full(reason) => Self::StorageFull { reason },
            Fault::Lost(reason) | Fault::Busy(reason) | Fault::Refused(reason) | Fault::Broken(reason) => {
                Self::Unavailable { reason }
            }
        }
    }
}

/// A key as columns.
struct Columns<'a> {
    store: &'a [u8],
    kind: &'a [u8],
    stream: &'a str,
}

impl<'a> Columns<'a> {
    fn of(key: &'a SnapshotKey) -> Self {
        Self { store: key.store.as_bytes(), kind: key.kind.as_bytes(), stream: key.stream.as_str() }
    }

    /// The place before the first key that a page may have.
    fn before_page(within: Option<&'a StoreId>, after: Option<&'a SnapshotKey>) -> Self {
        // A store sorts before all its keys.
        let first = Self { store: within.map_or(&[], |store| store.as_bytes()), kind: &[], stream: "" };
        after.map(Self::of).filter(|after| after.store >= first.store).unwrap_or(first)
    }
}

/// Sorts after every store.
const AFTER_ALL: [u8; 17] = [0xff; 17];

async fn newest(session: &Session, of: &SnapshotKey, at_most: i64) -> Result<Option<Snapshot>, Fault> {
    let statement = session.prepare(NEWEST).await?;
    let Columns { store, kind, stream } = Columns::of(of);
    let mut at_most = at_most;
    loop {
        let rows = session.client().query_opt(&statement, &[&store, &kind, &stream, &at_most]).await?;
        let Some(row) = rows else { return Ok(None) };
        let version = version(&row, 0)?;
        let value = Bytes::copy_from_slice(row.try_get::<_, &[u8]>(1)?);
        if let Some(snapshot) = Snapshot::from_value(of, version, &value) {
            return Ok(Some(snapshot));
        }
        // A damaged one is absent.
        let Some(older) = version.get().checked_sub(1) else { return Ok(None) };
        at_most = sequence_column(older);
    }
}

fn version(row: &Row, column: usize) -> Result<Version, Fault> {
    count(row, column).map(Version::new)
}

fn count(row: &Row, column: usize) -> Result<u64, Fault> {
    u64::try_from(row.try_get::<_, i64>(column)?).map_err(|_| damaged("a number is negative"))
}

fn damaged(what: impl std::fmt::Display) -> Fault {
    Fault::damaged("snapshot", what)
}

fn stream(row: &Row) -> Result<SnapshotStream, Fault> {
    let bytes = |column| row.try_get::<_, &[u8]>(column);
    let key = SnapshotKey {
        store: StoreId::from_bytes(bytes(0)?.try_into().map_err(damaged)?),
        kind: Fingerprint::from_bytes(bytes(1)?.try_into().map_err(damaged)?),
        stream: StreamName::new(row.try_get::<_, &str>(2)?).map_err(damaged)?,
    };
    Ok(SnapshotStream {
        key,
        snapshots: count(row, 3)?,
        state_bytes: count(row, 4)?,
        newest: version(row, 5)?,
    })
}

impl SnapshotStore for PostgresSnapshots {
    fn newest(
        &self,
        of: SnapshotKey,
        at_most: Option<Version>,
    ) -> BoxFuture<'_, Result<Option<Snapshot>, SnapshotError>> {
        let at_most = at_most.map_or(i64::MAX, |version| sequence_column(version.get()));
        Box::pin(self.run(&self.reads, async move |session| newest(&session, &of, at_most).await))
    }

    fn put(&self, of: SnapshotKey, snapshot: Snapshot) -> BoxFuture<'_, Result<(), SnapshotError>> {
        Box::pin(async move {
            let bytes = snapshot.state.len();
            if bytes > SNAPSHOT_BYTES_MAX {
                return Err(SnapshotError::TooLarge { bytes, bytes_max: SNAPSHOT_BYTES_MAX });
            }
            let put = async move |session: Arc<Session>| {
                let statement = session.prepare(PUT).await?;
                let Columns { store, kind, stream } = Columns::of(&of);
                let value = snapshot.to_value(&of);
                let version = sequence_column(snapshot.version.get());
                let (bytes, value) = (sequence_column(bytes as u64), &value[..]);
                let columns: [&(dyn ToSql + Sync); 6] = [&store, &kind, &stream, &version, &bytes, &value];
                session.client().execute(&statement, &columns).await?;
                Ok(())
            };
            self.run(&self.writes, put).await
        })
    }

    fn list(&self, of: SnapshotKey) -> BoxFuture<'_, Result<Vec<SnapshotInfo>, SnapshotError>> {
        let list = async move |session: Arc<Session>| {
            let statement = session.prepare(LIST).await?;
            let Columns { store, kind, stream } = Columns::of(&of);
            let rows = session.client().query(&statement, &[&store, &kind, &stream]).await?;
            let info =
                |row: &Row| Ok(SnapshotInfo { version: version(row, 0)?, state_bytes: count(row, 1)? });
            rows.iter().map(info).collect()
        };
        Box::pin(self.run(&self.reads, list))
    }

    fn remove(&self, of: SnapshotKey, versions: Vec<Version>) -> BoxFuture<'_, Result<(), SnapshotError>> {
        let remove = async move |session: Arc<Session>| {
            let statement = session.prepare(REMOVE).await?;
            let Columns { store, kind, stream } = Columns::of(&of);
            let versions = versions.iter().map(|version| sequence_column(version.get())).collect::<Vec<_>>();
            session.client().execute(&statement, &[&store, &kind, &stream, &versions]).await?;
            Ok(())
        };
        Box::pin(self.run(&self.writes, remove))
    }

    fn streams(
        &self,
        within: Option<StoreId>,
        after: Option<SnapshotKey>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<SnapshotPage, SnapshotError>> {
        let streams = async move |session: Arc<Session>| {
            let statement = session.prepare(STREAMS).await?;
            let Columns { store, kind, stream: name } = Columns::before_page(within.as_ref(), after.as_ref());
            let last = within.as_ref().map_or(&AFTER_ALL[..], |store| store.as_bytes());
            let count = i64::from(limit.get());
            let rows = session.client().query(&statement, &[&store, &kind, &name, &last, &count]).await?;
            let streams = rows.iter().map(stream).collect::<Result<Vec<_>, _>>()?;
            let is_full = streams.len() as u64 >= u64::from(limit.get());
            let next = streams.last().filter(|_| is_full).map(|stream| stream.key.clone());
            Ok(SnapshotPage { streams, next })
        };
        Box::pin(self.run(&self.reads, streams))
    }
}
