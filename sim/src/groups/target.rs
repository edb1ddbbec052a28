//! The target of the effects, which is a judge too: each event takes effect once, and in order.

use std::collections::{BTreeMap, BTreeSet};

use gesta_consumer::group::Order;
use gesta_core::Checkpoint;

use super::Wrong;
use super::log::{Known, Log};

/// The target: one transaction with `seen` for each event.
#[derive(Debug, Default)]
pub(super) struct Target {
    /// The last version of each sequence.
    seen: BTreeMap<String, u64>,
    /// The number of effects of each event.
    done: BTreeMap<u64, u32>,
    /// Events that are delivered again on purpose.
    may_repeat: BTreeSet<u64>,
    /// Events that somebody asked to skip.
    pub(super) skipped: BTreeSet<u64>,
    /// Events whose skip was answered: never delivered again.
    pub(super) skipped_for_good: BTreeSet<u64>,
    /// The kinds of events to deliver, each from a place on.
    pub(super) must: BTreeMap<String, Checkpoint>,
    pub(super) effects: u64,
    pub(super) dropped: u64,
}

/// The name and number by which a target knows an event.
pub(super) fn key(event: &Known, order: Order) -> (String, u64) {
    match order {
        Order::Stream => (event.stream.to_string(), event.version),
        Order::Log => (format!("$log-{}", event.position.partition), event.position.sequence),
    }
}

impl Target {
    /// True if the group has to deliver the event.
    pub(super) fn is_wanted(&self, event: &Known) -> bool {
        let since = self.must.get(event.kind);
        since.is_some_and(|since| since.sequence(event.position.partition) < event.position.sequence)
    }

    /// True if nothing of the event is left to do.
    pub(super) fn is_over(&self, event: &Known) -> bool {
        !self.is_wanted(event) || self.is_done(event.uid) || self.skipped.contains(&event.uid)
    }

    fn is_done(&self, uid: u64) -> bool {
        self.done.get(&uid).is_some_and(|count| *count > 0)
    }

    /// The transaction of an effect.
    pub(super) fn handle(&mut self, event: &Known, order: Order, log: &Log) -> Result<(), Wrong> {
        let (name, number) = key(event, order);
        if self.seen.get(&name).is_some_and(|seen| *seen >= number) {
            if !self.is_over(event) {
                return Err(format!("the target dropped {event:?}, whose effect it never did"));
            }
            self.dropped += 1;
            return Ok(());
        }
        self.seen.insert(name.clone(), number);
        self.effects += 1;
        let count = self.done.entry(event.uid).or_default();
        *count += 1;
        if *count > 1 && !self.may_repeat.contains(&event.uid) {
            return Err(format!("the effect of {event:?} happened twice"));
        }
        match log.events.iter().find(|earlier| is_before(earlier, event, order) && !self.is_over(earlier)) {
            Some(earlier) => Err(format!("{event:?} took effect before {earlier:?}")),
            None => Ok(()),
        }
    }

    /// The first event before another one in its sequence that is not over.
    pub(super) fn first_left_before<'a>(
        &self,
        event: &Known,
        order: Order,
        log: &'a Log,
    ) -> Option<&'a Known> {
        log.events.iter().find(|earlier| is_before(earlier, event, order) && !self.is_over(earlier))
    }

    /// The first event of the log that is not over.
    pub(super) fn first_left<'a>(&self, log: &'a Log) -> Option<&'a Known> {
        log.events.iter().find(|event| !self.is_over(event))
    }

    /// The group moves to a place: what comes after is done again, what is left before is passed on purpose.
    pub(super) fn move_to(&mut self, to: &Checkpoint, order: Order, log: &Log, lowers_seen: bool) {
        let mut last = BTreeMap::new();
        for event in &log.events {
            if event.position.sequence > to.sequence(event.position.partition) {
                self.may_repeat.insert(event.uid);
                self.skipped.remove(&event.uid);
                self.skipped_for_good.remove(&event.uid);
                if lowers_seen {
                    self.done.insert(event.uid, 0);
                }
            } else {
                let (name, number) = key(event, order);
                last.insert(name, number);
                if !self.is_done(event.uid) {
                    self.skipped.insert(event.uid);
                }
            }
        }
        if lowers_seen {
            self.lower_seen(&last);
        }
    }

    /// The log was restored from a backup: the target lowers what it has seen to what is there.
    pub(super) fn restored(&mut self, log: &Log, order: Order) {
        let last = log.events.iter().map(|event| key(event, order)).collect();
        self.lower_seen(&last);
        self.skipped_for_good.clear();
    }

    fn lower_seen(&mut self, last: &BTreeMap<String, u64>) {
        self.seen.retain(|name, seen| match last.get(name) {
            Some(last) => {
                *seen = (*seen).min(*last);
                true
            }
            None => false,
        });
    }

    /// The target forgets everything that it has seen, which is a mistake after a restore.
    pub(super) fn forget_seen(&mut self) {
        self.seen.clear();
    }
}

fn is_before(earlier: &Known, event: &Known, order: Order) -> bool {
    let ((one, at), (other, before)) = (key(earlier, order), key(event, order));
    one == other && at < before
}
