//! A view as of an earlier moment: folded from its definition, beside the live one.
//!
//! It is folded in the database of its dialect: in a file of its own, or in schemas of its own.

mod fold;
mod series;

use std::time::{Duration, Instant};

use gesta_core::{Checkpoint, EventStore, Place, Position, Read, RecordedEvent, Retry, Timestamp, When};

use crate::definition::Definition;
use crate::dialect::Dialect;
use crate::limits::PAGE;
#[cfg(feature = "postgres")]
use crate::postgres::{PostgresScratch, PostgresUrl};
use crate::query::{Cancel, QueryError, QueryLimits, Rows, SqlValue};
use crate::run_error::RunError;
use crate::scratch::Scratch;
use crate::sqlite::SqliteScratch;
use crate::target::Reads;
use crate::views::Views;

use fold::Fold;
pub use series::{SeriesQuery, SeriesTimes};

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
    /// How long it may take. In SQLite an evaluation ends after the page under way, also if that page is tried again without parked streams. A series
    /// ends at the next cut, and a query that runs at a cut is ended. In PostgreSQL it ends at once.
    pub time: Duration,
    /// Ends it early, as the time does.
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

/// A view to fold from the start of the log, beside the running one or without any.
#[derive(Clone)]
pub struct Evaluation<'e> {
    store: &'e dyn EventStore,
    definition: &'e Definition,
    limits: EvaluationLimits,
    #[cfg(feature = "postgres")]
    postgres: Option<PostgresUrl>,
}

impl<'e> Evaluation<'e> {
    /// An evaluation of a view on a store, without limits. The definition need not have run before.
    #[must_use]
    pub fn new(store: &'e dyn EventStore, definition: &'e Definition) -> Self {
        Self {
            store,
            definition,
            limits: EvaluationLimits::default(),
            #[cfg(feature = "postgres")]
            postgres: None,
        }
    }

    /// The view.
    #[must_use]
    pub const fn definition(&self) -> &Definition {
        self.definition
    }

    /// Limits what it may cost.
    #[must_use]
    pub fn within(mut self, limits: &EvaluationLimits) -> Self {
        self.limits = limits.clone();
        self
    }

    /// Names the database for a view with `-- dialect: postgres`. It is folded in schemas of its own there, which go with the answer. What
    /// a crash leaves behind goes with the next evaluation in that database.
    #[cfg(feature = "postgres")]
    #[must_use]
    pub fn in_postgres(mut self, url: Option<&PostgresUrl>) -> Self {
        self.postgres = url.cloned();
        self
    }

    /// Folds it in the databases of running views.
    #[must_use]
    pub fn beside(self, views: &Views) -> Self {
        #[cfg(feature = "postgres")]
        return self.in_postgres(views.postgres());
        #[cfg(not(feature = "postgres"))]
        {
            let _ = views;
            self
        }
    }

    /// Folds the view up to a moment.
    ///
    /// Blocks its thread, for a time in proportion to the log.
    ///
    /// # Errors
    /// [`EvaluateError`]: the [`RunError`] that a running view would stop with; [`RunError::NoPast`] without a database for its dialect;
    /// [`ReadError::CheckpointAhead`](gesta_core::ReadError::CheckpointAhead) for a checkpoint beyond the head; a limit that was met.
    pub fn at(&self, moment: &Moment) -> Result<ViewAsOf, EvaluateError> {
        let mut pages = Pages::new(self, &moment.until)?;
        let mut fold = self.begin(&pages)?;
        let happened = |event: &RecordedEvent| moment.happened_by.is_none_or(|by| event.time() <= by);
        while let Some(events) = pages.next()? {
            // Pieces of the page without a gap: nearly always all of it.
            for piece in
                events.chunk_by(|a, b| happened(a) == happened(b)).filter(|piece| happened(&piece[0]))
            {
                fold.apply(piece, &pages.budget)?;
            }
        }
        fold.show(&moment.until, &pages.budget)?;
        Ok(ViewAsOf { parked: fold.parked(), reads: fold.reads()? })
    }

    /// The view without events.
    fn begin(&self, pages: &Pages<'_>) -> Result<Fold, EvaluateError> {
        let scratch = self.scratch(&pages.at).map_err(|error| pages.budget.ended(error))?;
        Ok(Fold::begin(self.definition, scratch))
    }

    /// A database for it.
    fn scratch(&self, start: &Checkpoint) -> Result<Box<dyn Scratch>, RunError> {
        let definition = self.definition;
        #[cfg(feature = "postgres")]
        if let (Dialect::Postgres, Some(url)) = (definition.dialect(), &self.postgres) {
            return Ok(Box::new(PostgresScratch::make(url, definition.clone(), start, &self.limits)?));
        }
        match definition.dialect() {
            Dialect::Sqlite => Ok(Box::new(SqliteScratch::make(definition.clone(), start)?)),
            Dialect::Postgres => Err(RunError::NoPast { view: definition.name().to_owned() }),
        }
    }
}

/// A view as it was at one moment. Its database is temporary and goes when this is dropped, which may block for some seconds if it is
/// one of PostgreSQL.
pub struct ViewAsOf {
    reads: Box<dyn Reads>,
    parked: Vec<String>,
}

impl ViewAsOf {
    /// Answers one SQL query, as [`Views::query`](crate::Views::query) does.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn query(
        &self,
        sql: &str,
        parameters: &[(String, SqlValue)],
        limits: &QueryLimits,
    ) -> Result<Rows, QueryError> {
        let rows = self.reads.query(sql, parameters, limits, limits.deadline())?;
        Ok(Rows { parked: self.parked.clone(), ..rows })
    }

    /// Whether its database is lost, for example after a restart of PostgreSQL. Evaluate it again then.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.reads.is_lost()
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
#[derive(Clone, Copy)]
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
            return Err(self.too_long());
        }
        Ok(())
    }

    /// The time that is left.
    fn left(&self) -> Duration {
        self.limits.time.saturating_sub(self.began.elapsed())
    }

    const fn too_long(&self) -> EvaluateError {
        EvaluateError::TooLong { time_max: self.limits.time }
    }

    /// Why an evaluation ended with an error: a limit, if one was met.
    fn ended(&self, error: RunError) -> EvaluateError {
        self.check().err().unwrap_or_else(|| error.into())
    }
}

impl<'a> Pages<'a> {
    fn new(evaluation: &'a Evaluation<'_>, until: &'a Checkpoint) -> Result<Self, RunError> {
        let Evaluation { store, definition, limits, .. } = evaluation;
        let at = pollster::block_on(store.locate(When::Start))?;
        let budget = Budget { limits, began: Instant::now() };
        Ok(Self { store: *store, definition, until, budget, at, events: 0, ended: false })
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
