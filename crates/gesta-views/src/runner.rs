//! Runs a view on its thread: opens its database, catches up, follows the log, heals what can heal, and stops visibly.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gesta_core::{Checkpoint, Limit, Page, Place, ReadError, Retry, Subscription, When};

use crate::apply::{Outcome, Reach, Writer};
use crate::database::{Found, ViewFile, predecessor, remove_other_versions};
use crate::history::check_history;
use crate::integrity::BackgroundCheck;
use crate::limits::{REBUILDS_MAX, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN, WAL_DRAIN_TIME_MAX};
use crate::run_error::{Remedy, RunError};
use crate::signal::Signal;
use crate::view::View;

/// Runs until a stop is requested (`Ok`) or the view cannot go on.
///
/// What may pass, such as a full disk, is tried again for as long as it takes. A database that is damaged, or does not
/// fit the log any more, is rebuilt.
pub(crate) fn run(view: &View, signal: &Arc<Signal>) -> Result<(), RunError> {
    let mut kept = Kept::default();
    let mut rebuilds = 0;
    loop {
        let ended = run_file(view, signal, &mut kept);
        if signal.is_stopping() {
            return Ok(());
        }
        let damage = signal.take_damage().map(|damage| format!("its file is damaged: {damage}"));
        let reason = match (damage, ended) {
            (Some(damage), _) => damage,
            (None, Ok(())) => return Ok(()),
            (None, Err(error)) => match error.remedy() {
                Remedy::Stop => return Err(error),
                Remedy::Rebuild => error.to_string(),
                Remedy::Retry => {
                    view.retrying(error);
                    signal.pause(kept.pause.next());
                    continue;
                }
            },
        };
        if rebuilds == REBUILDS_MAX {
            return Err(RunError::RebuiltInVain { rebuilds, reason });
        }
        rebuilds += 1;
        kept.unusable = Some(reason);
    }
}

/// What a run keeps from one try to the next.
#[derive(Default)]
struct Kept {
    /// Why the file must be rebuilt.
    unusable: Option<String>,
    /// The check of a file from before this run. It reads every page, so it goes on while the view tries again.
    check: Option<BackgroundCheck>,
    pause: Pause,
}

/// The pauses between tries: each twice as long as the one before, up to a limit.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(RETRY_PAUSE_MIN)
    }
}

impl Pause {
    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(RETRY_PAUSE_MAX);
        pause
    }
}

/// Opens the view's file and follows the log until the signal is raised (`Ok`) or an error comes up.
fn run_file(view: &View, signal: &Arc<Signal>, kept: &mut Kept) -> Result<(), RunError> {
    let store = &view.store;
    let Some(start) = patiently(view, signal, async || store.locate(When::Start).await)? else {
        return Ok(());
    };
    let Some(head) = patiently(view, signal, async || store.locate(When::Head).await)? else {
        return Ok(());
    };
    let file = open(view, signal, &start, &head, kept)?;
    // Before anything is served: rows of events that the log lost must not be shown.
    let is_checked =
        patiently(view, signal, async || check_history(&**store, &file.checkpoint, &head).await)?;
    if is_checked.is_none() {
        return Ok(());
    }
    let ended = follow(view, signal, &file, &head, &mut kept.pause);
    if signal.is_stopping() {
        kept.check = None;
        view.closing();
        // What stays in the write-ahead log is not lost. The next open finds it there.
        if let Err(error) = file.empty_wal() {
            tracing::warn!(view = view.definition.name(), %error, "the write-ahead log stays");
        }
    }
    ended
}

/// Opens the view's file, or makes it. A file from before this run is checked in the background.
fn open(
    view: &View,
    signal: &Arc<Signal>,
    start: &Checkpoint,
    head: &Checkpoint,
    kept: &mut Kept,
) -> Result<ViewFile, RunError> {
    let (folder, definition) = (&view.folder, &view.definition);
    let found = match kept.unusable.clone() {
        Some(reason) => Found::Unusable(reason),
        None => ViewFile::find(folder, definition, head)?,
    };
    let file = match found {
        Found::Usable(file) => {
            if kept.check.is_none() {
                kept.check = start_check(view, signal, &file);
            }
            return Ok(file);
        }
        Found::Nothing => ViewFile::make(folder, definition, start)?,
        Found::Unusable(reason) => {
            view.rebuilding(&reason);
            kept.check = None;
            // Later reports are about the file that goes now.
            signal.take_damage();
            ViewFile::make(folder, definition, start)?
        }
    };
    kept.unusable = None;
    Ok(file)
}

fn start_check(view: &View, signal: &Arc<Signal>, file: &ViewFile) -> Option<BackgroundCheck> {
    let check = BackgroundCheck::start(&file.path, signal);
    let check = check.inspect_err(|error| {
        tracing::warn!(view = view.definition.name(), %error, "a view's database is not checked");
    });
    check.ok()
}

fn follow(
    view: &View,
    signal: &Signal,
    file: &ViewFile,
    head: &Checkpoint,
    pause: &mut Pause,
) -> Result<(), RunError> {
    let is_at_head = file.checkpoint.at_least(head);
    // A version that this one has taken over from, and whose file could not be removed, shows older rows.
    let is_behind = |at: &Checkpoint| file.caught_up && file.checkpoint.at_least(at);
    let predecessor = if is_at_head { None } else { predecessor(&view.folder, &view.definition, head) };
    let predecessor = predecessor.filter(|(_, at)| !is_behind(at));
    let predecessor = match predecessor {
        Some((_, ref at)) if !is_of_history(view, signal, at, head)? => None,
        predecessor => predecessor,
    };
    // Marked before a caller can see that it has caught up and a stop can interrupt it. Its rows are right without the
    // mark, so they are served before an error ends the run.
    let marked = if is_at_head { file.mark_caught_up() } else { Ok(()) };
    view.opened(file, predecessor);
    marked?;
    let writer = Writer::new(&file.connection, &file.path, view.definition.parts())?;
    let (at, wal_bytes_max) = (file.checkpoint.clone(), view.wal_bytes_max);
    let mut follower = Follower { view, signal, file, writer, at, caught_up: false, wal_bytes_max, pause };
    if is_at_head {
        follower.caught_up();
    }
    follower.follow()
}

/// Whether a checkpoint belongs to the history that the store has now.
fn is_of_history(view: &View, signal: &Signal, at: &Checkpoint, head: &Checkpoint) -> Result<bool, RunError> {
    match patiently(view, signal, async || check_history(&*view.store, at, head).await) {
        Ok(_) => Ok(true),
        Err(RunError::Read(ReadError::Diverged { .. })) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A view between two pages.
struct Follower<'r> {
    view: &'r View,
    signal: &'r Signal,
    file: &'r ViewFile,
    writer: Writer<'r>,
    at: Checkpoint,
    caught_up: bool,
    /// The size of the write-ahead log at which it is emptied.
    wal_bytes_max: u64,
    pause: &'r mut Pause,
}

impl Follower<'_> {
    fn follow(&mut self) -> Result<(), RunError> {
        // After a page that failed, its batches are applied one by one up to here. So the rows get as far as they can,
        // and the checkpoint stands right before the batch that fails.
        let mut one_by_one_to: Option<Checkpoint> = None;
        let Some(mut subscription) = self.subscribe(self.view.page)? else { return Ok(()) };
        loop {
            let Some(page) = patiently(self.view, self.signal, async || subscription.next().await)? else {
                return Ok(());
            };
            match self.apply(&page) {
                Ok(Outcome::Applied) => {}
                Ok(Outcome::Interrupted) => return Ok(()),
                Err(error)
                    if error.remedy() != Remedy::Stop
                        || error.event().is_none()
                        || one_by_one_to.is_some() =>
                {
                    return Err(error);
                }
                Err(_) => {
                    one_by_one_to = Some(page.scanned_to);
                    let one = Limit { events: NonZeroU32::MIN, ..self.view.page };
                    let Some(again) = self.subscribe(one)? else { return Ok(()) };
                    subscription = again;
                    continue;
                }
            }
            if one_by_one_to.as_ref().is_some_and(|to| self.at.at_least(to)) {
                one_by_one_to = None;
                let Some(again) = self.subscribe(self.view.page)? else { return Ok(()) };
                subscription = again;
            }
        }
    }

    fn subscribe(&self, limit: Limit) -> Result<Option<Subscription>, RunError> {
        let (store, query) = (&self.view.store, self.view.definition.query());
        let from = || Place::At(self.at.clone());
        let subscribe = async || Subscription::new(store.clone(), query.clone(), from()).await;
        Ok(patiently(self.view, self.signal, subscribe)?.map(|subscription| subscription.limit(limit)))
    }

    /// Commits a page and its checkpoint.
    fn apply(&mut self, page: &Page) -> Result<Outcome, RunError> {
        let catches_up = page.end && !self.caught_up;
        let reach = if catches_up { Reach::Head } else { Reach::Page };
        let outcome = self.writer.apply(&page.events, &self.at, &page.scanned_to, reach, self.signal)?;
        if outcome == Outcome::Interrupted {
            return Ok(outcome);
        }
        assert!(page.scanned_to.at_least(&self.at), "a view's checkpoint never goes back");
        self.at = page.scanned_to.clone();
        *self.pause = Pause::default();
        self.view.advanced(&self.file.path, &self.at, page.end);
        if catches_up {
            self.caught_up();
        }
        self.bound_wal()?;
        Ok(Outcome::Applied)
    }

    /// The wanted version shows everything, and its file records that: it is served from now on, the others are removed.
    fn caught_up(&mut self) {
        self.caught_up = true;
        let old = self.view.switch_to(&self.file.path, &self.at);
        remove_other_versions(&self.view.folder, &self.view.definition, old.as_deref());
    }

    /// Empties a write-ahead log that has grown too large, while new queries wait. If the running ones take too long, it is
    /// tried again after as much growth.
    fn bound_wal(&mut self) -> Result<(), RunError> {
        let bytes = self.file.wal_bytes();
        if bytes <= self.wal_bytes_max {
            return Ok(());
        }
        let pool = self.view.readers_of(&self.file.path);
        let hold = pool.as_ref().map(|pool| pool.hold());
        if let Some(hold) = &hold {
            hold.drain(Instant::now() + WAL_DRAIN_TIME_MAX);
        }
        if self.signal.is_raised() {
            return Ok(());
        }
        let emptied = self.file.empty_wal()?;
        self.wal_bytes_max = self.view.wal_bytes_max + if emptied { 0 } else { bytes };
        Ok(())
    }
}

/// Asks the store until it answers, with growing pauses while it says that a pause helps. `None`: the signal was raised.
fn patiently<T>(
    view: &View,
    signal: &Signal,
    mut ask: impl AsyncFnMut() -> Result<T, ReadError>,
) -> Result<Option<T>, RunError> {
    let mut pause = Pause::default();
    loop {
        match signal.or(ask()) {
            None => return Ok(None),
            Some(Ok(answer)) => return Ok(Some(answer)),
            Some(Err(error)) if matches!(error.retry(), Retry::Never | Retry::Unknown) => {
                return Err(error.into());
            }
            Some(Err(error)) => view.while_retrying(error.into(), || signal.pause(pause.next())),
        }
    }
}
