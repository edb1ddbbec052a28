//! Orders of operators, obeyed by the run between two pages: parked events are applied again, or skipped.

use std::collections::BTreeSet;
use std::sync::Arc;

use gesta_consumer::{Reach, Stop};
use gesta_core::{
    Checkpoint, EventStore, Page, Query, Read, ReadError, RecordedEvent, Select, StreamName, Version,
};

use super::{Destination, Follower};
use crate::limits::REPLAY_PAGE;
use crate::parked::{ParkedChange, ParkedStream, Parking};
use crate::replay::{ParkedError, Replayed, Skip, Task};
use crate::run_error::{Remedy, RunError};
use crate::target::{Durability, Role, Target};

/// The held events of parked streams, in the log.
pub(crate) struct HeldEvents<'h> {
    pub(crate) store: &'h dyn EventStore,
    /// The events of the view.
    pub(crate) query: &'h Query,
    /// The place of the view.
    pub(crate) until: &'h Checkpoint,
}

impl HeldEvents<'_> {
    /// The read of a stream from a version on.
    pub(crate) fn read(&self, stream: &StreamName, from: Version) -> Read {
        let select = Select::Stream { name: stream.clone(), from: Some(from) };
        Read::from(select).until(self.until.clone()).limit(REPLAY_PAGE)
    }

    /// The events of a page that the view takes.
    pub(crate) fn taken(&self, page: Page) -> Vec<RecordedEvent> {
        page.events.into_iter().filter(|event| self.query.matches(event)).collect()
    }
}

/// Why an order was not carried out.
enum Ended {
    /// The signal was raised.
    Interrupted,
    /// It cannot be, and nothing was changed.
    Refused(ParkedError),
    /// The run ends with this error.
    Failed(RunError),
}

impl From<RunError> for Ended {
    fn from(error: RunError) -> Self {
        match error {
            // The signal was raised while the database was waited for.
            RunError::ShutDown => Self::Interrupted,
            error => Self::Failed(error),
        }
    }
}

impl From<ReadError> for Ended {
    fn from(error: ReadError) -> Self {
        Self::Failed(error.into())
    }
}

impl<T: Target> Follower<'_, T> {
    /// Obeys all orders, with the view at a place. `None`: the signal was raised.
    pub(super) fn obey(
        &mut self,
        store: &dyn EventStore,
        at: &Checkpoint,
        stop: &Stop,
    ) -> Result<Option<()>, RunError> {
        if self.role == Role::Old {
            return Ok(Some(()));
        }
        let query = self.query.clone();
        let held = HeldEvents { store, query: &query, until: at };
        while let Some(order) = self.view.next_order(stop) {
            let done = self.carry_out(&order.task, &held, stop);
            let failed = |reason: String| Err(ParkedError::Failed { view: self.view.name.clone(), reason });
            match done {
                Ok(replayed) => self.view.finished(&order, Ok(replayed)),
                Err(Ended::Refused(error)) => self.view.finished(&order, Err(error)),
                Err(Ended::Interrupted) => {
                    self.view.obeys_no_more();
                    self.view.finished(&order, failed("it was interrupted".to_owned()));
                    return Ok(None);
                }
                // The view is as it was, and goes on: the held events of a stream are no reason to stop it.
                Err(Ended::Failed(error)) if error.remedy() == Remedy::Stop => {
                    self.view.finished(&order, failed(error.to_string()));
                }
                Err(Ended::Failed(error)) => {
                    self.view.obeys_no_more();
                    self.view.finished(&order, failed(error.to_string()));
                    return Err(error);
                }
            }
        }
        Ok((!stop.is_raised()).then_some(()))
    }

    fn carry_out(&mut self, task: &Task, held: &HeldEvents<'_>, stop: &Stop) -> Result<Replayed, Ended> {
        let streams = match task {
            Task::Replay(streams) if streams.is_empty() => self.parked.all(),
            Task::Replay(streams) => {
                // A stream that is named twice is applied once.
                let streams = streams.iter().collect::<BTreeSet<_>>();
                streams.into_iter().map(|stream| self.find(stream)).collect::<Result<_, _>>()?
            }
            Task::Skip(skip) => vec![self.skip(skip, held, stop)?],
        };
        let mut replayed = Replayed { streams: streams.len() as u64, ..Replayed::default() };
        for parked in streams {
            replayed.events += self.replay(&parked, held, stop)?;
            replayed.parked_again.extend(self.parked.get(&parked.stream).cloned());
        }
        Ok(replayed)
    }

    fn find(&self, stream: &StreamName) -> Result<Arc<ParkedStream>, Ended> {
        let not_parked = || {
            let (view, stream) = (self.view.name.clone(), stream.to_string());
            match self.view.parked().get(&stream) {
                Some(_) => ParkedError::InOlderVersion { view, stream },
                None => ParkedError::NotParked { view, stream },
            }
        };
        self.parked.get(stream.as_str()).cloned().ok_or_else(|| Ended::Refused(not_parked()))
    }

    /// Moves a parked stream past events, which are never applied.
    fn skip(&mut self, skip: &Skip, held: &HeldEvents<'_>, stop: &Stop) -> Result<Arc<ParkedStream>, Ended> {
        let Skip { stream, through, by, reason } = skip;
        let (view, through) = (&self.view.name, *through);
        let parked = self.find(stream)?;
        let first = parked.version;
        if through < first {
            let (view, stream) = (view.clone(), stream.to_string());
            return Err(Ended::Refused(ParkedError::NotHeld { view, stream, through, first }));
        }
        let info = stop.or(held.store.stream(stream.clone())).ok_or(Ended::Interrupted)??;
        // No further than the stream goes.
        let through = through.min(info.map_or(first, |info| info.version).max(first));
        // The view applies what it has not reached, so that cannot be skipped yet.
        let reached = stop.or(held.store.read(held.read(stream, through))).ok_or(Ended::Interrupted)??;
        if reached.events.is_empty() {
            let (view, stream) = (view.clone(), stream.to_string());
            return Err(Ended::Refused(ParkedError::NotReached { view, stream, through }));
        }
        let moved = Arc::new(parked.moved(through.next()));
        self.release(&[], ParkedChange::Put(Arc::clone(&moved)), Durability::Synced, held, stop)?;
        tracing::warn!(view, %stream, %first, %through, by, reason, "events of a view are skipped for good");
        Ok(moved)
    }

    /// Applies the held events of a stream, page by page, and gives their number. It ends at an event that fails again.
    fn replay(&mut self, parked: &ParkedStream, held: &HeldEvents<'_>, stop: &Stop) -> Result<u64, Ended> {
        let stream = parked.stream.parse::<StreamName>().map_err(|error| RunError::Row {
            view: self.view.name.clone(),
            message: format!("the parked stream `{}` has no valid name ({error})", parked.stream),
        })?;
        let (mut from, mut applied) = (parked.version, 0);
        loop {
            let page = stop.or(held.store.read(held.read(&stream, from))).ok_or(Ended::Interrupted)??;
            let rest = page.events.last().filter(|_| !page.end).map(|last| last.version().next());
            let released = match rest {
                Some(rest) => ParkedChange::Put(Arc::new(parked.moved(rest))),
                None => ParkedChange::Remove(parked.stream.clone()),
            };
            applied += self.release(&held.taken(page), released, Durability::WithLater, held, stop)?;
            let is_at =
                |rest: &Version| self.parked.get(&parked.stream).is_some_and(|now| now.version == *rest);
            match rest.filter(is_at) {
                Some(rest) => from = rest,
                None => return Ok(applied),
            }
        }
    }

    /// Commits held events, and what becomes of their stream unless one of them fails. The view stays where it is.
    fn release(
        &mut self,
        events: &[RecordedEvent],
        released: ParkedChange,
        durability: Durability,
        held: &HeldEvents<'_>,
        stop: &Stop,
    ) -> Result<u64, Ended> {
        let before = self.parked.clone();
        let parking = Parking::again(&self.view.name, &before, events, released);
        let to = Destination { place: held.until, reach: Reach::Page, durability };
        self.commit(parking, held.until, &to, stop)?.ok_or(Ended::Interrupted)
    }
}
