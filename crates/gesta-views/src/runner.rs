//! The handler of a view: opens its version in the database, applies pages, and decides when it must be rebuilt.
//!
//! The loop around it, with its pauses, tries and stops, is the kit of `gesta-consumer`.

mod orders;

use std::sync::Arc;

use gesta_consumer::{
    Failure, Handled, HandlerError, Interrupter, Notice, Opener, Opening, Reach, Recovery, Session, Start,
    Stop,
};
use gesta_core::{Checkpoint, EventStore, Page, Position, Query, ReadError, Retry};

use crate::damage::Damage;
use crate::definition::Definition;
use crate::gate::Held;
use crate::kept::{Kept, Roles, roles};
use crate::limits::REBUILDS_MAX;
use crate::parked::{OnError, ParkedStreams, Parking, Then};
use crate::run_error::{Remedy, RunError};
use crate::target::{Durability, Found, Outcome, PageWrite, Role, Serving, Target, Version, Writer, fitting};
use crate::view::View;

pub(crate) use orders::HeldEvents;

/// Makes the database of a view for one of its definitions.
pub(crate) type MakeTarget<T> = Arc<dyn Fn(&Definition, Role) -> T + Send + Sync>;

/// The consumer of the older version of a view, beside the wanted one.
pub(crate) trait Follow: Send + Sync {
    /// Stops following any version but this one. Waits for its end.
    fn end_others(&self, kept: Option<&Definition>);

    /// Follows this version from now on, or none.
    fn follow(&self, definition: Option<Definition>);
}

/// Follows nothing: an older version has none beside it.
struct NoFollow;

impl Follow for NoFollow {
    fn end_others(&self, _: Option<&Definition>) {}

    fn follow(&self, _: Option<Definition>) {}
}

/// Builds the rows of one version of a view during one run.
///
/// What may pass, such as a full disk, is tried again for as long as it takes. A wanted version that is damaged, or does not fit
/// the log any more, is rebuilt.
pub(crate) struct Builder<T: Target> {
    view: Arc<View>,
    /// The log, for the events of parked streams.
    store: Arc<dyn EventStore>,
    role: Role,
    make: MakeTarget<T>,
    follow: Arc<dyn Follow>,
    definition: Definition,
    target: T,
    /// The version that is open.
    version: Option<T::Version>,
    /// The other version to keep.
    old: Option<String>,
    kept: TriesKept,
}

/// What was decided about the versions of a view.
#[derive(Default)]
struct Chosen {
    /// A rollback ends as soon as the wanted version is open: the host gives the definition that was rolled back to, and what it gives
    /// after that counts.
    ends_rollback: bool,
    /// The older version to follow.
    followed: Option<Definition>,
}

/// What a run keeps from one try to the next.
#[derive(Default)]
struct TriesKept {
    damage: Option<Arc<Damage>>,
    /// Why the version must be rebuilt.
    unusable: Option<String>,
    rebuilds: u32,
}

impl<T: Target> Builder<T> {
    /// A builder of the wanted version.
    pub(crate) fn new(
        view: Arc<View>,
        store: Arc<dyn EventStore>,
        make: MakeTarget<T>,
        follow: Arc<dyn Follow>,
    ) -> Self {
        let (role, definition) = (Role::Wanted, view.given());
        let target = make(&definition, role);
        let (version, old, kept) = (None, None, TriesKept::default());
        Self { view, store, role, make, follow, definition, target, version, old, kept }
    }

    /// A builder of an older version.
    pub(crate) fn of_old(
        view: Arc<View>,
        store: Arc<dyn EventStore>,
        definition: Definition,
        make: MakeTarget<T>,
    ) -> Self {
        let (role, target) = (Role::Old, make(&definition, Role::Old));
        let (version, old, kept) = (None, None, TriesKept::default());
        let follow = Arc::new(NoFollow);
        Self { view, store, role, make, follow, definition, target, version, old, kept }
    }

    /// Decides which definition is wanted, and shows the older version beside it.
    fn choose(&mut self, opening: &Opening<'_, RunError>) -> Result<Chosen, RunError> {
        let given = self.view.given();
        let kept = self.target.survey(opening.head(), opening.stop())?;
        let Roles { instead, old, serves } = roles(&given.hash(), &kept);
        let ends_rollback =
            kept.iter().any(|version| version.hash == given.hash() && version.rollback.is_some());
        let wanted = match &instead {
            Some(instead) => definition_of(instead, &self.view.name)?.unwrap_or(given),
            None => given,
        };
        if wanted.hash() != self.definition.hash() {
            self.target = (self.make)(&wanted, Role::Wanted);
        }
        // With the same hash, another one may differ in what happens at an event that cannot be applied.
        self.definition = wanted;
        let serving = match &old {
            Some(old) => self.serving_of(old, opening)?,
            None => None,
        };
        let followed = match old.as_ref().filter(|_| serving.is_some()) {
            Some(old) => definition_of(old, &self.view.name).unwrap_or_default(),
            None => None,
        };
        self.view.chose(&self.definition, serves, serving);
        // It may be the wanted one now, which is opened next.
        self.follow.end_others(followed.as_ref());
        self.old = old.map(|old| old.hash);
        Ok(Chosen { ends_rollback, followed })
    }

    /// A kept version and its place, if the place is of the store's history.
    fn serving_of(&self, kept: &Kept, opening: &Opening<'_, RunError>) -> Result<Option<Serving>, RunError> {
        let checkpoint = kept.checkpoint.clone().and_then(|at| fitting(at, opening.head()).ok());
        match checkpoint {
            Some(checkpoint) if is_of_history(&checkpoint, opening)? => {
                let parked = kept.parked.clone();
                Ok(Some(Serving { reads: self.target.reads(&kept.hash), checkpoint, parked }))
            }
            _ => Ok(None),
        }
    }

    /// Shows what another process keeps up to date, if it is of the store's history.
    fn stand_by(&mut self, opening: &Opening<'_, RunError>) {
        let serving = self.target.standing_by();
        let is_of_history = |serving: &Serving| matches!(opening.check(&serving.checkpoint), Ok(Some(())));
        let Some(serving) = serving.filter(is_of_history) else { return };
        match self.role {
            Role::Wanted => self.view.standing_by(serving),
            Role::Old if serving.reads.version() == self.definition.short_hash() => {
                self.view.opened_old(serving);
            }
            Role::Old => {}
        }
    }

    /// Opens the version of the definition, or makes it.
    fn open_version(&mut self, opening: &Opening<'_, RunError>) -> Result<T::Version, RunError> {
        let damage = self.kept.damage.get_or_insert_with(|| {
            let damage = Arc::new(Damage::new(opening.stop().clone()));
            if self.role == Role::Wanted {
                self.view.run_begins(&damage, opening.stop());
            }
            damage
        });
        let found = match self.kept.unusable.clone() {
            Some(reason) => Found::Unusable(reason),
            None => self.target.find(opening.head(), damage, opening.stop())?,
        };
        let version = match (found, self.role) {
            (Found::Usable(version), _) => return Ok(version),
            (Found::Nothing, Role::Old) => {
                return Err(RunError::OldUnusable { reason: "it is gone".to_owned() });
            }
            (Found::Unusable(reason), Role::Old) => return Err(RunError::OldUnusable { reason }),
            (Found::Nothing, Role::Wanted) => self.target.make(opening.start(), opening.stop())?,
            (Found::Unusable(reason), Role::Wanted) => {
                opening.begin_anew();
                self.view.rebuilding(&reason, T::READS_EVERY_VERSION);
                // Later reports are about the version that goes now.
                damage.take();
                self.target.make(opening.start(), opening.stop())?
            }
        };
        self.kept.unusable = None;
        Ok(version)
    }

    /// Rebuilds the version, or stops after several times in vain.
    fn rebuild(&mut self, reason: String) -> Recovery<RunError> {
        let rebuilds = self.kept.rebuilds;
        if rebuilds == REBUILDS_MAX {
            let error = RunError::RebuiltInVain { rebuilds, reason };
            return Recovery::Stop(Failure::Handler(Arc::new(error)));
        }
        self.kept.rebuilds += 1;
        self.kept.unusable = Some(reason);
        Recovery::Reopen
    }

    /// An older version is never rebuilt: the wanted one serves instead.
    fn give_up(&self, reason: String) -> Recovery<RunError> {
        self.view.lost_old(&reason);
        Recovery::Stop(Failure::Handler(Arc::new(RunError::OldUnusable { reason })))
    }
}

impl<T: Target> Opener for Builder<T> {
    type Error = RunError;
    type Session<'o> = Follower<'o, T>;

    fn open<'o>(
        &'o mut self,
        opening: &Opening<'_, RunError>,
    ) -> Result<Option<(Start, Follower<'o, T>)>, RunError> {
        let chosen = match self.role {
            Role::Wanted => self.choose(opening)?,
            Role::Old => Chosen::default(),
        };
        let opened = self.open_version(opening);
        // Who runs the wanted version follows the older one too. Another process would keep it from that one.
        let is_of_another = matches!(opened, Err(RunError::StandsBy { .. } | RunError::Superseded { .. }));
        self.follow.follow(chosen.followed.filter(|_| !is_of_another));
        let version = match opened {
            Ok(version) => version,
            Err(error) => {
                self.stand_by(opening);
                return Err(error);
            }
        };
        if chosen.ends_rollback {
            // Not before: a process that stands by with the older definition must not end it.
            self.target.roll_back(None, opening.head(), opening.stop())?;
        }
        let Self { view, store, role, definition, target, version: open, old, .. } = self;
        let (view, role, version) = (&**view, *role, &*open.insert(version));
        let at = version.checkpoint().clone();
        // Before anything is served: rows of events that the log lost must not be shown.
        if opening.check(&at)?.is_none() {
            return Ok(None);
        }
        let parked = version.parked()?;
        let shown = Serving { reads: version.reads(), checkpoint: at.clone(), parked: parked.clone() };
        let start = Start { limit: view.page, ..Start::new(at.clone(), definition.query()) };
        if role == Role::Old {
            view.opened_old(shown);
        } else if at.at_least(opening.head()) && view.place_of_predecessor().is_none() {
            // Recorded before a caller can see that it has caught up and a stop can interrupt it. Without the record, the
            // version is served all the same, and the error ends the run.
            let taken_over = version.take_over();
            view.opened(shown);
            taken_over?;
        } else {
            view.opened(shown);
        }
        let writer = version.writer()?;
        let phase = if view.place_of_predecessor().is_some() { Phase::Behind } else { Phase::Serves };
        let (policy, query, old) = (definition.on_error(), definition.query(), old.as_deref());
        let mut follower =
            Follower { view, role, target, version, writer, phase, old, policy, query, parked };
        let is_at_head = at.at_least(opening.head());
        if role == Role::Wanted && is_at_head && follower.open_at_head(&at, opening.stop())?.is_none() {
            return Ok(None);
        }
        if follower.obey(&**store, &at, opening.stop())?.is_none() {
            return Ok(None);
        }
        Ok(Some((start, follower)))
    }

    fn recover(&mut self, failure: Option<Failure<RunError>>) -> Recovery<RunError> {
        self.version = None;
        let damage = self.kept.damage.as_ref().and_then(|damage| damage.take());
        let reason = match (damage, failure) {
            (Some(damage), _) => format!("its file is damaged: {damage}"),
            (None, None) => return Recovery::Reopen,
            // The signal was raised while the database was waited for. A run that is to stop does not come here, so it is to open again.
            (None, Some(Failure::Handler(error))) if matches!(*error, RunError::ShutDown) => {
                return Recovery::Reopen;
            }
            (None, Some(failure)) => match remedy(&failure) {
                Remedy::Stop => {
                    if let Failure::Handler(error) = &failure {
                        self.stopping_for(error);
                    }
                    return Recovery::Stop(failure);
                }
                Remedy::Retry => return Recovery::Retry(failure),
                Remedy::Rebuild => failure.to_string(),
            },
        };
        match self.role {
            Role::Wanted => self.rebuild(reason),
            Role::Old => self.give_up(reason),
        }
    }

    fn report(view: &str, notice: &Notice<'_, RunError>) {
        match notice {
            Notice::ReadFails(error) => tracing::warn!(view, %error, "the view tries again"),
            Notice::HandlerFails(error) => {
                tracing::warn!(view, %error, "the view tries again until this has passed");
            }
            Notice::Paused(paused) => tracing::info!(view, by = &*paused.by, "the view is paused"),
            Notice::Resumed => tracing::info!(view, "the view goes on"),
            Notice::Stopped(why) => {
                tracing::error!(view, error = %RunError::of(why), "the view has stopped");
            }
        }
    }
}

impl<T: Target> Builder<T> {
    /// The run ends with an error that concerns the other version too.
    fn stopping_for(&self, error: &RunError) {
        match (self.role, error) {
            // Another process follows the versions now.
            (Role::Wanted, RunError::Superseded { .. }) => self.follow.follow(None),
            (Role::Old, RunError::OldUnusable { reason }) => self.view.lost_old(reason),
            _ => {}
        }
    }
}

impl HandlerError for RunError {
    fn retry(&self) -> Retry {
        self.retry()
    }

    fn event(&self) -> Option<Position> {
        let event = self.event().filter(|_| self.remedy() == Remedy::Stop);
        event.map(|event| event.position)
    }
}

/// The definition of a kept version, if its text is kept.
pub(crate) fn definition_of(kept: &Kept, view: &str) -> Result<Option<Definition>, RunError> {
    let Some(source) = &kept.source else { return Ok(None) };
    Ok(Some(Definition::of_source(view, source).map_err(RunError::Refused)?))
}

fn remedy(failure: &Failure<RunError>) -> Remedy {
    match failure {
        Failure::Read(error) => RunError::Read((**error).clone()).remedy(),
        Failure::Handler(error) => error.remedy(),
    }
}

/// Whether a checkpoint belongs to the history that the store has now.
fn is_of_history(at: &Checkpoint, opening: &Opening<'_, RunError>) -> Result<bool, RunError> {
    match opening.check(at) {
        Ok(_) => Ok(true),
        Err(ReadError::Diverged { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// How far the wanted version is on its way to serve.
enum Phase<'o> {
    /// An older version serves.
    Behind,
    /// It has reached the head. The older version stands still until this one shows as much.
    Near(#[expect(dead_code, reason = "dropping it lets the older version go on")] Held<'o>),
    /// It serves.
    Serves,
}

/// Where a transaction brings a version.
struct Destination<'d> {
    place: &'d Checkpoint,
    reach: Reach,
    durability: Durability,
}

/// A version between two pages.
pub(crate) struct Follower<'o, T: Target> {
    view: &'o View,
    role: Role,
    target: &'o mut T,
    version: &'o T::Version,
    writer: <T::Version as Version>::Writer<'o>,
    phase: Phase<'o>,
    /// The hash of the older version that is kept.
    old: Option<&'o str>,
    /// What happens at an event that cannot be applied.
    policy: OnError,
    /// The events that the version takes.
    query: Query,
    /// The streams that the version holds back.
    parked: ParkedStreams,
}

impl<T: Target> Session for Follower<'_, T> {
    type Error = RunError;

    /// Commits a page and its checkpoint.
    fn handle(
        &mut self,
        page: &Page,
        at: &Checkpoint,
        reach: Reach,
        stop: &Stop,
    ) -> Result<Handled, RunError> {
        match self.role {
            Role::Wanted => self.handle_wanted(page, at, reach, stop),
            Role::Old => self.handle_old(page, at, stop),
        }
    }

    fn interrupter(&self) -> Option<Interrupter> {
        self.writer.interrupter()
    }

    fn tidy_up(&mut self, stop: &Stop) -> Result<(), RunError> {
        self.writer.tidy_up(stop)
    }

    fn close(&mut self) {
        self.target.close();
        self.view.closing(self.role);
        self.writer.close();
    }
}

impl<'o, T: Target> Follower<'o, T> {
    fn handle_wanted(
        &mut self,
        page: &Page,
        at: &Checkpoint,
        reach: Reach,
        stop: &Stop,
    ) -> Result<Handled, RunError> {
        let to = &page.scanned_to;
        if matches!(self.phase, Phase::Behind) && reach == Reach::Head && self.approach(stop).is_none() {
            return Ok(Handled::Interrupted);
        }
        let takes_over = match self.phase {
            Phase::Behind => false,
            Phase::Near(_) => self.is_past_predecessor(to),
            Phase::Serves => reach == Reach::Head,
        };
        let reach = if takes_over { Reach::Head } else { Reach::Page };
        // The consumer publishes its place next, and wakes those who wait for these rows.
        if self.commit_page(page, at, reach, stop)?.is_none() {
            return Ok(Handled::Interrupted);
        }
        if takes_over {
            self.caught_up();
        }
        Ok(Handled::Committed)
    }

    /// Commits a page of an older version, unless the wanted one is about to take over.
    fn handle_old(&mut self, page: &Page, at: &Checkpoint, stop: &Stop) -> Result<Handled, RunError> {
        let Some(_passing) = self.view.gate.pass(stop) else { return Ok(Handled::Interrupted) };
        match self.commit_page(page, at, Reach::Page, stop)? {
            Some(_) => Ok(Handled::Committed),
            None => Ok(Handled::Interrupted),
        }
    }

    /// Commits a page without the streams that are parked, and parks those that fail.
    fn commit_page(
        &mut self,
        page: &Page,
        at: &Checkpoint,
        reach: Reach,
        stop: &Stop,
    ) -> Result<Option<u64>, RunError> {
        let parked = self.parked.clone();
        let parking = Parking::new(&self.view.name, self.policy, &parked, &page.events);
        let to = Destination { place: &page.scanned_to, reach, durability: Durability::WithLater };
        self.commit(parking, at, &to, stop)
    }

    /// Commits events and the parked streams that go with them, and shows both. Gives the number of events that were applied.
    /// `None`: the signal was raised.
    fn commit(
        &mut self,
        mut parking: Parking<'_>,
        from: &Checkpoint,
        to: &Destination<'_>,
        stop: &Stop,
    ) -> Result<Option<u64>, RunError> {
        let Destination { place: to, reach, durability } = *to;
        loop {
            let (events, parked, pieces) = (parking.events(), parking.changes(), parking.pieces());
            let page = PageWrite { events: &events, pieces, from, to, reach, parked: &parked, durability };
            match self.writer.commit(&page, stop) {
                Ok(Outcome::Interrupted) => return Ok(None),
                Ok(Outcome::Applied) => {
                    parking.fresh().for_each(|parked| {
                        let (view, error) = (&self.view.name, &parked.error);
                        tracing::warn!(view, stream = parked.stream, error, "the view parks a stream");
                    });
                    self.parked.apply(&parked);
                    self.view.advanced(self.role, to, &self.parked);
                    return Ok(Some(events.len() as u64));
                }
                Err(error) => match parking.failed(error) {
                    Then::Again => {}
                    Then::Fail(error) => return Err(error),
                },
            }
        }
    }

    /// The wanted version was opened at the head of the log. `None`: the signal was raised.
    fn open_at_head(&mut self, at: &Checkpoint, stop: &Stop) -> Result<Option<()>, RunError> {
        if matches!(self.phase, Phase::Behind) {
            if self.approach(stop).is_none() {
                return Ok(None);
            }
            if !self.is_past_predecessor(at) {
                return Ok(Some(()));
            }
            self.version.take_over()?;
        }
        self.caught_up();
        Ok(Some(()))
    }

    /// The older version stands still from now on. `None`: the signal was raised.
    fn approach(&mut self, stop: &Stop) -> Option<()> {
        let view: &'o View = self.view;
        self.phase = Phase::Near(view.gate.hold(stop)?);
        Some(())
    }

    /// Whether queries that show the place `at` show no less than those on the version that serves.
    fn is_past_predecessor(&self, at: &Checkpoint) -> bool {
        self.view.place_of_predecessor().is_none_or(|place| at.at_least(&place))
    }

    /// The wanted version shows everything, and its database records that: it is served from now on, and the older one is kept.
    fn caught_up(&mut self) {
        self.view.switch();
        self.phase = Phase::Serves;
        self.version.remove_others(self.old);
    }
}
