//! A command from its arrival to its answer: its key, its turns, the decision, the append, and again after a conflict.
//!
//! *Invariants*
//! - A command with a known key is never decided.
//! - After a batch whose outcome is in doubt, nothing else is sent for the command.

use std::any::TypeId;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use gesta_core::{AppendError, Appended, Batch, CommandKey, Query, StreamName, Version};

use crate::answer::{Written, nothing_to_record, repeat, written};
use crate::boundary::Boundary;
use crate::compensation::EventRef;
use crate::error::{LoadError, SendError};
use crate::fact::Fact;
use crate::handle::Call;

use super::cache::Used;
use super::drive::{Watch, settled};
use super::metrics::Again;
use super::outcome::Outcome;
use super::plan::{PartPlan, Plan};
use super::seen::Seen;
use super::settle::Fate;
use super::step::{Sent, Step, Tried, Wait};
use super::verify::Verdict;
use super::{Entities, limits};

/// One command while it is handled.
pub(super) struct Command {
    pub(super) call: Call,
    pub(super) entities: Arc<Entities>,
    pub(super) plan: Plan,
    /// The lines of its streams, in the order of their names.
    pub(super) lines: Vec<Used>,
    /// When it arrived, in ticks.
    pub(super) arrived: u64,
}

/// What a decision led to.
enum Decided<E> {
    Sent(Sent),
    Nothing {
        answer: Result<(), SendError<E>>,
        seen: Seen,
    },
    GateLost,
    /// The key was used by another command.
    SameKey,
}

/// Runs a command over a boundary.
pub(crate) async fn run<B: Boundary, E>(
    entities: &Arc<Entities>,
    call: Call,
    boundary: &mut B,
    mut decide: impl FnMut(&B) -> Result<Vec<Fact>, SendError<E>>,
) -> Result<Written, SendError<E>> {
    let _waiting = entities.admit().ok_or(SendError::Append(AppendError::Overloaded))?;
    let arrived = entities.tick();
    let plan = Plan::of(boundary, entities.cache.keeps_states())?;
    let lines = plan.streams.iter().map(|stream| Used::new(entities, stream)).collect();
    let _key = call.command.as_ref().map(|command| entities.keys.use_key(&command.key));
    let command = Command { call, entities: Arc::clone(entities), plan, lines, arrived };
    if let Some(first) = command.known(boundary).await? {
        return Ok(repeat(&*entities.store, first).await?);
    }
    command.run(boundary, &mut decide).await
}

impl Command {
    async fn run<B: Boundary, E>(
        &self,
        boundary: &mut B,
        decide: &mut impl FnMut(&B) -> Result<Vec<Fact>, SendError<E>>,
    ) -> Result<Written, SendError<E>> {
        let attempts_max = self.call.gesta.attempts_max();
        let (mut attempts, mut wrong, mut needs_gate) = (0, 0, !self.plan.is_kept());
        let mut tried = Tried::default();
        while attempts < attempts_max {
            tried = Tried { key: tried.key, ..Tried::default() };
            let again = match self.decided(boundary, decide, needs_gate, tried).await? {
                Decided::Sent(sent) => match self.finish(sent).await? {
                    Ok(written) => {
                        self.note_passed(boundary, &written);
                        return Ok(written);
                    }
                    Err(again) => again,
                },
                Decided::Nothing { answer, seen } => match self.verify(boundary, &seen).await? {
                    Verdict::Stands(read_to) => {
                        return answer.map(|()| nothing_to_record(seen.versions(), read_to));
                    }
                    Verdict::Repeat(first) => return Ok(repeat(&*self.entities.store, first).await?),
                    verdict => {
                        wrong += 1;
                        needs_gate |=
                            matches!(verdict, Verdict::AtGate) || wrong >= limits::WRONG_ANSWERS_MAX;
                        Again::Verified
                    }
                },
                Decided::GateLost => Again::GateLost,
                Decided::SameKey => match self.known(boundary).await? {
                    Some(first) => return Ok(repeat(&*self.entities.store, first).await?),
                    None => {
                        tried.key = true;
                        continue;
                    }
                },
            };
            self.entities.metrics.again(again);
            if again.is_by_others() {
                attempts += 1;
                self.pause(attempts).await;
            }
        }
        Err(SendError::Contended { attempts: attempts_max })
    }

    /// Waits after the second lost race and each further one. A process that has batches in flight all the time wins
    /// every race with one that begins anew after each; its burst may end soon.
    async fn pause(&self, lost: u32) {
        let Some(doublings) = lost.checked_sub(2) else { return };
        let clock = &*self.entities.clock;
        let pause = (limits::PAUSE_MIN * (1 << doublings.min(16))).min(limits::PAUSE_MAX);
        clock.wait(clock.elapsed() + pause).await;
    }

    /// The answer to an earlier sending of the command. Waits for one that is in flight.
    async fn known<B: Boundary, E>(&self, boundary: &mut B) -> Result<Option<Appended>, SendError<E>> {
        let Some(command) = &self.call.command else { return Ok(None) };
        while let Some(outcome) = self.entities.keys.find(&command.key) {
            settled(&outcome).await;
        }
        self.repeat_of(boundary).await
    }

    pub(super) async fn repeat_of<B: Boundary, E>(
        &self,
        boundary: &mut B,
    ) -> Result<Option<Appended>, SendError<E>> {
        let Some(command) = &self.call.command else { return Ok(None) };
        let near = near(boundary, command)?;
        self.entities.store.repeat_of(command.clone(), near).await.map_err(SendError::Append)
    }

    /// Takes steps, and waits between them, until the command is decided.
    async fn decided<B: Boundary, E>(
        &self,
        boundary: &mut B,
        decide: &mut impl FnMut(&B) -> Result<Vec<Fact>, SendError<E>>,
        needs_gate: bool,
        mut tried: Tried,
    ) -> Result<Decided<E>, SendError<E>> {
        let mut gate = match needs_gate {
            true => Some(self.prepare(boundary).await?),
            false => None,
        };
        loop {
            let step =
                poll_fn(|context| Poll::Ready(self.step(boundary, decide, gate.as_ref(), tried, context)));
            let decided = match step.await {
                Step::Wait(wait) => Err(wait),
                Step::Sent(sent) => Ok(Decided::Sent(sent)),
                Step::Nothing { answer, seen } => Ok(Decided::Nothing { answer, seen }),
                Step::GateLost => Ok(Decided::GateLost),
            };
            let wait = match decided {
                Ok(decided) => {
                    if gate.is_none() && !tried.load {
                        self.entities.metrics.hit();
                    }
                    return Ok(decided);
                }
                Err(wait) => wait,
            };
            match wait {
                Wait::SameKey(outcome) => {
                    if let Some(outcome) = outcome {
                        settled(&outcome).await;
                    }
                    return Ok(Decided::SameKey);
                }
                Wait::MustShut => gate = Some(self.prepare(boundary).await?),
                wait => self.wait(wait, &mut tried).await?,
            }
        }
    }

    async fn wait<E>(&self, wait: Wait, tried: &mut Tried) -> Result<(), SendError<E>> {
        match wait {
            Wait::Loads(loads) => {
                for load in &loads {
                    load.over().await;
                    load.check()?;
                }
                tried.load = true;
            }
            Wait::Settled(outcome) => drop(settled(&outcome).await),
            Wait::Orphans(orphans) => {
                poll_once(&orphans).await;
                tried.orphans = true;
            }
            Wait::Gate(gate) => gate.over(&*self.entities.clock).await,
            Wait::Failed(error) => return Err(error.into()),
            Wait::SameKey(_) | Wait::MustShut => {}
        }
        Ok(())
    }

    /// Waits for the fate of a batch. An inner error: the command is decided again.
    async fn finish<E>(&self, sent: Sent) -> Result<Result<Written, Again>, SendError<E>> {
        let Sent { outcome, facts, needs } = sent;
        match settled(&outcome).await {
            Fate::Written(appended) => {
                self.lines.iter().for_each(|used| used.cell.written());
                Ok(Ok(written(facts, outcome.batch(), appended)))
            }
            Fate::Answered(first) => Ok(Ok(repeat(&*self.entities.store, first).await?)),
            Fate::InDoubt { reason } => {
                Err(SendError::InDoubt { reason, batch: Box::new(outcome.batch().clone()) })
            }
            Fate::NotWritten(None) => Ok(Err(Again::Predecessor)),
            Fate::NotWritten(Some(AppendError::Conflict { stream, actual, .. })) => {
                let line = self.lines.iter().find(|used| used.cell.stream == stream);
                if let Some(used) = line {
                    used.cell.conflicted(actual);
                }
                // One of these may have failed too, and the state with it.
                for outcome in &needs {
                    settled(outcome).await;
                }
                Ok(Err(Again::Conflict))
            }
            Fate::NotWritten(Some(AppendError::ConditionFailed { index, at })) => {
                match reversed_by(&facts, outcome.batch(), index) {
                    Some(event) => Err(SendError::AlreadyCompensated { event, by: at }),
                    None => Ok(Err(Again::Conflict)),
                }
            }
            Fate::NotWritten(Some(error)) => Err(SendError::Append(error)),
        }
    }

    /// Has snapshots taken of the streams of the boundary that the batch took past a multiple.
    fn note_passed<B: Boundary>(&self, boundary: &mut B, written: &Written) {
        let Some(snapshots) = self.entities.snapshots() else { return };
        if written.repeated {
            return;
        }
        for part in boundary.parts() {
            let Some((declared, stream)) = part.declared() else { continue };
            let Some((_, last)) = written.versions.iter().find(|(name, _)| *name == stream) else { continue };
            let events = written.facts.iter().filter(|fact| fact.stream == stream).count() as u64;
            let before = last.get().checked_sub(events).map(Version::new);
            snapshots.passed(&declared, &stream, before, *last);
        }
    }

    /// The lines and types of the kept states.
    pub(super) fn kept(&self) -> impl Iterator<Item = (usize, TypeId)> + '_ {
        self.plan.parts.iter().filter_map(|part| match part {
            PartPlan::Kept { line, kind } => Some((*line, *kind)),
            PartPlan::Read { .. } => None,
        })
    }
}

/// The event whose reversal fails with a condition of the batch. Those of reversals stand after those of the boundary.
fn reversed_by(facts: &[Fact], batch: &Batch, index: usize) -> Option<EventRef> {
    let mut reversed = facts.iter().filter_map(|fact| fact.reverses.as_ref());
    let of_boundary = batch.conditions.len() - reversed.clone().count();
    reversed.nth(index.checked_sub(of_boundary)?).cloned()
}

/// A stream that the command would write to. It tells the store where to look for the key.
fn near<B: Boundary>(boundary: &mut B, command: &CommandKey) -> Result<StreamName, LoadError> {
    let parts = boundary.parts();
    if let Some((stream, _)) = parts.iter().find_map(|part| part.expectation()) {
        return Ok(stream);
    }
    if let Some(stream) = parts.iter().find_map(|part| named_by(part.condition()?.fail_if_any)) {
        return Ok(stream);
    }
    // Without a named stream the boundary spans the log. The store then has one place for keys, so any name will do.
    Ok(StreamName::new(format!("command-{}", command.request[0]))?)
}

/// A stream that the query names.
fn named_by(query: Query) -> Option<StreamName> {
    match query {
        Query::All => None,
        Query::Any(items) => items.into_iter().find_map(|item| item.stream),
    }
}

/// Polls batches that nobody else polls, without waiting for them.
async fn poll_once(outcomes: &[Arc<Outcome>]) {
    poll_fn(|context| {
        for outcome in outcomes {
            let _ = Watch::default().poll(outcome, context);
        }
        Poll::Ready(())
    })
    .await;
}
