//! Reads: planned in memory, then fetched from the segments in as few reads as possible.
//!
//! *Invariant*: the durable position is loaded first and the index looked into second, and everything is clipped to it.

mod fetch;
mod plan;

use gesta_core::{
    Direction, Lane, Lanes, ListToken, Listing, Page, Read, ReadError, RecordedEvent, Select, StreamInfo,
    StreamName, StreamPage, Version, When, check_read,
};

use crate::damage::Damage;
use crate::index::Location;
use crate::shared::Shared;
use fetch::{Failed, Fetched, fetch};

/// A page that is planned: everything but the events themselves.
pub(crate) struct PlannedPage {
    locations: Vec<Location>,
    lanes: Option<Lanes>,
    /// How the page is cut where an event turns out to be damaged.
    cut: Cut,
    page: Page,
}

/// How a page is cut before an event that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Before its batch: a forward page of the log has whole batches.
    BeforeBatch,
    /// Right before it.
    Exactly,
    /// Right after it: the page comes from above.
    Backward,
}

/// Plans a page, in memory.
pub(crate) fn plan(shared: &Shared, read: &Read) -> Result<PlannedPage, ReadError> {
    let durable = shared.published.position();
    check_read(read, &shared.checkpoint(durable), &shared.capabilities)?;
    let index = shared.index();
    let view = plan::View { index: &index, shared, durable };
    let planned = view.plan(read)?;
    let last_version = match &read.select {
        Select::Stream { name, .. } => {
            let hides_end = |damage: &Damage| damage.loses_events() && index.hides_end(damage, name.as_str());
            let entry = index.stream(name.as_str()).filter(|_| !index.damage().iter().any(hides_end));
            entry.and_then(|entry| entry.last_version(durable)).map(Version::new)
        }
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
    let page = Page {
        events: Vec::new(),
        scanned_to: shared.checkpoint(planned.scanned_to),
        head: shared.checkpoint(durable),
        last_version,
        end: planned.end,
    };
    Ok(PlannedPage { locations: planned.locations, lanes, cut, page })
}

impl PlannedPage {
    /// Whether there is nothing to fetch.
    pub(crate) fn is_empty(&self) -> bool {
        self.locations.is_empty()
    }

    /// Fetches the events. Touches the disk, or the page cache.
    pub(crate) fn fetch(self, shared: &Shared) -> Result<Page, ReadError> {
        let Fetched { mut events, failed } = fetch(&self.locations);
        let mut page = self.page;
        if let Some(failed) = failed {
            cut_page(shared, self.cut, &mut events, &mut page, failed)?;
        }
        if let Some(lanes) = &self.lanes {
            events.retain(|event| lanes.contains(Lane::of(event.stream())));
        }
        Ok(Page { events, ..page })
    }
}

/// Ends a page before an event that cannot be read; the next read begins with it, and is the one that fails.
fn cut_page(
    shared: &Shared,
    cut: Cut,
    events: &mut Vec<RecordedEvent>,
    page: &mut Page,
    failed: Failed,
) -> Result<(), ReadError> {
    let index = shared.index();
    let bad = failed.position;
    let (from, to) = match cut {
        Cut::BeforeBatch => (index.batch_start(bad), index.batch_end(bad)),
        Cut::Exactly | Cut::Backward => (bad, bad),
    };
    drop(index);
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

/// What is known of a stream.
pub(crate) fn stream(shared: &Shared, name: StreamName) -> Result<Option<StreamInfo>, ReadError> {
    let durable = shared.published.position();
    let index = shared.index();
    let lost = index.damage().iter().find(|damage| index.stream_may_have_lost(damage, name.as_str()));
    if let Some(damage) = lost.filter(|damage| damage.loses_events()) {
        return Err(data_loss(shared, damage, damage.to));
    }
    let version = index.stream(name.as_str()).and_then(|entry| entry.last_version(durable));
    Ok(version.map(|version| StreamInfo { name, version: Version::new(version) }))
}

/// One page of streams, in the order of their first events, whose position is the token.
pub(crate) fn streams(shared: &Shared, listing: &Listing) -> Result<StreamPage, ReadError> {
    let durable = shared.published.position();
    let from = listing.after.as_ref().map_or(Ok(0), |token| {
        let position = token.0.parse().ok().filter(|position| *position <= durable + 1);
        position
            .ok_or_else(|| ReadError::Invalid { reason: format!("`{}` is no token of a listing", token.0) })
    })?;
    let index = shared.index();
    let limit = listing.limit.get() as usize;
    let mut page = StreamPage { streams: Vec::new(), next: None };
    for (first, name) in index.created_from(from).iter().take_while(|(first, _)| *first <= durable) {
        if listing.category.as_ref().is_some_and(|own| own.as_str() != StreamName::category_of(name)) {
            continue;
        }
        if page.streams.len() == limit {
            page.next = Some(ListToken(first.to_string().into()));
            break;
        }
        let version = index.stream(name).and_then(|entry| entry.last_version(durable));
        let name = StreamName::new(name).expect("an indexed name was checked");
        page.streams
            .push(StreamInfo { name, version: Version::new(version.expect("its first event is durable")) });
    }
    // Streams that damage hides are missing from what was found; that is said behind the last page.
    match index.damage().iter().find(|damage| damage.loses_events()) {
        Some(damage) if page.next.is_none() && page.streams.is_empty() => {
            Err(data_loss(shared, damage, damage.to))
        }
        Some(_) if page.next.is_none() => {
            page.next = Some(ListToken((durable + 1).to_string().into()));
            Ok(page)
        }
        _ => Ok(page),
    }
}

/// A place in the log.
pub(crate) fn locate(shared: &Shared, at: When) -> gesta_core::Checkpoint {
    let durable = shared.published.position();
    shared.checkpoint(match at {
        When::Start => 0,
        When::Head => durable,
        When::RecordedUpTo(time) => shared.index().recorded_up_to(time.as_nanos()).min(durable),
    })
}

fn data_loss(shared: &Shared, damage: &Damage, resume: u64) -> ReadError {
    let position = |sequence| gesta_core::Position { partition: 0, sequence };
    ReadError::DataLoss {
        location: damage.location(),
        from: position(damage.from),
        to: position(damage.to),
        resume: shared.checkpoint(resume),
    }
}
