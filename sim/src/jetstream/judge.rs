//! The judge: what clients were told, against the messages that the cluster has at the end.
//!
//! *The gap that it allows.* The leader is asked for the message before, and the message is published after that, with a number as its
//! expectation. If the message before is lost in between and another one has its number, the message does not follow it: the chain is broken.
//! Then nobody can go on, and every process must have stopped and told why. None may go on silently. What a process acknowledged that has
//! stopped, or has been killed since, may be lost: it is in its copy, and the process said so, or its copy had lost it too.

use std::ops::RangeInclusive;

use gesta_core::{AppendError, Batch, Repeat};
use gesta_jetstream::Halt;

use super::Wrong;
use super::cluster::Cluster;
use super::history::History;
use super::process::Process;

/// One batch of a client, sent until it has an answer.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) batch: Batch,
    /// True once an answer, or the end of a process, left it in doubt.
    pub(super) may_be_written: bool,
    /// The first process that acknowledged it.
    pub(super) acknowledged_by: Option<usize>,
    /// The process that was the first to refuse it for good.
    pub(super) refused_by: Option<usize>,
}

/// What a client was told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    Appended(Repeat),
    Refused(AppendError),
    Head(u64),
    InDoubt,
    ReadOnly,
    /// Surely not written.
    Unavailable,
}

/// A refusal, and the messages that the cluster had before and after the call.
#[derive(Debug, Clone)]
struct Refused {
    operation: usize,
    error: AppendError,
    call: RangeInclusive<usize>,
}

/// An acknowledgement, and the process that gave it.
#[derive(Debug, Clone)]
struct Acknowledged {
    operation: usize,
    by: usize,
    repeat: Repeat,
}

/// What clients were told.
#[derive(Debug, Default)]
pub(super) struct Judge {
    pub(super) operations: Vec<Operation>,
    refused: Vec<Refused>,
    acknowledged: Vec<Acknowledged>,
    /// True once the cluster has lost messages.
    pub(super) has_lost: bool,
}

impl Judge {
    /// Takes the answer to an append.
    pub(super) fn told(
        &mut self,
        number: usize,
        answer: &Answer,
        by: usize,
        (begun_at, ended_at): (u64, u64),
    ) -> Result<(), Wrong> {
        let operation = &mut self.operations[number];
        match answer {
            Answer::Appended(repeat) => {
                operation.acknowledged_by.get_or_insert(by);
                self.acknowledged.push(Acknowledged { operation: number, by, repeat: repeat.clone() });
            }
            Answer::Refused(error) => {
                operation.refused_by.get_or_insert(by);
                let index = |messages| usize::try_from(messages).expect("a few");
                let call = index(begun_at)..=index(ended_at);
                self.refused.push(Refused { operation: number, error: error.clone(), call });
            }
            Answer::InDoubt => operation.may_be_written = true,
            Answer::ReadOnly | Answer::Unavailable if !operation.may_be_written => {
                operation.refused_by.get_or_insert(by);
            }
            Answer::ReadOnly | Answer::Unavailable | Answer::Head(_) => {}
        }
        Ok(())
    }

    /// Checks everything at the end. Returns true if the chain of messages is broken, and every process has said so.
    pub(super) fn judge(&self, cluster: &Cluster, processes: &[Process]) -> Result<bool, Wrong> {
        let history = History::read(cluster, &self.operations, self.has_lost)?;
        for (at, process) in processes.iter().enumerate() {
            self.check_process(at, process, cluster, &history)?;
        }
        let has_halted = |by: usize| processes[by].machine.halted().is_some() || processes[by].boot > 0;
        for (number, operation) in self.operations.iter().enumerate() {
            // A process that has named a loss may have refused what does not fit the lost events.
            let was_refused = operation.refused_by.is_some_and(|by| !(self.has_lost && has_halted(by)));
            if history.wrote(number) && was_refused {
                return Err(format!("operation {number} was refused, and is written"));
            }
        }
        for Acknowledged { operation, by, repeat } in &self.acknowledged {
            let batch = &self.operations[*operation].batch;
            // A process that has named a loss may have acknowledged what is lost.
            if !(self.has_lost && has_halted(*by)) {
                history.check_places(batch, repeat).map_err(|wrong| {
                    format!("operation {operation} was acknowledged by process {by}, {wrong}")
                })?;
            }
        }
        self.refused.iter().try_for_each(|refused| {
            self.check_refusal(refused, &history)
                .map_err(|wrong| format!("operation {} was refused, {wrong}", refused.operation))
        })?;
        Ok(history.is_broken)
    }

    /// Checks that a refusal was right: at its place if it names one, otherwise at some moment of the call.
    fn check_refusal(&self, refused: &Refused, history: &History) -> Result<(), Wrong> {
        let Refused { operation, error, call } = refused;
        let batch = &self.operations[*operation].batch;
        match error {
            // What it speaks of may be lost.
            _ if self.has_lost => Ok(()),
            AppendError::Conflict { .. } => {
                let is_met = |at: usize| {
                    batch.expect.iter().all(|(stream, expected)| history.meets(at, stream, expected))
                };
                let was_wrong = history.moments(call).any(|at| !is_met(at));
                was_wrong.then_some(()).ok_or_else(|| "and its expectation was always right".to_owned())
            }
            AppendError::ConditionFailed { index, at } => {
                let condition = batch.conditions.get(*index).ok_or("by a condition that it does not have")?;
                let after = condition.after.as_ref().map_or(0, |after| after.sequence(0));
                let event = history.event(at.sequence).filter(|_| at.sequence > after);
                let fails = event.is_some_and(|event| condition.fail_if_any.matches(event));
                fails.then_some(()).ok_or_else(|| format!("and no event at {at} fails its condition"))
            }
            AppendError::KeyReused => {
                let command = batch.command.as_ref().ok_or("by a key that it does not have")?;
                let is_other =
                    history.command(&command.key).is_some_and(|(request, _)| request != command.request);
                is_other
                    .then_some(())
                    .ok_or_else(|| "and its key was never used for another request".to_owned())
            }
            AppendError::IdTaken { index, .. } => {
                let was_taken = history.moments(call).any(|at| history.cut_at(at, batch) == Some(*index));
                was_taken.then_some(()).ok_or_else(|| "and its ids were never taken so".to_owned())
            }
            error => Err(format!("which nothing explains: {error:?}")),
        }
    }

    /// Checks that a copy ends where the cluster does, or that the process has named the loss.
    fn check_process(
        &self,
        at: usize,
        process: &Process,
        cluster: &Cluster,
        history: &History,
    ) -> Result<(), Wrong> {
        let tip = process.machine.tip();
        let stored =
            tip.number.checked_sub(1).map(|last| cluster.log.get(usize::try_from(last).expect("a few")));
        let is_part = stored.is_none_or(|stored| stored.is_some_and(|stored| stored.digest == tip.digest));
        let ends = format!("message {} of {}", tip.number, cluster.last());
        match process.machine.halted() {
            // A process with a lost message has written after the one in its place: nobody can go on.
            Some(_) if history.is_broken => Ok(()),
            None if history.is_broken => {
                Err(format!("process {at} goes on at {ends}, and the chain of messages is broken"))
            }
            // Its copy is full.
            Some(Halt::Copy { .. }) if process.is_full => Ok(()),
            // It was killed, and its copy has events beyond its place. They are lost.
            Some(_) if self.has_lost && tip.position < process.copy.position() => Ok(()),
            Some(halt) if is_part => {
                Err(format!("process {at} has halted at {ends} without a loss: {halt:?}"))
            }
            Some(_) => Ok(()),
            None if !is_part => {
                Err(format!("process {at} has another history at {ends}, and does not say so"))
            }
            None if tip.position != process.copy.position() => Err(format!(
                "the copy of process {at} ends at {}, and its tip says {}",
                process.copy.position(),
                tip.position
            )),
            None if tip.number != cluster.last() => Err(format!("process {at} stands still at {ends}")),
            None => Ok(()),
        }
    }
}
