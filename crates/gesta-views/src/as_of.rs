//! A view as of an earlier moment: folded from its definition, beside the live one.
//!
//! *Choice:* a database in a temporary folder, with one connection that applies events and another that reads. So a query at a
//! moment runs behind the same walls as one on a live view. What is left behind by a crash is in the folder of the system for
//! temporary files.

mod fold;
mod series;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gesta_core::{Checkpoint, EventStore, Place, Position, Read, RecordedEvent, Retry, Timestamp, When};
use tempfile::TempDir;

use crate::definition::Definition;
use crate::limits::PAGE;
use crate::query::{Cancel, QueryError, QueryLimits, Rows, SqlValue};
use crate::run_error::RunError;
use crate::sqlite::reader::Reader;

use fold::Fold;
pub use series::{SeriesQuery, SeriesTimes, evaluate_runs, evaluate_series};

/// The events that a view is to show.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Moment {
    /// The last place in the log to show.
    pub until: Checkpoint,
    /// Only events whose `time` is at or before this one; `None` for all.
    pub happened_by: Option<Timestamp>,
}

impl From<Checkpoint> for Moment {
    /// All events up to and including a checkpoint.
    fn from(until: Checkpoint) -> Self {
        Self { until, happened_by: None }
    }
}

/// How much an evaluation may cost.
#[derive(Debug, Clone)]
pub struct EvaluationLimits {
    /// How many events it may read.
    pub events: u64,
    /// How long it may take. It ends after the page under way, or the try of one whose streams are parked.
    pub time: Duration,
    /// Ends it early, after the page under way.
    pub cancel: Cancel,
}

impl Default for EvaluationLimits {
    /// None.
    fn default() -> Self {
        Self { events: u64::MAX, time: Duration::MAX, cancel: Cancel::default() }
    }
}

/// Why a view was not evaluated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// An event could not be applied, or the log could not be read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// There are too many events.
    #[error("the view has more than {events_max} events up to then")]
    TooManyEvents {
        /// How many are allowed.
        events_max: u64,
    },
    /// It took too long.
    #[error("the evaluation took longer than {} s", time_max.as_secs())]
    TooLong {
        /// How long it may take.
        time_max: Duration,
    },
    /// The query at a cut was not answered.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// An event belongs to a cut that was given already.
    #[error(
        "the event at position {position} happened before a cut that was given already: a series is one pass over the log; count when events were recorded"
    )]
    LateEvent {
        /// The event.
        position: Position,
        /// The cut that was given.
        cut: Timestamp,
    },
}

impl EvaluateError {
    /// Whether, and when, it helps to evaluate the same again.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Run(error) => error.retry(),
            Self::Query(error) => error.retry(),
            Self::TooManyEvents { .. } | Self::TooLong { .. } | Self::LateEvent { .. } => Retry::Never,
        }
    }
}

/// A view as it was at one moment. Its database is temporary and goes when this is dropped.
pub struct ViewAsOf {
    reader: Mutex<Reader>,
    parked: Vec<String>,
    _folder: TempDir,
}

/// Folds a view from the start of the log up to a moment. The definition need not have run before.
///
/// Blocks its thread, for a time in proportion to the log.
///
/// # Errors
/// [`EvaluateError`]: the [`RunError`] that a running view would stop with;
/// [`ReadError::CheckpointAhead`](gesta_core::ReadError::CheckpointAhead) for a checkpoint beyond the head; a limit that was met.
pub fn evaluate(
    store: &dyn EventStore,
    definition: &Definition,
    moment: &Moment,
    limits: &EvaluationLimits,
) -> Result<ViewAsOf, EvaluateError> {
    let mut pages = Pages::new(store, definition, &moment.until, limits)?;
    let mut fold = Fold::begin(definition, &pages.at)?;
    let happened = |event: &RecordedEvent| moment.happened_by.is_none_or(|by| event.time() <= by);
    while let Some(events) = pages.next()? {
        // Pieces of the page without a gap: nearly always all of it.
        for piece in events.chunk_by(|a, b| happened(a) == happened(b)).filter(|piece| happened(&piece[0])) {
            fold.apply(piece, &pages.budget)?;
        }
    }
    fold.commit(&moment.until)?;
    let parked = fold.parked();
    let (reader, folder) = fold.into_reader()?;
    Ok(ViewAsOf { reader: Mutex::new(reader), parked, _folder: folder })
}

impl ViewAsOf {
    /// Answers one SQL query, as [`Views::query`](crate::Views::query) does; one at a time.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn query(
        &self,
        sql: &str,
        parameters: &[(String, SqlValue)],
        limits: &QueryLimits,
    ) -> Result<Rows, QueryError> {
        let deadline = Instant::now() + limits.time;
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = reader.query(sql, parameters, limits, deadline)?;
        Ok(Rows { parked: self.parked.clone(), ..rows })
    }
}

/// The pages of a view's events up to a place, within limits.
struct Pages<'a> {
    store: &'a dyn EventStore,
    definition: &'a Definition,
    until: &'a Checkpoint,
    budget: Budget<'a>,
    at: Checkpoint,
    events: u64,
    ended: bool,
}

/// What is left of an evaluation's limits.
struct Budget<'a> {
    limits: &'a EvaluationLimits,
    began: Instant,
}

impl Budget<'_> {
    /// Refuses to go on once a limit is met.
    fn check(&self) -> Result<(), EvaluateError> {
        if self.limits.cancel.is_cancelled() {
            return Err(RunError::Cancelled.into());
        }
        if self.began.elapsed() > self.limits.time {
            return Err(EvaluateError::TooLong { time_max: self.limits.time });
        }
        Ok(())
    }
}

impl<'a> Pages<'a> {
    fn new(
        store: &'a dyn EventStore,
        definition: &'a Definition,
        until: &'a Checkpoint,
        limits: &'a EvaluationLimits,
    ) -> Result<Self, RunError> {
        let at = pollster::block_on(store.locate(When::Start))?;
        let budget = Budget { limits, began: Instant::now() };
        Ok(Self { store, definition, until, budget, at, events: 0, ended: false })
    }

    /// The next events; `None` at the end.
    fn next(&mut self) -> Result<Option<Vec<RecordedEvent>>, EvaluateError> {
        if self.ended {
            return Ok(None);
        }
        let from = Place::At(self.at.clone());
        let read = Read::log_from(self.definition.query(), from).until(self.until.clone()).limit(PAGE);
        let page = pollster::block_on(self.store.read(read)).map_err(RunError::from)?;
        self.at = page.scanned_to;
        self.ended = page.end;
        self.events += page.events.len() as u64;
        let events_max = self.budget.limits.events;
        if self.events > events_max {
            return Err(EvaluateError::TooManyEvents { events_max });
        }
        self.budget.check()?;
        Ok(Some(page.events))
    }
}
