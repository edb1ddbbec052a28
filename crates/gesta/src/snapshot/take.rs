//! Taking a snapshot of one stream: load, encode, verify, put, thin.
//!
//! It reads the event store like anybody else, so it sees durable events only.

use gesta_core::{
    BoxFuture, Direction, EventId, EventStore, Page, Read, ReadError, Select, Snapshot, SnapshotKey,
    StreamName, Version,
};

use super::declared::{Declared, declaration};
use super::kinds::Kind;
use super::limits::TAKE_WAIT;
use super::service::Shared;
use super::thin::{number, superfluous};
use crate::boundary::fold_one;
use crate::error::LoadError;
use crate::pages::{PAGE, Pages};
use crate::state::State;

/// Takes a snapshot of a stream, if one is due. The type of its state is behind the pointer.
pub(super) type Take =
    for<'a> fn(&'a Shared, &'a Declared, &'a StreamName) -> BoxFuture<'a, Result<(), TakeError>>;

/// Why a snapshot that was due was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum TakeError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("the snapshot store did not take it")]
    Put,
}

impl From<ReadError> for TakeError {
    fn from(error: ReadError) -> Self {
        Self::Load(error.into())
    }
}

/// The [`Take`] of a type of state.
pub(super) fn take<'a, S: State>(
    shared: &'a Shared,
    declared: &'a Declared,
    stream: &'a StreamName,
) -> BoxFuture<'a, Result<(), TakeError>> {
    Box::pin(async move {
        let kind = shared.kinds.of(declared);
        if !kind.is_usable() {
            return Ok(());
        }
        Taking::<S> { shared, kind: &kind, declared, stream, snapshots: declaration::<S>() }.run().await
    })
}

struct Taking<'a, S> {
    shared: &'a Shared,
    kind: &'a Kind,
    declared: &'a Declared,
    stream: &'a StreamName,
    snapshots: super::Snapshots<S>,
}

/// A fold under way.
struct Folded<S> {
    state: S,
    /// The last event that was folded in.
    last: Option<(Version, EventId)>,
}

impl<S: State> Taking<'_, S> {
    async fn run(&self) -> Result<(), TakeError> {
        let events = &*self.shared.events;
        let mut folded = Folded { state: S::default(), last: None };
        let mut restored = None;
        let restore = &mut |snapshot: &Snapshot| {
            restored = self.snapshots.decode(&snapshot.state).ok();
            restored.is_some()
        };
        let start = self.shared.start_patiently(events, self.kind, self.stream, restore).await?;
        let base = start.as_ref().map(|start| start.version);
        if let (Some(state), Some(start)) = (restored, start) {
            folded = Folded { state, last: Some((start.version, start.anchor.id())) };
            folded.add(&start.page, None)?;
            if !start.page.end {
                folded.read_on(events, self.stream, None).await?;
            }
        } else {
            folded.read_on(events, self.stream, None).await?;
        }
        let Some((version, anchor)) = folded.last else { return Ok(()) };
        if !is_due(base, version, self.kind.every) {
            return Ok(());
        }
        if base.is_some()
            && self.shared.verify.includes(self.kind.counters.takings())
            && !self.verify(&folded.state, version).await?
        {
            return Ok(());
        }
        let state = match self.snapshots.encode(&folded.state) {
            Ok(state) => state,
            Err(reason) => {
                self.unwritable(&reason);
                return Ok(());
            }
        };
        let taken_at = self.shared.clock.now();
        self.put(Snapshot { version, anchor, taken_at, state }).await
    }

    /// Compares the state with a fold from the start. If it differs, all snapshots of the kind are removed.
    async fn verify(&self, state: &S, version: Version) -> Result<bool, TakeError> {
        let mut folded = Folded { state: S::default(), last: None };
        folded.read_on(&*self.shared.events, self.stream, Some(version)).await?;
        self.kind.counters.verified();
        if self.snapshots.is_same(&folded.state, state) {
            return Ok(true);
        }
        if self.kind.disuse() {
            tracing::error!(
                state = self.declared.name,
                stream = %self.stream,
                %version,
                "a state from a snapshot differs from the same state folded from the start: no snapshot of it is used \
                 until a restart. Raise `version` in `#[snapshot(...)]`: something that `evolve` calls has changed"
            );
            self.shared.remove_kind(self.kind).await;
        }
        Ok(false)
    }

    fn unwritable(&self, reason: &str) {
        if self.kind.disuse() {
            tracing::error!(
                state = self.declared.name,
                stream = %self.stream,
                %reason,
                "a state cannot be kept as a snapshot: it is folded from its events until this is mended"
            );
        }
    }

    async fn put(&self, snapshot: Snapshot) -> Result<(), TakeError> {
        let store = self.shared.store_id().await?;
        let of = SnapshotKey { store, kind: self.kind.fingerprint, stream: self.stream.clone() };
        let asking = self.shared.asking(TAKE_WAIT);
        let snapshots = &self.shared.snapshots;
        self.shared.ask(asking, || snapshots.put(of.clone(), snapshot)).await.ok_or(TakeError::Put)?;
        self.kind.counters.taken();
        let Some(list) = self.shared.ask(asking, || snapshots.list(of.clone())).await else { return Ok(()) };
        let versions = list.iter().map(|info| info.version).collect::<Vec<_>>();
        let superfluous = superfluous(&versions, self.kind.every);
        if !superfluous.is_empty() {
            self.shared.ask(asking, || snapshots.remove(of, superfluous)).await;
        }
        Ok(())
    }
}

/// Whether a stream at a version is due for a snapshot, after one at `base`.
pub(super) fn is_due(base: Option<Version>, version: Version, every: std::num::NonZeroU64) -> bool {
    number(version, every) > base.map_or(0, |base| number(base, every))
}

impl<S: State> Folded<S> {
    /// Folds the events of a page, up to a version.
    fn add(&mut self, page: &Page, to: Option<Version>) -> Result<(), LoadError> {
        for event in page.events.iter().take_while(|event| to.is_none_or(|to| event.version() <= to)) {
            fold_one(&mut self.state, event)?;
            self.last = Some((event.version(), event.id()));
        }
        Ok(())
    }

    async fn read_on(
        &mut self,
        events: &dyn EventStore,
        stream: &StreamName,
        to: Option<Version>,
    ) -> Result<(), LoadError> {
        let from = self.last.map(|(version, _)| version.next());
        let select = Select::Stream { name: stream.clone(), from };
        let read = Read { select, direction: Direction::Forward, until: None, limit: PAGE };
        let mut pages = Pages::new(events, read).up_to(to);
        while let Some(page) = pages.next().await? {
            self.add(&page, to)?;
        }
        Ok(())
    }
}
