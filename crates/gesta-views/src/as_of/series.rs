//! A view at many moments: one pass over the log, and the query at each cut.

use std::iter::Peekable;
use std::ops::ControlFlow;
use std::time::Instant;

use gesta_core::{Checkpoint, EventStore, RecordedEvent, Timestamp};

use super::fold::Fold;
use super::{Budget, EvaluateError, EvaluationLimits, Pages};
use crate::definition::Definition;
use crate::query::{QueryLimits, Rows, SqlValue};
use crate::sqlite::reader::Reader;

/// A query to run at many moments.
#[derive(Debug, Clone)]
pub struct SeriesQuery<'q> {
    /// The query: one `select`.
    pub sql: &'q str,
    /// Its parameters.
    pub parameters: &'q [(String, SqlValue)],
    /// What it may cost at each cut.
    pub limits: QueryLimits,
    /// The time of an event that counts: when it was recorded, or its own `time`.
    pub time_of: fn(&RecordedEvent) -> Timestamp,
    /// Leaves out cuts of periods before this time.
    pub from: Option<Timestamp>,
    /// Leaves out cuts after this time. Without it, the last one is that of the last event.
    pub to: Option<Timestamp>,
}

/// Folds a view from the start of the log up to a place, and calls `visit` with the rows of a query at each cut, until it breaks.
/// `cuts` gives the cuts at and after a time, in their order.
///
/// A cut shows all events whose time is at or before it. The events are read once, so a cut that was given cannot change. Cuts are
/// given from the first event on, also where nothing changed.
///
/// # Errors
/// [`EvaluateError`]; [`EvaluateError::LateEvent`] for an event that belongs to a cut that was given.
pub fn evaluate_series<I: Iterator<Item = Timestamp>>(
    store: &dyn EventStore,
    definition: &Definition,
    until: &Checkpoint,
    cuts: impl Fn(Timestamp) -> I,
    query: &SeriesQuery<'_>,
    limits: &EvaluationLimits,
    visit: impl FnMut(Timestamp, Rows) -> ControlFlow<()>,
) -> Result<(), EvaluateError> {
    let mut pages = Pages::new(store, definition, until, limits)?;
    let fold = Fold::begin(definition, &pages.at)?;
    let (reader, at) = (fold.reader()?, pages.at.clone());
    let (mut next, mut last) = (None, None);
    let budget = Budget { limits, began: pages.budget.began };
    let mut series = Series { fold, reader, at, query, budget, given: None, visit };
    while let Some(events) = pages.next()? {
        let times = || events.iter().map(query.time_of);
        let Some(first) = times().next() else { continue };
        last = last.max(times().max());
        let begin = query.from.map_or(first, |from| from.max(first));
        let next = next.get_or_insert_with(|| cuts(begin).peekable());
        if series.take(&events, next)?.is_break() {
            return Ok(());
        }
    }
    let (Some(next), Some(last)) = (next, last) else { return Ok(()) };
    let Some(end) = query.to.or_else(|| cuts(last).next()) else { return Ok(()) };
    for cut in next.take_while(|cut| *cut <= end) {
        if series.show(cut)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// A pass over the log.
struct Series<'s, V> {
    fold: Fold,
    reader: Reader,
    /// The place after the last event that was applied.
    at: Checkpoint,
    query: &'s SeriesQuery<'s>,
    budget: Budget<'s>,
    /// The last cut that was given.
    given: Option<Timestamp>,
    visit: V,
}

impl<V: FnMut(Timestamp, Rows) -> ControlFlow<()>> Series<'_, V> {
    /// Applies events, and gives the cuts between them.
    fn take(
        &mut self,
        mut events: &[RecordedEvent],
        cuts: &mut Peekable<impl Iterator<Item = Timestamp>>,
    ) -> Result<ControlFlow<()>, EvaluateError> {
        let (time_of, to) = (self.query.time_of, self.query.to.unwrap_or(Timestamp::MAX));
        loop {
            let cut = cuts.peek().copied().filter(|cut| *cut <= to);
            // What comes after the last cut is in none.
            let belongs = |event: &RecordedEvent| cut.is_some_and(|cut| time_of(event) <= cut);
            let (piece, rest) = events.split_at(events.iter().take_while(|event| belongs(event)).count());
            self.refuse_late(piece)?;
            self.fold.apply(piece, &self.budget)?;
            if let Some(event) = piece.last() {
                self.at = self.at.clone().past(event);
            }
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
        let time_of = self.query.time_of;
        match events.iter().find(|event| time_of(event) <= cut) {
            Some(late) => Err(EvaluateError::LateEvent { position: late.position(), cut }),
            None => Ok(()),
        }
    }

    /// Runs the query at a cut.
    fn show(&mut self, cut: Timestamp) -> Result<ControlFlow<()>, EvaluateError> {
        self.fold.commit(&self.at)?;
        self.given = Some(cut);
        let SeriesQuery { sql, parameters, limits, .. } = self.query;
        let rows = self.reader.query(sql, parameters, limits, Instant::now() + limits.time)?;
        Ok((self.visit)(cut, Rows { parked: self.fold.parked(), ..rows }))
    }
}
