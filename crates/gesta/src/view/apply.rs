//! Applies pages of events to the rows in memory, and asks for the rows that are not there.
//!
//! An event that needs a row that is not in memory is taken back, and applied again once the row was read. Before that, the
//! events after it are asked for the first key that each needs, so that one read brings the rows of a page. They see no row
//! meanwhile: the rows do not have what the first event changes.

use std::sync::Arc;

use gesta_consumer::Stop;
use gesta_core::{RecordedEvent, with_causes};
use gesta_views::{RowApplier, RowFailure, RowHandler, SqlValue, Step, TableChanges};

use super::error::caught;
use super::rows::{AnyRows, At};
use super::tables::sealed::AllRows as _;
use super::{RowView, Tables, ViewError};
use crate::event::Recorded;

/// A view as the code of a definition.
pub(super) struct Handler<V>(Arc<V>);

impl<V> Handler<V> {
    pub(super) fn new(view: V) -> Self {
        Self(Arc::new(view))
    }
}

impl<V: RowView> RowHandler for Handler<V> {
    fn begin(&self) -> Box<dyn RowApplier> {
        let view = Arc::clone(&self.0);
        Box::new(Applier::<V> { view, rows: Default::default(), page: None })
    }
}

/// A view with the rows in memory.
struct Applier<V: RowView> {
    view: Arc<V>,
    rows: <V::Rows as Tables>::All,
    /// The page that is being applied.
    page: Option<Page<V>>,
}

/// The decoded events of a page.
type Decoded<V> = Vec<(At, Recorded<<V as RowView>::Event>)>;

/// A page of events, and how far it was applied.
struct Page<V: RowView> {
    events: Decoded<V>,
    /// The next of `events`.
    next: usize,
    /// The first keys of all events were asked for.
    is_collected: bool,
}

impl<V: RowView> RowApplier for Applier<V> {
    fn apply(&mut self, events: &[RecordedEvent], stop: &Stop) -> Result<Step, RowFailure> {
        let mut page = match self.page.take() {
            Some(page) => page,
            None => Page { events: decode::<V>(events)?, next: 0, is_collected: false },
        };
        while let Some((at, event)) = page.events.get(page.next) {
            if stop.is_raised() {
                return Ok(Step::Interrupted);
            }
            let at = *at;
            let failed = |message| RowFailure::Event { event: at.event, message };
            let applied = self.apply_one(at, event).map_err(failed)?;
            if self.is_missing() {
                self.each(|rows| rows.undo());
                self.collect(&mut page);
                self.page = Some(page);
                return Ok(Step::Load(self.missing()));
            }
            applied.map_err(|error| failed(with_causes(&*error)))?;
            page.next += 1;
        }
        Ok(Step::Done)
    }

    fn load(&mut self, rows: Vec<Vec<Vec<SqlValue>>>) -> Result<(), RowFailure> {
        let (mut rows, mut loaded) = (rows.into_iter(), Ok(()));
        self.each(|table| {
            if loaded.is_ok() {
                loaded = table.load(rows.next().unwrap_or_default());
            }
        });
        loaded
    }

    fn changes(&mut self) -> Result<Vec<TableChanges>, RowFailure> {
        let mut changes = Vec::new();
        self.each(|table| changes.push(table.changes()));
        changes.into_iter().collect()
    }
}

impl<V: RowView> Applier<V> {
    fn each(&mut self, mut each: impl FnMut(&mut dyn AnyRows)) {
        self.rows.each(&mut each);
    }

    /// Applies an event.
    fn apply_one(&mut self, at: At, event: &Recorded<V::Event>) -> Result<Result<(), ViewError>, String> {
        self.each(|rows| rows.begin(at));
        let (view, rows) = (&self.view, &mut self.rows);
        caught(|| view.apply(V::Rows::lend(rows), event))
    }

    fn is_missing(&mut self) -> bool {
        let mut is_missing = false;
        self.each(|rows| is_missing |= rows.is_missing());
        is_missing
    }

    fn missing(&mut self) -> Vec<Vec<Vec<SqlValue>>> {
        let mut missing = Vec::new();
        self.each(|rows| missing.push(rows.missing()));
        missing
    }

    /// Asks the events after the next one for their first keys, once a page.
    fn collect(&mut self, page: &mut Page<V>) {
        if std::mem::replace(&mut page.is_collected, true) {
            return;
        }
        self.each(|rows| rows.collect(true));
        for (at, event) in page.events.iter().skip(page.next + 1) {
            // An error of the event itself comes again when it is applied.
            let _ = self.apply_one(*at, event);
            self.each(|rows| rows.undo());
        }
        self.each(|rows| rows.collect(false));
    }
}

/// Decodes a page. An event may be read as several, or as nothing.
fn decode<V: RowView>(events: &[RecordedEvent]) -> Result<Decoded<V>, RowFailure> {
    let mut decoded = Vec::with_capacity(events.len());
    for (event, recorded) in events.iter().enumerate() {
        let failed = |message| RowFailure::Event { event, message };
        // An upcaster may panic.
        let pieces = caught(|| Recorded::decode(recorded)).map_err(failed)?;
        let pieces = pieces.map_err(|error| failed(with_causes(&error)))?;
        let pieces = pieces.ok_or_else(|| failed("the program does not know its type".to_owned()))?;
        let first = decoded.len();
        let numbered = (first..).zip(pieces);
        decoded.extend(numbered.map(|(number, piece)| (At { number, event }, piece)));
    }
    Ok(decoded)
}
