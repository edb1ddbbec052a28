//! What a consumer calls: a handler of pages, and how it is opened.

use gesta_core::{Checkpoint, Lanes, Limit, Page, Query, ReadError, Retry};

use super::error::HandlerError;
use super::log::Log;
use super::notice::Notice;
use super::state::Failure;
use super::stop::{Interrupter, Stop};

/// Handles the pages of a consumer, on a thread of its own. It may block.
///
/// Each run of the consumer makes a new handler. [`Self::open`] is called before the first page, and again after an
/// error that is tried again.
pub trait Handler {
    /// Its errors.
    type Error: HandlerError;

    /// Opens what it writes to, and returns where to start and what to read.
    ///
    /// # Errors
    /// Tried again or not, as its `retry()` says.
    fn open(&mut self, opening: &Opening<'_, Self::Error>) -> Result<Start, Self::Error>;

    /// Handles the events between the place `at` and `page.scanned_to`.
    ///
    /// It commits `page.scanned_to` together with its effect, or nothing. It leaves soon after `stop` is raised.
    ///
    /// # Errors
    /// Nothing was committed. Tried again or not, as its `retry()` says.
    fn handle(
        &mut self,
        page: &Page,
        at: &Checkpoint,
        reach: Reach,
        stop: &Stop,
    ) -> Result<Handled, Self::Error>;

    /// Returns what ends a [`Self::handle`] that blocks. A stop calls it, on another thread, after it has raised the signal.
    fn interrupter(&self) -> Option<Interrupter> {
        None
    }
}

/// A handler whose open resources borrow from each other, such as a connection and its prepared statements.
///
/// Everything else implements [`Handler`], which is one of these.
pub trait Opener {
    /// Its errors.
    type Error: HandlerError;

    /// What handles pages. It is dropped before [`Self::open`] is called again.
    type Session<'o>: Session<Error = Self::Error>
    where
        Self: 'o;

    /// Opens what pages are written to. `None`: the signal was raised before it was done.
    ///
    /// # Errors
    /// [`Self::recover`] decides what follows.
    fn open<'o>(
        &'o mut self,
        opening: &Opening<'_, Self::Error>,
    ) -> Result<Option<(Start, Self::Session<'o>)>, Self::Error>;

    /// Decides what follows a failure, or a [`Stop::reopen`] (`None`).
    ///
    /// By default an error is tried again if its `retry()` is `AfterPause` or `Now`.
    fn recover(&mut self, failure: Option<Failure<Self::Error>>) -> Recovery<Self::Error> {
        Recovery::by_retry(failure)
    }

    /// Logs what happens to the consumer `name`. Only called when something changes.
    fn report(name: &str, notice: &Notice<'_, Self::Error>) {
        notice.log(name);
    }
}

/// The open resources of an [`Opener`].
pub trait Session {
    /// Its errors.
    type Error: HandlerError;

    /// As [`Handler::handle`].
    ///
    /// # Errors
    /// Nothing was committed.
    fn handle(
        &mut self,
        page: &Page,
        at: &Checkpoint,
        reach: Reach,
        stop: &Stop,
    ) -> Result<Handled, Self::Error>;

    /// As [`Handler::interrupter`].
    fn interrupter(&self) -> Option<Interrupter> {
        None
    }

    /// Does the work between two pages that may take long. The place of the last page is published already.
    ///
    /// # Errors
    /// As for a page; the last page stays committed.
    fn tidy_up(&mut self, stop: &Stop) -> Result<(), Self::Error> {
        let _ = stop;
        Ok(())
    }

    /// The run stops. Nothing interrupts this call.
    fn close(&mut self) {}
}

/// Where a handler starts and what it reads.
#[derive(Debug, Clone)]
pub struct Start {
    /// The last place that it committed.
    pub at: Checkpoint,
    /// The events that it handles.
    pub query: Query,
    /// Only events of streams in these lanes; `None` means all lanes.
    pub lanes: Option<Lanes>,
    /// The largest page.
    pub limit: Limit,
}

impl Start {
    /// Starts at a place, with all lanes and pages of the default size.
    #[must_use]
    pub fn new(at: Checkpoint, query: Query) -> Self {
        Self { at, query, lanes: None, limit: Limit::default() }
    }
}

/// Whether a page brings the handler to the head of the log for the first time since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// More of the log follows, or the head was reached before.
    Page,
    /// The page is the first one to reach the head.
    Head,
}

/// The outcome of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// The page's place is committed with its effect.
    Committed,
    /// The signal was raised. Nothing of the page was kept.
    Interrupted,
}

/// What follows a failure.
#[derive(Debug)]
pub enum Recovery<E> {
    /// Pause, show the failure, and open again.
    Retry(Failure<E>),
    /// Open again at once.
    Reopen,
    /// Stop.
    Stop(Failure<E>),
}

impl<E: HandlerError> Recovery<E> {
    /// Tries again what says so itself, and stops for everything else.
    #[must_use]
    pub fn by_retry(failure: Option<Failure<E>>) -> Self {
        match failure {
            None => Self::Reopen,
            Some(failure) if matches!(failure.retry(), Retry::AfterPause | Retry::Now) => {
                Self::Retry(failure)
            }
            Some(failure) => Self::Stop(failure),
        }
    }
}

/// What a handler can use while it opens.
pub struct Opening<'l, E> {
    start: Checkpoint,
    head: Checkpoint,
    log: &'l Log<'l, E>,
}

impl<'l, E: HandlerError> Opening<'l, E> {
    /// Asks the log for its ends. `None`: the signal was raised.
    pub(super) fn new(log: &'l Log<'l, E>) -> Result<Option<Self>, ReadError> {
        let ends = log.ends()?;
        Ok(ends.map(|(start, head)| Self { start, head, log }))
    }

    /// The start of the log.
    #[must_use]
    pub const fn start(&self) -> &Checkpoint {
        &self.start
    }

    /// The head of the log, a moment ago.
    #[must_use]
    pub const fn head(&self) -> &Checkpoint {
        &self.head
    }

    /// The signal of this run.
    #[must_use]
    pub const fn stop(&self) -> &Stop {
        self.log.stop()
    }

    /// Checks that a place belongs to the history that the log has now. `None`: the signal was raised.
    ///
    /// The first read checks the place anyway. This is for handlers that show something before they read.
    ///
    /// # Errors
    /// [`ReadError::Diverged`] if the log lost events that the place had seen, and went on; otherwise as a read from
    /// there. Errors that a pause may heal are waited for.
    pub fn check(&self, at: &Checkpoint) -> Result<Option<()>, ReadError> {
        self.log.check(at, &self.head)
    }

    /// The handler throws away what it had and starts anew: the consumer has no place and catches up.
    pub fn begin_anew(&self) {
        self.log.begin_anew();
    }
}

impl<H: Handler> Opener for H {
    type Error = H::Error;
    type Session<'o>
        = &'o mut H
    where
        H: 'o;

    fn open<'o>(
        &'o mut self,
        opening: &Opening<'_, H::Error>,
    ) -> Result<Option<(Start, &'o mut H)>, H::Error> {
        let start = Handler::open(self, opening)?;
        Ok(Some((start, self)))
    }
}

impl<H: Handler> Session for &mut H {
    type Error = H::Error;

    fn handle(
        &mut self,
        page: &Page,
        at: &Checkpoint,
        reach: Reach,
        stop: &Stop,
    ) -> Result<Handled, H::Error> {
        (**self).handle(page, at, reach, stop)
    }

    fn interrupter(&self) -> Option<Interrupter> {
        (**self).interrupter()
    }
}
