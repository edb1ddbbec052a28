//! The rows of a view at many moments, as JSON. Each row begins with its cut.

use std::ops::ControlFlow;

use gesta::past::{By, Cuts};
use gesta_core::{Checkpoint, EventStore, ReadError, RecordedEvent, Timestamp, When};
use gesta_views::{EvaluateError, Evaluation, QueryLimits, Rows, SeriesQuery, SeriesTimes, SqlValue};
use gesta_wire::{format_time, position_json};
use serde_json::{Value, json};

use crate::rows::{name_parked, value_json};

/// A query to run at many moments.
#[derive(Debug)]
pub struct ViewSeries<'q> {
    /// The moments.
    pub cuts: Cuts,
    /// The query: one `select`.
    pub sql: &'q str,
    /// Its parameters.
    pub parameters: &'q [(String, SqlValue)],
    /// What it may cost at each cut.
    pub limits: QueryLimits,
    /// What all of the answer may have.
    pub most: SeriesLimits,
}

/// How much a series of a view may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesLimits {
    /// Cuts.
    pub cuts: usize,
    /// Rows of all cuts.
    pub rows: usize,
    /// Bytes of all rows: 16 for each value, plus the bytes of its text or blob.
    pub bytes: usize,
}

/// Why there is no series.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeriesError {
    /// The view could not be evaluated.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The answer is too large.
    #[error(
        "the series has more than {most} {what}: take a longer step, or a part of the time with `from` and `to`"
    )]
    TooMany {
        /// What it has too much of: `cuts`, `rows` or `bytes`.
        what: &'static str,
        /// How much is allowed.
        most: usize,
    },
}

impl ViewSeries<'_> {
    /// The place in the log to end at. If the cuts are to be closed, they end with the last one that has passed from then on.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn end(&mut self, store: &dyn EventStore, now: Timestamp) -> Result<Checkpoint, ReadError> {
        let (cuts, closed) = self.cuts.close(store, now).await?;
        self.cuts = cuts;
        match (closed, self.cuts.counts(), self.cuts.bounds().1) {
            (Some(place), ..) => Ok(place),
            (None, By::RecordedAt, Some(to)) => store.locate(When::RecordedUpTo(to)).await,
            (None, ..) => store.head_now().await,
        }
    }

    /// The answer: `columns`, `rows`, and the place up to which the log was read as `checkpoint`. Blocks its thread.
    ///
    /// # Errors
    /// [`SeriesError`].
    pub fn run(&self, evaluation: &Evaluation<'_>, until: &Checkpoint) -> Result<Value, SeriesError> {
        let query = SeriesQuery { sql: self.sql, parameters: self.parameters, limits: self.limits.clone() };
        let mut answer = Answer::new(self.most);
        if let Some(run) = self.cuts.run() {
            let visit = |cut, rows| answer.add(&position_json(cut), rows);
            evaluation.runs(until, run, &query, visit)?;
        } else {
            let (from, to) = self.cuts.bounds();
            let cuts = |moment| self.cuts.ends(moment).into_iter().flatten();
            let times = SeriesTimes { cuts, time_of: self.time_of(), from, to };
            let visit = |cut, rows| answer.add(&format_time(cut).into(), rows);
            evaluation.series(until, &times, &query, visit)?;
        }
        answer.into_json(until)
    }

    fn time_of(&self) -> fn(&RecordedEvent) -> Timestamp {
        match self.cuts.counts() {
            By::RecordedAt => RecordedEvent::recorded_at,
            By::Time => |event| event.time(),
        }
    }
}

/// The rows of the cuts so far.
struct Answer {
    columns: Vec<String>,
    rows: Vec<Value>,
    most: SeriesLimits,
    taken: SeriesLimits,
    exceeded: Option<SeriesError>,
    /// The streams that the last cut does not show to the end.
    parked: Vec<String>,
}

impl Answer {
    fn new(most: SeriesLimits) -> Self {
        let taken = SeriesLimits { cuts: 0, rows: 0, bytes: 0 };
        Self {
            columns: vec!["cut".to_owned()],
            rows: Vec::new(),
            most,
            taken,
            exceeded: None,
            parked: Vec::new(),
        }
    }

    /// Adds the rows at a cut. Breaks if there is too much.
    fn add(&mut self, cut: &Value, rows: Rows) -> ControlFlow<()> {
        let SeriesLimits { cuts, rows: count, bytes } = &mut self.taken;
        *cuts += 1;
        *count += rows.rows.len();
        *bytes += rows.rows.iter().flatten().map(SqlValue::counted_bytes).sum::<usize>();
        let most = self.most;
        let all = [(*cuts, most.cuts, "cuts"), (*count, most.rows, "rows"), (*bytes, most.bytes, "bytes")];
        if let Some((_, most, what)) = all.into_iter().find(|(taken, most, _)| taken > most) {
            self.exceeded = Some(SeriesError::TooMany { what, most });
            return ControlFlow::Break(());
        }
        self.parked = rows.parked;
        self.columns.truncate(1);
        self.columns.extend(rows.columns);
        self.rows.extend(rows.rows.into_iter().map(|row| {
            let values = row.into_iter().map(value_json);
            std::iter::once(cut.clone()).chain(values).collect::<Value>()
        }));
        ControlFlow::Continue(())
    }

    fn into_json(self, checkpoint: &Checkpoint) -> Result<Value, SeriesError> {
        if let Some(error) = self.exceeded {
            return Err(error);
        }
        let mut answer =
            json!({"columns": self.columns, "rows": self.rows, "checkpoint": checkpoint.to_string()});
        name_parked(&mut answer, self.parked);
        Ok(answer)
    }
}
