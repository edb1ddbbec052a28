//! A state at many moments, folded in one pass where the times allow it.

use std::num::NonZeroU64;
use std::ops::ControlFlow;

use gesta_core::{EventStore, RecordedEvent, StreamName, Timestamp, Version};

use super::cuts::{By, Cuts, Grid};
use super::frame::Frame;
use super::range::Range;
use crate::boundary::fold_one;
use crate::error::LoadError;
use crate::state::State;

/// A moment of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The moment; `None` if the cuts count events.
    pub at: Option<Timestamp>,
    /// The version of the last event in the state; `None` before the first one.
    pub version: Option<Version>,
    /// True if no event can come into the state any more.
    pub is_final: bool,
}

/// Calls `visit` with the state at each cut, until it breaks.
///
/// For a calendar, the times of all events are read first. If they never go back, the events are then folded in one pass; where an event happened
/// before an earlier one, the state of that cut is folded again.
pub(crate) async fn series<S: State>(
    (store, now): (&dyn EventStore, Timestamp),
    stream: StreamName,
    cuts: &Cuts,
    mut visit: impl FnMut(Cut, &S) -> ControlFlow<()> + Send,
) -> Result<(), LoadError> {
    let frame = Frame::of(store, now, cuts).await?;
    let (cuts, range) = (&frame.cuts, Range { store, stream: &stream, until: &frame.until });
    match &cuts.grid {
        Grid::Events(count) => by_events(&range, *count, visit).await,
        Grid::Calendar { step, zone } => {
            let times = times_of(&range, cuts.by).await?;
            let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else { return Ok(()) };
            let mut fold = Fold::<S>::new(range, &times);
            for at in cuts.moments(*step, zone, (*first, *last)) {
                fold.advance(at).await?;
                let cut = Cut { at: Some(at), version: fold.version, is_final: frame.is_final(at) };
                if visit(cut, &fold.state).is_break() {
                    break;
                }
            }
            Ok(())
        }
    }
}

/// The time of each event, by its version.
async fn times_of(range: &Range<'_>, by: By) -> Result<Vec<Timestamp>, LoadError> {
    let mut times = Vec::new();
    let note = |event: &RecordedEvent| {
        times.push(match by {
            By::RecordedAt => event.recorded_at(),
            By::Time => event.time(),
        });
        Ok(ControlFlow::Continue(()))
    };
    range.visit(Version::FIRST, None, note).await?;
    Ok(times)
}

async fn by_events<S: State>(
    range: &Range<'_>,
    count: NonZeroU64,
    mut visit: impl FnMut(Cut, &S) -> ControlFlow<()>,
) -> Result<(), LoadError> {
    let (mut state, mut last, mut shown) = (S::default(), None, None);
    let cut = |version| Cut { at: None, version, is_final: true };
    let fold = |event: &RecordedEvent| {
        fold_one(&mut state, event)?;
        last = Some(event.version());
        if !event.version().next().get().is_multiple_of(count.get()) {
            return Ok(ControlFlow::Continue(()));
        }
        shown = last;
        Ok(visit(cut(last), &state))
    };
    range.visit(Version::FIRST, None, fold).await?;
    if shown != last {
        // Nothing comes after it.
        let _ = visit(cut(last), &state);
    }
    Ok(())
}

/// A state that is moved on from cut to cut.
struct Fold<'a, S> {
    range: Range<'a>,
    times: &'a [Timestamp],
    /// The versions, in the order of their times.
    order: Vec<u64>,
    /// How many of `order` are in the state.
    included: usize,
    state: S,
    version: Option<Version>,
}

impl<'a, S: State> Fold<'a, S> {
    fn new(range: Range<'a>, times: &'a [Timestamp]) -> Self {
        let mut order = (0..times.len() as u64).collect::<Vec<_>>();
        // Stable: events of one time stay in the order of their versions.
        order.sort_by_key(|version| at(times, *version));
        Self { range, times, order, included: 0, state: S::default(), version: None }
    }

    /// Folds all events up to a time.
    async fn advance(&mut self, to: Timestamp) -> Result<(), LoadError> {
        let begin = self.included;
        let more = self.order[begin..].iter().take_while(|version| at(self.times, **version) <= to).count();
        self.included += more;
        let new = &self.order[begin..self.included];
        let (Some(first), Some(last)) = (new.iter().min(), new.iter().max()) else { return Ok(()) };
        let is_late = self.version.is_some_and(|version| *first < version.get());
        let (from, last) = if is_late {
            self.state = S::default();
            (Version::FIRST, self.version.map_or(*last, |version| version.get().max(*last)))
        } else {
            (Version::new(*first), *last)
        };
        let (state, times) = (&mut self.state, self.times);
        let fold = |event: &RecordedEvent| {
            if at(times, event.version().get()) <= to {
                fold_one(state, event)?;
            }
            Ok(ControlFlow::Continue(()))
        };
        self.range.visit(from, Some(Version::new(last)), fold).await?;
        self.version = Some(Version::new(last));
        Ok(())
    }
}

fn at(times: &[Timestamp], version: u64) -> Timestamp {
    usize::try_from(version).ok().and_then(|version| times.get(version)).copied().unwrap_or(Timestamp::MAX)
}
