//! Pages of one stream, by version.

use gesta_core::{Checkpoint, Direction, Page, Read, StreamName, Version};

use super::chunk::{self, Found};
use super::{Taken, check_places, place, unknown_places};
use crate::limits::CHUNK_ROWS_MAX;
use crate::pool::Unread;
use crate::session::{Session, Snapshot};
use crate::shared::{Shared, sequence_column};

/// Parameters: name, first version, place, rows, bytes. Returns one more row than it may: the stream's last version, first.
macro_rules! statement {
    ($within:literal, $beyond:literal, $order:literal) => {
        concat!(
            "with own as (select sid from stream where name = $1), \
             part as (select e.* from event e join own on own.sid = e.sid \
                      where e.version ",
            $within,
            " $2 and e.position ",
            $beyond,
            " $3 order by e.version ",
            $order,
            " limit $4::bigint + 1), \
             sized as (select part.*, lead(position) over w as next, row_number() over w as number, \
                       sum(octet_length(record)) over w - octet_length(record) as before \
                       from part window w as (order by version ",
            $order,
            ")) \
             select position, batch_end, version, recorded_at, record, next is not null, null::bigint, \
                    (select e.version from event e join own on own.sid = e.sid order by e.version desc limit 1) \
             from (select 1) one left join sized on number <= $4 and before < $5 order by number"
        )
    };
}

const FORWARD: &str = statement!(">=", "<=", "asc");
const BACKWARD: &str = statement!("<=", ">", "desc");

/// What one statement returned.
struct Part {
    found: Vec<Found>,
    last_version: Option<Version>,
    /// True if the stream has no more within the bounds.
    is_end: bool,
}

pub(super) async fn page(
    shared: &Shared,
    session: &Session,
    read: &Read,
    name: &StreamName,
    from: Option<Version>,
) -> Result<Page, Unread> {
    let is_forward = read.direction == Direction::Forward;
    let mut from = from.map_or(if is_forward { 0 } else { i64::MAX }, |own| sequence_column(own.get()));
    let mut taken = Taken::new(read.limit);
    let (first, mut part) = fetch(shared, session, read, name, from, &taken).await?;
    let head = check_places(shared, read, &first)?;
    let last_version = part.last_version;
    loop {
        let is_end = part.is_end;
        taken.examined += part.found.len() as u64;
        part.found.into_iter().for_each(|found| taken.take(found.event));
        if is_end || taken.is_full() {
            let scanned_to = scanned_to(shared, session, read, &head, &taken, is_end).await?;
            return Ok(Page { events: taken.events, scanned_to, head, last_version, end: is_end });
        }
        let Some(last) = taken.events.last().map(|event| event.version().get()) else {
            return Err(crate::fault::Fault::Refused("a page without rows did not end".to_owned()).into());
        };
        from = sequence_column(if is_forward { last + 1 } else { last.saturating_sub(1) });
        // Later snapshots show more: what lies beyond the head of the first one is left out.
        let bounded =
            Read { until: read.until.clone().or_else(|| is_forward.then(|| head.clone())), ..read.clone() };
        part = fetch(shared, session, &bounded, name, from, &taken).await?.1;
    }
}

async fn fetch(
    shared: &Shared,
    session: &Session,
    read: &Read,
    name: &StreamName,
    from: i64,
    taken: &Taken,
) -> Result<(Snapshot, Part), Unread> {
    let (statement, everything) = match read.direction {
        Direction::Forward => (FORWARD, i64::MAX),
        Direction::Backward => (BACKWARD, 0),
    };
    let place = read.until.as_ref().map_or(everything, |until| sequence_column(until.sequence(0)));
    let rows = taken.events_left().min(taken.examined_left()).clamp(1, CHUNK_ROWS_MAX);
    let (rows, bytes) = (sequence_column(rows), sequence_column(taken.bytes_left().max(1)));
    let places = unknown_places(shared, read);
    let snapshot =
        session.snapshot(&places, statement, &[&name.as_str(), &from, &place, &rows, &bytes]).await?;
    let last_version = match snapshot.rows.first() {
        Some(row) => row.try_get::<_, Option<i64>>(7)?.map(|version| Version::new(version.cast_unsigned())),
        None => None,
    };
    let is_empty = match snapshot.rows.first() {
        Some(row) => row.try_get::<_, Option<i64>>(0)?.is_none(),
        None => true,
    };
    let found = if is_empty { Vec::new() } else { chunk::rows(&snapshot.rows)? };
    let is_end = found.last().is_none_or(|last| !last.has_next);
    Ok((snapshot, Part { found, last_version, is_end }))
}

async fn scanned_to(
    shared: &Shared,
    session: &Session,
    read: &Read,
    head: &Checkpoint,
    taken: &Taken,
    is_end: bool,
) -> Result<Checkpoint, Unread> {
    let last = taken.events.last().filter(|_| !is_end);
    match (read.direction, last) {
        (Direction::Forward, Some(last)) => Ok(shared.past(last)),
        (Direction::Forward, None) => Ok(read.until.clone().unwrap_or_else(|| head.clone())),
        (Direction::Backward, Some(last)) => {
            place(shared, session, last.position().sequence - 1, read.until.as_ref()).await
        }
        (Direction::Backward, None) => Ok(read.until.clone().unwrap_or_else(|| shared.start())),
    }
}
