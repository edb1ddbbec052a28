//! The handler of a view: opens its version in the database, applies pages, and decides when it must be rebuilt.
//!
//! The loop around it, with its pauses, tries and stops, is the kit of `gesta-consumer`.

use std::sync::Arc;

use gesta_consumer::{
    Failure, Handled, HandlerError, Interrupter, Notice, Opener, Opening, Reach, Recovery, Session, Start,
    Stop,
};
use gesta_core::{Checkpoint, Page, Position, ReadError, Retry};

use crate::damage::Damage;
use crate::limits::REBUILDS_MAX;
use crate::run_error::{Remedy, RunError};
use crate::target::{Found, Outcome, Serving, Target, Version, Writer};
use crate::view::View;

/// Builds a view's rows during one run.
///
/// What may pass, such as a full disk, is tried again for as long as it takes. A version that is damaged, or does not fit
/// the log any more, is rebuilt.
pub(crate) struct Builder<T: Target> {
    view: Arc<View>,
    target: T,
    /// The version that is open.
    version: Option<T::Version>,
    kept: Kept,
}

/// What a run keeps from one try to the next.
#[derive(Default)]
struct Kept {
    damage: Option<Arc<Damage>>,
    /// Why the version must be rebuilt.
    unusable: Option<String>,
    rebuilds: u32,
}

impl<T: Target> Builder<T> {
    pub(crate) fn new(view: Arc<View>, target: T) -> Self {
        Self { view, target, version: None, kept: Kept::default() }
    }

    /// Shows what another process keeps up to date, if it is of the store's history.
    fn stand_by(&mut self, opening: &Opening<'_, RunError>) {
        let serving = self.target.standing_by();
        let is_of_history = |serving: &Serving| matches!(opening.check(&serving.checkpoint), Ok(Some(())));
        if let Some(serving) = serving.filter(is_of_history) {
            self.view.standing_by(serving);
        }
    }

    /// Opens the version of the definition, or makes it.
    fn open_version(&mut self, opening: &Opening<'_, RunError>) -> Result<T::Version, RunError> {
        let damage = self.kept.damage.get_or_insert_with(|| {
            let damage = Arc::new(Damage::new(opening.stop().clone()));
            self.view.report_damage_to(&damage);
            damage
        });
        let found = match self.kept.unusable.clone() {
            Some(reason) => Found::Unusable(reason),
            None => self.target.find(opening.head(), damage, opening.stop())?,
        };
        let version = match found {
            Found::Usable(version) => return Ok(version),
            Found::Nothing => self.target.make(opening.start(), opening.stop())?,
            Found::Unusable(reason) => {
                opening.begin_anew();
                self.view.rebuilding(&reason);
                // Later reports are about the version that goes now.
                damage.take();
                self.target.make(opening.start(), opening.stop())?
            }
        };
        self.kept.unusable = None;
        Ok(version)
    }
}

impl<T: Target> Opener for Builder<T> {
    type Error = RunError;
    type Session<'o> = Follower<'o, T>;

    fn open<'o>(
        &'o mut self,
        opening: &Opening<'_, RunError>,
    ) -> Result<Option<(Start, Follower<'o, T>)>, RunError> {
        let version = match self.open_version(opening) {
            Ok(version) => version,
            Err(error) => {
                self.stand_by(opening);
                return Err(error);
            }
        };
        let Self { view, target, version: open, .. } = self;
        let version = open.insert(version);
        let at = version.checkpoint().clone();
        // Before anything is served: rows of events that the log lost must not be shown.
        if opening.check(&at)?.is_none() {
            return Ok(None);
        }
        let head = opening.head();
        let is_at_head = at.at_least(head);
        // Recorded before a caller can see that it has caught up and a stop can interrupt it. Without the record, a version
        // that served before goes on, and the error ends the run.
        let taken_over = if is_at_head { version.take_over() } else { Ok(()) };
        let serves_alone = is_at_head && taken_over.is_ok();
        let predecessor = if serves_alone { None } else { predecessor_of(version, opening)? };
        view.opened(Serving { reads: version.reads(), checkpoint: at.clone() }, predecessor);
        taken_over?;
        let follower = Follower { view, target, version, writer: version.writer()? };
        if is_at_head {
            follower.caught_up();
        }
        let start = Start::new(at, view.definition.query());
        Ok(Some((Start { limit: view.page, ..start }, follower)))
    }

    fn recover(&mut self, failure: Option<Failure<RunError>>) -> Recovery<RunError> {
        self.version = None;
        let damage = self.kept.damage.as_ref().and_then(|damage| damage.take());
        let reason = match (damage, failure) {
            (Some(damage), _) => format!("its file is damaged: {damage}"),
            (None, None) => return Recovery::Reopen,
            (None, Some(failure)) => match remedy(&failure) {
                Remedy::Stop => return Recovery::Stop(failure),
                Remedy::Retry => return Recovery::Retry(failure),
                Remedy::Rebuild => failure.to_string(),
            },
        };
        let rebuilds = self.kept.rebuilds;
        if rebuilds == REBUILDS_MAX {
            let error = RunError::RebuiltInVain { rebuilds, reason };
            return Recovery::Stop(Failure::Handler(Arc::new(error)));
        }
        self.kept.rebuilds += 1;
        self.kept.unusable = Some(reason);
        Recovery::Reopen
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

impl HandlerError for RunError {
    fn retry(&self) -> Retry {
        self.retry()
    }

    fn event(&self) -> Option<Position> {
        let event = self.event().filter(|_| self.remedy() == Remedy::Stop);
        event.map(|event| event.position)
    }
}

fn remedy(failure: &Failure<RunError>) -> Remedy {
    match failure {
        Failure::Read(error) => RunError::Read((**error).clone()).remedy(),
        Failure::Handler(error) => error.remedy(),
    }
}

/// The version that serves until this one has caught up.
fn predecessor_of(
    version: &impl Version,
    opening: &Opening<'_, RunError>,
) -> Result<Option<Serving>, RunError> {
    match version.predecessor(opening.head())? {
        Some(older) if !is_of_history(&older.checkpoint, opening)? => Ok(None),
        predecessor => Ok(predecessor),
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

/// A view between two pages.
pub(crate) struct Follower<'o, T: Target> {
    view: &'o Arc<View>,
    target: &'o mut T,
    version: &'o T::Version,
    writer: <T::Version as Version>::Writer<'o>,
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
        let to = &page.scanned_to;
        if self.writer.commit(&page.events, at, to, reach, stop)? == Outcome::Interrupted {
            return Ok(Handled::Interrupted);
        }
        // The consumer publishes its place next, and wakes those who wait for these rows.
        self.view.advanced(to);
        if reach == Reach::Head {
            self.caught_up();
        }
        Ok(Handled::Committed)
    }

    fn interrupter(&self) -> Option<Interrupter> {
        self.writer.interrupter()
    }

    fn tidy_up(&mut self, stop: &Stop) -> Result<(), RunError> {
        self.writer.tidy_up(stop)
    }

    fn close(&mut self) {
        self.target.close();
        self.view.closing();
        self.writer.close();
    }
}

impl<T: Target> Follower<'_, T> {
    /// The wanted version shows everything, and its database records that: it is served from now on, the others are removed.
    fn caught_up(&self) {
        let old = self.view.switch();
        self.version.remove_others(old.as_deref());
    }
}
