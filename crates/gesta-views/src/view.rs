//! The rows of one view: what its consumer shows and what callers ask, under one lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_listener::Event;
use gesta_core::{Checkpoint, Limit};

use crate::damage::Damage;
use crate::definition::Definition;
use crate::target::{Reads, Serving};

/// A view: its definition, and the rows that are shown of it. Its [consumer](gesta_consumer::Consumer) builds the rows.
pub(crate) struct View {
    pub(crate) definition: Definition,
    /// The wanted version: the short hash of the definition.
    version: String,
    /// What one transaction takes from the log.
    pub(crate) page: Limit,
    shown: Mutex<Shown>,
    /// Notified whenever `shown` or the consumer changes in a way that a caller may wait for.
    pub(crate) changed: Arc<Event>,
}

/// What callers see of the rows.
#[derive(Default)]
struct Shown {
    /// The wanted version and how far it got; `None` until it is open.
    wanted: Option<Serving>,
    /// The version whose rows are shown: an older one while the wanted one is built beside it.
    serving: Option<Serving>,
    /// Why the wanted version was last rebuilt.
    rebuilt: Option<String>,
    /// Where queries report damage during this run.
    damage: Option<Arc<Damage>>,
}

/// The rows of a view at one moment.
pub(crate) struct Snapshot {
    pub(crate) checkpoint: Option<Checkpoint>,
    /// The place that queries show.
    pub(crate) served: Option<Checkpoint>,
    /// An older version is served.
    pub(crate) serves_predecessor: bool,
    pub(crate) rebuilt: Option<String>,
}

impl View {
    pub(crate) fn new(definition: Definition, page: Limit) -> Self {
        let (shown, changed) = (Mutex::default(), Arc::new(Event::new()));
        let version = definition.short_hash();
        Self { definition, version, page, shown, changed }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Shown) -> T) -> T {
        let changed = change(&mut self.shown());
        self.changed.notify(usize::MAX);
        changed
    }

    /// A run has begun: damage that queries find goes there.
    pub(crate) fn report_damage_to(&self, damage: &Arc<Damage>) {
        self.shown().damage = Some(Arc::clone(damage));
    }

    /// The wanted version is thrown away and built anew. Nothing is served until it is open.
    pub(crate) fn rebuilding(&self, reason: &str) {
        tracing::warn!(view = self.definition.name(), reason, "the view is rebuilt from the log");
        self.change(|shown| {
            shown.serving = None;
            shown.wanted = None;
            shown.rebuilt = Some(reason.to_owned());
        });
    }

    /// The wanted version is open. A predecessor is served until it has caught up.
    pub(crate) fn opened(&self, wanted: Serving, predecessor: Option<Serving>) {
        self.change(|shown| {
            shown.serving = Some(predecessor.unwrap_or_else(|| wanted.clone()));
            shown.wanted = Some(wanted);
        });
    }

    /// Another process keeps the rows up to date. They are served from there.
    pub(crate) fn standing_by(&self, serving: Serving) {
        self.change(|shown| {
            shown.wanted = None;
            shown.serving = Some(serving);
        });
    }

    /// A page was committed. Wakes nobody yet: the consumer does, once its own place is published too.
    pub(crate) fn advanced(&self, at: &Checkpoint) {
        let mut shown = self.shown();
        let Shown { wanted, serving, .. } = &mut *shown;
        let serving = serving.as_mut().filter(|serving| serving.reads.version() == self.version);
        for shown in wanted.iter_mut().chain(serving) {
            shown.checkpoint = at.clone();
        }
    }

    /// The wanted version has caught up and is served from now on. Queries that have begun end on the old one, which is
    /// retired. Gives the old one, if there was one. Wakes nobody yet.
    pub(crate) fn switch(&self) -> Option<Arc<dyn Reads>> {
        let mut shown = self.shown();
        shown.serving.as_ref().filter(|serving| serving.reads.version() != self.version)?;
        let wanted = shown.wanted.clone()?;
        let old = shown.serving.replace(wanted)?;
        drop(shown);
        old.reads.retire();
        Some(old.reads)
    }

    /// The run is about to close its database: closes the idle readers.
    pub(crate) fn closing(&self) {
        if let Some(serving) = &self.shown().serving {
            serving.reads.close_idle();
        }
    }

    /// What answers queries.
    pub(crate) fn readers(&self) -> Option<Arc<dyn Reads>> {
        self.shown().serving.as_ref().map(|serving| Arc::clone(&serving.reads))
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let shown = self.shown();
        let place = |serving: &Option<Serving>| serving.as_ref().map(|serving| serving.checkpoint.clone());
        Snapshot {
            checkpoint: place(&shown.wanted),
            served: place(&shown.serving),
            serves_predecessor: shown.serving.as_ref().is_some_and(|one| one.reads.version() != self.version),
            rebuilt: shown.rebuilt.clone(),
        }
    }

    /// A query met damage: the view is rebuilt, or its older version is no longer served.
    pub(crate) fn found_damaged(&self, reads: &Arc<dyn Reads>, message: &str) {
        self.change(|shown| {
            let is_served = shown.serving.as_ref().is_some_and(|serving| Arc::ptr_eq(&serving.reads, reads));
            match is_served {
                // It was replaced meanwhile.
                false => {}
                true if reads.version() == self.version => {
                    if let Some(damage) = &shown.damage {
                        damage.report(message);
                    }
                }
                true => {
                    let (view, version) = (self.definition.name(), reads.version());
                    tracing::warn!(view, version, message, "an old version of a view is damaged");
                    shown.serving = shown.wanted.clone();
                }
            }
        });
    }
}
