//! Finding the snapshot that a load begins from.
//!
//! *Invariant:* a snapshot is used only if the log has the anchor's event at the snapshot's version, within the place to
//! read to. One whose version has another event is foreign: the log was restored, or lost events in a failover. It is
//! removed. One whose version has no event is left alone: the copy of the log that was read may lag.

use std::num::NonZeroU32;
use std::time::Duration;

use gesta_core::{
    Checkpoint, Direction, EventId, EventStore, Limit, Page, Read, ReadError, RecordedEvent, Select,
    Snapshot, SnapshotKey, StreamName, Version,
};

use super::declared::Declared;
use super::kinds::Kind;
use super::limits::{LOAD_WAIT, TAKE_WAIT, TRIES_MAX};
use super::planted::{Bug, planted};
use super::service::{Asking, Shared};
use crate::pages::PAGE;

/// Where a load begins, and the page of the stream from there.
pub(crate) struct Start {
    /// The version of the snapshot.
    pub(crate) version: Version,
    /// The first page, without the event at `version`.
    pub(crate) page: Page,
    /// The event at `version`.
    pub(crate) anchor: RecordedEvent,
}

/// Takes a state from a snapshot. Returns false if it cannot be decoded.
pub(crate) type Restore<'a> = &'a mut (dyn FnMut(&Snapshot) -> bool + Send);

/// How far a load goes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bounds<'a> {
    /// The place in the log to read to.
    pub(crate) until: Option<&'a Checkpoint>,
    /// The last version to fold in.
    pub(crate) at_most: Option<Version>,
}

/// What the log has at the version of a snapshot.
enum Found {
    Anchor(Box<Start>),
    /// Another event.
    Foreign,
    /// No event, or one beyond the place to read to.
    Nothing,
}

/// One search.
struct Search<'a> {
    shared: &'a Shared,
    events: &'a dyn EventStore,
    kind: &'a Kind,
    of: SnapshotKey,
    bounds: Bounds<'a>,
    asking: Asking,
}

impl Shared {
    /// Finds the newest snapshot that may be used, passes its state to `restore`, and returns where to go on from.
    ///
    /// `None` means that the load folds from the start: there is no snapshot, or the snapshot store is slow or down.
    pub(crate) async fn start(
        &self,
        events: &dyn EventStore,
        declared: &Declared,
        stream: &StreamName,
        bounds: Bounds<'_>,
        restore: Restore<'_>,
    ) -> Result<Option<Start>, ReadError> {
        let kind = self.kinds.of(declared);
        if !kind.is_usable() {
            return Ok(None);
        }
        let start = self.start_within(LOAD_WAIT, events, &kind, stream, bounds, restore).await?;
        kind.counters.searched(start.as_ref().map(|start| start.version));
        Ok(start)
    }

    /// As [`Self::start`], for the thread that takes snapshots.
    pub(super) async fn start_patiently(
        &self,
        events: &dyn EventStore,
        kind: &Kind,
        stream: &StreamName,
        restore: Restore<'_>,
    ) -> Result<Option<Start>, ReadError> {
        self.start_within(TAKE_WAIT, events, kind, stream, Bounds::default(), restore).await
    }

    async fn start_within(
        &self,
        wait: Duration,
        events: &dyn EventStore,
        kind: &Kind,
        stream: &StreamName,
        bounds: Bounds<'_>,
        restore: Restore<'_>,
    ) -> Result<Option<Start>, ReadError> {
        let store = self.store_id().await?;
        let of = SnapshotKey { store, kind: kind.fingerprint, stream: stream.clone() };
        let search = Search { shared: self, events, kind, of, bounds, asking: self.asking(wait) };
        search.run(restore).await
    }
}

impl Search<'_> {
    async fn run(&self, restore: Restore<'_>) -> Result<Option<Start>, ReadError> {
        let mut at_most = self.bounds.at_most;
        for _ in 0..TRIES_MAX {
            let Some(snapshot) = self.newest(at_most).await else { return Ok(None) };
            let is_usable = match self.find(snapshot.version, snapshot.anchor).await? {
                Found::Anchor(start) if restore(&snapshot) => return Ok(Some(*start)),
                Found::Anchor(_) => {
                    self.kind.counters.undecodable();
                    false
                }
                Found::Foreign => {
                    self.kind.counters.foreign();
                    false
                }
                Found::Nothing => true,
            };
            if !is_usable {
                let removed = || self.shared.snapshots.remove(self.of.clone(), vec![snapshot.version]);
                self.shared.ask(self.asking, removed).await;
            } else if self.bounds.until.is_some() {
                let Some(version) = self.newest_within(snapshot.version).await? else { return Ok(None) };
                at_most = Some(version);
                continue;
            }
            let Some(older) = snapshot.version.get().checked_sub(1) else { return Ok(None) };
            at_most = Some(Version::new(older));
        }
        Ok(None)
    }

    async fn newest(&self, at_most: Option<Version>) -> Option<Snapshot> {
        let at_most = at_most.filter(|_| !planted(Bug::BeyondTheVersion));
        let newest = || self.shared.snapshots.newest(self.of.clone(), at_most);
        self.shared.ask(self.asking, newest).await.flatten()
    }

    /// Reads the stream from the version of a snapshot.
    async fn find(&self, version: Version, anchor: EventId) -> Result<Found, ReadError> {
        let wanted = self.bounds.at_most.map_or(u64::MAX, |at_most| at_most.get() - version.get() + 1);
        let events = u32::try_from(wanted).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX);
        let mut page = self.read(version, Limit { events: PAGE.events.min(events), ..PAGE }).await?;
        let is_there = page.events.first().is_some_and(|event| event.version() == version);
        if !is_there {
            return Ok(Found::Nothing);
        }
        let first = page.events.remove(0);
        if first.id() != anchor && !planted(Bug::NoAnchor) {
            return Ok(Found::Foreign);
        }
        if planted(Bug::AnchorFoldedTwice) {
            page.events.insert(0, first.clone());
        }
        Ok(Found::Anchor(Box::new(Start { version, page, anchor: first })))
    }

    async fn read(&self, from: Version, limit: Limit) -> Result<Page, ReadError> {
        let select = Select::Stream { name: self.of.stream.clone(), from: Some(from) };
        let until = self.bounds.until.cloned().filter(|_| !planted(Bug::BeyondThePlace));
        self.events.read(Read { select, direction: Direction::Forward, until, limit }).await
    }

    /// The greatest version of a snapshot before `before` that lies within the place to read to, by bisection.
    async fn newest_within(&self, before: Version) -> Result<Option<Version>, ReadError> {
        let list = || self.shared.snapshots.list(self.of.clone());
        let Some(list) = self.shared.ask(self.asking, list).await else { return Ok(None) };
        let versions = list.iter().map(|info| info.version).filter(|version| *version < before);
        let versions = versions.collect::<Vec<_>>();
        let (mut within, mut beyond) = (0, versions.len());
        while within < beyond {
            let middle = within + (beyond - within) / 2;
            let page = self.read(versions[middle], Limit::events(NonZeroU32::MIN)).await?;
            if page.events.first().is_some_and(|event| event.version() == versions[middle]) {
                within = middle + 1;
            } else {
                beyond = middle;
            }
        }
        Ok(within.checked_sub(1).map(|newest| versions[newest]))
    }
}
