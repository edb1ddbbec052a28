//! A run of a consumer: opens its handler, catches up, follows the log, tries again what may pass, and stops visibly.
//!
//! *Invariants.* The place only moves to the end of a page that the handler committed, and never back within a session. No
//! event is skipped: what cannot be handled stops the run, or is tried again from the same place.

use std::num::NonZeroU32;

use gesta_core::{Checkpoint, Limit, Page, Place, Retry, Subscription};

use super::error::HandlerError;
use super::handler::{Handled, Opener, Opening, Reach, Recovery, Session, Start};
use super::log::Log;
use super::state::{Failure, Why};
use crate::back_off::BackOff;

/// Runs until a stop is requested or the handler cannot go on.
pub(super) fn run<O: Opener>(log: &Log<'_, O::Error>, opener: &mut O) -> Why<O::Error> {
    let mut back_off = log.back_off();
    loop {
        let ended = session(log, opener, &mut back_off);
        if log.stop().is_stopping() {
            // An error while a run is stopped, such as an interrupted statement, is expected.
            return Why::ShutDown;
        }
        log.stop().clear_reopen();
        match opener.recover(ended.err()) {
            Recovery::Reopen => {}
            Recovery::Stop(failure) => return Why::Failed(failure),
            Recovery::Retry(failure) => {
                if log.shared().retries_max.is_some_and(|retries_max| back_off.attempt() >= retries_max) {
                    return Why::Failed(failure);
                }
                let pause = back_off.next();
                let until = log.until(pause);
                log.shared().retrying(failure, back_off.attempt(), pause);
                log.sleep(until);
            }
        }
    }
}

/// Opens the handler and follows the log until the signal is raised (`Ok`) or an error comes up.
fn session<O: Opener>(
    log: &Log<'_, O::Error>,
    opener: &mut O,
    back_off: &mut BackOff,
) -> Result<(), Failure<O::Error>> {
    let Some(opening) = Opening::new(log)? else { return Ok(()) };
    let Some((start, mut session)) = opener.open(&opening).map_err(Failure::handler)? else {
        return Ok(());
    };
    let is_at_head = start.at.at_least(opening.head());
    log.shared().opened(&start.at, is_at_head);
    let interruptible = log.shared().interruptible(session.interrupter());
    let at = start.at.clone();
    let mut follower = Follower { log, session: &mut session, start, at, caught_up: is_at_head, back_off };
    let ended = follower.follow();
    drop(interruptible);
    if log.stop().is_stopping() {
        session.close();
    }
    ended
}

/// A handler between two pages.
struct Follower<'f, E, S> {
    log: &'f Log<'f, E>,
    session: &'f mut S,
    start: Start,
    at: Checkpoint,
    caught_up: bool,
    back_off: &'f mut BackOff,
}

impl<E: HandlerError, S: Session<Error = E>> Follower<'_, E, S> {
    fn follow(&mut self) -> Result<(), Failure<E>> {
        // After a page that failed, its batches are handled one by one up to here. So the handler gets as far as it can,
        // and its place stands right before the batch that fails.
        let mut one_by_one_to: Option<Checkpoint> = None;
        let Some(mut subscription) = self.subscribe(self.start.limit)? else { return Ok(()) };
        loop {
            let Some(page) = self.log.patiently(async || subscription.next().await)? else { return Ok(()) };
            // A pause may have come with the page, which then waits: nothing that was appended after a pause is handled.
            self.log.park();
            if self.log.stop().is_raised() {
                return Ok(());
            }
            match self.handle(&page) {
                Ok(Handled::Committed) => {}
                Ok(Handled::Interrupted) => return Ok(()),
                Err(error) if one_by_one_to.is_some() || !is_about_an_event(&error) => {
                    return Err(Failure::handler(error));
                }
                Err(_) => {
                    one_by_one_to = Some(page.scanned_to);
                    let one = Limit { events: NonZeroU32::MIN, ..self.start.limit };
                    let Some(again) = self.subscribe(one)? else { return Ok(()) };
                    subscription = again;
                    continue;
                }
            }
            if one_by_one_to.as_ref().is_some_and(|to| self.at.at_least(to)) {
                one_by_one_to = None;
                let Some(again) = self.subscribe(self.start.limit)? else { return Ok(()) };
                subscription = again;
            }
        }
    }

    fn subscribe(&self, limit: Limit) -> Result<Option<Subscription>, Failure<E>> {
        let (store, query) = (&self.log.shared().store, &self.start.query);
        let from = || Place::At(self.at.clone());
        let subscribe = async || Subscription::new(store.clone(), query.clone(), from()).await;
        let subscription = self.log.patiently(subscribe)?.map(|subscription| subscription.limit(limit));
        Ok(subscription.map(|subscription| match &self.start.lanes {
            Some(lanes) => subscription.lanes(lanes.clone()),
            None => subscription,
        }))
    }

    /// Has a page handled, and publishes its place.
    fn handle(&mut self, page: &Page) -> Result<Handled, E> {
        let stop = self.log.stop();
        let catches_up = page.end && !self.caught_up;
        let reach = if catches_up { Reach::Head } else { Reach::Page };
        if self.session.handle(page, &self.at, reach, stop)? == Handled::Interrupted {
            assert!(stop.is_raised(), "a handler is interrupted only by the signal");
            return Ok(Handled::Interrupted);
        }
        assert!(page.scanned_to.at_least(&self.at), "a consumer's place never goes back");
        self.log.shared().advanced(&self.at, &page.scanned_to, page.end);
        self.at = page.scanned_to.clone();
        self.caught_up |= catches_up;
        self.back_off.reset();
        self.session.tidy_up(stop)?;
        Ok(Handled::Committed)
    }
}

/// Whether the same page fails again, because of an event in it.
fn is_about_an_event<E: HandlerError>(error: &E) -> bool {
    error.event().is_some() && matches!(error.retry(), Retry::Never | Retry::Unknown)
}
