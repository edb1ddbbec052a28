//! A view at many moments: one pass over the log, and the query at each cut.

use std::iter::Peekable;
use std::num::NonZeroU64;
use std::ops::ControlFlow;

use gesta_core::{Checkpoint, Position, RecordedEvent, Timestamp};

use super::fold::Fold;
use super::{Budget, EvaluateError, Evaluation, Pages};
use crate::query::{QueryError, QueryLimits, Rows, SqlValue};
use crate::target::Reads;

/// A query to run at many moments.
#[derive(Debug, Clone)]
pub struct SeriesQuery<'q> {
    /// The query: one `select`.
    pub sql: &'q str,
    /// Its parameters.
    pub parameters: &'q [(String, SqlValue)],
    /// What it may cost at each cut.
    pub limits: QueryLimits,
}

/// The cuts of a series by time.
#[derive(Debug, Clone)]
pub struct SeriesTimes<F> {
    /// The cuts at and after a time, in their order.
    pub cuts: F,
    /// The time of an event that counts: when it was recorded, or its own `time`.
    pub time_of: fn(&RecordedEvent) -> Timestamp,
    /// Leaves out cuts of periods before this time.
    pub from: Option<Timestamp>,
    /// Leaves out cuts after this time. Without it, the last one is that of the last event.
    pub to: Option<Timestamp>,
}

impl Evaluation<'_> {
    /// Folds the view up to a place, and calls `visit` with the rows of a query at each cut, until it breaks.
    ///
    /// A cut shows all events whose time is at or before it. The events are read once, so a cut that was given cannot change. Cuts are
    /// given from the first event on, also where nothing changed.
    ///
    /// # Errors
    /// [`EvaluateError`]; [`EvaluateError::LateEvent`] for an event that belongs to a cut that was given.
    pub fn series<I: Iterator<Item = Timestamp>>(
        &self,
        until: &Checkpoint,
        times: &SeriesTimes<impl Fn(Timestamp) -> I>,
        query: &SeriesQuery<'_>,
        visit: impl FnMut(Timestamp, Rows) -> ControlFlow<()>,
    ) -> Result<(), EvaluateError> {
        let SeriesTimes { cuts, time_of, from, to } = times;
        let mut pages = Pages::new(self, until)?;
        let shown = Shown::begin(self, query, &pages)?;
        let (mut next, mut last) = (None, None);
        let mut series =
            ByTime { shown, time_of: *time_of, to: to.unwrap_or(Timestamp::MAX), given: None, visit };
        while let Some(events) = pages.next()? {
            let times = || events.iter().map(time_of);
            let Some(first) = times().next() else { continue };
            last = last.max(times().max());
            let begin = from.map_or(first, |from| from.max(first));
            let next = next.get_or_insert_with(|| cuts(begin).peekable());
            if series.take(&events, next)?.is_break() {
                return Ok(());
            }
        }
        let (Some(next), Some(last)) = (next, last) else { return Ok(()) };
        let Some(end) = to.or_else(|| cuts(last).next()) else { return Ok(()) };
        for cut in next.take_while(|cut| *cut <= end) {
            if series.show(cut)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Folds the view up to a place, and calls `visit` with the rows of a query after each run of `run` events and after the last event,
    /// until it breaks. Each cut is named by the position of its last event.
    ///
    /// The events that the view reads count, in the order of the log. A cut may lie within a batch.
    ///
    /// # Errors
    /// [`EvaluateError`].
    pub fn runs(
        &self,
        until: &Checkpoint,
        run: NonZeroU64,
        query: &SeriesQuery<'_>,
        mut visit: impl FnMut(Position, Rows) -> ControlFlow<()>,
    ) -> Result<(), EvaluateError> {
        let mut pages = Pages::new(self, until)?;
        let mut shown = Shown::begin(self, query, &pages)?;
        let (mut left, mut last) = (run.get(), None);
        while let Some(events) = pages.next()? {
            let mut events = events.as_slice();
            while !events.is_empty() {
                let count = events.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let (piece, rest) = events.split_at(count);
                shown.apply(piece)?;
                events = rest;
                left -= count as u64;
                last = piece.last().map(RecordedEvent::position);
                if left == 0 {
                    if let Some(cut) = last.take()
                        && visit(cut, shown.rows()?).is_break()
                    {
                        return Ok(());
                    }
                    left = run.get();
                }
            }
        }
        if let Some(last) = last {
            // Nothing comes after it.
            let _ = visit(last, shown.rows()?);
        }
        Ok(())
    }
}

/// The view as it is folded on, and the query.
struct Shown<'s> {
    fold: Fold,
    reads: Box<dyn Reads>,
    /// The place after the last event that was applied.
    at: Checkpoint,
    query: &'s SeriesQuery<'s>,
    budget: Budget<'s>,
}

impl<'s> Shown<'s> {
    /// The view without events.
    fn begin(
        evaluation: &Evaluation<'_>,
        query: &'s SeriesQuery<'s>,
        pages: &Pages<'s>,
    ) -> Result<Self, EvaluateError> {
        let fold = evaluation.begin(pages)?;
        let (reads, at) = (fold.reads()?, pages.at.clone());
        Ok(Self { fold, reads, at, query, budget: pages.budget })
    }

    /// Applies the next events.
    fn apply(&mut self, events: &[RecordedEvent]) -> Result<(), EvaluateError> {
        self.fold.apply(events, &self.budget)?;
        if let Some(event) = events.last() {
            self.at = self.at.clone().past(event);
        }
        Ok(())
    }

    /// Runs the query on what was applied, in the time that is left.
    fn rows(&mut self) -> Result<Rows, EvaluateError> {
        self.budget.check()?;
        self.fold.show(&self.at, &self.budget)?;
        let SeriesQuery { sql, parameters, limits } = self.query;
        let left = self.budget.left();
        let of_cut = QueryLimits { time: limits.time.min(left), ..limits.clone() };
        let rows = match self.reads.query(sql, parameters, &of_cut, of_cut.deadline()) {
            Err(QueryError::TimeLimit { .. }) if left <= limits.time => return Err(self.budget.too_long()),
            rows => rows?,
        };
        Ok(Rows { parked: self.fold.parked(), ..rows })
    }
}

/// A pass over the log whose cuts are times.
struct ByTime<'s, V> {
    shown: Shown<'s>,
    time_of: fn(&RecordedEvent) -> Timestamp,
    /// There is no cut after this time.
    to: Timestamp,
    /// The last cut that was given.
    given: Option<Timestamp>,
    visit: V,
}

impl<V: FnMut(Timestamp, Rows) -> ControlFlow<()>> ByTime<'_, V> {
    /// Applies events, and gives the cuts between them.
    fn take(
        &mut self,
        mut events: &[RecordedEvent],
        cuts: &mut Peekable<impl Iterator<Item = Timestamp>>,
    ) -> Result<ControlFlow<()>, EvaluateError> {
        loop {
            let cut = cuts.peek().copied().filter(|cut| *cut <= self.to);
            // What comes after the last cut is in none.
            let belongs = |event: &RecordedEvent| cut.is_some_and(|cut| (self.time_of)(event) <= cut);
            let (piece, rest) = events.split_at(events.iter().take_while(|event| belongs(event)).count());
            self.refuse_late(piece)?;
            self.shown.apply(piece)?;
            let Some(cut) = cut else {
                self.refuse_late(rest)?;
                return Ok(ControlFlow::Continue(()));
            };
            if rest.is_empty() {
                return Ok(ControlFlow::Continue(()));
            }
            if self.show(cut)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            cuts.next();
            events = rest;
        }
    }

    fn refuse_late(&self, events: &[RecordedEvent]) -> Result<(), EvaluateError> {
        let Some(cut) = self.given else { return Ok(()) };
        match events.iter().find(|event| (self.time_of)(event) <= cut) {
            Some(late) => Err(EvaluateError::LateEvent { position: late.position(), cut }),
            None => Ok(()),
        }
    }

    /// Runs the query at a cut.
    fn show(&mut self, cut: Timestamp) -> Result<ControlFlow<()>, EvaluateError> {
        self.given = Some(cut);
        let rows = self.shown.rows()?;
        Ok((self.visit)(cut, rows))
    }
}
