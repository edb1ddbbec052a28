//! Decides whether a batch is accepted. The order of the checks is part of the contract.

use super::{Log, Partition};
use crate::batch::{Batch, CommandKey, Condition, Placed};
use crate::checkpoint::Checkpoint;
use crate::error::AppendError;
use crate::form::check_marks;

/// The decision on a batch that is not refused.
pub(super) enum Decision {
    Accept,
    /// The batch was recorded before, at these places.
    Repeat(Vec<Placed>),
}

/// Decides a batch against its partition. Its form must be checked already.
pub(super) fn decide(
    log: &Log,
    partition: u16,
    batch: &Batch,
    head: &Checkpoint,
) -> Result<Decision, AppendError> {
    let partition = &log.partitions[usize::from(partition)];
    if let Some(command) = &batch.command
        && let Some(places) = repeat_of_command(partition, command)?
    {
        return Ok(Decision::Repeat(places));
    }
    if let Some(places) = repeat_by_ids(partition, batch)? {
        return Ok(Decision::Repeat(places));
    }
    for (stream, expected) in &batch.expect {
        let actual = partition.last_version(stream);
        let version_of = |id| partition.find(stream, id).map(|place| place.version);
        if !expected.is_met_by(actual, version_of) {
            return Err(AppendError::Conflict { stream: stream.clone(), expected: *expected, actual });
        }
    }
    for (index, condition) in batch.conditions.iter().enumerate() {
        check_place(log, condition, head)?;
        check_condition(partition, index, condition)?;
    }
    Ok(Decision::Accept)
}

pub(super) fn repeat_of_command(
    partition: &Partition,
    command: &CommandKey,
) -> Result<Option<Vec<Placed>>, AppendError> {
    match partition.commands.get(&command.key) {
        None => Ok(None),
        Some((request, _, _)) if *request != command.request => Err(AppendError::KeyReused),
        Some((_, first, last)) => {
            let events = (*first..=*last).map(|sequence| partition.event(sequence));
            Ok(Some(
                events.map(|event| Placed { version: event.version(), position: event.position() }).collect(),
            ))
        }
    }
}

/// Decides a repeat by ids alone. All ids recorded at growing positions: a repeat. No id recorded: new. Anything else
/// is refused.
fn repeat_by_ids(partition: &Partition, batch: &Batch) -> Result<Option<Vec<Placed>>, AppendError> {
    let found = batch.events.iter().map(|event| partition.find(&event.stream, event.id)).collect::<Vec<_>>();
    let grows = |at: usize| match (found[at - 1], found[at]) {
        (Some(before), Some(place)) => before.position.sequence < place.position.sequence,
        _ => true,
    };
    let cut = (1..found.len()).find(|at| found[*at].is_some() != found[0].is_some() || !grows(*at));
    match (cut, found.iter().position(Option::is_some)) {
        (_, None) => Ok(None),
        (None, Some(_)) => Ok(Some(found.into_iter().flatten().collect())),
        (Some(index), Some(taken)) => {
            let event = &batch.events[taken];
            let version = found[taken].expect("it is taken").version;
            Err(AppendError::IdTaken { stream: event.stream.clone(), id: event.id, version, index })
        }
    }
}

/// Checks that the place of a condition belongs to this history of the log.
fn check_place(log: &Log, condition: &Condition, head: &Checkpoint) -> Result<(), AppendError> {
    let Some(after) = &condition.after else { return Ok(()) };
    if !head.at_least(after) {
        return Err(AppendError::CheckpointAhead { checkpoint: after.clone(), head: head.clone() });
    }
    Ok(check_marks(after, |at| log.mark_at(at))?)
}

fn check_condition(partition: &Partition, index: usize, condition: &Condition) -> Result<(), AppendError> {
    let after = condition.after.as_ref().map_or(0, |after| after.sequence(partition.number));
    let newer = partition.events.iter().rev().take_while(|event| event.position().sequence > after);
    match newer.into_iter().find(|event| condition.fail_if_any.matches(event)) {
        Some(event) => Err(AppendError::ConditionFailed { index, at: event.position() }),
        None => Ok(()),
    }
}
