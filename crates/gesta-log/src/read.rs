//! Reads: planned in memory, then fetched from the segments in as few reads as possible.
//!
//! *Invariant*: a read loads the durable position first and the index second, and clips everything to the position.

mod batches;
mod fetch;
mod halves;
mod places;
mod plan;
mod pool;

use gesta_core::{
    Checkpoint, Direction, Lane, Lanes, ListToken, Listing, Page, Query, Read, ReadError, RecordedEvent,
    Select, StreamInfo, StreamName, StreamPage, Version, When, check_read,
};

use crate::damage::Damage;
use crate::index::{IndexSnapshot, Key, Kind, Location, LookupError, Part, ReadMode};
use crate::recover::Scanned;
use crate::shared::{Head, Shared};
pub(crate) use batches::batches;
pub(crate) use fetch::command_of;
use fetch::{Failed, Fetched, fetch, fetch_cached, recorded_at};
use halves::fetch_in_halves;
pub(crate) use places::{check_place, mark_at, mark_in, place_at};
use pool::Idle;
pub(crate) use pool::{Pool, PoolFull};

/// Why a look-up has no answer.
pub(crate) enum LookError {
    LookupError(LookupError),
    Read(ReadError),
}

impl From<LookupError> for LookError {
    fn from(fault: LookupError) -> Self {
        Self::LookupError(fault)
    }
}

impl From<ReadError> for LookError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl LookError {
    /// Whether the answer is on the disk and the caller did not want to wait for it.
    pub(crate) const fn is_not_in_memory(&self) -> bool {
        matches!(self, Self::LookupError(LookupError::NotInMemory))
    }

    /// The error for the reader.
    pub(crate) fn into_read_error(self) -> ReadError {
        match self {
            Self::Read(error) => error,
            Self::LookupError(fault) => ReadError::Unavailable { reason: fault.to_string() },
        }
    }
}

/// A planned page. It has no events yet, unless a walk already found them.
pub(crate) struct PlannedPage {
    locations: Vec<Location>,
    lanes: Option<Lanes>,
    /// How the page is cut if an event is damaged.
    cut: Cut,
    page: Page,
    /// Whether the page ends at a place that the caller gave, or at the head. Then its mark is known, or it is known
    /// to have none.
    is_end_known: bool,
}

/// How a page is cut before an unreadable event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Before its batch: a forward page of the log has whole batches.
    BeforeBatch,
    /// Right before it.
    Exactly,
    /// Right after it: the page is read backward.
    Backward,
}

/// Plans a page.
pub(crate) fn plan(shared: &Shared, read: &Read, mode: ReadMode) -> Result<PlannedPage, LookError> {
    let head = shared.published.head();
    let durable = head.position;
    check_read(read, &shared.checkpoint_of(head), &shared.capabilities)?;
    for checkpoint in read.checkpoints() {
        check_place(shared, checkpoint, mode)?;
    }
    let snapshot = match shared.snapshot() {
        Ok(snapshot) => snapshot,
        Err(fault) => return scan(shared, read, head, mode, fault),
    };
    let planner = plan::PagePlanner { shared, snapshot: &snapshot, durable, mode };
    let planned = planner.plan(read)?;
    let ends = planned.locations.first().into_iter().chain(planned.locations.last());
    ends.for_each(|own| assert!(own.position <= durable, "no page shows an event that is not durable"));
    let last_version = match &read.select {
        Select::Stream { name, .. } => last_version(shared, &snapshot, name, durable, mode)?,
        Select::Log { .. } => None,
    };
    let lanes = match &read.select {
        Select::Log { lanes, .. } => lanes.clone(),
        Select::Stream { .. } => None,
    };
    let cut = match (&read.select, read.direction) {
        (_, Direction::Backward) => Cut::Backward,
        (Select::Log { .. }, Direction::Forward) => Cut::BeforeBatch,
        (Select::Stream { .. }, Direction::Forward) => Cut::Exactly,
    };
    let (scanned_to, is_end_known) = end_of_page(shared, read, head, planned.scanned_to);
    let head = shared.checkpoint_of(head);
    let page = Page { events: Vec::new(), scanned_to, head, last_version, end: planned.end };
    Ok(PlannedPage { locations: planned.locations, lanes, cut, page, is_end_known })
}

/// The place where a page ends, and whether it is the head or a place from the caller. The caller's place is returned
/// unchanged.
fn end_of_page(shared: &Shared, read: &Read, head: Head, sequence: u64) -> (Checkpoint, bool) {
    let given = read.checkpoints().find(|place| place.sequence(0) == sequence);
    match given {
        Some(place) => (place.clone(), true),
        None if sequence == head.position => (shared.checkpoint_of(head), true),
        None => (shared.checkpoint(sequence), false),
    }
}

/// Reads the whole log without an index. Any other read fails with the reason why the index is missing.
fn scan(
    shared: &Shared,
    read: &Read,
    head: Head,
    mode: ReadMode,
    fault: LookupError,
) -> Result<PlannedPage, LookError> {
    let (Some(building), Select::Log { query: Query::All, from, lanes }) = (&shared.building, &read.select)
    else {
        return Err(fault.into());
    };
    if mode == ReadMode::Memory {
        return Err(LookupError::NotInMemory.into());
    }
    let durable = head.position;
    let (at, until) = (plan::sequence(from, durable), read.until.as_ref().map(|until| until.sequence(0)));
    let (scanned, cut) = match read.direction {
        Direction::Forward => {
            (building.frames.forward(at, until.unwrap_or(durable), read.limit)?, Cut::BeforeBatch)
        }
        Direction::Backward => (building.frames.backward(at, until.unwrap_or(0), read.limit)?, Cut::Backward),
    };
    let Scanned { events, scanned_to, end } = scanned;
    let (scanned_to, is_end_known) = end_of_page(shared, read, head, scanned_to);
    let page = Page { events, scanned_to, head: shared.checkpoint_of(head), last_version: None, end };
    Ok(PlannedPage { locations: Vec::new(), lanes: lanes.clone(), cut, page, is_end_known })
}

impl PlannedPage {
    /// The events, if they are few and in memory. For threads that must not wait. Also gives the end of the page its
    /// mark.
    pub(crate) fn fetch_cached(&mut self, shared: &Shared) -> Option<Vec<RecordedEvent>> {
        let events = self.cached_events(shared)?;
        self.mark_end(shared, &events, ReadMode::Memory).ok()?;
        Some(events)
    }

    fn cached_events(&self, shared: &Shared) -> Option<Vec<RecordedEvent>> {
        let durable = self.page.head.sequence(0);
        if let Some(events) = shared.recent.get(&self.locations, durable) {
            return Some(events);
        }
        let events = fetch_cached(&self.locations)?;
        shared.recent.put(&self.locations, &events, durable);
        Some(events)
    }

    /// Fetches the events, half of them on an idle thread. Reads from the disk or the page cache.
    pub(crate) fn fetch(self, shared: &Shared, idle: &Idle) -> Result<Page, ReadError> {
        let mut planned = self;
        let locations = std::mem::take(&mut planned.locations);
        let Fetched { mut events, failed } = fetch_in_halves(locations, idle);
        if let Some(failed) = failed {
            cut_page(shared, planned.cut, &mut events, &mut planned.page, failed)?;
            planned.is_end_known = false;
        }
        let marked = planned.mark_end(shared, &events, ReadMode::Disk);
        marked.map_err(|fault| LookError::from(fault).into_read_error())?;
        Ok(planned.into_page(events))
    }

    /// Gives the end of the page the mark of the event there. The event is the page's last one, else its record is
    /// read.
    fn mark_end(
        &mut self,
        shared: &Shared,
        fetched: &[RecordedEvent],
        mode: ReadMode,
    ) -> Result<(), LookupError> {
        if self.is_end_known {
            return Ok(());
        }
        let position = self.page.scanned_to.sequence(0);
        let last = fetched.last().or(self.page.events.last());
        let mark = match last.filter(|event| event.position().sequence == position) {
            Some(event) => Some(event.mark()),
            None => mark_at(shared, position, mode)?,
        };
        if let Some(mark) = mark {
            shared.marks.put(position, mark);
        }
        self.page.scanned_to = shared.checkpoint_of(Head { position, mark });
        Ok(())
    }

    /// The page with all its events: those of a walk, or those that were fetched.
    pub(crate) fn into_page(self, mut events: Vec<RecordedEvent>) -> Page {
        let mut page = self.page;
        page.events.append(&mut events);
        if let Some(lanes) = &self.lanes {
            page.events.retain(|event| lanes.contains(Lane::of(event.stream())));
        }
        page
    }
}

/// The version of a stream's last event, unless damage may hide a later one.
fn last_version(
    shared: &Shared,
    snapshot: &IndexSnapshot,
    name: &StreamName,
    durable: u64,
    mode: ReadMode,
) -> Result<Option<Version>, LookupError> {
    for damage in shared.index.damage().iter().filter(|damage| damage.loses_events()) {
        if snapshot.hides_end(damage, name.as_str(), mode)? {
            return Ok(None);
        }
    }
    let head = snapshot.head(name.as_str(), durable, mode)?;
    Ok(head.map(|(version, _)| Version::new(version)))
}

/// Ends a page before an unreadable event. The next read begins with that event and fails.
fn cut_page(
    shared: &Shared,
    cut: Cut,
    events: &mut Vec<RecordedEvent>,
    page: &mut Page,
    failed: Failed,
) -> Result<(), ReadError> {
    let bad = failed.position;
    let (from, to) = match cut {
        Cut::BeforeBatch => {
            let snapshot = shared.snapshot().map_err(|fault| LookError::from(fault).into_read_error())?;
            let batch = snapshot
                .batch_start(bad, ReadMode::Disk)
                .and_then(|start| Ok((start, snapshot.batch_end(bad, ReadMode::Disk)?)));
            batch.map_err(|fault| LookError::from(fault).into_read_error())?
        }
        Cut::Exactly | Cut::Backward => (bad, bad),
    };
    events.retain(|event| !(from..=to).contains(&event.position().sequence));
    let Some(last) = events.last() else {
        let resume = if cut == Cut::Backward { from - 1 } else { to };
        return Err(failed.into_error(shared, from, to, resume));
    };
    page.end = false;
    page.scanned_to = shared.checkpoint(match cut {
        Cut::BeforeBatch => from - 1,
        Cut::Exactly => last.position().sequence,
        Cut::Backward => last.position().sequence - 1,
    });
    Ok(())
}

/// The information about a stream. Its version is that of its last event, readable or not; fails if damage may hide
/// that event.
pub(crate) fn stream(
    shared: &Shared,
    name: &StreamName,
    mode: ReadMode,
) -> Result<Option<StreamInfo>, LookError> {
    let durable = shared.published.position();
    let snapshot = shared.snapshot()?;
    for damage in shared.index.damage().iter().filter(|damage| damage.loses_events()) {
        if snapshot.stream_may_have_lost(damage, name.as_str(), mode)? {
            return Err(data_loss(shared, damage, damage.to).into());
        }
    }
    let head = snapshot.head(name.as_str(), durable, mode)?;
    Ok(head.map(|(version, _)| StreamInfo::new(name.clone(), Version::new(version))))
}

/// One page of streams, in the order of their first events. The position of a first event is the token.
pub(crate) fn streams(shared: &Shared, listing: &Listing, mode: ReadMode) -> Result<StreamPage, LookError> {
    let durable = shared.published.position();
    let from = listing.after.as_ref().map_or(Ok(0), |token| {
        let position = token.0.parse().ok().filter(|position| *position <= durable + 1);
        position.ok_or_else(|| ReadError::Invalid {
            reason: format!("`{}` is not a token of a listing", token.0),
        })
    })?;
    let snapshot = shared.snapshot()?;
    let limit = listing.limit.get() as usize;
    let mut created = created(&snapshot, listing, from, durable, mode)?;
    let next = created.get(limit).map(|location| ListToken(location.position.to_string().into()));
    created.truncate(limit);
    if mode == ReadMode::Memory && !created.is_empty() {
        return Err(LookupError::NotInMemory.into());
    }
    let Fetched { events, failed } = fetch(&created);
    let mut page = StreamPage { streams: Vec::with_capacity(events.len()), next };
    if let Some(failed) = failed {
        let position = failed.position;
        if events.is_empty() {
            return Err(failed.into_error(shared, position, position, position).into());
        }
        page.next = Some(ListToken(position.to_string().into()));
    }
    for event in &events {
        let name = StreamName::new(event.stream()).expect("a recorded name was checked");
        let head = snapshot.head(name.as_str(), durable, mode)?;
        let (version, _) = head.expect("its first event is durable");
        page.streams.push(StreamInfo::new(name, Version::new(version)));
    }
    // Damage may hide streams from the listing. This is reported after the last page.
    match shared.index.damage().iter().find(|damage| damage.loses_events() && !snapshot.knows(damage)) {
        Some(damage) if page.next.is_none() && page.streams.is_empty() => {
            Err(data_loss(shared, damage, damage.to).into())
        }
        Some(_) if page.next.is_none() => {
            page.next = Some(ListToken((durable + 1).to_string().into()));
            Ok(page)
        }
        _ => Ok(page),
    }
}

/// The first events of streams, from a position on: up to one more than the page holds.
fn created(
    snapshot: &IndexSnapshot,
    listing: &Listing,
    from: u64,
    durable: u64,
    mode: ReadMode,
) -> Result<Vec<Location>, LookupError> {
    let key = match &listing.category {
        Some(category) => Key::new(Kind::New, category.as_str().as_bytes()),
        None => Key::new(Kind::Created, &[]),
    };
    let wanted = listing.limit.get() as usize + 1;
    let mut created = Vec::new();
    for part in snapshot.parts() {
        let held = part.look(mode);
        let part = held.part();
        if part.last() < from || part.first() > durable {
            continue;
        }
        let Some((mut list, _)) = part.list(&key)? else { continue };
        let mut locator = part.locator();
        for index in list.lower_bound(0, part.relative(from))?..list.len() {
            let position = list.at(index)?;
            if created.len() == wanted || part.first() + u64::from(position) > durable {
                return Ok(created);
            }
            created.push(locator.location(position)?);
        }
    }
    Ok(created)
}

/// Finds a place in the log.
pub(crate) fn locate(shared: &Shared, at: When, mode: ReadMode) -> Result<gesta_core::Checkpoint, LookError> {
    let head = shared.published.head();
    Ok(match at {
        When::Start => shared.checkpoint(0),
        When::Head => shared.checkpoint_of(head),
        When::RecordedUpTo(time) => {
            let last = recorded_up_to(&*shared.snapshot()?, time.as_nanos(), mode)?.min(head.position);
            place_at(shared, last, mode)?
        }
        other => {
            let capability = format!("the place {other:?}").into();
            return Err(ReadError::Unsupported { capability }.into());
        }
    })
}

/// The end of the last batch recorded at that time or earlier.
fn recorded_up_to(snapshot: &IndexSnapshot, time: i64, mode: ReadMode) -> Result<u64, LookupError> {
    for part in snapshot.parts().iter().rev() {
        let found = match part {
            Part::MemTable(table) => table.read().recorded_up_to(time),
            Part::Run(run) if run.footer.end.chain.recorded_at <= time => Some(run.footer.last),
            Part::Run(_) if mode == ReadMode::Memory => return Err(LookupError::NotInMemory),
            Part::Run(run) => {
                let held = part.look(mode);
                let mut locator = held.part().locator();
                let (mut low, mut high) = (0, u32::try_from(run.len()).expect("a run is below 4 G"));
                while low < high {
                    let middle = u32::midpoint(low, high);
                    let is_early = recorded_at(&locator.location(middle)?, run.footer.id)? <= time;
                    if is_early { low = middle + 1 } else { high = middle }
                }
                // All events of a batch have the same recorded time, so the result is the end of a batch.
                low.checked_sub(1).map(|last| run.footer.first + u64::from(last))
            }
        };
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Ok(0)
}

fn data_loss(shared: &Shared, damage: &Damage, resume: u64) -> ReadError {
    let position = |sequence| gesta_core::Position { partition: 0, sequence };
    ReadError::DataLoss {
        location: damage.location_for_reader(),
        from: position(damage.from),
        to: position(damage.to),
        resume: shared.checkpoint(resume),
    }
}
