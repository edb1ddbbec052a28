//! The states of all entities of a category at many moments, in one pass over the category.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::num::NonZeroU64;
use std::ops::ControlFlow;

use gesta_core::{EventStore, Item, Lanes, Page, Place, Read, RecordedEvent, Select, Timestamp, Version};

use super::cuts::{By, Cuts, Grid};
use super::frame::Frame;
use super::series::Cut;
use crate::boundary::fold_one;
use crate::decider::Decider;
use crate::error::LoadError;
use crate::key::{Key, KeyError};
use crate::pages::{PAGE, Pages};

/// Bytes of the states that a pass keeps: one for each entity.
const STATES_BYTES_MAX: usize = 256 << 20;
/// Bytes of an entity beside its state.
const ENTITY_BYTES: usize = 400;

/// Why there is no series of a category.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CategoryError {
    /// An event could not be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The states of all entities are too much for one pass.
    #[error(
        "the states of {entities} entities are more than {bytes_max} bytes: divide the category by lanes, such as 0-511 and 512-1023"
    )]
    TooManyEntities {
        /// The entities so far.
        entities: usize,
        /// The bytes that are allowed.
        bytes_max: usize,
    },
    /// An event belongs to a cut that was given already.
    #[error(
        "the event at version {version} of stream `{stream}` happened before a cut that was given already: the series of a category is one pass over the log; count when events were recorded, or take the series of each entity"
    )]
    LateEvent {
        /// The stream.
        stream: String,
        /// The version of the event.
        version: Version,
        /// The cut that was given.
        cut: Timestamp,
    },
}

/// Calls `visit` with each entity of a category that has an event, at each cut, until it breaks.
pub(crate) async fn series_of_category<D: Decider>(
    (store, now): (&dyn EventStore, Timestamp),
    cuts: &Cuts,
    lanes: Option<Lanes>,
    visit: impl FnMut(&D::Id, Cut, &D) -> ControlFlow<()> + Send,
) -> Result<(), CategoryError> {
    let category = D::Id::KIND.parse().map_err(LoadError::from)?;
    let query = Item { category: Some(category), ..Item::default() }.into();
    let frame = Frame::of(store, now, cuts).await?;
    let until = frame.until.clone();
    let select = Select::Log { query, from: Place::Start, lanes };
    let pages = Pages::new(store, Read::from(select).until(until).limit(PAGE));
    let entities = Entities { states: BTreeMap::new(), bytes: 0, visit };
    match &cuts.grid {
        Grid::Events(count) => by_events(pages, *count, entities).await,
        Grid::Calendar { .. } => by_calendar(pages, frame, entities).await,
    }
}

/// The states of the entities, by their streams.
struct Entities<D: Decider, V> {
    states: BTreeMap<String, Entity<D>>,
    bytes: usize,
    visit: V,
}

struct Entity<D: Decider> {
    id: D::Id,
    state: D,
    version: Version,
    bytes: usize,
    /// The version at the last cut by events.
    shown: Option<Version>,
}

impl<D: Decider, V: FnMut(&D::Id, Cut, &D) -> ControlFlow<()>> Entities<D, V> {
    /// Folds an event into the state of its entity.
    fn fold(&mut self, event: &RecordedEvent) -> Result<&mut Entity<D>, CategoryError> {
        if !self.states.contains_key(event.stream()) {
            let id = id_of::<D>(event.stream()).map_err(LoadError::from)?;
            let (version, state) = (event.version(), D::default());
            let entity = Entity { id, state, version, bytes: 0, shown: None };
            self.states.insert(event.stream().to_owned(), entity);
        }
        let count = self.states.len();
        let entity = self.states.get_mut(event.stream()).expect("it was inserted");
        fold_one(&mut entity.state, event)?;
        entity.version = event.version();
        self.bytes -= entity.bytes;
        entity.bytes = entity.state.weight() + event.stream().len() + ENTITY_BYTES;
        self.bytes += entity.bytes;
        if self.bytes > STATES_BYTES_MAX {
            return Err(CategoryError::TooManyEntities { entities: count, bytes_max: STATES_BYTES_MAX });
        }
        Ok(entity)
    }

    /// Shows all entities at a moment.
    fn show(&mut self, at: Timestamp, is_final: bool) -> ControlFlow<()> {
        for Entity { id, state, version, .. } in self.states.values() {
            (self.visit)(id, Cut { at: Some(at), version: Some(*version), is_final }, state)?;
        }
        ControlFlow::Continue(())
    }
}

/// The entity of a stream.
fn id_of<D: Decider>(stream: &str) -> Result<D::Id, KeyError> {
    let value = stream.strip_prefix(D::Id::KIND).and_then(|rest| rest.strip_prefix('-'));
    D::Id::parse(value.unwrap_or(stream))
}

async fn by_events<D: Decider, V: FnMut(&D::Id, Cut, &D) -> ControlFlow<()>>(
    mut pages: Pages<'_>,
    count: NonZeroU64,
    mut entities: Entities<D, V>,
) -> Result<(), CategoryError> {
    let cut = |version| Cut { at: None, version: Some(version), is_final: true };
    while let Some(page) = pages.next().await.map_err(LoadError::from)? {
        for event in &page.events {
            let entity = entities.fold(event)?;
            let version = entity.version;
            if version.next().get().is_multiple_of(count.get()) {
                entity.shown = Some(version);
                let Entity { id, state, .. } = &entities.states[event.stream()];
                if (entities.visit)(id, cut(version), state).is_break() {
                    return Ok(());
                }
            }
        }
    }
    for Entity { id, state, version, shown, .. } in entities.states.values() {
        if *shown != Some(*version) && (entities.visit)(id, cut(*version), state).is_break() {
            break;
        }
    }
    Ok(())
}

async fn by_calendar<D: Decider, V: FnMut(&D::Id, Cut, &D) -> ControlFlow<()>>(
    mut pages: Pages<'_>,
    frame: Frame,
    entities: Entities<D, V>,
) -> Result<(), CategoryError> {
    let cuts = frame.cuts.clone();
    let time_of = match cuts.counts() {
        By::RecordedAt => RecordedEvent::recorded_at,
        By::Time => |event: &RecordedEvent| event.time(),
    };
    let ((from, to), mut next, mut last) = (cuts.bounds(), None, None);
    let mut pass = Pass { entities, time_of, to: to.unwrap_or(Timestamp::MAX), frame, given: None };
    while let Some(Page { events, .. }) = pages.next().await.map_err(LoadError::from)? {
        let Some(first) = events.first().map(time_of) else { continue };
        last = last.max(events.iter().map(time_of).max());
        let begin = from.map_or(first, |from| from.max(first));
        let next = next.get_or_insert_with(|| cuts.ends(begin).into_iter().flatten().peekable());
        if pass.take(&events, next)?.is_break() {
            return Ok(());
        }
    }
    let (Some(next), Some(last)) = (next, last) else { return Ok(()) };
    let end = to.or_else(|| cuts.ends(last)?.next());
    for cut in next.take_while(|cut| end.is_some_and(|end| *cut <= end)) {
        if pass.show(cut).is_break() {
            break;
        }
    }
    Ok(())
}

/// A pass over a category by the calendar.
struct Pass<D: Decider, V> {
    entities: Entities<D, V>,
    time_of: fn(&RecordedEvent) -> Timestamp,
    /// The last moment that a cut can be at.
    to: Timestamp,
    frame: Frame,
    /// The last cut that was given.
    given: Option<Timestamp>,
}

impl<D: Decider, V: FnMut(&D::Id, Cut, &D) -> ControlFlow<()>> Pass<D, V> {
    /// Folds events, and gives the cuts between them.
    fn take(
        &mut self,
        events: &[RecordedEvent],
        cuts: &mut Peekable<impl Iterator<Item = Timestamp>>,
    ) -> Result<ControlFlow<()>, CategoryError> {
        for event in events {
            let time = (self.time_of)(event);
            if let Some(cut) = self.given.filter(|cut| time <= *cut) {
                let (stream, version) = (event.stream().to_owned(), event.version());
                return Err(CategoryError::LateEvent { stream, version, cut });
            }
            while let Some(cut) = cuts.next_if(|cut| *cut < time && *cut <= self.to) {
                if self.show(cut).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            // What comes after the last cut is in none.
            if cuts.peek().is_some_and(|cut| *cut <= self.to) {
                self.entities.fold(event)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn show(&mut self, cut: Timestamp) -> ControlFlow<()> {
        self.given = Some(cut);
        self.entities.show(cut, self.frame.is_final(cut))
    }
}
