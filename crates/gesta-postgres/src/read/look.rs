//! Look-ups of single facts: a mark, the last version of a stream, a command key, a time, a list of streams.

use std::borrow::Cow;

use gesta_core::{
    Checkpoint, CommandKey, CommandRecord, ListToken, Listing, ReadError, StreamInfo, StreamName, StreamPage,
    Timestamp, Version, check_checkpoint, mark_of,
};
use tokio_postgres::Row;

use crate::fault::Fault;
use crate::pool::Unread;
use crate::session::{MARKS, STATE, Session, event_id, mark_of_row};
use crate::shared::{Shared, sequence_column};

/// The place after an event, with its mark: remembered or looked up.
pub(super) async fn marked(shared: &Shared, session: &Session, sequence: u64) -> Result<Checkpoint, Unread> {
    if let Some(mark) = shared.mark(sequence) {
        return Ok(shared.marked(sequence, mark));
    }
    let statement = session.prepare(MARKS).await?;
    let rows = session.client().query(&statement, &[&[sequence_column(sequence)].as_slice()]).await?;
    let row = rows
        .first()
        .ok_or_else(|| Fault::Lost(format!("there is no event at position {sequence} any more")))?;
    let (sequence, mark) = mark_of_row(row)?;
    Ok(shared.marked(sequence, mark))
}

/// Checks a place against the store, and returns the head.
pub(crate) async fn check_place(
    shared: &Shared,
    session: &Session,
    place: &Checkpoint,
) -> Result<Checkpoint, Unread> {
    let snapshot = session.snapshot(&shared.unknown_places([place]), STATE, &[]).await?;
    let head = shared.observe(&snapshot.state)?;
    check_checkpoint(place, &head)?;
    shared.remember(snapshot.marks);
    shared.check_mark(place)?;
    Ok(head)
}

const STREAM: &str = "select e.version from stream s join lateral \
     (select version from event where sid = s.sid order by version desc limit 1) e on true where s.name = $1";

/// The last version of a stream.
pub(crate) async fn stream_head(
    shared: &Shared,
    session: &Session,
    name: &StreamName,
) -> Result<Option<StreamInfo>, Unread> {
    let snapshot = session.snapshot(&[], STREAM, &[&name.as_str()]).await?;
    shared.observe(&snapshot.state)?;
    let Some(row) = snapshot.rows.first() else { return Ok(None) };
    Ok(Some(StreamInfo::new(name.clone(), Version::new(row.try_get::<_, i64>(0)?.cast_unsigned()))))
}

const LISTING: &str = "select s.sid, s.name, e.version, (select max(sid) from stream) from stream s join lateral \
     (select version from event where sid = s.sid order by version desc limit 1) e on true \
     where s.sid > $1 and ($2::text is null or s.category = $2) order by s.sid limit $3";
const STREAMS: &str = "select coalesce(max(sid), 0) from stream";

/// A page of streams, in the order of their first events.
pub(crate) async fn listing(
    shared: &Shared,
    session: &Session,
    listing: &Listing,
) -> Result<StreamPage, Unread> {
    let last = session.snapshot(&[], STREAMS, &[]).await?;
    shared.observe(&last.state)?;
    let last = last.rows.first().map_or(Ok(0), |row| row.try_get::<_, i64>(0))?;
    let after = match &listing.after {
        None => 0,
        Some(token) => token_of(token, last)?,
    };
    let category = listing.category.as_ref().map(gesta_core::Category::as_str);
    let limit = i64::from(listing.limit.get());
    let snapshot = session.snapshot(&[], LISTING, &[&after, &category, &(limit + 1)]).await?;
    shared.observe(&snapshot.state)?;
    let mut streams = snapshot.rows.iter().map(stream_of).collect::<Result<Vec<_>, Unread>>()?;
    let has_more = streams.len() as u64 > u64::from(listing.limit.get());
    if has_more {
        streams.pop();
    }
    let next = streams.last().filter(|_| has_more).map(|(sid, _)| ListToken(sid.to_string().into()));
    Ok(StreamPage { streams: streams.into_iter().map(|(_, info)| info).collect(), next })
}

fn token_of(token: &ListToken, last: i64) -> Result<i64, ReadError> {
    let given = token.0.parse::<i64>().ok().filter(|sid| (1..=last).contains(sid));
    given.ok_or_else(|| ReadError::Invalid {
        reason: format!("`{}` is not a token of this listing: use the `next` of its last page", token.0),
    })
}

fn stream_of(row: &Row) -> Result<(i64, StreamInfo), Unread> {
    let name = row.try_get::<_, &str>(1)?.parse::<StreamName>();
    let name = name.map_err(|error| Fault::damaged("stream", error))?;
    let version = Version::new(row.try_get::<_, i64>(2)?.cast_unsigned());
    Ok((row.try_get(0)?, StreamInfo::new(name, version)))
}

const POSITION_AT: &str = "select position_at($1)";

/// The place after the last event that was recorded at a time or earlier.
pub(crate) async fn position_at(
    shared: &Shared,
    session: &Session,
    nanos: i64,
) -> Result<Checkpoint, Unread> {
    let snapshot = session.snapshot(&[], POSITION_AT, &[&nanos]).await?;
    shared.observe(&snapshot.state)?;
    let position = snapshot.rows.first().map_or(Ok(0), |row| row.try_get::<_, i64>(0))?;
    super::place(shared, session, position.cast_unsigned(), None).await
}

/// The columns of [`command_of`].
pub(crate) const COMMANDS: &str = "select c.key, c.request, c.first, \
     array(select version from event where position between c.first and c.last order by position), e.id, e.recorded_at \
     from unnest($1::bytea[]) k(key) join command c on c.key = k.key join event e on e.position = c.last";

/// The record of a command key.
pub(crate) async fn command_record(
    shared: &Shared,
    session: &Session,
    key: &CommandKey,
) -> Result<Option<CommandRecord<'static>>, Unread> {
    let keys = [&key.key[..]];
    let snapshot = session.snapshot(&[], COMMANDS, &[&keys.as_slice()]).await?;
    shared.observe(&snapshot.state)?;
    let Some(row) = snapshot.rows.first() else { return Ok(None) };
    let (_, record, mark) = command_of(row)?;
    shared.remember([(record.last(), mark)]);
    Ok(Some(record))
}

/// A command key, its record, and the mark of its last event.
pub(crate) fn command_of(row: &Row) -> Result<(Vec<u8>, CommandRecord<'static>, u32), Fault> {
    let request = row.try_get::<_, &[u8]>(1)?.try_into();
    let request = request.map_err(|_| Fault::damaged("command", "a request has not 32 bytes"))?;
    let versions = row.try_get::<_, Vec<i64>>(3)?.into_iter().map(i64::cast_unsigned).collect::<Vec<_>>();
    if versions.is_empty() {
        return Err(Fault::damaged("command", "a command has no event"));
    }
    let first = row.try_get::<_, i64>(2)?.cast_unsigned();
    let mark = mark_of(event_id(row.try_get(4)?)?, Timestamp::from_nanos(row.try_get(5)?));
    Ok((row.try_get(0)?, CommandRecord { request, first, versions: Cow::Owned(versions) }, mark))
}
