//! One connection, checked and set, with its prepared statements.
//!
//! *Invariant:* every transaction reads `gesta.session` and finds what this connection set. Otherwise another session answers,
//! behind a pooler, and nothing that was set holds.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gesta_core::{EventId, Timestamp};
use gesta_postgres_connect::{Connected, Connection};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Row, Statement};

use crate::address::WaitsFor;
use crate::fault::{Fault, POOLER};
use crate::limits::{SERVER_VERSION_MIN, SETUP_TIME};
use crate::shared::Target;

/// A connection that was checked. Dropped, it is closed.
pub(crate) struct Session {
    client: Client,
    /// The value of `gesta.session`.
    token: String,
    warnings: Arc<AtomicU64>,
    statements: Mutex<HashMap<&'static str, Statement>>,
    driver: JoinHandle<()>,
}

/// The end of the store as one snapshot shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    /// The newest timeline of the history.
    pub(crate) timeline: i64,
    /// The last event.
    pub(crate) head: Option<Last>,
}

/// The last event of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Last {
    pub(crate) position: u64,
    pub(crate) id: EventId,
    pub(crate) recorded_at: Timestamp,
}

/// Columns that every snapshot reads; see [`State::of`].
pub(crate) const STATE: &str = "select current_setting('gesta.session', true), (select max(timeline) from history), \
     e.position, e.id, e.recorded_at \
     from (select 1) one left join lateral (select position, id, recorded_at from event order by position desc limit 1) e on true";

impl Session {
    /// Connects, checks the server and sets the session. Notifications are sent to `notes`.
    pub(crate) async fn connect(
        target: &Target,
        notes: Option<mpsc::UnboundedSender<String>>,
    ) -> Result<Self, Fault> {
        Self::set_up(target, target.address.connect().await?, notes).await
    }

    /// Checks the server of a new connection and sets the session.
    pub(crate) async fn set_up(
        target: &Target,
        connected: Connected,
        notes: Option<mpsc::UnboundedSender<String>>,
    ) -> Result<Self, Fault> {
        let Connected { client, connection, .. } = connected;
        let warnings = Arc::new(AtomicU64::new(0));
        let driver = tokio::spawn(drive(connection, Arc::clone(&warnings), notes));
        let token = uuid::Uuid::new_v4().simple().to_string();
        let session = Self { client, token, warnings, statements: Mutex::default(), driver };
        let set = async { session.set(target, session.check_server(target).await?).await };
        within(SETUP_TIME, "the setting up of a connection", set).await?;
        Ok(session)
    }

    /// Checks the server, and returns its version.
    async fn check_server(&self, target: &Target) -> Result<i32, Fault> {
        let settings = "select current_setting('server_version_num')::int, current_setting('server_encoding'), \
                        current_setting('fsync'), current_setting('full_page_writes'), pg_is_in_recovery()";
        let row = self.client.query_one(settings, &[]).await?;
        if row.get::<_, bool>(4) {
            return Err(Fault::Lost("the server is a standby, which takes no writes".to_owned()));
        }
        let version = row.get(0);
        check_settings(version, row.get(1), row.get(2), row.get(3), target.takes_unsafe_servers)?;
        Ok(version)
    }

    async fn set(&self, target: &Target, version: i32) -> Result<(), Fault> {
        let mut settings = settings(&target.schema, target.waits_for);
        if version >= TRANSACTION_TIMEOUT_SINCE {
            settings.push_str("set transaction_timeout to '30s';");
        }
        self.client.batch_execute(&settings).await?;
        self.client.query_one("select set_config('gesta.session', $1, false)", &[&self.token]).await?;
        Ok(())
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// The number of warnings that the server has sent.
    pub(crate) fn warnings(&self) -> u64 {
        self.warnings.load(Ordering::SeqCst)
    }

    /// Prepares a statement, once for this session.
    pub(crate) async fn prepare(&self, text: &'static str) -> Result<Statement, Fault> {
        let known = self.statements.lock().unwrap_or_else(PoisonError::into_inner).get(text).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(text).await?;
        let mut statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(statements.entry(text).or_insert(statement).clone())
    }

    /// Reads the state of the store.
    pub(crate) async fn state(&self) -> Result<State, Fault> {
        let statement = self.prepare(STATE).await?;
        State::of(&self.client.query_one(&statement, &[]).await?, self)
    }

    /// Runs a statement in a snapshot, together with the state of the store and the marks of places. All is sent at once,
    /// so it takes one round trip, and no other transaction of this connection comes between.
    pub(crate) async fn snapshot(
        &self,
        places: &[i64],
        text: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Snapshot, Fault> {
        let statement = self.prepare(text).await?;
        let (state, marks) = (self.prepare(STATE).await?, self.prepare(MARKS).await?);
        let (begun, state, marks, rows, ended) = tokio::join!(
            self.client.batch_execute("begin isolation level repeatable read read only"),
            self.client.query_one(&state, &[]),
            async { self.query_if(!places.is_empty(), &marks, &[&places]).await },
            self.client.query(&statement, parameters),
            self.client.batch_execute("commit"),
        );
        begun?;
        let state = State::of(&state?, self)?;
        let marks = marks?.iter().map(mark_of_row).collect::<Result<_, _>>()?;
        let rows = rows?;
        ended?;
        Ok(Snapshot { state, marks, rows })
    }

    /// Runs a statement if there is something to ask for.
    pub(crate) async fn query_if(
        &self,
        asks: bool,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        if asks { self.client.query(statement, parameters).await } else { Ok(Vec::new()) }
    }

    /// Checks that a row was answered by this session: its first column is `gesta.session`.
    pub(crate) fn check_answer(&self, row: &Row) -> Result<(), Fault> {
        let is_ours = row.try_get::<_, Option<&str>>(0)? == Some(&self.token);
        if is_ours { Ok(()) } else { Err(Fault::Refused(format!("another session answered: {POOLER}"))) }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What one snapshot shows.
pub(crate) struct Snapshot {
    pub(crate) state: State,
    /// The marks of the events at the asked places.
    pub(crate) marks: HashMap<u64, u32>,
    pub(crate) rows: Vec<Row>,
}

/// The columns of marks; see [`mark_of_row`].
pub(crate) const MARKS: &str =
    "select position, id, recorded_at from event where position = any($1::bigint[])";

/// The position and mark of an event.
pub(crate) fn mark_of_row(row: &Row) -> Result<(u64, u32), Fault> {
    let mark = gesta_core::mark_of(event_id(row.try_get(1)?)?, Timestamp::from_nanos(row.try_get(2)?));
    Ok((row.try_get::<_, i64>(0)?.cast_unsigned(), mark))
}

/// The id of an event as the table holds it.
pub(crate) fn event_id(bytes: &[u8]) -> Result<EventId, Fault> {
    let bytes = bytes.try_into().map_err(|_| Fault::damaged("event", "an id has not 16 bytes"));
    bytes.map(EventId::from_bytes)
}

impl State {
    /// Reads the columns of [`STATE`].
    pub(crate) fn of(row: &Row, session: &Session) -> Result<Self, Fault> {
        session.check_answer(row)?;
        let head = match row.try_get::<_, Option<i64>>(2)? {
            Some(position) => Some(Last {
                position: position.cast_unsigned(),
                id: event_id(row.try_get(3)?)?,
                recorded_at: Timestamp::from_nanos(row.try_get(4)?),
            }),
            None => None,
        };
        Ok(Self { timeline: row.try_get::<_, Option<i64>>(1)?.unwrap_or(0), head })
    }

    pub(crate) fn position(&self) -> u64 {
        self.head.map_or(0, |last| last.position)
    }
}

/// PostgreSQL 17.
const TRANSACTION_TIMEOUT_SINCE: i32 = 170_000;

/// What a session sets.
///
/// The planner is told to use indexes: plans that were made while the tables were empty stay, and would read whole
/// tables later. That makes costs huge, so the just-in-time compiler would run for each statement.
fn settings(schema: &str, waits_for: WaitsFor) -> String {
    let planner = ["seqscan", "bitmapscan", "hashjoin", "mergejoin", "hashagg"];
    let planner = planner.map(|kind| format!("set enable_{kind} to off;")).concat();
    format!(
        "set search_path to \"{schema}\"; set synchronous_commit to {}; set lock_timeout to '5s'; \
         set statement_timeout to '30s'; set idle_in_transaction_session_timeout to '5s'; \
         set tcp_user_timeout to '10s'; set client_min_messages to warning; set jit to off; set plan_cache_mode to force_generic_plan; {planner}",
        waits_for.setting()
    )
}

fn check_settings(
    version: i32,
    encoding: &str,
    fsync: &str,
    full_page_writes: &str,
    takes_unsafe_servers: bool,
) -> Result<(), Fault> {
    let refused = |reason: String| Err(Fault::Refused(reason));
    if version < SERVER_VERSION_MIN {
        let (major, least) = (version / 10_000, SERVER_VERSION_MIN / 10_000);
        return refused(format!("the server is PostgreSQL {major}: use {least} or newer"));
    }
    if encoding != "UTF8" {
        return refused(format!(
            "the database has the encoding {encoding}: create one with `encoding 'UTF8' template template0`"
        ));
    }
    for (name, value) in [("fsync", fsync), ("full_page_writes", full_page_writes)] {
        if value != "on" && !takes_unsafe_servers {
            return refused(format!(
                "the server runs with `{name} = {value}`, so a crash would lose acknowledged events: set `{name} = on` \
                 in its configuration and reload it"
            ));
        }
    }
    Ok(())
}

/// Drives a connection until it ends: counts warnings, passes on notifications.
async fn drive(
    mut connection: Connection,
    warnings: Arc<AtomicU64>,
    notes: Option<mpsc::UnboundedSender<String>>,
) {
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        match message {
            AsyncMessage::Notice(notice) if *notice.code() == SqlState::WARNING => {
                tracing::warn!("the database warns: {}", notice.message());
                warnings.fetch_add(1, Ordering::SeqCst);
            }
            AsyncMessage::Notification(note) => {
                if let Some(notes) = &notes {
                    // The listener may be gone.
                    let _ = notes.send(note.payload().to_owned());
                }
            }
            _ => {}
        }
    }
}

/// Runs a step within its time.
pub(crate) async fn within<T>(
    time: Duration,
    what: &str,
    step: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    tokio::time::timeout(time, step).await.unwrap_or_else(|_| Err(Fault::timeout(what)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_could_lose_events_is_refused_with_the_way_out() {
        let check = |version, encoding, fsync, pages| check_settings(version, encoding, fsync, pages, false);
        assert_eq!(check(150_018, "UTF8", "on", "on"), Ok(()));
        for (refused, part) in [
            (check(140_022, "UTF8", "on", "on"), "use 15 or newer"),
            (check(150_018, "LATIN1", "on", "on"), "encoding 'UTF8'"),
            (check(150_018, "UTF8", "off", "on"), "set `fsync = on`"),
            (check(150_018, "UTF8", "on", "off"), "set `full_page_writes = on`"),
        ] {
            assert!(matches!(&refused, Err(Fault::Refused(reason)) if reason.contains(part)), "{refused:?}");
        }
        assert_eq!(check_settings(150_018, "UTF8", "off", "off", true), Ok(()));
    }
}
