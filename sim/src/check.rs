//! The checks of a log against its model: one for whatever a crash leaves, one for what rot leaves.

use gesta_core::{Checkpoint, Limit, Place, Query, Read, ReadError, RecordedEvent};
use gesta_log::LogStore;

use crate::model::{Model, Wrong};
use crate::plan::{Ending, index, query};
use crate::random::Random;

/// Everything that was acknowledged or shown is there, at its place; what stands behind it are batches in doubt, whole.
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

/// What a reader is shown now is what the model knows, and nothing else.
pub(crate) fn check_shown(log: &LogStore, model: &Model, random: &mut Random) -> Result<(), Wrong> {
    let from = index(random, model.log.len() + 1);
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

/// A query answered by the index gives what a look at every event gives.
pub(crate) fn check_index(log: &LogStore, model: &Model, random: &mut Random) -> Result<(), Wrong> {
    let query = query(random, model);
    let found = read_all(log, &query, 0)?;
    let found = found.iter().map(|event| event.position().sequence);
    let expected = model.log.iter().zip(1..).filter(|(event, _)| query.matches(&event.bytes));
    if found.eq(expected.map(|(_, position)| position)) {
        return Ok(());
    }
    Err(format!("the index does not give what a scan gives for {query:?}"))
}

fn check_places(events: &[RecordedEvent], model: &Model, from: usize) -> Result<(), Wrong> {
    for (at, event) in (from..).zip(events) {
        if event.position().sequence != at as u64 + 1 {
            return Err(format!("{event:?} does not stand at position {}", at + 1));
        }
        if model.log.get(at).is_some_and(|known| !known.is(event)) {
            return Err(format!("{event:?} stands where batch {} was", model.log[at].sent));
        }
    }
    Ok(())
}

fn read_all(log: &LogStore, query: &Query, from: usize) -> Result<Vec<RecordedEvent>, Wrong> {
    let mut events = Vec::new();
    let mut from = Checkpoint::new(log.id(), [from as u64]);
    loop {
        let read = Read::log_from(query.clone(), Place::At(from));
        let page = log.read_blocking(&read).map_err(|error| format!("a read failed: {error:?}"))?;
        events.extend(page.events);
        if page.end {
            return Ok(events);
        }
        from = page.scanned_to;
    }
}

/// After rot: what is shown is what was acknowledged, and what is not shown is reported, with its positions. Gives whether any event is
/// lost.
pub(crate) fn check_damaged(log: &LogStore, model: &Model, ending: Ending) -> Result<bool, Wrong> {
    let known = model.log.len();
    let (mut seen, mut lost) = (vec![false; known], vec![false; known]);
    let mut from = Checkpoint::new(log.id(), [0]);
    loop {
        let limit = Limit::events(const { std::num::NonZeroU32::new(50).expect("50 is not 0") });
        match log.read_blocking(&Read::log_from(Query::All, Place::At(from.clone())).limit(limit)) {
            Ok(page) => {
                for event in &page.events {
                    let at = usize::try_from(event.position().sequence - 1).expect("small");
                    if !model.log.get(at).is_some_and(|own| own.is(event)) {
                        return Err(format!("after rot, {event:?} is shown, and was never acknowledged"));
                    }
                    seen[at] = true;
                }
                if page.end {
                    break;
                }
                from = page.scanned_to;
            }
            Err(ReadError::DataLoss { from: first, to, resume, .. }) => {
                let range = first.sequence.saturating_sub(1)..to.sequence.min(known as u64);
                range.for_each(|at| lost[usize::try_from(at).expect("small")] = true);
                if resume.sequence(0) <= from.sequence(0) {
                    break;
                }
                from = resume;
            }
            Err(error) => return Err(format!("after rot, a read failed: {error:?}")),
        }
    }
    if ending == Ending::LostSegment
        && let Some(last) = lost.iter().rposition(|lost| *lost)
    {
        // How many events the last segment held was known to its file alone.
        (last..known).filter(|at| !seen[*at]).for_each(|at| lost[at] = true);
    }
    let any_lost = lost.iter().any(|lost| *lost);
    // What runs cover is not read by an open: damage there is found by reads, by a scrub, and by a check of the whole log.
    if !log.recovery().damage.is_empty() && log.read_only().is_none() {
        return Err("events are known to be lost, and the log takes writes".to_owned());
    }
    match (0..known).find(|at| seen[*at] == lost[*at]) {
        None => Ok(any_lost),
        Some(at) if seen[at] => Err(format!("position {} is shown and reported as lost", at + 1)),
        Some(at) => Err(format!("position {} is gone, and nobody says so", at + 1)),
    }
}
