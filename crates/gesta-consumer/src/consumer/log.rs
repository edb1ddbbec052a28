//! The log as a consumer's thread reads it: patiently, and only as long as nothing calls the thread away.

use std::time::Duration;

use gesta_core::{Checkpoint, ReadError, Retry, When};

use super::error::HandlerError;
use super::shared::Shared;
use super::state::Failure;
use super::stop::Stop;
use crate::back_off::BackOff;
use crate::history::check_history;

pub(super) struct Log<'l, E> {
    shared: &'l Shared<E>,
    stop: &'l Stop,
    salt: u64,
}

impl<'l, E: HandlerError> Log<'l, E> {
    pub(super) const fn new(shared: &'l Shared<E>, stop: &'l Stop, salt: u64) -> Self {
        Self { shared, stop, salt }
    }

    pub(super) const fn stop(&self) -> &Stop {
        self.stop
    }

    pub(super) const fn shared(&self) -> &'l Shared<E> {
        self.shared
    }

    pub(super) const fn back_off(&self) -> BackOff {
        BackOff::new(self.salt)
    }

    pub(super) fn begin_anew(&self) {
        self.shared.begin_anew();
    }

    /// The start and the head of the log. `None`: the signal was raised.
    pub(super) fn ends(&self) -> Result<Option<(Checkpoint, Checkpoint)>, ReadError> {
        let store = &self.shared.store;
        let Some(start) = self.patiently(async || store.locate(When::Start).await)? else { return Ok(None) };
        let head = self.patiently(async || store.locate(When::Head).await)?;
        Ok(head.map(|head| (start, head)))
    }

    pub(super) fn check(&self, at: &Checkpoint, head: &Checkpoint) -> Result<Option<()>, ReadError> {
        self.patiently(async || check_history(&*self.shared.store, at, head).await)
    }

    /// Asks the store until it answers, with growing pauses while it says that a pause helps. A pause of the consumer is
    /// waited for here, so it is always between two pages. `None`: the signal was raised.
    pub(super) fn patiently<T>(
        &self,
        mut ask: impl AsyncFnMut() -> Result<T, ReadError>,
    ) -> Result<Option<T>, ReadError> {
        let mut back_off = self.back_off();
        loop {
            self.park();
            match self.stop.or_pause(ask()) {
                None if self.stop.is_raised() => return Ok(None),
                None => {}
                Some(Ok(answer)) => return Ok(Some(answer)),
                Some(Err(error)) if matches!(error.retry(), Retry::Never | Retry::Unknown) => {
                    return Err(error);
                }
                Some(Err(error)) => {
                    let pause = back_off.next();
                    let until = self.until(pause);
                    let wait = || self.sleep(until);
                    self.shared.while_retrying(Failure::from(error), back_off.attempt(), pause, wait);
                }
            }
        }
    }

    /// Waits for the end of a pause of the consumer, if there is one.
    pub(super) fn park(&self) {
        if self.stop.is_paused() {
            self.shared.while_paused(|| self.stop.while_paused());
        }
    }

    /// The end of a pause that begins now. Taken before the pause is shown, so that a test may advance its clock then.
    pub(super) fn until(&self, pause: Duration) -> Duration {
        self.shared.clock.elapsed().saturating_add(pause)
    }

    /// Waits until the clock has reached `until`, or something calls the thread away.
    pub(super) fn sleep(&self, until: Duration) {
        let _: Option<()> = self.stop.or_pause(self.shared.clock.wait(until));
    }
}
