//! The key-value store in the schema of an event store.
//!
//! Every write draws a revision under the lock of one row, which is held to the commit. A sequence alone could give a lower
//! number to a later commit. A delete draws one too, so a revision never comes back.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use gesta_core::{
    BoxFuture, Entry, KeyName, KeyPrefix, KeyValueError, KeyValueStore, LIST_BYTES_MAX, ReadError, Revision,
    VALUE_BYTES_MAX,
};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use crate::fault::{Fault, POOLER, outcome};
use crate::limits::STEP_TIME;
use crate::line::Line;
use crate::pool::Unread;
use crate::session::Session;
use crate::shared::{Shared, sequence_column};
use crate::store::Inner;

/// A key-value store in the schema of an event store, for all processes that have it open.
///
/// Its futures need no runtime. They live on the thread of the [`PostgresStore`](crate::PostgresStore) that gave it, and keep
/// that store open.
#[derive(Clone)]
pub struct PostgresValues {
    inner: Arc<Inner>,
    /// The connection for writes.
    line: Arc<Line>,
}

const DRAW: &str =
    "update revision set last = last + 1 returning current_setting('gesta.session', true), last";
const INSERT: &str = "insert into value (name, value, revision) select $1, $2, last from revision on conflict (name) do nothing";
const REPLACE: &str =
    "update value set value = $2, revision = (select last from revision) where name = $1 and revision = $3";
const DELETE: &str = "delete from value where name = $1 and revision = $2";
const ACTUAL: &str = "select revision from value where name = $1";
const GET: &str = "select value, revision from value where name = $1";
/// Keys are of ASCII below `~`, so the keys with a prefix lie between it and itself with a `~`.
const LIST: &str = "select name, value, revision from (select name, value, revision, \
       sum(octet_length(value)) over (order by name) - octet_length(value) as before from value \
       where name >= $1 and name < $1 || '~' and name > $2 order by name limit $3) listed \
     where before <= $4 order by name";

/// A write to one key.
#[derive(Debug, Clone)]
enum Write {
    Insert(Bytes),
    Replace(Bytes, i64),
    Delete(i64),
}

/// What became of a write.
enum Written {
    /// Its revision.
    Accepted(Revision),
    /// The revision of the key, which is not the expected one.
    Refused(Option<Revision>),
}

impl PostgresValues {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, line: Arc::default() }
    }

    async fn write(&self, key: KeyName, write: Write) -> Result<Revision, KeyValueError> {
        let (inner, line) = (Arc::clone(&self.inner), Arc::clone(&self.line));
        let writing = async move {
            let session = line.session(&inner.shared.target).await?;
            let written = tokio::time::timeout(STEP_TIME, send(&session, &key, &write)).await;
            let written = written.unwrap_or_else(|_| {
                Err(KeyValueError::InDoubt { reason: "the database did not answer in time".to_owned() })
            });
            if written.is_err() {
                line.leave(&session).await;
            }
            written
        };
        let panicked = || KeyValueError::InDoubt { reason: "the write has panicked".to_owned() };
        match self.inner.thread.spawn(writing).await.unwrap_or_else(|| Err(panicked()))? {
            Written::Accepted(revision) => Ok(revision),
            Written::Refused(actual) => Err(KeyValueError::Changed { actual }),
        }
    }
}

/// Sends a write as one transaction, in one round trip.
async fn send(session: &Session, key: &KeyName, write: &Write) -> Result<Written, KeyValueError> {
    let client = session.client();
    let name = key.as_str();
    let value = match write {
        Write::Insert(value) | Write::Replace(value, _) => &value[..],
        Write::Delete(_) => &[],
    };
    let (text, parameters): (&'static str, Vec<&(dyn ToSql + Sync)>) = match write {
        Write::Insert(_) => (INSERT, vec![&name, &value]),
        Write::Replace(_, expected) => (REPLACE, vec![&name, &value, expected]),
        Write::Delete(expected) => (DELETE, vec![&name, expected]),
    };
    let (draw, change) = (session.prepare(DRAW).await?, session.prepare(text).await?);
    let actual = session.prepare(ACTUAL).await?;
    let warnings = session.warnings();
    let (begun, drawn, changed, actual, committed) = tokio::join!(
        client.batch_execute("begin isolation level read committed read write"),
        client.query_one(&draw, &[]),
        client.execute(&change, &parameters),
        async { client.query_opt(&actual, &[&name]).await },
        client.batch_execute("commit"),
    );
    let all = begun.and(drawn).and_then(|drawn| Ok((drawn, changed?, actual?)));
    let (drawn, changed, actual) = outcome(all, committed, session.warnings() > warnings)?;
    // What another session answered may have been without our settings.
    session.check_answer(&drawn).map_err(|_| KeyValueError::InDoubt { reason: POOLER.to_owned() })?;
    if changed == 0 {
        let actual = actual.map(|row| revision(&row, 0)).transpose();
        return Ok(Written::Refused(actual.map_err(Fault::from)?));
    }
    Ok(Written::Accepted(revision(&drawn, 1).map_err(Fault::from)?))
}

fn revision(row: &Row, column: usize) -> Result<Revision, Error> {
    Ok(Revision::new(row.try_get::<_, i64>(column)?.cast_unsigned()))
}

fn entry(row: &Row, first: usize) -> Result<Entry, Error> {
    let value = Bytes::copy_from_slice(row.try_get::<_, &[u8]>(first)?);
    Ok(Entry { value, revision: revision(row, first + 1)? })
}

fn unread(error: ReadError) -> KeyValueError {
    match error {
        ReadError::Closed => KeyValueError::Closed,
        error => KeyValueError::Unavailable { reason: error.to_string() },
    }
}

fn check_size(value: &Bytes) -> Result<(), KeyValueError> {
    match value.len() {
        bytes if bytes > VALUE_BYTES_MAX => Err(KeyValueError::TooLarge { bytes }),
        _ => Ok(()),
    }
}

impl KeyValueStore for PostgresValues {
    fn get(&self, key: KeyName) -> BoxFuture<'_, Result<Option<Entry>, KeyValueError>> {
        let get = move |shared: Arc<Shared>, session: Arc<Session>| {
            let key = key.clone();
            async move {
                let snapshot = session.snapshot(&[], GET, &[&key.as_str()]).await?;
                shared.observe(&snapshot.state)?;
                snapshot.rows.first().map(|row| entry(row, 0)).transpose().map_err(Unread::from)
            }
        };
        Box::pin(async move { self.inner.ask(get).await.map_err(unread) })
    }

    fn put(
        &self,
        key: KeyName,
        value: Bytes,
        expect: Option<Revision>,
    ) -> BoxFuture<'_, Result<Revision, KeyValueError>> {
        Box::pin(async move {
            check_size(&value)?;
            let write = match expect {
                None => Write::Insert(value),
                Some(revision) => Write::Replace(value, sequence_column(revision.get())),
            };
            self.write(key, write).await
        })
    }

    fn delete(&self, key: KeyName, expect: Revision) -> BoxFuture<'_, Result<(), KeyValueError>> {
        Box::pin(async move { self.write(key, Write::Delete(sequence_column(expect.get()))).await.map(drop) })
    }

    fn list(
        &self,
        prefix: KeyPrefix,
        after: Option<KeyName>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Vec<(KeyName, Entry)>, KeyValueError>> {
        let list = move |shared: Arc<Shared>, session: Arc<Session>| {
            let (prefix, after) = (prefix.clone(), after.clone());
            async move {
                let after = after.as_ref().map_or("", KeyName::as_str);
                let (limit, bytes) = (i64::from(limit.get()), sequence_column(LIST_BYTES_MAX as u64));
                let parameters: [&(dyn ToSql + Sync); 4] = [&prefix.as_str(), &after, &limit, &bytes];
                let snapshot = session.snapshot(&[], LIST, &parameters).await?;
                shared.observe(&snapshot.state)?;
                snapshot.rows.iter().map(listed).collect::<Result<Vec<_>, Unread>>()
            }
        };
        Box::pin(async move { self.inner.ask(list).await.map_err(unread) })
    }
}

fn listed(row: &Row) -> Result<(KeyName, Entry), Unread> {
    let name = KeyName::new(row.try_get::<_, &str>(0)?);
    let name = name.map_err(|error| Fault::damaged("value", error))?;
    Ok((name, entry(row, 1)?))
}
