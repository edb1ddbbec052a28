//! What a process remembers: its state, its open effects and its pending timers, folded from its stream.

use std::collections::BTreeSet;

use gesta_core::{Checkpoint, Condition, RecordedEvent, Select, StreamName, Version};
use serde_json::value::RawValue;

use super::Process;
use super::event::ProcessEvent;
use super::identity::EffectId;
use super::planted::{Bug, planted};
use crate::boundary::{Boundary, Part, fold_one};
use crate::error::LoadError;

/// The memory of one process, up to some version of its stream. Loading again reads only newer events.
pub(crate) struct Memory<P> {
    stream: StreamName,
    state: P,
    version: Option<Version>,
    scanned_to: Option<Checkpoint>,
    /// In the order in which they were recorded.
    open: Vec<OpenEffect>,
    /// The names of the pending timers.
    timers: BTreeSet<String>,
}

/// An effect that is recorded and has no outcome.
#[derive(Debug, Clone)]
pub(crate) struct OpenEffect {
    pub(crate) id: EffectId,
    pub(crate) effect: Box<RawValue>,
}

impl<P: Process> Memory<P> {
    pub(crate) fn new(stream: StreamName) -> Self {
        let (state, open, timers) = (P::default(), Vec::new(), BTreeSet::new());
        Self { stream, state, version: None, scanned_to: None, open, timers }
    }

    pub(crate) const fn stream(&self) -> &StreamName {
        &self.stream
    }

    pub(crate) const fn state(&self) -> &P {
        &self.state
    }

    /// The open effects, in the order in which they were recorded.
    pub(crate) fn open(&self) -> &[OpenEffect] {
        &self.open
    }

    pub(crate) fn is_open(&self, effect: &EffectId) -> bool {
        self.open.iter().any(|open| open.id == *effect)
    }

    /// The names of the pending timers.
    pub(crate) const fn timers(&self) -> &BTreeSet<String> {
        &self.timers
    }

    fn note(&mut self, event: ProcessEvent) {
        match event {
            ProcessEvent::Reacted(reacted) => {
                let effects = (0..).zip(reacted.effects);
                let open = effects.map(|(index, effect)| {
                    let id = EffectId::first(reacted.input.clone(), index);
                    OpenEffect { id, effect }
                });
                self.open.extend(open);
            }
            ProcessEvent::Performed(performed) => {
                self.open.retain(|open| open.id != performed.effect);
                let effects = (0..).zip(performed.effects);
                let open =
                    effects.map(|(index, effect)| OpenEffect { id: performed.effect.child(index), effect });
                self.open.extend(open);
            }
            ProcessEvent::TimerSet(set) => {
                self.timers.insert(set.timer.as_str().to_owned());
            }
            ProcessEvent::TimerCancelled(cancelled) => {
                self.timers.remove(cancelled.timer.as_str());
            }
            ProcessEvent::TimerFired(fired) => {
                self.timers.remove(fired.timer.as_str());
            }
        }
    }
}

impl<P: Process> Part for Memory<P> {
    fn next(&self) -> Result<Select, LoadError> {
        Ok(Select::Stream { name: self.stream.clone(), from: self.version.map(Version::next) })
    }

    fn apply(&mut self, event: &RecordedEvent) -> Result<(), LoadError> {
        match ProcessEvent::decode(event)? {
            Some(event) => self.note(event),
            None => fold_one(&mut self.state, event)?,
        }
        self.version = Some(event.version());
        Ok(())
    }

    fn reached(&mut self, scanned_to: Checkpoint) {
        self.scanned_to = Some(scanned_to);
    }

    fn expectation(&self) -> Option<(StreamName, Option<Version>)> {
        (!planted(Bug::NoExpectation)).then(|| (self.stream.clone(), self.version))
    }

    fn condition(&self) -> Option<Condition> {
        None
    }

    fn scanned_to(&self) -> Option<&Checkpoint> {
        self.scanned_to.as_ref()
    }
}

impl<P: Process> Boundary for Memory<P> {
    fn parts(&mut self) -> Vec<&mut dyn Part> {
        vec![self]
    }
}
