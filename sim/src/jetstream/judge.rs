//! The judge: what clients were told, against the messages that the cluster has at the end.

use std::collections::HashMap;

use gesta_core::{AppendError, Batch, Expected, Repeat, Version};
use gesta_jetstream::{Message, Tip};

use super::Wrong;
use super::cluster::Cluster;
use super::copy::STORE;
use super::process::Process;

/// One batch of a client, sent until it has an answer.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) batch: Batch,
    /// True once an answer, or the end of a process, left it in doubt.
    pub(super) may_be_written: bool,
    /// The first process that acknowledged it.
    pub(super) acknowledged_by: Option<usize>,
    /// True if it was refused or surely not written, and is not sent again.
    pub(super) is_refused: bool,
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

/// A refusal by an expectation, and the messages that the cluster had before and after the call.
#[derive(Debug, Clone)]
struct Conflict {
    operation: usize,
    begun_at: u64,
    ended_at: u64,
}

/// What clients were told.
#[derive(Debug, Default)]
pub(super) struct Judge {
    pub(super) operations: Vec<Operation>,
    conflicts: Vec<Conflict>,
    /// Places that were acknowledged: operation, and its first position.
    places: Vec<(usize, u64)>,
    /// True once the cluster has lost messages.
    pub(super) has_lost: bool,
}

/// The versions of all streams after each message; first, before all of them.
type Versions = Vec<HashMap<String, Version>>;

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
                self.places.push((number, repeat.places[0].position.sequence));
            }
            Answer::Refused(AppendError::Conflict { .. }) => {
                operation.is_refused = true;
                self.conflicts.push(Conflict { operation: number, begun_at, ended_at });
            }
            Answer::Refused(AppendError::ConditionFailed { .. }) => operation.is_refused = true,
            Answer::Refused(AppendError::CheckpointAhead { .. } | AppendError::Diverged { .. })
                if self.has_lost =>
            {
                operation.is_refused = true;
            }
            Answer::Refused(error) => return Err(format!("operation {number} got {error:?}")),
            Answer::InDoubt => operation.may_be_written = true,
            Answer::ReadOnly | Answer::Unavailable if !operation.may_be_written => {
                operation.is_refused = true
            }
            Answer::ReadOnly | Answer::Unavailable | Answer::Head(_) => {}
        }
        Ok(())
    }

    /// Checks everything at the end.
    pub(super) fn judge(&self, cluster: &Cluster, processes: &[Process]) -> Result<(), Wrong> {
        let (written, versions) = self.replay(cluster)?;
        for (at, process) in processes.iter().enumerate() {
            check_process(at, process, cluster)?;
        }
        let has_halted = |by: usize| processes[by].machine.halted().is_some();
        for (number, operation) in self.operations.iter().enumerate() {
            let is_written = written.contains_key(&number);
            if let Some(by) = operation.acknowledged_by
                && !is_written
                && !(self.has_lost && has_halted(by))
            {
                return Err(format!("operation {number} was acknowledged by process {by} and is lost"));
            }
            if is_written && operation.is_refused {
                return Err(format!("operation {number} was refused, and is written"));
            }
        }
        if self.has_lost {
            return Ok(());
        }
        for (number, place) in &self.places {
            if written.get(number) != Some(place) {
                return Err(format!(
                    "operation {number} was acknowledged at {place}, and is at {:?}",
                    written.get(number)
                ));
            }
        }
        self.conflicts.iter().try_for_each(|conflict| self.check_conflict(conflict, &versions))
    }

    /// Reads all messages, and checks their order and what each batch expected.
    fn replay(&self, cluster: &Cluster) -> Result<(HashMap<usize, u64>, Versions), Wrong> {
        let mut tip = Tip::start(STORE, 0);
        let (mut written, mut versions) = (HashMap::new(), vec![HashMap::new()]);
        let mut events = Vec::new();
        for (number, stored) in (1..).zip(&cluster.log) {
            let message =
                Message::decode(&stored.bytes, 0).map_err(|error| format!("message {number}: {error}"))?;
            tip = message.follow(&tip, number).map_err(|error| format!("message {number}: {error}"))?;
            let mut heads: HashMap<String, Version> = versions[versions.len() - 1].clone();
            for batch in message.batches() {
                let operation = self.operation_of(batch.events()[0].id().as_bytes());
                self.check_batch(operation, &heads, &events)?;
                if written.insert(operation, batch.first().sequence).is_some() {
                    return Err(format!("operation {operation} is written twice"));
                }
                let ahead = batch.recorded_at().as_nanos() - stored.stored_at.as_nanos();
                if ahead > 10_000_000_000 {
                    return Err(format!(
                        "operation {operation} has a time that is {} s ahead",
                        ahead / 1_000_000_000
                    ));
                }
                for event in batch.events() {
                    let next = heads.get(event.stream()).map_or(Version::FIRST, |version| version.next());
                    if event.version() != next {
                        return Err(format!(
                            "an event of operation {operation} has version {} for {next}",
                            event.version()
                        ));
                    }
                    heads.insert(event.stream().to_owned(), next);
                    events.push(event.clone());
                }
            }
            versions.push(heads);
        }
        Ok((written, versions))
    }

    fn operation_of(&self, id: &[u8; 16]) -> usize {
        let number = usize::try_from(u128::from_be_bytes(*id) / 16).expect("ids are made from numbers");
        assert!(number < self.operations.len(), "only clients make events");
        number
    }

    /// Checks that what a batch expects is true at its place.
    fn check_batch(
        &self,
        number: usize,
        heads: &HashMap<String, Version>,
        events: &[gesta_core::RecordedEvent],
    ) -> Result<(), Wrong> {
        let batch = &self.operations[number].batch;
        for (stream, expected) in &batch.expect {
            let actual = heads.get(stream.as_str()).copied();
            if !expected.is_met_by(actual, |_| None) {
                return Err(format!("operation {number} expects {expected} and is written after {actual:?}"));
            }
        }
        for condition in &batch.conditions {
            let after = condition.after.as_ref().map_or(0, |after| after.sequence(0));
            let after = usize::try_from(after).expect("a few events");
            let newer = events.get(after..).unwrap_or(&[]);
            // After a loss, the place of a condition may be one of another history, which its mark tells.
            if newer.iter().any(|event| condition.fail_if_any.matches(event)) && !self.has_lost {
                return Err(format!("operation {number} is written though its condition fails"));
            }
        }
        Ok(())
    }

    /// Checks that a refused expectation was wrong at some moment of the call.
    fn check_conflict(&self, conflict: &Conflict, versions: &Versions) -> Result<(), Wrong> {
        let batch = &self.operations[conflict.operation].batch;
        let range = usize::try_from(conflict.begun_at).expect("a few")
            ..=usize::try_from(conflict.ended_at).expect("a few");
        let is_met = |heads: &HashMap<String, Version>| {
            let is_met = |(stream, expected): &(gesta_core::StreamName, Expected)| {
                expected.is_met_by(heads.get(stream.as_str()).copied(), |_| None)
            };
            batch.expect.iter().all(is_met)
        };
        if versions[range].iter().all(is_met) {
            return Err(format!(
                "operation {} was refused, and its expectation was always right",
                conflict.operation
            ));
        }
        Ok(())
    }
}

/// Checks that a copy ends where the cluster does, or that the process has named the loss.
fn check_process(at: usize, process: &Process, cluster: &Cluster) -> Result<(), Wrong> {
    let tip = process.machine.tip();
    let stored = tip.number.checked_sub(1).map(|last| cluster.log.get(usize::try_from(last).expect("a few")));
    let is_part = stored.is_none_or(|stored| stored.is_some_and(|stored| stored.digest == tip.digest));
    let ends = format!("message {} of {}", tip.number, cluster.last());
    match process.machine.halted() {
        Some(halt) if is_part => Err(format!("process {at} has halted at {ends} without a loss: {halt:?}")),
        Some(_) => Ok(()),
        None if !is_part => Err(format!("process {at} has another history at {ends}, and does not say so")),
        None if tip.number != cluster.last() => Err(format!("process {at} stands still at {ends}")),
        None => Ok(()),
    }
}
