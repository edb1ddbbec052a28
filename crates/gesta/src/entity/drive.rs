//! Polling a batch to its end: its own sending first, and if that does not settle it, all that it waits for.
//!
//! *Invariants*
//! - A caller sleeps only when no step is possible and every sending that can make one possible would wake it. So it
//!   does not matter which callers are polled, dropped or forgotten.
//! - No lock is held while another batch's lock is taken, and line locks are taken in the order of the names.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use event_listener::EventListener;

use super::line::{Flow, LineCell};
use super::lock;
use super::outcome::{Advanced, Outcome, Sending, Standing, poll_sending};
use super::pass::pass;
use super::planted::{Bug, planted};
use super::settle::Fate;

/// The sendings that a caller is woken by.
#[derive(Default)]
pub(super) struct Watch {
    /// By the number of the batch and of its sending. Dropping one ends the wake-up.
    sendings: HashMap<(u64, u32), Sending>,
    /// Wakes when somebody else changes the batch that is waited for.
    changed: Option<EventListener>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Polled {
    /// The sending will wake the caller.
    Pending,
    /// An answer came and was noted.
    Answered,
    /// No sending is under way.
    Idle,
}

/// Waits until a batch is settled, and drives it there.
pub(super) async fn settled(outcome: &Arc<Outcome>) -> Fate {
    let mut watch = Watch::default();
    let _orphan = Caller(outcome);
    poll_fn(|context| watch.poll(outcome, context)).await
}

/// The caller of a batch. If it is dropped before the batch is settled, the next command polls the batch.
struct Caller<'a>(&'a Outcome);

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        if !self.0.is_settled() {
            self.0.abandon();
        }
    }
}

impl Watch {
    /// Takes every step that is possible for a batch.
    pub(super) fn poll(&mut self, outcome: &Arc<Outcome>, context: &mut Context<'_>) -> Poll<Fate> {
        loop {
            if let Some(fate) = outcome.fate() {
                return Poll::Ready(fate.clone());
            }
            match self.poll_sending(outcome, context) {
                Polled::Answered => {}
                // The store answers by itself.
                Polled::Pending => return Poll::Pending,
                Polled::Idle if planted(Bug::OwnBatchOnly) => {
                    if outcome.advance() == Advanced::Nothing {
                        return Poll::Pending;
                    }
                }
                Polled::Idle => {
                    if self.listen(outcome, context) && !self.advance(outcome, context) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Listens for changes that others make. Returns false if there was one.
    fn listen(&mut self, outcome: &Outcome, context: &mut Context<'_>) -> bool {
        let mut changed = self.changed.take().unwrap_or_else(|| outcome.listen());
        if Pin::new(&mut changed).poll(context).is_ready() {
            return false;
        }
        self.changed = Some(changed);
        true
    }

    fn poll_sending(&mut self, outcome: &Outcome, context: &mut Context<'_>) -> Polled {
        let Some((number, sending)) = outcome.sending() else { return Polled::Idle };
        let key = (outcome.number(), number);
        match poll_sending(self.sendings.entry(key).or_insert(sending), context) {
            Poll::Pending => Polled::Pending,
            Poll::Ready(answer) => {
                self.sendings.remove(&key);
                if outcome.record(number, answer) {
                    outcome.lines().for_each(|cell| lock(&cell.line).halt());
                }
                Polled::Answered
            }
        }
    }

    /// Polls all that a batch waits for, and takes each step that is possible. Returns false if nothing changed and
    /// every sending among them will wake the caller.
    fn advance(&mut self, outcome: &Arc<Outcome>, context: &mut Context<'_>) -> bool {
        let awaited = awaited(outcome);
        let mut has_changed = false;
        for outcome in awaited.values() {
            has_changed |= self.poll_sending(outcome, context) == Polled::Answered;
        }
        for outcome in awaited.values() {
            has_changed |= outcome.advance() != Advanced::Nothing;
        }
        if has_changed {
            return true;
        }
        let waiting = awaited.values().filter(|outcome| outcome.standing() == Standing::Waiting);
        let lines = waiting.flat_map(|outcome| outcome.lines()).map(|cell| (cell.stream.clone(), cell));
        if pass(&lines.collect(), context) {
            return true;
        }
        // The lines may have changed since: what is awaited now must be what was polled.
        let awaited = super::drive::awaited(outcome);
        let is_unseen = |outcome: &Arc<Outcome>| {
            let number = outcome.sending_number();
            number.is_some_and(|number| !self.sendings.contains_key(&(outcome.number(), number)))
        };
        let has_changed = outcome.is_settled() || awaited.values().any(is_unseen);
        self.sendings.retain(|(number, _), _| awaited.contains_key(number));
        has_changed
    }
}

/// The unsettled batches that a batch without a sending waits for, itself among them, oldest first: those that it rests
/// on, those before it in its lines, and all sendings of a halted line. A sending is answered by itself.
fn awaited(outcome: &Arc<Outcome>) -> BTreeMap<u64, Arc<Outcome>> {
    let mut found = BTreeMap::new();
    let mut seen = HashSet::new();
    let mut left = vec![Arc::clone(outcome)];
    while let Some(outcome) = left.pop() {
        if outcome.is_settled() || !seen.insert(outcome.number()) {
            continue;
        }
        if outcome.standing() != Standing::Sending {
            left.extend(outcome.needs());
            for cell in outcome.lines() {
                left.extend(before(&cell, outcome.number()));
            }
        }
        found.insert(outcome.number(), outcome);
    }
    found
}

/// The batches of a line that one with that number waits for.
fn before(cell: &LineCell, number: u64) -> Vec<Arc<Outcome>> {
    let line = lock(&cell.line);
    let is_halted = line.flow == Flow::Halted;
    let is_awaited = |outcome: &&Arc<Outcome>| {
        outcome.number() < number || is_halted && outcome.standing() == Standing::Sending
    };
    line.unsettled().filter(is_awaited).cloned().collect()
}
