//! Closing a time: from then on every event gets a later one.

use gesta_core::Timestamp;
use tokio_postgres::types::ToSql;

use super::look_up::LOCK;
use crate::fault::outcome;
use crate::pool::Unread;
use crate::session::Session;
use crate::shared::Shared;

/// Adds the time that events have at least, unless the clock has not reached it. Returns the clock. Every writer reads it under the lock.
const CLOSE: &str = "with clock as (select coalesce($2::bigint, (extract(epoch from clock_timestamp()) * 1000000000)::bigint) as now), \
     closed as (insert into floor select $1 from clock where now >= $1 on conflict do nothing) select now from clock";

/// Makes all later events later than a time. What was decided before is durable then.
pub(crate) async fn close(shared: &Shared, session: &Session, time: Timestamp) -> Result<(), Unread> {
    let own_clock = shared.options.clock.as_ref().map(|clock| clock().as_nanos());
    // After the last time there is none, so the clock never passes it.
    let floor = time.next().map_or(i64::MAX, Timestamp::as_nanos);
    let (client, lock, close) =
        (session.client(), session.prepare(LOCK).await?, session.prepare(CLOSE).await?);
    let (warnings, parameters) = (session.warnings(), [&floor as &(dyn ToSql + Sync), &own_clock]);
    let (begun, locked, now, committed) = tokio::join!(
        client.batch_execute("begin isolation level read committed read write"),
        client.query(&lock, &[]),
        client.query_one(&close, &parameters),
        client.batch_execute("commit"),
    );
    begun?;
    let now = locked.and(now);
    let (written, now) = match now {
        Ok(row) => (Ok(()), row.try_get::<_, i64>(0)?),
        Err(error) => (Err(error), i64::MIN),
    };
    outcome(written, committed, session.warnings() > warnings).map_err(|failed| failed.fault)?;
    time.floor_after(Timestamp::from_nanos(now))?;
    Ok(())
}
