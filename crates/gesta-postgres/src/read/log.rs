//! Pages of the log, and the newest match of a condition.

use std::num::NonZeroU32;

use gesta_core::{Direction, Lane, Lanes, Limit, Page, Place, Query, Read, RecordedEvent};

use super::chunk::{self, Found};
use super::scans::{self, Scans};
use super::{Bounds, Taken, check_places, place, start_of, unknown_places};
use crate::limits::CHUNK_ROWS_MAX;
use crate::pool::Unread;
use crate::session::{STATE, Session};
use crate::shared::{Shared, sequence_column};

/// What a read of the log asks for.
pub(super) struct Asked<'a> {
    pub(super) query: &'a Query,
    pub(super) lanes: Option<&'a Lanes>,
}

impl Asked<'_> {
    fn wants(&self, event: &RecordedEvent) -> bool {
        self.lanes.is_none_or(|lanes| lanes.contains(Lane::of(event.stream()))) && self.query.matches(event)
    }
}

/// Parameters: low, high, postings a scan, bytes, all, terms, streams, ids. `reach` is where the first scan was cut. The
/// rows within it that fit are returned. `offset 0` keeps the planner from walking the log by position to find an id.
macro_rules! statement {
    ($order:literal, $last:literal, $first:literal, $within:literal, $versions:literal) => {
        concat!(
            "with posting as materialized ( \
               select 0::bigint as scan, p.position from (select position from event where $5 and position > $1 and position <= $2 \
                 order by position ", $order, " limit $3) p \
               union all \
               select t.n, p.position from unnest($6::bigint[]) with ordinality t(term, n) cross join lateral \
                 (select x.position from term x where x.term = t.term and x.position > $1 and x.position <= $2 \
                  order by x.position ", $order, " limit $3) p \
               union all \
               select -s.n, p.position from unnest($7::text[]) with ordinality s(name, n) join stream on stream.name = s.name \
                 cross join lateral (select e.position from event e where e.sid = stream.sid and ", $versions, " \
                  order by e.version ", $order, " limit $3) p \
               union all \
               select 1000000 + i.n, p.position from unnest($8::bytea[]) with ordinality i(id, n) cross join lateral \
                 (select e.position from (select position from event where id = i.id offset 0) e \
                  where e.position > $1 and e.position <= $2 order by e.position ", $order, " limit $3) p), \
             cut as (select ", $last, "(position) as reach from posting group by scan having count(*) >= $3), \
             reach as (select ", $first, "(reach) as reach from cut), \
             candidate as (select distinct posting.position from posting, reach \
                           where reach.reach is null or posting.position ", $within, " reach.reach), \
             sized as (select e.*, lead(e.position) over w as next, \
                       sum(octet_length(e.record)) over w - octet_length(e.record) as before \
                       from candidate join event e on e.position = candidate.position \
                       window w as (order by e.position ", $order, ")) \
             select position, batch_end, version, recorded_at, record, next is not null, (select reach from reach) \
             from sized where before < $4 order by position ", $order
        )
    };
}

const FORWARD: &str = statement!(
    "asc",
    "max",
    "min",
    "<=",
    "e.version >= first_version_after(stream.sid, $1) and e.position <= $2"
);
const BACKWARD: &str = statement!(
    "desc",
    "min",
    "max",
    ">=",
    "e.version < first_version_after(stream.sid, $2) and e.position > $1"
);
/// All events of a range, for the rest of a batch.
const RANGE: &str = "select position, batch_end, version, recorded_at, record, false, null::bigint \
                     from event where position > $1 and position <= $2 order by position";

pub(super) async fn page(
    shared: &Shared,
    session: &Session,
    read: &Read,
    asked: &Asked<'_>,
    from: &Place,
) -> Result<Page, Unread> {
    let first = session.snapshot(&unknown_places(shared, read), STATE, &[]).await?;
    let head = check_places(shared, read, &first)?;
    let at = start_of(from).map_or_else(
        || head.clone(),
        |at| match from {
            Place::At(checkpoint) => checkpoint.clone(),
            _ => shared.start().with(0, at),
        },
    );
    match read.direction {
        Direction::Forward => {
            let bound = read.until.clone().unwrap_or_else(|| head.clone());
            let walk = Walk { session, asked };
            let bounds = Bounds { low: at.sequence(0), high: bound.sequence(0) };
            let (taken, reached) = walk.forward(bounds, read.limit).await?;
            let scanned_to = if reached <= at.sequence(0) {
                at.clone()
            } else {
                place(shared, session, reached, Some(&bound)).await?
            };
            let end = scanned_to.at_least(&bound);
            Ok(Page { events: taken.events, scanned_to, head, last_version: None, end })
        }
        Direction::Backward => {
            let floor = read.until.clone().unwrap_or_else(|| shared.start());
            let walk = Walk { session, asked };
            let bounds = Bounds { low: floor.sequence(0), high: at.sequence(0) };
            let (taken, reached) = walk.backward(bounds, read.limit).await?;
            let scanned_to = if reached >= at.sequence(0) {
                at.clone()
            } else {
                place(shared, session, reached, Some(&floor)).await?
            };
            let end = floor.at_least(&scanned_to);
            Ok(Page { events: taken.events, scanned_to, head, last_version: None, end })
        }
    }
}

/// Finds the newest event in `(low, high]` that a query selects.
pub(crate) async fn newest_match(
    session: &Session,
    query: &Query,
    low: u64,
    high: u64,
) -> Result<Option<u64>, Unread> {
    let one = Limit::events(NonZeroU32::MIN);
    let walk = Walk { session, asked: &Asked { query, lanes: None } };
    let mut high = high;
    while low < high {
        let (taken, reached) = walk.backward(Bounds { low, high }, one).await?;
        if let Some(newest) = taken.events.first() {
            return Ok(Some(newest.position().sequence));
        }
        high = reached;
    }
    Ok(None)
}

/// A walk over the candidates of a read, in chunks.
struct Walk<'a> {
    session: &'a Session,
    asked: &'a Asked<'a>,
}

/// The candidates of one statement, and the place up to which there are no others.
struct Chunk {
    found: Vec<Found>,
    /// `None` if there are no others within the bounds.
    cut: Option<u64>,
}

impl Walk<'_> {
    /// Takes whole batches after `low`. Returns the place reached.
    async fn forward(&self, bounds: Bounds, limit: Limit) -> Result<(Taken, u64), Unread> {
        let (mut taken, mut low) = (Taken::new(limit), bounds.low);
        let scans = self.scans(bounds).await?;
        while low < bounds.high && !taken.is_full() {
            let chunk = self.chunk(FORWARD, &scans, Bounds { low, ..bounds }, &taken).await?;
            let cut = chunk.cut;
            let mut found = chunk.found;
            // The end of the batch that holds the cut: the rest of the batch belongs to the page.
            let reached = match (cut, found.last()) {
                (Some(cut), Some(last)) => {
                    let end = last.batch_end.min(bounds.high);
                    if end > cut {
                        found.extend(self.range(Bounds { low: cut, high: end }).await?);
                    }
                    end
                }
                _ => bounds.high,
            };
            let stopped = self.take_batches(&mut taken, found, bounds.high);
            low = stopped.unwrap_or(reached);
        }
        Ok((taken, low))
    }

    /// Takes the wanted events batch by batch. Returns the end of the batch after which the page was full, if others follow.
    fn take_batches(&self, taken: &mut Taken, found: Vec<Found>, high: u64) -> Option<u64> {
        let mut batch_end = 0;
        for found in found {
            if found.batch_end != batch_end && batch_end > 0 && taken.is_full() {
                return Some(batch_end.min(high));
            }
            batch_end = found.batch_end;
            taken.examined += 1;
            if self.asked.wants(&found.event) {
                taken.take(found.event);
            }
        }
        None
    }

    /// Takes single events up to `high`, newest first. Returns the place reached.
    async fn backward(&self, bounds: Bounds, limit: Limit) -> Result<(Taken, u64), Unread> {
        let (mut taken, mut high) = (Taken::new(limit), bounds.high);
        let scans = self.scans(bounds).await?;
        while bounds.low < high && !taken.is_full() {
            let Chunk { found, cut } =
                self.chunk(BACKWARD, &scans, Bounds { high, ..bounds }, &taken).await?;
            let mut reached = cut.map_or(bounds.low, |cut| cut - 1);
            for found in found {
                if taken.is_full() {
                    break;
                }
                let position = found.position();
                taken.examined += 1;
                if self.asked.wants(&found.event) {
                    taken.take(found.event);
                }
                if taken.is_full() {
                    reached = position - 1;
                }
            }
            high = reached;
        }
        Ok((taken, high))
    }

    async fn scans(&self, bounds: Bounds) -> Result<Scans, Unread> {
        if bounds.low >= bounds.high {
            return Ok(Scans::default());
        }
        scans::of(self.session, self.asked.query, bounds).await
    }

    async fn chunk(
        &self,
        statement: &'static str,
        scans: &Scans,
        bounds: Bounds,
        taken: &Taken,
    ) -> Result<Chunk, Unread> {
        let postings = taken.examined_left() / scans.count().max(1) as u64;
        // As many as were passed over before: a search that wants one event reads more and more at a time.
        let wanted = taken.events_left().saturating_add(1).max(taken.examined);
        let postings = postings.min(wanted).clamp(1, CHUNK_ROWS_MAX);
        let (postings, bytes) = (sequence_column(postings), sequence_column(taken.bytes_left().max(1)));
        let (low, high) = (sequence_column(bounds.low), sequence_column(bounds.high));
        let statement = self.session.prepare(statement).await?;
        let Scans { all, terms, streams, ids } = scans;
        let rows = self.session.client();
        let rows =
            rows.query(&statement, &[&low, &high, &postings, &bytes, all, terms, streams, ids]).await?;
        let found = chunk::rows(&rows)?;
        let cut = found.last().and_then(|last| match last.has_next {
            true => Some(last.position()),
            false => last.reach,
        });
        Ok(Chunk { found, cut })
    }

    async fn range(&self, bounds: Bounds) -> Result<Vec<Found>, Unread> {
        let statement = self.session.prepare(RANGE).await?;
        let (low, high) = (sequence_column(bounds.low), sequence_column(bounds.high));
        chunk::rows(&self.session.client().query(&statement, &[&low, &high]).await?)
    }
}
