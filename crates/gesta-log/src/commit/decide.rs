//! Whether a batch is accepted: pure, against the index, in the order of checks that is contract.

use gesta_core::{
    AppendError, Batch, Checkpoint, CommandKey, Condition, Placed, Position, StoreId, StreamName, Version,
};

use crate::index::{Index, StreamEntry};

/// An answer that speaks of events: it waits until they are durable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) error: AppendError,
    /// The last position that the answer speaks of; 0 if it speaks of none.
    pub(crate) speaks_of: u64,
}

/// What was recorded before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Repeat {
    pub(crate) places: Vec<Placed>,
    /// The end of the batch that holds its last event.
    pub(crate) end: u64,
}

/// What a decision knows of its log besides the index.
pub(crate) struct Scope {
    pub(crate) store: StoreId,
    pub(crate) partition: u16,
    /// The last position that any reader was shown: no honest checkpoint lies beyond.
    pub(crate) durable: u64,
}

/// Whether the batch was recorded before, by its command key or its ids.
pub(crate) fn repeat_of(index: &Index, batch: &Batch, scope: &Scope) -> Result<Option<Repeat>, Refused> {
    if let Some(command) = &batch.command
        && let Some(repeat) = repeat_of_command(index, command, scope.partition)?
    {
        return Ok(Some(repeat));
    }
    repeat_by_ids(index, batch, scope)
}

/// The first answer to a command, if its key was recorded.
pub(crate) fn repeat_of_command(
    index: &Index,
    command: &CommandKey,
    partition: u16,
) -> Result<Option<Repeat>, Refused> {
    let Some(entry) = index.command(command) else { return Ok(None) };
    if entry.request != command.request {
        return Err(Refused { error: AppendError::KeyReused, speaks_of: entry.last() });
    }
    let place = |(version, sequence): (&u64, u64)| Placed {
        version: Version::new(*version),
        position: Position { partition, sequence },
    };
    let places = entry.versions.iter().zip(entry.first..).map(place).collect();
    Ok(Some(Repeat { places, end: entry.last() }))
}

/// Ids alone decide a repeat: all of them there, at growing positions. None there: new. Anything else is refused.
fn repeat_by_ids(index: &Index, batch: &Batch, scope: &Scope) -> Result<Option<Repeat>, Refused> {
    let find = |event: &gesta_core::NewEvent| index.find(event.stream.as_str(), event.id);
    let found = batch.events.iter().map(find).collect::<Vec<_>>();
    let Some(taken) = found.iter().position(Option::is_some) else { return Ok(None) };
    let grows = |at: usize| match (found[at - 1], found[at]) {
        (Some((_, before)), Some((_, position))) => before < position,
        _ => true,
    };
    let cut = (1..found.len()).find(|at| found[*at].is_some() != found[0].is_some() || !grows(*at));
    let Some(cut) = cut else {
        let places = found.into_iter().flatten().map(|(version, sequence)| Placed {
            version: Version::new(version),
            position: Position { partition: scope.partition, sequence },
        });
        let places = places.collect::<Vec<_>>();
        let end = index.batch_end(places.last().expect("a batch has events").position.sequence);
        return Ok(Some(Repeat { places, end }));
    };
    let (event, (version, _)) = (&batch.events[taken], found[taken].expect("it is taken"));
    let (stream, id, version) = (event.stream.clone(), event.id, Version::new(version));
    // Where the batch would have to be cut rests on every event that was found, so the answer speaks of the last of them.
    let speaks_of = found.iter().flatten().map(|(_, position)| *position).max().unwrap_or(0);
    Err(Refused { error: AppendError::IdTaken { stream, id, version, index: cut }, speaks_of })
}

/// Whether what a batch expects of its streams and of the log holds.
pub(crate) fn check(index: &Index, batch: &Batch, scope: &Scope) -> Result<(), Refused> {
    for (stream, expected) in &batch.expect {
        let last = last_event(index, stream);
        let actual = last.map(|(version, _)| version);
        if !expected.is_met_by(actual) {
            let error = AppendError::Conflict { stream: stream.clone(), expected: *expected, actual };
            return Err(Refused { error, speaks_of: last.map_or(0, |(_, position)| position) });
        }
    }
    batch
        .conditions
        .iter()
        .enumerate()
        .try_for_each(|(at, condition)| check_condition(index, at, condition, scope))
}

fn last_event(index: &Index, stream: &StreamName) -> Option<(Version, u64)> {
    let positions = index.stream(stream.as_str()).map(StreamEntry::positions)?;
    let version = index.stream(stream.as_str())?.version_of(positions.len() - 1);
    Some((Version::new(version), *positions.last()?))
}

fn check_condition(index: &Index, at: usize, condition: &Condition, scope: &Scope) -> Result<(), Refused> {
    let after = condition.after.as_ref().map_or(0, |after| after.sequence(scope.partition));
    if let Some(checkpoint) = &condition.after
        && after > scope.durable
    {
        let head = Checkpoint::new(scope.store, [scope.durable]);
        let error = AppendError::CheckpointAhead { checkpoint: checkpoint.clone(), head };
        return Err(Refused { error, speaks_of: 0 });
    }
    if index.last() == after {
        return Ok(());
    }
    match index.plan(&condition.fail_if_any).previous(index.last()) {
        Some(sequence) if sequence > after => {
            let position = Position { partition: scope.partition, sequence };
            Err(Refused {
                error: AppendError::ConditionFailed { index: at, at: position },
                speaks_of: sequence,
            })
        }
        _ => Ok(()),
    }
}
