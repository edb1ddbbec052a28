//! What a reaction records: the facts of one batch. Pure.

use std::collections::BTreeSet;

use gesta_core::Timestamp;
use serde_json::value::RawValue;

use super::event::{Performed, ProcessEvent, Reacted, TimerCancelled, TimerName, TimerSet, effect_json};
use super::identity::{EffectId, InputId};
use super::memory::Memory;
use super::reaction::{Reaction, TimerChange};
use super::{Process, limits};
use crate::error::EncodeError;
use crate::fact::Fact;

/// What a process reacted to.
pub(crate) enum Cause {
    /// An input, which is recorded as taken.
    Input(InputId),
    /// The outcome of an effect, which is recorded with it.
    Outcome { effect: EffectId, outcome: Box<RawValue> },
}

/// Why a reaction cannot be recorded. Each is a mistake of the process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error(
        "an outcome was deferred: its effect is done, so record the outcome and go on with a later input"
    )]
    OutcomeDeferred,
    #[error("a deferred reaction has events, effects or timers: nothing of a deferred reaction is recorded")]
    DeferredWithSteps,
    #[error(
        "effects followed from outcomes {} times in a row: set a timer before the next try",
        limits::CHAIN_EFFECTS_MAX
    )]
    LongChain,
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// The facts of a reaction, decided on that memory at that time; `None` if it is deferred.
pub(crate) fn plan<P: Process>(
    memory: &Memory<P>,
    cause: Cause,
    reaction: Reaction<P>,
    now: Timestamp,
) -> Result<Option<Vec<Fact>>, PlanError> {
    if reaction.is_deferred {
        return match cause {
            _ if !reaction.is_empty() => Err(PlanError::DeferredWithSteps),
            Cause::Outcome { .. } => Err(PlanError::OutcomeDeferred),
            Cause::Input(_) => Ok(None),
        };
    }
    let effects = reaction.effects.iter().map(effect_json).collect::<Result<Vec<_>, _>>()?;
    let first = match cause {
        Cause::Outcome { effect, .. }
            if !effects.is_empty() && effect.path.len() >= limits::CHAIN_EFFECTS_MAX =>
        {
            return Err(PlanError::LongChain);
        }
        Cause::Outcome { effect, outcome } => ProcessEvent::Performed(Performed { effect, outcome, effects }),
        Cause::Input(input) => ProcessEvent::Reacted(Reacted { input, effects }),
    };
    let mut facts = vec![first.encode(memory.stream())?];
    let timers = timer_events(memory.timers().clone(), reaction.timers, now)?;
    for event in timers {
        facts.push(event.encode(memory.stream())?);
    }
    for event in &reaction.events {
        facts.push(Fact::new(memory.stream().clone(), event)?);
    }
    Ok(Some(facts))
}

/// The changes of timers as events, in their order. To cancel a timer that is not pending leaves no event.
fn timer_events<T: serde::Serialize>(
    mut pending: BTreeSet<String>,
    changes: Vec<TimerChange<T>>,
    now: Timestamp,
) -> Result<Vec<ProcessEvent>, EncodeError> {
    let mut events = Vec::with_capacity(changes.len());
    for change in changes {
        match change {
            TimerChange::Set(timer, due) => {
                let timer = TimerName::new(&timer)?;
                pending.insert(timer.as_str().to_owned());
                events.push(ProcessEvent::TimerSet(TimerSet { timer, due: due.from(now).as_nanos() }));
            }
            TimerChange::Cancel(timer) => {
                let timer = TimerName::new(&timer)?;
                if pending.remove(timer.as_str()) {
                    events.push(ProcessEvent::TimerCancelled(TimerCancelled { timer }));
                }
            }
        }
    }
    Ok(events)
}
