//! Decides a group: a pure function of its batches and the facts.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use gesta_core::{
    AppendError, Batch, CommandRecord, EventBytes, Lane, Placed, Position, RefusedBatch, Repeat, StreamName,
    Timestamp, Version, check, mark_of, repeat_of,
};

use super::facts::{BatchFacts, Known};
use super::ticket::{Encoded, RecordedPlace, Ticket};
use crate::shared::sequence_column;

/// What a batch gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is written with the group: its places, and the end of its batch.
    Accepted(Repeat),
    /// It was written before.
    Repeated(Repeat),
    Refused(AppendError),
}

/// The rows that a group adds, by table and column.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) streams: Streams,
    pub(crate) events: Events,
    pub(crate) terms: Vec<i64>,
    pub(crate) term_positions: Vec<i64>,
    pub(crate) commands: Commands,
    /// The mark of the last event.
    pub(crate) last_mark: u32,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Streams {
    pub(crate) sids: Vec<i64>,
    pub(crate) names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) lanes: Vec<i16>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Events {
    pub(crate) positions: Vec<i64>,
    pub(crate) batch_ends: Vec<i64>,
    pub(crate) sids: Vec<i64>,
    pub(crate) versions: Vec<i64>,
    pub(crate) recorded_at: Vec<i64>,
    pub(crate) records: Vec<EventBytes>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Commands {
    pub(crate) keys: Vec<Vec<u8>>,
    pub(crate) requests: Vec<Vec<u8>>,
    pub(crate) firsts: Vec<i64>,
    pub(crate) lasts: Vec<i64>,
}

/// How a group is decided.
pub(crate) struct Rules<'a> {
    /// The time of an accepted batch, if it is not before that of the last event.
    pub(crate) now: &'a dyn Fn() -> Timestamp,
    /// The reason why nothing may be written.
    pub(crate) read_only: Option<&'a str>,
}

/// Decides the batches of a group in order. What it accepts joins what is known.
pub(crate) fn decide(group: &[Ticket], known: &mut Known, rules: &Rules<'_>) -> (Vec<Outcome>, Rows) {
    let mut rows = Rows::default();
    let outcomes = group.iter().map(|ticket| {
        let facts = BatchFacts { known, searched: ticket.searched() };
        match decide_one(ticket, &facts, rules) {
            Ok(Some(repeat)) => Outcome::Repeated(repeat),
            Ok(None) => {
                let time = ticket.recorded.map_or_else(|| (rules.now)(), |recorded| recorded.recorded_at);
                Outcome::Accepted(accept(&ticket.batch, &ticket.events, known, &mut rows, time))
            }
            Err(refused) => Outcome::Refused(refused.error),
        }
    });
    (outcomes.collect(), rows)
}

fn decide_one(
    ticket: &Ticket,
    facts: &BatchFacts<'_>,
    rules: &Rules<'_>,
) -> Result<Option<Repeat>, RefusedBatch> {
    let batch = &ticket.batch;
    if let Some(repeat) = repeat_of(facts, batch)? {
        return Ok(Some(repeat));
    }
    if let Some(reason) = rules.read_only {
        let error = AppendError::ReadOnly { reason: reason.to_owned() };
        return Err(RefusedBatch { error, speaks_of: 0 });
    }
    check(facts, batch)?;
    check_recorded(ticket.recorded, facts.known)?;
    Ok(None)
}

/// Checks that a batch that another store has recorded comes next, at its position and time.
fn check_recorded(recorded: Option<RecordedPlace>, known: &Known) -> Result<(), RefusedBatch> {
    let Some(RecordedPlace { first, recorded_at }) = recorded else { return Ok(()) };
    let next = known.last + 1;
    if first == next && recorded_at >= known.recorded_at {
        return Ok(());
    }
    let reason = format!("the batch was recorded at position {first}, and the copy goes on at {next}");
    Err(RefusedBatch { error: AppendError::ReadOnly { reason }, speaks_of: 0 })
}

/// Gives an accepted batch its places, and makes its rows.
fn accept(batch: &Batch, events: &[Encoded], known: &mut Known, rows: &mut Rows, now: Timestamp) -> Repeat {
    let recorded_at = now.max(known.recorded_at);
    known.recorded_at = recorded_at;
    let first = known.last + 1;
    let end = known.last + events.len() as u64;
    let mut places = Vec::with_capacity(events.len());
    for (event, encoded) in batch.events.iter().zip(events) {
        let sequence = known.last + 1;
        let (sid, version) = next_in_stream(&event.stream, known, rows);
        let place = Placed { version, position: Position { partition: 0, sequence } };
        let position = sequence_column(sequence);
        rows.events.positions.push(position);
        rows.events.batch_ends.push(sequence_column(end));
        rows.events.sids.push(sid);
        rows.events.versions.push(sequence_column(version.get()));
        rows.events.recorded_at.push(recorded_at.as_nanos());
        rows.events.records.push(encoded.bytes.clone());
        rows.terms.extend_from_slice(&encoded.terms);
        rows.term_positions.extend(encoded.terms.iter().map(|_| position));
        known.add(&event.stream, &encoded.bytes, place, sid, end);
        rows.last_mark = mark_of(event.id, recorded_at);
        places.push(place);
    }
    known.marks.insert(end, rows.last_mark);
    if let Some(command) = &batch.command {
        let versions = places.iter().map(|place| place.version.get()).collect();
        let record = CommandRecord { request: command.request, first, versions: Cow::Owned(versions) };
        known.commands.insert(command.key.clone(), record);
        rows.commands.keys.push(command.key.to_vec());
        rows.commands.requests.push(command.request.to_vec());
        rows.commands.firsts.push(sequence_column(first));
        rows.commands.lasts.push(sequence_column(end));
    }
    Repeat { places, end }
}

/// The number of a stream, and the version of its next event. A new stream gets a row.
fn next_in_stream(name: &StreamName, known: &mut Known, rows: &mut Rows) -> (i64, Version) {
    if let Some(head) = known.streams.get(name) {
        return (head.sid, head.last.version.next());
    }
    let sid = known.next_sid;
    known.next_sid += 1;
    rows.streams.sids.push(sid);
    rows.streams.names.push(name.as_str().to_owned());
    rows.streams.categories.push(StreamName::category_of(name.as_str()).to_owned());
    let lane = Lane::of(name.as_str()).get();
    rows.streams.lanes.push(i16::try_from(lane).expect("there are 1,024 lanes"));
    (sid, Version::FIRST)
}
