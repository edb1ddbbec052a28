//! What a group asks the tables, all under the lock, in the pipeline that takes it.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use gesta_core::{
    Checkpoint, EventBytes, EventId, Expected, Placed, Position, StreamName, Timestamp, Version,
};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::facts::{Known, StreamHead};
use super::ticket::Ticket;
use crate::fault::Fault;
use crate::limits::{NEWER_BYTES_MAX, NEWER_EVENTS_MAX};
use crate::read::{COMMANDS, command_of};
use crate::schema::{COPYING, TIMELINE};
use crate::session::{MARKS, STATE, Session, State, event_id, mark_of_row};
use crate::shared::{Shared, sequence_column};

/// The lock of the writers. It is held until the transaction ends.
pub(super) const LOCK: &str = "select one from store for update";

/// The columns of [`STATE`]; then the timeline of the server, the last stream, the clock in nanoseconds, the time that events have at
/// least, and whether another store is copied into this one.
fn locked_state() -> &'static str {
    static TEXT: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    TEXT.get_or_init(|| {
        let columns = format!(
            ", {TIMELINE}, (select coalesce(max(sid), 0) from stream), \
             (extract(epoch from clock_timestamp()) * 1000000000)::bigint, \
             (select max(recorded_at) from floor), to_regclass('{COPYING}') is not null from (select 1) one"
        );
        STATE.replace(" from (select 1) one", &columns)
    })
}

const HEADS: &str = "select s.name, s.sid, e.version, e.position from unnest($1::text[]) n(name) \
     join stream s on s.name = n.name cross join lateral \
     (select version, position from event where sid = s.sid order by version desc limit 1) e";

/// The events with an id in a stream, with the last event of their batch. `offset 0` keeps the planner from walking the stream to find
/// an id.
const EVENTS: &str = "select n.name, e.id, e.version, e.position, e.batch_end, b.id, b.recorded_at \
     from unnest($1::bytea[], $2::text[]) n(id, name) cross join lateral \
     (select id, sid, version, position, batch_end from event where id = n.id offset 0) e \
     join stream s on s.sid = e.sid and s.name = n.name join event b on b.position = e.batch_end";

/// Newest first as long as they fit: parameters are a position, events, bytes. The answer is in order and without gaps.
const NEWER: &str = "select position, record from (select position, record, \
       sum(octet_length(record)) over (order by position desc) - octet_length(record) as newer_bytes from \
       (select position, record from event where position > $1 order by position desc limit $2) newest) sized \
     where newer_bytes < $3 order by position";

/// What a group asks.
pub(super) struct Questions {
    streams: Vec<String>,
    ids: Vec<Vec<u8>>,
    streams_of_ids: Vec<String>,
    keys: Vec<Vec<u8>>,
    /// The end of the earliest search; `None` if no batch has conditions.
    newer_than: Option<i64>,
    places: Vec<i64>,
}

/// The answers of the server, by question.
struct Answers {
    locked: Vec<Row>,
    state: Row,
    heads: Vec<Row>,
    events: Vec<Row>,
    commands: Vec<Row>,
    newer: Vec<Row>,
    marks: Vec<Row>,
}

/// The state of the store under the lock, with the answers.
pub(super) struct Found {
    pub(super) state: State,
    /// The timeline of the server, which may be newer than that of the history.
    pub(super) timeline: i64,
    /// True while another store is copied into this one.
    pub(super) is_copying: bool,
    /// The clock of the database.
    pub(super) now: Timestamp,
    /// [`Known::newer`] has all events after it. Searches must reach it.
    pub(super) newer_than: u64,
    pub(super) known: Known,
}

/// The time that the next event has at least.
fn earliest(state: &State, floor: Option<i64>) -> Timestamp {
    let last = state.head.map_or(Timestamp::MIN, |last| last.recorded_at);
    floor.map(Timestamp::from_nanos).map_or(last, |floor| floor.max(last))
}

impl Questions {
    pub(super) fn of(group: &[Ticket], shared: &Shared) -> Self {
        let streams = group.iter().flat_map(Ticket::streams).collect::<HashSet<_>>();
        let ids = group.iter().flat_map(ids_of).collect::<HashSet<_>>();
        let keys =
            group.iter().filter_map(|ticket| ticket.batch.command.as_ref()).map(|command| &command.key);
        let conditions = group.iter().flat_map(|ticket| &ticket.batch.conditions);
        let places = conditions.filter_map(|condition| condition.after.as_ref());
        let searched = group.iter().filter_map(Ticket::searched).map(|searched| searched.checked_to).min();
        Self {
            streams: streams.into_iter().map(|name| name.as_str().to_owned()).collect(),
            ids: ids.iter().map(|(_, id)| id.as_bytes().to_vec()).collect(),
            streams_of_ids: ids.iter().map(|(stream, _)| stream.as_str().to_owned()).collect(),
            keys: keys.collect::<BTreeSet<_>>().into_iter().map(|key| key.to_vec()).collect(),
            newer_than: searched.map(sequence_column),
            places: shared.unknown_places(places),
        }
    }

    /// Begins a transaction, takes the lock and asks, in one round trip.
    pub(super) async fn ask(&self, session: &Session, shared: &Shared) -> Result<Found, Fault> {
        let answers = self.send(session).await?;
        if answers.locked.is_empty() {
            return Err(Fault::Refused("the row of the store is gone from its table".to_owned()));
        }
        let (row, state) = (&answers.state, State::of(&answers.state, session)?);
        let (timeline, now) = (row.try_get(5)?, Timestamp::from_nanos(row.try_get(7)?));
        let is_copying = row.try_get(9)?;
        let known = answers.known(shared.observe(&state)?, &state)?;
        let newer_than = known.newer.first().map_or(known.last, |(first, _)| first - 1);
        Ok(Found { state, timeline, is_copying, now, newer_than, known })
    }

    async fn send(&self, session: &Session) -> Result<Answers, Fault> {
        let client = session.client();
        let (lock, state) = (session.prepare(LOCK).await?, session.prepare(locked_state()).await?);
        let (heads, events) = (session.prepare(HEADS).await?, session.prepare(EVENTS).await?);
        let (commands, newer) = (session.prepare(COMMANDS).await?, session.prepare(NEWER).await?);
        let marks = session.prepare(MARKS).await?;
        let newest: [&(dyn ToSql + Sync); 3] =
            [&self.newer_than, &sequence_column(NEWER_EVENTS_MAX), &sequence_column(NEWER_BYTES_MAX)];
        let (begun, locked, state, heads, events, commands, newer, marks) = tokio::join!(
            client.batch_execute("begin isolation level read committed read write"),
            client.query(&lock, &[]),
            client.query_one(&state, &[]),
            async { client.query(&heads, &[&self.streams]).await },
            async { client.query(&events, &[&self.ids, &self.streams_of_ids]).await },
            async { session.query_if(!self.keys.is_empty(), &commands, &[&self.keys]).await },
            session.query_if(self.newer_than.is_some(), &newer, &newest),
            async { session.query_if(!self.places.is_empty(), &marks, &[&self.places]).await },
        );
        begun?;
        Ok(Answers {
            locked: locked?,
            state: state?,
            heads: heads?,
            events: events?,
            commands: commands?,
            newer: newer?,
            marks: marks?,
        })
    }
}

impl Answers {
    /// Reads the answers. `head` is the head of their snapshot.
    fn known(self, head: Checkpoint, state: &State) -> Result<Known, Fault> {
        let mut known = Known {
            head,
            last: state.position(),
            recorded_at: earliest(state, self.state.try_get(8)?),
            next_sid: self.state.try_get::<_, i64>(6)? + 1,
            streams: self.heads.iter().map(head_of_row).collect::<Result<_, _>>()?,
            events: HashMap::new(),
            ends: HashMap::new(),
            commands: HashMap::new(),
            newer: self.newer.iter().map(newer_of_row).collect::<Result<_, _>>()?,
            marks: HashMap::new(),
        };
        for row in self.events {
            add_event(&row, &mut known)?;
        }
        for row in self.commands {
            let (key, record, mark) = command_of(&row)?;
            known.marks.insert(record.last(), mark);
            known.commands.insert(Bytes::from(key), record);
        }
        for row in self.marks {
            let (sequence, mark) = mark_of_row(&row)?;
            known.marks.insert(sequence, mark);
        }
        Ok(known)
    }
}

/// The ids that a batch brings or expects, with their streams.
fn ids_of(ticket: &Ticket) -> impl Iterator<Item = (&StreamName, EventId)> {
    let own = ticket.batch.events.iter().map(|event| (&event.stream, event.id));
    own.chain(ticket.batch.expect.iter().filter_map(|(stream, expected)| match expected {
        Expected::Event { id, .. } => Some((stream, *id)),
        _ => None,
    }))
}

fn name_of(row: &Row) -> Result<StreamName, Fault> {
    row.try_get::<_, &str>(0)?.parse().map_err(|error| Fault::damaged("stream", error))
}

fn place_of(version: i64, position: i64) -> Placed {
    let position = Position { partition: 0, sequence: position.cast_unsigned() };
    Placed { version: Version::new(version.cast_unsigned()), position }
}

fn head_of_row(row: &Row) -> Result<(StreamName, StreamHead), Fault> {
    let last = place_of(row.try_get(2)?, row.try_get(3)?);
    Ok((name_of(row)?, StreamHead { sid: row.try_get(1)?, last }))
}

fn newer_of_row(row: &Row) -> Result<(u64, EventBytes), Fault> {
    let record = EventBytes::parse(Bytes::copy_from_slice(row.try_get::<_, &[u8]>(1)?));
    let record = record.map_err(|error| Fault::damaged("event", error))?;
    Ok((row.try_get::<_, i64>(0)?.cast_unsigned(), record))
}

fn add_event(row: &Row, known: &mut Known) -> Result<(), Fault> {
    let (id, place) = (event_id(row.try_get(1)?)?, place_of(row.try_get(2)?, row.try_get(3)?));
    let end = row.try_get::<_, i64>(4)?.cast_unsigned();
    let mark = gesta_core::mark_of(event_id(row.try_get(5)?)?, Timestamp::from_nanos(row.try_get(6)?));
    known.events.entry(id).or_default().push((name_of(row)?, place));
    known.ends.insert(place.position.sequence, end);
    known.marks.insert(end, mark);
    Ok(())
}
