//! Runs a view on its thread: opens its database, catches up, goes on live, and stops visibly.

use gesta_core::{Checkpoint, Limit, Page, Place, ReadError, Retry, Subscription, When};

use crate::apply::{Outcome, Reach, Writer};
use crate::database::{ViewFile, predecessor, remove_other_versions};
use crate::limits::{BUSY_RETRIES_MAX, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};
use crate::race::Stop;
use crate::run_error::RunError;
use crate::view::View;

/// Runs until a stop is requested (`Ok`) or the view cannot go on.
pub(crate) fn run(view: &View, stop: &Stop) -> Result<(), RunError> {
    let store = &view.store;
    let Some(start) = patiently(view, stop, async || store.locate(When::Start).await)? else { return Ok(()) };
    let Some(head) = patiently(view, stop, async || store.locate(When::Head).await)? else { return Ok(()) };
    view.opening();
    let file = ViewFile::open(&view.folder, &view.definition, &start, &head)?;
    let is_at_head = file.checkpoint.at_least(&head);
    // One that this version has taken over from, and whose file could not be removed, shows older rows than this one does.
    let is_behind = |at: &Checkpoint| file.caught_up && file.checkpoint.at_least(at);
    let predecessor = if is_at_head { None } else { predecessor(&view.folder, &view.definition, &head) };
    let predecessor = predecessor.filter(|(_, at)| !is_behind(at));
    // Marked before anybody can see that it has caught up and a stop can interrupt it; what it shows is right without the
    // mark, so it is served before an error stops it.
    let marked = if is_at_head { file.mark_caught_up() } else { Ok(()) };
    view.opened(&file, predecessor);
    marked?;
    let writer = Writer::new(&file.connection, &file.path, view.definition.parts())?;
    let mut follower =
        Follower { view, stop, file: &file, writer, at: file.checkpoint.clone(), caught_up: false };
    if is_at_head {
        follower.caught_up();
    }
    follower.follow()
}

/// A view between two pages.
struct Follower<'r> {
    view: &'r View,
    stop: &'r Stop,
    file: &'r ViewFile,
    writer: Writer<'r>,
    at: Checkpoint,
    caught_up: bool,
}

impl Follower<'_> {
    fn follow(&mut self) -> Result<(), RunError> {
        // After a page that failed, its batches come one by one up to here, so that the rows get as far as they can
        // and the error is about the batch that the view stands before.
        let mut one_by_one_to: Option<Checkpoint> = None;
        let Some(mut subscription) = self.subscribe(self.view.page)? else { return Ok(()) };
        loop {
            let Some(page) = patiently(self.view, self.stop, async || subscription.next().await)? else {
                return Ok(());
            };
            match self.apply(&page) {
                Ok(Outcome::Applied) => {}
                Ok(Outcome::Stopped) => return Ok(()),
                Err(error) if error.event().is_none() || one_by_one_to.is_some() => return Err(error),
                Err(_) => {
                    one_by_one_to = Some(page.scanned_to);
                    let one = Limit { events: std::num::NonZeroU32::MIN, ..self.view.page };
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
        Ok(patiently(self.view, self.stop, subscribe)?.map(|subscription| subscription.limit(limit)))
    }

    /// Commits a page and its checkpoint, waiting for whoever is in the way.
    fn apply(&mut self, page: &Page) -> Result<Outcome, RunError> {
        let catches_up = page.end && !self.caught_up;
        let reach = if catches_up { Reach::Head } else { Reach::Page };
        let mut pause = RETRY_PAUSE_MIN;
        let mut retries = 0;
        loop {
            match self.writer.apply(&page.events, &self.at, &page.scanned_to, reach, self.stop) {
                Ok(Outcome::Applied) => break,
                Err(error) if is_busy(&error) && retries < BUSY_RETRIES_MAX => {
                    self.view.while_retrying(error, || self.stop.pause(pause));
                    (pause, retries) = ((pause * 2).min(RETRY_PAUSE_MAX), retries + 1);
                    if self.stop.is_requested() {
                        return Ok(Outcome::Stopped);
                    }
                }
                other => return other,
            }
        }
        self.at = page.scanned_to.clone();
        self.view.advanced(&self.file.path, &self.at, page.end);
        if catches_up {
            self.caught_up();
        }
        Ok(Outcome::Applied)
    }

    /// The wanted version shows everything, and its file says so: it is served from now on, and the others go.
    fn caught_up(&mut self) {
        self.caught_up = true;
        let old = self.view.switch_to(&self.file.path, &self.at);
        remove_other_versions(&self.view.folder, &self.view.definition, old.as_deref());
    }
}

const fn is_busy(error: &RunError) -> bool {
    matches!(error, RunError::Statement { busy: true, .. } | RunError::Database { busy: true, .. })
}

/// Asks the store until it answers, pausing longer and longer while it says that a pause helps. `None`: a stop was
/// requested.
fn patiently<T>(
    view: &View,
    stop: &Stop,
    mut ask: impl AsyncFnMut() -> Result<T, ReadError>,
) -> Result<Option<T>, RunError> {
    let mut pause = RETRY_PAUSE_MIN;
    loop {
        match stop.or(ask()) {
            None => return Ok(None),
            Some(Ok(answer)) => return Ok(Some(answer)),
            Some(Err(error)) if matches!(error.retry(), Retry::Never | Retry::Unknown) => {
                return Err(error.into());
            }
            Some(Err(error)) => {
                view.while_retrying(error.into(), || stop.pause(pause));
                pause = (pause * 2).min(RETRY_PAUSE_MAX);
            }
        }
    }
}
