//! A view and the consumers that build its versions.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use event_listener::Listener;
use gesta_consumer::{Consumer, ConsumerSettings, Paused, Stop};
use gesta_core::{Checkpoint, EventStore};

use crate::definition::Definition;
use crate::kept::{Kept, Rollback};
use crate::query::{QueryError, QueryLimits, Rows, SqlValue};
use crate::run_error::RunError;
use crate::runner::{Builder, Follow, MakeTarget};
use crate::status::{OldVersion, State};
use crate::target::{Role, Serving, Target};
use crate::view::View;

/// A view that runs.
pub(crate) struct Hosted {
    pub(crate) view: Arc<View>,
    /// Builds the wanted version.
    pub(crate) consumer: Consumer<RunError>,
    old: Arc<OldFollower>,
    pub(crate) versions: Box<dyn Versions>,
    /// Held while an operator changes which version is wanted, or restarts the view.
    operating: Mutex<()>,
    /// An operator changes the versions, and then both go on. Locked while a state is read: one of this time is not taken for a later one.
    stands_still: Mutex<bool>,
}

impl Hosted {
    /// Starts a view on a thread of its own. Each run opens a new target.
    pub(crate) fn start<T: Target>(
        view: View,
        store: Arc<dyn EventStore>,
        paused: Option<Paused>,
        target: impl Fn(&Definition, Role) -> T + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (view, make) = (Arc::new(view), Arc::new(target) as MakeTarget<T>);
        let old = Arc::new(OldFollower::new(&view, &store, paused.clone(), &make));
        let mut settings = ConsumerSettings::new(&view.name, "view");
        settings.paused = paused;
        settings.changed = Arc::clone(&view.changed);
        let follow = Arc::clone(&old) as Arc<dyn Follow>;
        let builder = {
            let (view, store, make) = (Arc::clone(&view), Arc::clone(&store), Arc::clone(&make));
            move || {
                Builder::new(Arc::clone(&view), Arc::clone(&store), Arc::clone(&make), Arc::clone(&follow))
            }
        };
        let consumer = Consumer::start(store, settings, builder)?;
        let (operating, stands_still) = (Mutex::default(), Mutex::default());
        Ok(Self { view, consumer, old, versions: Box::new(VersionsOf(make)), operating, stands_still })
    }

    pub(crate) fn state(&self) -> State {
        self.while_it_goes_on(|| State::of(self.consumer.state()))
    }

    /// A state as others see it: a view that stands still for an operator is not stopped, for it goes on.
    fn while_it_goes_on(&self, state: impl FnOnce() -> State) -> State {
        let stands_still = self.stands_still();
        match state() {
            State::Stopped { .. } if *stands_still => State::CatchingUp,
            state => state,
        }
    }

    fn stands_still(&self) -> MutexGuard<'_, bool> {
        self.stands_still.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version before, as it is kept.
    pub(crate) fn old(&self) -> Option<OldVersion> {
        let followed = self.old.state();
        let shown = self.view.old();
        let version = followed.as_ref().map(|(version, _)| version.clone());
        let version = version.or_else(|| shown.as_ref().map(|shown| shown.reads.version().to_owned()))?;
        let checkpoint = shown.filter(|shown| shown.reads.version() == version).map(|shown| shown.checkpoint);
        Some(OldVersion { version, state: followed.map(|(_, state)| state), checkpoint })
    }

    /// What the version that answers queries is doing.
    pub(crate) fn state_of_serving(&self) -> State {
        self.while_it_goes_on(|| {
            let old = self.old.state().filter(|(version, _)| self.view.serves_old(version));
            old.map_or_else(|| State::of(self.consumer.state()), |(_, state)| state)
        })
    }

    /// Pauses both versions, or ends their pause.
    pub(crate) fn set_paused(&self, paused: Option<Paused>) {
        self.old.set_paused(paused.clone());
        self.consumer.set_paused(paused);
    }

    /// Asks the threads to stop.
    pub(crate) fn request_stop(&self) {
        self.consumer.request_stop();
        self.old.request_stop();
    }

    /// Waits for the threads, which were asked to stop.
    pub(crate) fn join(&self) {
        // The wanted version starts the other one, so it ends first.
        self.consumer.join();
        self.old.end_others(None);
    }

    /// Lets an operator change the versions while none is written to. Then both go on. Queries are answered all the time.
    pub(crate) fn standing_still<R>(&self, change: impl FnOnce() -> R) -> io::Result<R> {
        *self.stands_still() = true;
        self.request_stop();
        self.join();
        let changed = change();
        let restarted = self.consumer.restart();
        *self.stands_still() = false;
        // Those who wait see that it goes on, or why not.
        self.view.changed.notify(usize::MAX);
        restarted.map(|()| changed)
    }

    /// Starts a view that has stopped. Waits for an operator who changes its versions.
    pub(crate) fn restart(&self) -> io::Result<()> {
        let _operating = self.operating();
        self.consumer.restart()
    }

    /// Keeps other operators out until the guard is dropped.
    pub(crate) fn operating(&self) -> MutexGuard<'_, ()> {
        self.operating.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a query from the version that is served, waiting for one within the time limit.
    pub(crate) fn query(
        &self,
        sql: &str,
        parameters: &[(String, SqlValue)],
        limits: &QueryLimits,
    ) -> Result<Rows, QueryError> {
        let deadline = limits.deadline();
        let Serving { reads, parked, .. } = self.served_within(deadline)?;
        let answer = reads.query(sql, parameters, limits, deadline);
        // A stream that was parked or released meanwhile, or by a switch, may lack events in these rows too.
        let parked = || parked.with(&self.view.serving().map(|serving| serving.parked).unwrap_or_default());
        let answer = answer.map(|rows| Rows { parked: parked().names(), ..rows });
        if let Err(QueryError::Damaged { message }) = &answer {
            self.view.found_damaged(&reads, message);
        }
        answer
    }

    fn served_within(&self, deadline: Instant) -> Result<Serving, QueryError> {
        let name = || self.view.name.clone();
        loop {
            // Listen first, look second: a change in between is not missed. And the state before the rows: a run shows its
            // rows before it stops.
            let listener = self.view.changed.listen();
            let state = self.state();
            match (self.view.serving(), state) {
                (Some(serving), _) => return Ok(serving),
                (None, State::Stopped { error }) => {
                    return Err(QueryError::Stopped { name: name(), error });
                }
                _ => {}
            }
            if listener.wait_deadline(deadline).is_none() {
                return Err(QueryError::NotReady { name: name() });
            }
        }
    }
}

/// The consumer that follows the log with the version before, if there is one.
struct OldFollower {
    start: Box<StartOld>,
    view: String,
    running: Mutex<Running>,
}

type StartOld = dyn Fn(Definition, Option<Paused>) -> io::Result<Consumer<RunError>> + Send + Sync;

struct Running {
    /// The hash of its definition, and the consumer.
    followed: Option<(String, Consumer<RunError>)>,
    paused: Option<Paused>,
}

impl OldFollower {
    fn new<T: Target>(
        view: &Arc<View>,
        store: &Arc<dyn EventStore>,
        paused: Option<Paused>,
        make: &MakeTarget<T>,
    ) -> Self {
        let name = view.name.clone();
        let (view, store, make) = (Arc::clone(view), Arc::clone(store), Arc::clone(make));
        let start = move |definition: Definition, paused| {
            let mut settings = ConsumerSettings::new(format!("{} (old version)", view.name), "view");
            settings.paused = paused;
            settings.changed = Arc::clone(&view.changed);
            let (view, make, log) = (Arc::clone(&view), Arc::clone(&make), Arc::clone(&store));
            let builder = move || {
                Builder::of_old(Arc::clone(&view), Arc::clone(&log), definition.clone(), Arc::clone(&make))
            };
            Consumer::start(Arc::clone(&store), settings, builder)
        };
        let running = Mutex::new(Running { followed: None, paused });
        Self { start: Box::new(start), view: name, running }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version that is followed, and its state.
    fn state(&self) -> Option<(String, State)> {
        let running = self.running();
        let followed = running.followed.as_ref();
        followed.map(|(hash, consumer)| (hash[..8].to_owned(), State::of(consumer.state())))
    }

    fn set_paused(&self, paused: Option<Paused>) {
        let mut running = self.running();
        if let Some((_, consumer)) = &running.followed {
            consumer.set_paused(paused.clone());
        }
        running.paused = paused;
    }

    fn request_stop(&self) {
        if let Some((_, consumer)) = &self.running().followed {
            consumer.request_stop();
        }
    }
}

impl Follow for OldFollower {
    fn end_others(&self, kept: Option<&Definition>) {
        let is_kept =
            |(followed, _): &(String, Consumer<RunError>)| kept.is_some_and(|kept| kept.hash() == *followed);
        let ended = {
            let mut running = self.running();
            if running.followed.as_ref().is_some_and(is_kept) {
                return;
            }
            running.followed.take()
        };
        // Its thread may be busy, so the lock is free meanwhile.
        drop(ended);
    }

    fn follow(&self, definition: Option<Definition>) {
        let hash = definition.as_ref().map(Definition::hash);
        let is_followed = |(followed, consumer): &(String, Consumer<RunError>)| {
            Some(followed) == hash.as_ref() && !matches!(State::of(consumer.state()), State::Stopped { .. })
        };
        if self.running().followed.as_ref().is_some_and(is_followed) {
            return;
        }
        self.end_others(None);
        let Some((definition, hash)) = definition.zip(hash) else { return };
        let paused = self.running().paused.clone();
        match (self.start)(definition, paused) {
            Ok(consumer) => {
                let mut running = self.running();
                // An operator may have changed that since.
                consumer.set_paused(running.paused.clone());
                running.followed = Some((hash, consumer));
            }
            Err(error) => {
                tracing::warn!(view = self.view, %error, "the old version of a view stands still");
            }
        }
    }
}

/// The versions of a view, whatever its database.
pub(crate) trait Versions: Send + Sync {
    fn survey(&self, definition: &Definition, head: &Checkpoint) -> Result<Vec<Kept>, RunError>;

    fn roll_back(
        &self,
        definition: &Definition,
        to: Option<(&str, &Rollback)>,
        head: &Checkpoint,
    ) -> Result<(), RunError>;

    fn remove(&self, definition: &Definition, hash: &str, head: &Checkpoint) -> Result<(), RunError>;
}

struct VersionsOf<T>(MakeTarget<T>);

impl<T: Target> Versions for VersionsOf<T> {
    fn survey(&self, definition: &Definition, head: &Checkpoint) -> Result<Vec<Kept>, RunError> {
        (self.0)(definition, Role::Old).survey(head, &Stop::new())
    }

    fn roll_back(
        &self,
        definition: &Definition,
        to: Option<(&str, &Rollback)>,
        head: &Checkpoint,
    ) -> Result<(), RunError> {
        (self.0)(definition, Role::Old).roll_back(to, head, &Stop::new())
    }

    fn remove(&self, definition: &Definition, hash: &str, head: &Checkpoint) -> Result<(), RunError> {
        (self.0)(definition, Role::Old).remove(hash, head, &Stop::new())
    }
}
