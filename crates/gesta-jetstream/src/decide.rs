//! Decides the batches of a group against the copy.
//!
//! The rules are those of `gesta_core`. Added is the question if a refusal is final.

use gesta_core::{
    AppendError, Batch, Expected, Facts, Placed, RecordedBatch, RecordedEvent, RefusedBatch, Repeat,
    Timestamp, check, repeat_of,
};

use crate::bugs::{Bug, planted};

/// A group of batches in front of a copy: what the copy knows of them, with the batches accepted before in the group.
pub trait CopyGroup {
    /// Returns what is known of a batch of the group.
    fn facts(&self, at: usize) -> impl Facts;

    /// Gives a batch of the group the next places, and adds it to what is known. Its time is `now`, or that of the event before if that
    /// is later.
    fn accept(&mut self, at: usize, now: Timestamp) -> RecordedBatch;
}

/// The decision on a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is written with the group.
    Accepted(Repeat),
    /// It was written before.
    Repeated(Repeat),
    /// It repeats a batch of the same group, and is written if that one is.
    RepeatedInGroup(Repeat),
    /// It is refused.
    Refused(AppendError),
}

/// A decided group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decided {
    /// What each batch gets, if the group is written.
    pub outcomes: Vec<Outcome>,
    /// The accepted batches with their places.
    pub batches: Vec<RecordedBatch>,
    /// True if a refusal holds only if the copy was at the head: events of other processes may have made it wrong. Such a group is
    /// published though no batch was accepted.
    pub needs_proof: bool,
}

/// Decides the batches of a group in order. `now` is the writer's clock, and `read_only` the reason why nothing may be written.
pub fn decide(
    batches: &[Batch],
    group: &mut impl CopyGroup,
    now: Timestamp,
    read_only: Option<&str>,
) -> Decided {
    let mut decided = Decided::default();
    for (at, batch) in batches.iter().enumerate() {
        let verdict = decide_one(&group.facts(at), batch, read_only);
        let outcome = match verdict {
            Ok(Some(repeat)) if is_of_group(&decided, &repeat) && !planted(Bug::RepeatInGroupIsWritten) => {
                Outcome::RepeatedInGroup(repeat)
            }
            Ok(Some(repeat)) => Outcome::Repeated(repeat),
            Ok(None) => {
                let recorded = group.accept(at, now);
                let repeat =
                    Repeat { places: places_of(&recorded), end: recorded.last().position().sequence };
                decided.batches.push(recorded);
                Outcome::Accepted(repeat)
            }
            Err(refused) => {
                decided.needs_proof |= may_be_overturned(&refused.error);
                Outcome::Refused(refused.error)
            }
        };
        decided.outcomes.push(outcome);
    }
    decided
}

/// True if some of the events of a repeat are accepted with the group, so they are not written yet.
fn is_of_group(decided: &Decided, repeat: &Repeat) -> bool {
    decided.batches.first().is_some_and(|first| repeat.end >= first.first().sequence)
}

fn places_of(batch: &RecordedBatch) -> Vec<Placed> {
    let place = |event: &RecordedEvent| Placed { version: event.version(), position: event.position() };
    batch.events().iter().map(place).collect()
}

fn decide_one(
    facts: &impl Facts,
    batch: &Batch,
    read_only: Option<&str>,
) -> Result<Option<Repeat>, RefusedBatch> {
    let repeat = repeat_of(facts, batch);
    let Some(reason) = read_only else {
        if let Some(repeat) = repeat? {
            return Ok(Some(repeat));
        }
        check(facts, batch)?;
        return Ok(None);
    };
    match repeat {
        Ok(Some(repeat)) => Ok(Some(repeat)),
        Err(refused) if !may_be_overturned(&refused.error) => Err(refused),
        // Nothing is published, so nothing is proven.
        Ok(None) | Err(_) => {
            let error = AppendError::ReadOnly { reason: reason.to_owned() };
            Err(RefusedBatch { error, speaks_of: 0 })
        }
    }
}

/// True if events that the copy does not have yet could make a refusal wrong. Streams only grow, and events do not go away.
fn may_be_overturned(error: &AppendError) -> bool {
    if planted(Bug::RefusalUnproven) {
        return false;
    }
    match error {
        AppendError::Conflict { expected, actual, .. } => match expected {
            Expected::Exactly(version) | Expected::Event { version, .. } => {
                actual.is_none_or(|actual| actual < *version)
            }
            Expected::Exists => true,
            _ => false,
        },
        // With more of its ids, the batch may be a repeat, or be cut elsewhere.
        AppendError::CheckpointAhead { .. } | AppendError::IdTaken { .. } => true,
        _ => false,
    }
}
