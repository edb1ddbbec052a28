//! One step of a command under the turn of its entities: bring the states up to date, decide, put the batch in line.
//!
//! Everything here is synchronous. If the command has to wait, the step says for what, and is taken again later.

use std::sync::{Arc, MutexGuard};
use std::task::Context;

use gesta_core::{Batch, EventId, Expected, StreamName, Version};

use crate::boundary::Boundary;
use crate::error::{LoadError, SendError};
use crate::fact::Fact;

use super::command::Command;
use super::gate::{GateWait, ShutGates};
use super::line::{Base, Entry, Flow, Line, Readiness, Written};
use super::load::{Load, NewLoad};
use super::lock;
use super::outcome::{NewOutcome, Outcome, poll_sending};
use super::plan::PartPlan;
use super::planted::{Bug, planted};
use super::seen::{Seen, SeenStream};

/// What came of a step.
pub(super) enum Step<E> {
    /// The batch is in line.
    Sent(Sent),
    /// There is nothing to append: an acceptance, a refusal or an error.
    Nothing {
        answer: Result<(), SendError<E>>,
        seen: Seen,
    },
    Wait(Wait),
    /// The gate was opened by others.
    GateLost,
}

/// What a step waits for before it is taken again.
pub(super) enum Wait {
    Loads(Vec<Load>),
    Settled(Arc<Outcome>),
    /// Batches that nobody polls.
    Orphans(Vec<Arc<Outcome>>),
    /// The key was used by another command, whose batch may be in flight: ask for the repeat again.
    SameKey(Option<Arc<Outcome>>),
    Gate(GateWait),
    /// The states can only be read at the gate.
    MustShut,
    /// Nothing: a state cannot be folded.
    Failed(LoadError),
}

/// A batch in line.
pub(super) struct Sent {
    pub(super) outcome: Arc<Outcome>,
    pub(super) facts: Vec<Fact>,
    /// What it rests on.
    pub(super) needs: Vec<Arc<Outcome>>,
}

/// What a command has tried since it began or decided last.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tried {
    /// It has waited for a load. What came meanwhile is read at the gate.
    pub(super) load: bool,
    /// It has polled the batches that nobody polls.
    pub(super) orphans: bool,
    /// It has asked for its repeat since its key was recorded. In another partition the key is another one.
    pub(super) key: bool,
}

/// What a decision at the gate has prepared.
pub(super) struct AtGate {
    pub(super) gates: ShutGates,
    /// The id of the last event of the first part, if the caller expects one and the part has no kept state.
    pub(super) first_id: Option<EventId>,
}

type Turns<'a> = Vec<MutexGuard<'a, Line>>;

impl Command {
    pub(super) fn step<B: Boundary, E>(
        &self,
        boundary: &mut B,
        decide: &mut impl FnMut(&B) -> Result<Vec<Fact>, SendError<E>>,
        gate: Option<&AtGate>,
        tried: Tried,
        context: &mut Context<'_>,
    ) -> Step<E> {
        let mut turns = self.lines.iter().map(|used| lock(&used.cell.line)).collect::<Turns<'_>>();
        for (line, stream) in turns.iter_mut().zip(&self.plan.streams) {
            line.refresh(stream);
        }
        let ready = match gate {
            Some(gate) if !self.holds(&turns, gate) => return Step::GateLost,
            Some(_) => Ok(()),
            None => self.enter(&mut turns, tried).and_then(|()| self.ready(&mut turns, boundary, tried)),
        };
        if let Err(wait) = ready {
            return Step::Wait(wait);
        }
        let seen = self.borrow(&mut turns, boundary, gate);
        let decided = self.check_expectation(&seen, gate).and_then(|()| decide(boundary));
        self.give_back(&mut turns, boundary);
        match decided {
            Ok(facts) if !facts.is_empty() => self.send(&mut turns, seen, facts, tried, context),
            decided => Step::Nothing { answer: decided.map(drop), seen },
        }
    }

    /// True if the gates are still those of the command, and its states were read there.
    fn holds(&self, turns: &Turns<'_>, at: &AtGate) -> bool {
        let ticket = at.gates.ticket();
        if planted(Bug::OpenGates) {
            return self.kept().all(|(line, kind)| {
                turns[line].states.iter().any(|entry| entry.kind == kind && entry.is_whole())
            });
        }
        let is_shut = |line: &MutexGuard<'_, Line>| line.gate.as_ref().is_some_and(|gate| gate.is_of(ticket));
        let is_read = |(line, kind): (usize, _)| {
            let entry = turns[line].states.iter().find(|entry: &&Entry| entry.kind == kind);
            entry.is_some_and(|entry| entry.is_whole() && entry.base.read_at_gate == Some(ticket))
        };
        turns.iter().all(is_shut) && turns.iter().all(|line| line.is_settled()) && self.kept().all(is_read)
    }

    /// Passes the gates and the bounds of batches in flight.
    fn enter(&self, turns: &mut Turns<'_>, tried: Tried) -> Result<(), Wait> {
        let now = self.entities.clock.elapsed();
        for line in turns.iter_mut() {
            line.gate.take_if(|gate| gate.is_old(now) || planted(Bug::OpenGates));
            if let Some(gate) = &line.gate {
                return Err(Wait::Gate(gate.wait()));
            }
        }
        let orphans = turns.iter().flat_map(|line| line.unsettled()).filter(|outcome| outcome.is_orphan());
        let orphans = orphans.cloned().collect::<Vec<_>>();
        if !orphans.is_empty() && !tried.orphans {
            return Err(Wait::Orphans(orphans));
        }
        let blocking = turns.iter().find_map(|line| line.blocking());
        blocking.map_or(Ok(()), |outcome| Err(Wait::Settled(outcome)))
    }

    /// Brings every kept state up to the newest batch.
    fn ready<B: Boundary>(&self, turns: &mut Turns<'_>, boundary: &mut B, tried: Tried) -> Result<(), Wait> {
        let mut loads = Vec::new();
        for (part, plan) in boundary.parts().into_iter().zip(&self.plan.parts) {
            let PartPlan::Kept { line, kind } = *plan else { continue };
            let stream = &self.plan.streams[line];
            match turns[line].ready(kind, stream) {
                Readiness::Ready => {}
                Readiness::Loading(load) => loads.push(load),
                Readiness::MustLoad if tried.load => return Err(Wait::MustShut),
                Readiness::MustLoad => {
                    let borrower = part.borrower().expect("a kept part borrows its state");
                    loads.push(self.start_load(&mut turns[line], stream, kind, borrower, None));
                }
                Readiness::MustSettle(outcome) => return Err(Wait::Settled(outcome)),
                Readiness::MustShut => return Err(Wait::MustShut),
                Readiness::Failed(error) => return Err(Wait::Failed(error)),
            }
        }
        if loads.is_empty() { Ok(()) } else { Err(Wait::Loads(loads)) }
    }

    /// Begins to load a state, from the kept one if there is one.
    pub(super) fn start_load(
        &self,
        line: &mut Line,
        stream: &StreamName,
        kind: std::any::TypeId,
        borrower: &dyn super::Borrower,
        at: Option<(u64, &gesta_core::Checkpoint)>,
    ) -> Load {
        let entry = line.entry(kind);
        let base = std::mem::take(&mut entry.base);
        let state = entry.state.take().filter(|state| state.is_whole());
        // What rests on an unsettled batch may never have been: it is no place to go on from.
        let kept = state.filter(|_| base.rests_on.is_none()).map(|state| (state, base));
        let (state, mut base) = kept.unwrap_or_else(|| (borrower.empty(), Base::default()));
        // A load up to a place has looked when the place was asked for, which was after the gate was shut.
        base.loaded_at = at.map_or_else(|| self.entities.tick(), |(ticket, _)| ticket);
        base.read_at_gate = at.map(|(ticket, _)| ticket);
        let load = Load::start(NewLoad {
            store: Arc::clone(&self.entities.store),
            snapshots: self.entities.snapshots.clone(),
            metrics: Arc::clone(&self.entities.metrics),
            stream: stream.clone(),
            state,
            base,
            until: at.map(|(_, until)| until.clone()),
        });
        entry.load = Some(load.clone());
        load
    }

    /// Moves the states into the parts, and notes what the decision sees.
    fn borrow<B: Boundary>(&self, turns: &mut Turns<'_>, boundary: &mut B, gate: Option<&AtGate>) -> Seen {
        let mut seen = Seen::new(gate.is_some());
        for (part, plan) in boundary.parts().into_iter().zip(&self.plan.parts) {
            let PartPlan::Kept { line, kind } = *plan else {
                seen.add(part, *plan, None);
                continue;
            };
            let line = &mut turns[line];
            let entry = line.entry(kind);
            let base = entry.base.clone();
            let state = entry.state.as_mut().expect("the state is ready");
            let borrower = part.borrower().expect("a kept part borrows its state");
            borrower.borrow(&mut **state, base.version);
            if gate.is_some() {
                line.trust(base.version);
            }
            seen.add(part, *plan, Some((&base, line.next())));
        }
        seen
    }

    fn give_back<B: Boundary>(&self, turns: &mut Turns<'_>, boundary: &mut B) {
        for (part, plan) in boundary.parts().into_iter().zip(&self.plan.parts) {
            if let PartPlan::Kept { line, kind } = *plan
                && let Some(borrower) = part.borrower()
                && let Some(state) = &mut turns[line].entry(kind).state
            {
                borrower.give_back(&mut **state);
            }
        }
    }

    /// Compares the caller's expectation with the first part that is a stream.
    fn check_expectation<E>(&self, seen: &Seen, gate: Option<&AtGate>) -> Result<(), SendError<E>> {
        let Some((expected, first)) = self.call.expected.zip(seen.streams.first()) else { return Ok(()) };
        let id = first.id.or_else(|| gate.and_then(|gate| gate.first_id));
        if expected.is_met_by(first.version, |wanted| first.version.filter(|_| id == Some(wanted))) {
            return Ok(());
        }
        Err(SendError::VersionMismatch { stream: first.stream.clone(), expected, actual: first.version })
    }

    /// Makes the batch and puts it in line behind those that it rests on.
    fn send<E>(
        &self,
        turns: &mut Turns<'_>,
        seen: Seen,
        facts: Vec<Fact>,
        tried: Tried,
        context: &mut Context<'_>,
    ) -> Step<E> {
        let key = self.call.command.as_ref().map(|command| &command.key);
        if let Some(outcome) = key.and_then(|key| self.entities.keys.find(key)) {
            return Step::Wait(Wait::SameKey(Some(outcome)));
        }
        if !tried.key && key.is_some_and(|key| self.entities.keys.is_recorded(key)) {
            return Step::Wait(Wait::SameKey(None));
        }
        let events = match self.call.gesta.new_events(&facts) {
            Ok(events) => events,
            Err(error) => return Step::Nothing { answer: Err(error.into()), seen },
        };
        let expect = seen.streams.iter().map(SeenStream::expectation).collect();
        let command = self.call.command.clone();
        let needs = seen.needs();
        let scope = self.entities.store.capabilities().atomic_scope;
        let reversed = facts.iter().filter_map(|fact| fact.reverses.as_ref());
        let conditions =
            [seen.conditions, reversed.map(|event| event.is_not_compensated(scope)).collect()].concat();
        let batch = Batch { events, expect, conditions, command };
        let outcome = Outcome::new(NewOutcome {
            number: self.entities.tick(),
            batch,
            store: Arc::clone(&self.entities.store),
            lines: self.lines.iter().map(|used| Arc::downgrade(&used.cell)).collect(),
            needs: needs.clone(),
            in_flight: self.entities.metrics.in_flight(),
        });
        if let Some(key) = key {
            self.entities.keys.enter(key, &outcome);
        }
        let is_running = turns.iter().all(|line| line.flow == Flow::Running);
        if is_running && let Some((_, mut sending)) = outcome.send() {
            // In line now. The answer is noted by those who wait for it, without the turn.
            let _ = poll_sending(&mut sending, context);
        }
        for seen in &seen.streams {
            let written = written_to(&facts, seen);
            let line = &mut turns[seen.line];
            line.push(&outcome, written, &seen.stream);
            if !is_running {
                line.note_flow();
            }
        }
        Step::Sent(Sent { outcome, facts, needs })
    }
}

/// What a batch writes to a stream after the version that was decided upon.
fn written_to(facts: &[Fact], seen: &SeenStream) -> Option<Written> {
    let count = facts.iter().filter(|fact| fact.stream == seen.stream).count() as u64;
    let first = seen.version.map_or(Version::FIRST, Version::next);
    let last = Version::new(first.get() + count.checked_sub(1)?);
    Some(Written { after: seen.id, first, last })
}

/// True if only the event itself can tell whether the expectation is met.
pub(super) const fn expects_an_event(expected: Option<Expected>) -> bool {
    matches!(expected, Some(Expected::Event { .. }))
}
