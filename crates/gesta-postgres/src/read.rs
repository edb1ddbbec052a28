//! Reads: each page is one snapshot of the database.
//!
//! A page may take several statements, each with a snapshot of its own. The first one fixes the head: what later ones show
//! beyond it is left out. That is exact, because positions are dense and no row ever changes.

mod chunk;
mod log;
mod look;
mod scans;
mod stream;

use gesta_core::{Checkpoint, Limit, Page, Place, Read, ReadError, RecordedEvent, Select, check_read};

use crate::pool::Unread;
use crate::session::{Session, Snapshot};
use crate::shared::Shared;

pub(crate) use chunk::recorded_event;
pub(crate) use log::newest_match;
pub(crate) use look::{COMMANDS, check_place, command_of, command_record, listing, position_at, stream_head};
pub(crate) use scans::terms_of;

/// Reads a page.
pub(crate) async fn page(shared: &Shared, session: &Session, read: &Read) -> Result<Page, Unread> {
    // Forms first, without asking the server. No place lies beyond this one.
    check_read(read, &Checkpoint::new(shared.id, [u64::MAX]), &shared.capabilities)?;
    match &read.select {
        Select::Stream { name, from } => stream::page(shared, session, read, name, *from).await,
        Select::Log { query, from, lanes } => {
            let asked = log::Asked { query, lanes: lanes.as_ref() };
            log::page(shared, session, read, &asked, from).await
        }
    }
}

/// Checks the places of a read against the first snapshot, and returns its head.
fn check_places(shared: &Shared, read: &Read, snapshot: &Snapshot) -> Result<Checkpoint, Unread> {
    let head = shared.observe(&snapshot.state)?;
    check_read(read, &head, &shared.capabilities)?;
    shared.remember(snapshot.marks.iter().map(|(sequence, mark)| (*sequence, *mark)));
    for checkpoint in read.checkpoints() {
        shared.check_mark(checkpoint)?;
    }
    Ok(head)
}

/// The places of a read whose marks the first snapshot must show.
fn unknown_places(shared: &Shared, read: &Read) -> Vec<i64> {
    shared.unknown_places(read.checkpoints())
}

/// The bounds of a read by position: events after `low`, up to `high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    low: u64,
    high: u64,
}

/// The events taken so far, against the limit of the page.
struct Taken {
    events: Vec<RecordedEvent>,
    bytes: u64,
    examined: u64,
    limit: Limit,
}

impl Taken {
    const fn new(limit: Limit) -> Self {
        Self { events: Vec::new(), bytes: 0, examined: 0, limit }
    }

    fn take(&mut self, event: RecordedEvent) {
        self.bytes += event.as_bytes().len() as u64;
        self.events.push(event);
    }

    fn is_full(&self) -> bool {
        self.events.len() as u64 >= u64::from(self.limit.events.get())
            || self.bytes >= self.limit.bytes.get()
            || self.examined >= self.limit.examined.get()
    }

    fn events_left(&self) -> u64 {
        u64::from(self.limit.events.get()).saturating_sub(self.events.len() as u64)
    }

    fn bytes_left(&self) -> u64 {
        self.limit.bytes.get().saturating_sub(self.bytes)
    }

    fn examined_left(&self) -> u64 {
        self.limit.examined.get().saturating_sub(self.examined)
    }
}

/// A place with the mark of its event: the caller's, a remembered one, or one that is looked up.
async fn place(
    shared: &Shared,
    session: &Session,
    sequence: u64,
    bound: Option<&Checkpoint>,
) -> Result<Checkpoint, Unread> {
    if let Some(bound) = bound.filter(|bound| bound.sequence(0) == sequence) {
        return Ok(bound.clone());
    }
    if sequence == 0 {
        return Ok(shared.start());
    }
    look::marked(shared, session, sequence).await
}

/// The start of a read of the log by position; `None` means the head.
fn start_of(from: &Place) -> Option<u64> {
    match from {
        Place::Start => Some(0),
        Place::End => None,
        Place::At(checkpoint) => Some(checkpoint.sequence(0)),
    }
}

/// A page of a store with a damaged record.
fn damaged(position: i64, reason: impl std::fmt::Display) -> ReadError {
    ReadError::Unavailable { reason: format!("the record at position {position} is damaged: {reason}") }
}
