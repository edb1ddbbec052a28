//! The rows of one view: what its consumers show and what callers ask, under one lock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_listener::Event;
use gesta_consumer::Stop;
use gesta_core::{Checkpoint, Limit, StreamName};

use crate::damage::Damage;
use crate::definition::Definition;
use crate::gate::Gate;
use crate::parked::{ParkedStream, ParkedStreams};
use crate::replay::{Order, ParkedError, Replayed};
use crate::target::{Reads, Role, Serving};

/// A view: its definition, and the rows that are shown of it. A [consumer](gesta_consumer::Consumer) builds the rows of the wanted
/// version, and another one those of the older version beside it.
pub(crate) struct View {
    pub(crate) name: String,
    /// What one transaction takes from the log.
    pub(crate) page: Limit,
    shown: Mutex<Shown>,
    /// Between the two versions.
    pub(crate) gate: Gate,
    /// Notified whenever `shown` or a consumer changes in a way that a caller may wait for.
    pub(crate) changed: Arc<Event>,
}

/// What callers see of the rows.
struct Shown {
    /// The definition that the host gives.
    given: Definition,
    /// The wanted definition: the given one, or after a rollback that of an older version.
    wanted: Definition,
    /// The wanted version: the first digits of the hash of `wanted`.
    version: String,
    /// The wanted version and how far it got; `None` until it is open.
    current: Option<Serving>,
    /// The older version that is kept, as its consumer shows it; `None` without one.
    old: Option<Serving>,
    /// The version whose rows are shown: the older one while the wanted one is built beside it.
    serving: Option<Serving>,
    /// The wanted version has served.
    has_served: bool,
    /// Why the wanted version was last rebuilt.
    rebuilt: Option<String>,
    /// Why the last definition for it was not taken.
    refused: Option<String>,
    /// Where queries report damage of the wanted version during this run.
    damage: Option<Arc<Damage>>,
    /// The signal of this run of the wanted version.
    run: Option<Stop>,
    /// What operators want of the run.
    orders: VecDeque<Arc<Order>>,
    /// The run obeys orders, and takes new ones without being called.
    obeys: bool,
}

/// The rows of a view at one moment.
pub(crate) struct Snapshot {
    pub(crate) given: Definition,
    pub(crate) wanted: Definition,
    pub(crate) checkpoint: Option<Checkpoint>,
    /// The place that queries show.
    pub(crate) served: Option<Checkpoint>,
    /// An older version is served.
    pub(crate) serves_predecessor: bool,
    /// The wanted version has not served yet.
    pub(crate) is_being_built: bool,
    pub(crate) rebuilt: Option<String>,
    /// Why the last definition for it was not taken.
    pub(crate) refused: Option<String>,
}

impl View {
    pub(crate) fn new(definition: Definition, page: Limit) -> Self {
        let name = definition.name().to_owned();
        let shown = Mutex::new(Shown::new(definition));
        Self { name, page, shown, gate: Gate::default(), changed: Arc::new(Event::new()) }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Shown) -> T) -> T {
        let changed = change(&mut self.shown());
        self.changed.notify(usize::MAX);
        changed
    }

    /// The definition that the host gives.
    pub(crate) fn given(&self) -> Definition {
        self.shown().given.clone()
    }

    /// The host gives another definition. It counts from the next run.
    pub(crate) fn give(&self, definition: Definition) {
        self.change(|shown| {
            shown.given = definition;
            shown.refused = None;
        });
    }

    /// The host has a definition for the view that it cannot take.
    pub(crate) fn refuse(&self, error: &str) {
        self.change(|shown| shown.refused = Some(error.to_owned()));
    }

    /// Why the last definition for it was not taken.
    pub(crate) fn refused(&self) -> Option<String> {
        self.shown().refused.clone()
    }

    /// The definition that is wanted: its version serves once it has caught up.
    pub(crate) fn wanted(&self) -> Definition {
        self.shown().wanted.clone()
    }

    /// A definition is wanted, and its version serves or not. The older version `old` is kept beside it, and serves meanwhile.
    pub(crate) fn chose(&self, wanted: &Definition, serves: bool, old: Option<Serving>) {
        self.change(|shown| {
            let is_new = shown.wanted.hash() != wanted.hash();
            shown.wanted = wanted.clone();
            if is_new {
                shown.version = wanted.short_hash();
                shown.current = None;
            }
            shown.has_served = serves;
            // A version that was open before goes on: its place is newer.
            let is_shown = |old: &Serving, shown: &Shown| {
                shown.serving.as_ref().is_some_and(|serving| serving.reads.version() == old.reads.version())
            };
            if let Some(old) = old.clone().filter(|old| !serves && !is_shown(old, shown)) {
                shown.serving = Some(old);
            }
            shown.old = old;
        });
    }

    /// A run has begun: damage that queries find goes there, and the signal calls it to new orders.
    pub(crate) fn run_begins(&self, damage: &Arc<Damage>, run: &Stop) {
        let mut shown = self.shown();
        shown.damage = Some(Arc::clone(damage));
        shown.run = Some(run.clone());
        shown.obeys = false;
    }

    /// An operator has an order for the run, which opens the view again to obey it.
    pub(crate) fn order(&self, order: &Arc<Order>) {
        let mut shown = self.shown();
        shown.orders.push_back(Arc::clone(order));
        if !shown.obeys {
            shown.run.iter().for_each(Stop::reopen);
        }
    }

    /// The next order, which the run begins to obey. None while the signal is raised: the run opens the view again first, and nothing
    /// but a stop or damage interrupts what it begins then.
    pub(crate) fn next_order(&self, stop: &Stop) -> Option<Arc<Order>> {
        let mut shown = self.shown();
        let next = if stop.is_raised() { None } else { shown.orders.pop_front() };
        shown.obeys = next.is_some();
        next
    }

    /// The run was interrupted while it obeyed an order.
    pub(crate) fn obeys_no_more(&self) {
        self.shown().obeys = false;
    }

    /// The run has obeyed an order, or cannot.
    pub(crate) fn finished(&self, order: &Order, outcome: Result<Replayed, ParkedError>) {
        self.change(|_| order.finish(outcome));
    }

    /// Takes an order back. Gives false if the run has begun to obey it.
    pub(crate) fn withdraw(&self, order: &Arc<Order>) -> bool {
        let orders = &mut self.shown().orders;
        let waiting = orders.iter().position(|other| Arc::ptr_eq(other, order));
        waiting.and_then(|at| orders.remove(at)).is_some()
    }

    /// The wanted version is thrown away and built anew. If it serves, the older one does until it has caught up, as far as that one can
    /// answer (`old_answers`). Otherwise nothing is served until it is open.
    pub(crate) fn rebuilding(&self, reason: &str, old_answers: bool) {
        tracing::warn!(view = self.name, reason, "the view is rebuilt from the log");
        self.change(|shown| {
            let old = shown.old.clone().filter(|_| old_answers);
            shown.serving = shown.serving.take().filter(|serving| !shown.is_wanted(serving)).or(old);
            shown.has_served = false;
            shown.current = None;
            shown.rebuilt = Some(reason.to_owned());
        });
    }

    /// The wanted version is open. It serves, unless an older one does.
    pub(crate) fn opened(&self, wanted: Serving) {
        self.change(|shown| {
            if shown.old_serving().is_none() {
                shown.serving = Some(wanted.clone());
            }
            shown.current = Some(wanted);
        });
    }

    /// The older version is open.
    pub(crate) fn opened_old(&self, old: Serving) {
        self.change(|shown| {
            if shown.serving.as_ref().is_some_and(|one| one.reads.version() == old.reads.version()) {
                shown.serving = Some(old.clone());
            }
            shown.old = Some(old);
        });
    }

    /// Another process keeps the rows up to date. They are served from there.
    pub(crate) fn standing_by(&self, serving: Serving) {
        self.change(|shown| {
            shown.current = None;
            shown.serving = Some(serving);
        });
    }

    /// A page was committed. Wakes nobody yet: the consumer does, once its own place is published too.
    pub(crate) fn advanced(&self, role: Role, at: &Checkpoint, parked: &ParkedStreams) {
        let mut shown = self.shown();
        let Shown { current, old, serving, .. } = &mut *shown;
        let Some(advanced) = (match role {
            Role::Wanted => current.as_mut(),
            Role::Old => old.as_mut(),
        }) else {
            return;
        };
        let is_same = |one: &&mut Serving| one.reads.version() == advanced.reads.version();
        for shown in serving.as_mut().filter(is_same).into_iter().chain([&mut *advanced]) {
            shown.checkpoint = at.clone();
            shown.parked = parked.clone();
        }
    }

    /// Whether queries are answered by an older version, and it is this one.
    pub(crate) fn serves_old(&self, version: &str) -> bool {
        self.shown().old_serving().is_some_and(|serving| serving.reads.version() == version)
    }

    /// Whether a version is the wanted one, and serves.
    pub(crate) fn serves_wanted(&self, version: &str) -> bool {
        let shown = self.shown();
        let is_open = shown.version == version && shown.has_served && shown.current.is_some();
        is_open && shown.old_serving().is_none()
    }

    /// The place of the older version that serves, if one does.
    pub(crate) fn place_of_predecessor(&self) -> Option<Checkpoint> {
        self.shown().old_serving().map(|serving| serving.checkpoint.clone())
    }

    /// The wanted version has caught up and is served from now on. Queries that have begun end on the old one. Wakes nobody yet.
    pub(crate) fn switch(&self) {
        let mut shown = self.shown();
        shown.has_served = true;
        if shown.old_serving().is_some() && shown.current.is_some() {
            shown.serving = shown.current.clone();
        }
    }

    /// The run is about to close its database: closes the idle readers.
    pub(crate) fn closing(&self, role: Role) {
        let shown = self.shown();
        let closing = match role {
            Role::Wanted => &shown.current,
            Role::Old => &shown.old,
        };
        closing.iter().for_each(|closing| closing.reads.close_idle());
    }

    /// What answers queries, and how far.
    pub(crate) fn serving(&self) -> Option<Serving> {
        self.shown().serving.clone()
    }

    /// The parked streams of the version that answers queries, and those of the wanted version while that one is built.
    pub(crate) fn parked(&self) -> ParkedStreams {
        let shown = self.shown();
        let of = |version: &Option<Serving>| version.as_ref().map(|version| version.parked.clone());
        of(&shown.serving).unwrap_or_default().with(&of(&shown.current).unwrap_or_default())
    }

    /// A parked stream, and the place of the version that holds it back.
    pub(crate) fn held(&self, stream: &StreamName) -> Option<(Arc<ParkedStream>, Checkpoint)> {
        let shown = self.shown();
        let versions = shown.current.iter().chain(&shown.serving);
        let held = |version: &Serving| {
            Some((Arc::clone(version.parked.get(stream.as_str())?), version.checkpoint.clone()))
        };
        versions.into_iter().find_map(held)
    }

    /// The older version that is kept, and its place.
    pub(crate) fn old(&self) -> Option<Serving> {
        self.shown().old.clone()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let shown = self.shown();
        let place = |serving: &Option<Serving>| serving.as_ref().map(|serving| serving.checkpoint.clone());
        Snapshot {
            given: shown.given.clone(),
            wanted: shown.wanted.clone(),
            checkpoint: place(&shown.current),
            served: place(&shown.serving),
            serves_predecessor: shown.old_serving().is_some(),
            is_being_built: !shown.has_served && shown.current.is_some(),
            rebuilt: shown.rebuilt.clone(),
            refused: shown.refused.clone(),
        }
    }

    /// A query met damage: the view is rebuilt, or its older version is no longer served.
    pub(crate) fn found_damaged(&self, reads: &Arc<dyn Reads>, message: &str) {
        self.change(|shown| {
            let is_served = shown.serving.as_ref().is_some_and(|serving| Arc::ptr_eq(&serving.reads, reads));
            match is_served {
                // It was replaced meanwhile.
                false => {}
                true if reads.version() == shown.version => {
                    if let Some(damage) = &shown.damage {
                        damage.report(message);
                    }
                }
                true => shown.drop_old(&self.name, message),
            }
        });
    }

    /// The older version cannot be used any more. If it serves, the wanted one does from now on.
    pub(crate) fn lost_old(&self, message: &str) {
        self.change(|shown| shown.drop_old(&self.name, message));
    }
}

impl Shown {
    fn new(definition: Definition) -> Self {
        Self {
            version: definition.short_hash(),
            wanted: definition.clone(),
            given: definition,
            current: None,
            old: None,
            serving: None,
            has_served: false,
            rebuilt: None,
            refused: None,
            damage: None,
            run: None,
            orders: VecDeque::new(),
            obeys: false,
        }
    }

    fn is_wanted(&self, serving: &Serving) -> bool {
        serving.reads.version() == self.version
    }

    /// The older version, if it serves.
    fn old_serving(&self) -> Option<&Serving> {
        self.serving.as_ref().filter(|serving| !self.is_wanted(serving))
    }

    fn drop_old(&mut self, view: &str, message: &str) {
        let version = self.old.take().map(|old| old.reads.version().to_owned()).unwrap_or_default();
        tracing::warn!(view, version, message, "an old version of a view cannot be used");
        if self.old_serving().is_some() {
            self.serving = self.current.clone();
        }
    }
}
