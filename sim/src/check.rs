//! The checks of a log against its model, after a crash and after damage.

use std::num::NonZeroU32;

use gesta_core::{
    AppendError, Checkpoint, Direction, Limit, Place, Query, Read, ReadError, RecordedEvent, StreamName,
};
use gesta_log::LogStore;
use gesta_log::sim::{IndexFault, Machine};

use crate::harm::{End, HEADER_BYTES, Harm, Snapshot, is_segment};
use crate::model::{Model, Wrong};
use crate::plan::query;
use crate::random::Random;
use crate::simulation::options;

/// Events whose streams and batches are tried on a log without its index.
const UNINDEXED_ASKED: usize = 8;

/// Checks that everything acknowledged or shown is at its position. After it there may only be whole batches in
/// doubt.
pub(crate) fn check_opened(log: &LogStore, model: &mut Model) -> Result<(), Wrong> {
    let events = read_all(log, &Query::All, 0)?;
    let known = model.log.len();
    if events.len() < known {
        return Err(format!(
            "{} of {known} events that were acknowledged or shown are gone",
            known - events.len()
        ));
    }
    check_places(&events, model, 0)?;
    model.take_over(&events[known..])
}

/// Checks that a reader sees from index `from` on exactly the events of the model.
pub(crate) fn check_shown(log: &LogStore, model: &Model, from: usize) -> Result<(), Wrong> {
    let events = read_all(log, &Query::All, from)?;
    if from + events.len() != model.log.len() {
        return Err(format!(
            "{} events are shown, {} were acknowledged",
            from + events.len(),
            model.log.len()
        ));
    }
    check_places(&events, model, from)
}

/// Checks that a log whose index is being rebuilt returns all events by position, in both directions, and refuses
/// every other query.
pub(crate) fn check_unindexed(log: &LogStore, model: &Model) -> Result<(), Wrong> {
    let events = read_all(log, &Query::All, 0)?;
    if events.len() < model.log.len() {
        return Err(format!("without an index, {} of {} events are shown", events.len(), model.log.len()));
    }
    check_places(&events, model, 0)?;
    let mut backward = read_all_backward(log, &Query::All)?;
    backward.reverse();
    if backward != events {
        return Err("without an index, a log shows other events backward than forward".to_owned());
    }
    let is_named = |reason: &str| IndexFault::of(reason) == Some(IndexFault::Building);
    for event in events.iter().take(UNINDEXED_ASKED) {
        let query = Query::stream(event.stream().parse().expect("a name"));
        match log.read_blocking(&Read::log(query)) {
            Err(ReadError::Unavailable { reason }) if is_named(&reason) => {}
            answered => return Err(format!("a query was answered without an index: {answered:?}")),
        }
    }
    for event in model.log.iter().take(UNINDEXED_ASKED) {
        match log.append_blocking(model.repeat_of(event.sent)) {
            Err(AppendError::Unavailable { reason }) if is_named(&reason) => {}
            answered => return Err(format!("an append was decided without an index: {answered:?}")),
        }
    }
    Ok(())
}

/// Checks that the index answers a random query as a full scan does.
pub(crate) fn check_index(log: &LogStore, model: &Model, random: &mut Random) -> Result<(), Wrong> {
    check_query(log, model, &query(random, model))
}

/// Checks that the index answers `query` as a full scan does, in both directions.
pub(crate) fn check_query(log: &LogStore, model: &Model, query: &Query) -> Result<(), Wrong> {
    let positions =
        |found: &[RecordedEvent]| found.iter().map(|own| own.position().sequence).collect::<Vec<_>>();
    let expected = model.log.iter().zip(1..).filter(|(event, _)| query.matches(&event.bytes));
    let mut expected = expected.map(|(_, position)| position).collect::<Vec<u64>>();
    if positions(&read_all(log, query, 0)?) != expected {
        return Err(format!("the index and a scan differ for {query:?}"));
    }
    expected.reverse();
    if positions(&read_all_backward(log, query)?) != expected {
        return Err(format!("the index and a backward scan differ for {query:?}"));
    }
    Ok(())
}

/// True if the failure is index damage that the next open repairs.
pub(crate) fn is_index_damage(wrong: &str) -> bool {
    IndexFault::of(wrong) == Some(IndexFault::Damaged)
}

fn check_places(events: &[RecordedEvent], model: &Model, from: usize) -> Result<(), Wrong> {
    for (at, event) in (from..).zip(events) {
        if event.position().sequence != at as u64 + 1 {
            return Err(format!("{event:?} is not at position {}", at + 1));
        }
        if model.log.get(at).is_some_and(|known| !known.is(event)) {
            return Err(format!("{event:?} is at the place of batch {}", model.log[at].sent));
        }
    }
    model.check_closed(events)?;
    match events.windows(2).find(|pair| pair[1].recorded_at() < pair[0].recorded_at()) {
        Some(pair) => Err(format!("{:?} was recorded before the event that it follows", pair[1])),
        None => Ok(()),
    }
}

/// All events that a log shows, from the first on.
pub(crate) fn read_all_events(log: &LogStore) -> Result<Vec<RecordedEvent>, Wrong> {
    read_all(log, &Query::All, 0)
}

fn read_all(log: &LogStore, query: &Query, from: usize) -> Result<Vec<RecordedEvent>, Wrong> {
    let from = Checkpoint::new(log.id(), [from as u64]);
    read_pages(log, query, Place::At(from), Direction::Forward)
}

fn read_all_backward(log: &LogStore, query: &Query) -> Result<Vec<RecordedEvent>, Wrong> {
    read_pages(log, query, Place::End, Direction::Backward)
}

fn read_pages(
    log: &LogStore,
    query: &Query,
    mut from: Place,
    direction: Direction,
) -> Result<Vec<RecordedEvent>, Wrong> {
    let mut events = Vec::new();
    loop {
        let read = Read { direction, ..Read::log_from(query.clone(), from) };
        let page = log.read_blocking(&read).map_err(|error| format!("a read failed: {error:?}"))?;
        events.extend(page.events);
        if page.end {
            return Ok(events);
        }
        from = Place::At(page.scanned_to);
    }
}

/// Checks that a stream returns its events in the order of versions, in both directions.
pub(crate) fn check_stream(log: &LogStore, model: &Model, name: &StreamName) -> Result<(), Wrong> {
    let own = model.log.iter().filter(|event| event.bytes.stream() == name.as_str()).collect::<Vec<_>>();
    for direction in [Direction::Forward, Direction::Backward] {
        let read = Read { direction, ..Read::stream(name.clone()) };
        let read = read.limit(Limit::events(const { NonZeroU32::new(10_000).expect("not 0") }));
        let page = log.read_blocking(&read).map_err(|error| format!("a read failed: {error:?}"))?;
        let mut found = page.events;
        if direction == Direction::Backward {
            found.reverse();
        }
        if page.end && (found.len() != own.len() || !found.iter().zip(&own).all(|(event, own)| own.is(event)))
        {
            return Err(format!(
                "the stream {name}, read {direction:?}, differs from the acknowledged events"
            ));
        }
    }
    Ok(())
}

/// Checks that every byte that recovery cut from a segment is kept in `quarantine/`. A segment that recovery ended is
/// not checked: the bytes after its end mean nothing.
pub(crate) fn check_kept(before: &Snapshot, machine: &Machine) -> Result<(), Wrong> {
    let paths = machine.paths();
    let kept = paths.iter().filter(|path| path.extension().is_some_and(|own| own == "torn"));
    let kept = kept.filter_map(|path| {
        let name = path.file_stem()?.to_str()?.to_owned();
        let mut parts = name.split('-');
        let (segment, from) = (parts.next()?.to_owned(), parts.next()?.parse::<usize>().ok()?);
        Some((segment, from, machine.content(path)?))
    });
    let kept = kept.collect::<Vec<_>>();
    for (path, bytes) in before.iter().filter(|(path, _)| is_segment(path)) {
        // A segment below its full size was ended. The bytes at the place of its END were listed in another segment
        // before.
        let full = usize::try_from(options().segment_size_bytes).expect("small");
        let Some(after) = machine.content(path).filter(|after| after.len() >= full) else { continue };
        // The id of a copy that was never listed is used again, for another file.
        if after[..HEADER_BYTES.min(bytes.len())] != bytes[..HEADER_BYTES.min(bytes.len())] {
            continue;
        }
        let segment = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let lost = (HEADER_BYTES..bytes.len()).filter(|at| bytes[*at] != 0 && bytes[*at] != after[*at]);
        for at in lost {
            let is_kept = kept.iter().any(|(own, from, kept)| {
                own == segment && at.checked_sub(*from).and_then(|at| kept.get(at)) == Some(&bytes[at])
            });
            if !is_kept {
                return Err(format!(
                    "the byte at {at} of segment {segment} was cut and is not in quarantine"
                ));
            }
        }
    }
    Ok(())
}

/// The events that a log shows and the ranges that it reports as lost.
struct Reading {
    seen: Vec<bool>,
    lost: Vec<bool>,
}

/// How much a log shows after harm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    /// All events are shown.
    pub(crate) is_all: bool,
    /// Every event that the log could know is shown.
    pub(crate) is_all_known: bool,
}

/// Checks a harmed log: events that are shown were acknowledged, and missing events are reported with their
/// positions.
pub(crate) fn check_harmed(log: &LogStore, model: &Model, harm: &Harm) -> Result<Shown, Wrong> {
    let Reading { seen, mut lost } = read_around(log, model)?;
    let known = model.log.len();
    let shown = seen.iter().rposition(|seen| *seen).map_or(0, |last| last + 1);
    let hidden_from = match harm.end {
        End::Known => known,
        End::Unknown { from } if log.read_only().is_some() => {
            shown.max(usize::try_from(from).expect("small"))
        }
        End::Unknown { .. } => known,
        End::Earlier => shown,
        End::Proven { to } => shown.max(usize::try_from(to).expect("small")),
    };
    let any_lost = lost.iter().any(|lost| *lost);
    // An open does not read segments that runs cover. Reads, a scrub and a full verification find damage there.
    if !log.recovery().damage.is_empty() && log.read_only().is_none() {
        return Err("events are known to be lost, and the log takes writes".to_owned());
    }
    let reported = |at: usize| {
        let position = at as u64 + 1;
        log.recovery().damage.iter().any(|damage| (damage.from..=damage.to).contains(&position))
    };
    if let Some(at) = (0..known).find(|at| harm.is_gone && lost[*at] && !reported(*at)) {
        return Err(format!("position {} is gone with its file, and the open does not report it", at + 1));
    }
    // The loss may lie after the last acknowledged event, in a file that held no events yet.
    let is_told = any_lost || !log.recovery().damage.is_empty();
    check_streams_harmed(log, model, hidden_from, is_told)?;
    lost.iter_mut().skip(hidden_from).for_each(|lost| *lost = true);
    match (0..known).find(|at| seen[*at] == lost[*at]) {
        None => {
            Ok(Shown { is_all: shown == known && !any_lost, is_all_known: shown >= hidden_from && !any_lost })
        }
        Some(at) if seen[at] => Err(format!("position {} is shown and reported as lost", at + 1)),
        Some(at) => Err(format!("position {} is gone and not reported", at + 1)),
    }
}

/// Reads all events, and continues after each lost range.
fn read_around(log: &LogStore, model: &Model) -> Result<Reading, Wrong> {
    let known = model.log.len();
    let (mut seen, mut lost) = (vec![false; known], vec![false; known]);
    let mut from = Checkpoint::new(log.id(), [0]);
    loop {
        let limit = Limit::events(const { NonZeroU32::new(50).expect("50 is not 0") });
        match log.read_blocking(&Read::log_from(Query::All, Place::At(from.clone())).limit(limit)) {
            Ok(page) => {
                for event in &page.events {
                    let at = usize::try_from(event.position().sequence - 1).expect("small");
                    if !model.log.get(at).is_some_and(|own| own.is(event)) {
                        return Err(format!("after harm, {event:?} is shown and was never acknowledged"));
                    }
                    seen[at] = true;
                }
                if page.end {
                    return Ok(Reading { seen, lost });
                }
                from = page.scanned_to;
            }
            Err(ReadError::DataLoss { from: first, to, resume, .. }) => {
                let range = first.sequence.saturating_sub(1)..to.sequence.min(known as u64);
                range.for_each(|at| lost[usize::try_from(at).expect("small")] = true);
                if resume.sequence(0) <= from.sequence(0) {
                    return Ok(Reading { seen, lost });
                }
                from = resume;
            }
            Err(error) => return Err(format!("after harm, a read failed: {error:?}")),
        }
    }
}

/// Checks that after harm no read of a stream omits an event without an error or shows a false end of the stream.
/// Events from index `hidden_from` on may be hidden.
fn check_streams_harmed(
    log: &LogStore,
    model: &Model,
    hidden_from: usize,
    is_told: bool,
) -> Result<(), Wrong> {
    let mut names = model.log.iter().map(|event| event.bytes.stream()).collect::<Vec<_>>();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let events = model.log.iter().enumerate().filter(|(_, event)| event.bytes.stream() == name);
        let certain = events.clone().filter(|(at, _)| *at < hidden_from).count();
        let count = events.count();
        let name = StreamName::new(name).map_err(|error| error.to_string())?;
        for direction in [Direction::Forward, Direction::Backward] {
            let read = Read { direction, ..Read::stream(name.clone()) };
            let read = read.limit(Limit::events(const { NonZeroU32::new(10_000).expect("not 0") }));
            let page = match log.read_blocking(&read) {
                Ok(page) => page,
                Err(ReadError::DataLoss { .. }) if is_told => continue,
                Err(error) => return Err(format!("after harm, a read of {name} failed: {error:?}")),
            };
            if page.end && !(certain..=count).contains(&page.events.len()) {
                return Err(format!("{name} ends after {} of {count} events", page.events.len()));
            }
            let last =
                page.last_version.map(|version| version.get() + 1).filter(|last| *last != count as u64);
            if last.is_some() && hidden_from == model.log.len() {
                return Err(format!("{name} has {count} events, and its last version implies {last:?}"));
            }
        }
    }
    Ok(())
}
