//! The rows of a group and its commit, in one round trip.

use tokio_postgres::types::ToSql;

use super::group::Rows;
use crate::fault::{NotWritten, outcome};
use crate::session::Session;

const STREAMS: &str = "insert into stream (sid, name, category, lane) \
                       select * from unnest($1::bigint[], $2::text[], $3::text[], $4::smallint[])";
const EVENTS: &str = "insert into event (position, batch_end, sid, version, recorded_at, id, record) \
     select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[], $7::bytea[])";
const TERMS: &str = "insert into term (term, position) select * from unnest($1::bigint[], $2::bigint[])";
const COMMANDS: &str = "insert into command (key, request, first, last) \
                        select * from unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[])";
const HISTORY: &str = "insert into history (timeline, from_position) values ($1, $2)";
const NOTIFY: &str = "select pg_notify($1, $2)";

/// Adds the rows of a group and commits. `timeline` is that of a new history, which begins with these rows.
pub(super) async fn insert(
    session: &Session,
    rows: &Rows,
    timeline: Option<i64>,
    channel: &str,
) -> Result<(), NotWritten> {
    let client = session.client();
    let (history, streams) = (session.prepare(HISTORY).await?, session.prepare(STREAMS).await?);
    let (events, terms) = (session.prepare(EVENTS).await?, session.prepare(TERMS).await?);
    let (commands, notify) = (session.prepare(COMMANDS).await?, session.prepare(NOTIFY).await?);
    let ids = rows.events.records.iter().map(|event| *event.id().as_bytes()).collect::<Vec<_>>();
    let ids = ids.iter().map(<[u8; 16]>::as_slice).collect::<Vec<_>>();
    let records = rows.events.records.iter().map(|event| &event.as_bytes()[..]).collect::<Vec<_>>();
    let first = rows.events.positions.first().copied().unwrap_or(0);
    let last = rows.events.positions.last().copied().unwrap_or(0).to_string();
    let own = &rows.events;
    let event_columns: [&(dyn ToSql + Sync); 7] =
        [&own.positions, &own.batch_ends, &own.sids, &own.versions, &own.recorded_at, &ids, &records];
    let warnings = session.warnings();
    let (history, streams, events, terms, commands, notified, committed) = tokio::join!(
        async {
            match timeline {
                Some(timeline) => client.execute(&history, &[&timeline, &first]).await.map(drop),
                None => Ok(()),
            }
        },
        async {
            let own = &rows.streams;
            if own.sids.is_empty() {
                return Ok(());
            }
            client.execute(&streams, &[&own.sids, &own.names, &own.categories, &own.lanes]).await.map(drop)
        },
        async { client.execute(&events, &event_columns).await.map(drop) },
        async { client.execute(&terms, &[&rows.terms, &rows.term_positions]).await.map(drop) },
        async {
            let own = &rows.commands;
            if own.keys.is_empty() {
                return Ok(());
            }
            client.execute(&commands, &[&own.keys, &own.requests, &own.firsts, &own.lasts]).await.map(drop)
        },
        async { client.execute(&notify, &[&channel, &last]).await.map(drop) },
        client.batch_execute("commit"),
    );
    let all = [history, streams, events, terms, commands, notified].into_iter().collect::<Result<(), _>>();
    outcome(all, committed, session.warnings() > warnings)
}

/// Commits a transaction that adds no rows but waits for the standbys: it proves that earlier commits have reached them.
pub(super) async fn confirm(session: &Session) -> Result<(), NotWritten> {
    let warnings = session.warnings();
    let (written, committed) = tokio::join!(
        session.client().batch_execute("select pg_logical_emit_message(true, 'gesta', '')"),
        session.client().batch_execute("commit"),
    );
    outcome(written, committed, session.warnings() > warnings)
}
