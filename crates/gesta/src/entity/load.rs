//! Loading a state: a read of the stream, or of its tail, that all who wait for the state share.
//!
//! The load takes the state out of its line, and puts it back when it is over. It holds no turn.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::Shared;
use gesta_core::{
    BoxFuture, Checkpoint, Direction, EventStore, Page, Read, ReadError, Select, Snapshot, StreamName,
    Version,
};

use crate::error::LoadError;
use crate::pages::{PAGE, Pages};
use crate::snapshot::{Bounds, SnapshotService};

use super::line::Base;
use super::lock;
use super::metrics::Metrics;
use super::state::{AnyState, EncodedEvent};

/// A load under way. Clones are the same load.
#[derive(Clone)]
pub(super) struct Load {
    over: Shared<BoxFuture<'static, ()>>,
    result: Arc<Mutex<LoadResult>>,
}

enum LoadResult {
    Running,
    Loaded(Box<dyn AnyState>, Base),
    /// The store could not read: what was folded so far is kept.
    Failed(LoadError, Option<(Box<dyn AnyState>, Base)>),
    Panicked(Box<dyn Any + Send>),
    Taken,
}

/// What to load.
pub(super) struct NewLoad {
    pub(super) store: Arc<dyn EventStore>,
    pub(super) snapshots: Option<Arc<SnapshotService>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stream: StreamName,
    /// The state to go on from.
    pub(super) state: Box<dyn AnyState>,
    pub(super) base: Base,
    /// The place to end at; the end of the stream if there is none.
    pub(super) until: Option<Checkpoint>,
}

impl Load {
    pub(super) fn start(load: NewLoad) -> Self {
        let result = Arc::new(Mutex::new(LoadResult::Running));
        let put = Arc::clone(&result);
        let over = async move {
            let loaded = load.run().await;
            *lock(&put) = loaded;
        };
        Self { over: over.boxed().shared(), result }
    }

    /// Ends when the load is over. Everybody who waits polls it.
    pub(super) async fn over(&self) {
        self.over.clone().await;
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.peek().is_some()
    }

    /// The state, for the first who asks.
    pub(super) fn take(&self) -> Option<(Box<dyn AnyState>, Base)> {
        let mut result = lock(&self.result);
        match std::mem::replace(&mut *result, LoadResult::Taken) {
            LoadResult::Loaded(state, base) => Some((state, base)),
            LoadResult::Failed(error, mut kept) => {
                let kept_state = kept.take();
                *result = LoadResult::Failed(error, None);
                kept_state
            }
            other => {
                *result = other;
                None
            }
        }
    }

    /// Fails as the load failed. If it panicked, the first who asks goes on with the panic; the others load again.
    pub(super) fn check(&self) -> Result<(), LoadError> {
        let mut result = lock(&self.result);
        match &*result {
            LoadResult::Failed(error, _) => return Err(error.copy()),
            LoadResult::Panicked(_) => {}
            LoadResult::Running | LoadResult::Loaded(..) | LoadResult::Taken => return Ok(()),
        }
        if let LoadResult::Panicked(panic) = std::mem::replace(&mut *result, LoadResult::Taken) {
            drop(result);
            std::panic::resume_unwind(panic);
        }
        Ok(())
    }
}

impl NewLoad {
    async fn run(mut self) -> LoadResult {
        let mut folded = 0;
        let first = match self.begin().await {
            Ok(first) => first,
            Err(error) => return self.failed(error),
        };
        let (from, store) = (self.base.version, Arc::clone(&self.store));
        let mut pages = Pages::with_first(&*store, self.next(), first);
        loop {
            let page = match pages.next().await {
                Ok(page) => page.expect("the last page ends the loop"),
                Err(error) => return self.failed(error),
            };
            let state = &mut self.state;
            let fold = || page.events.iter().try_for_each(|event| state.fold(EncodedEvent::recorded(event)));
            match catch_unwind(AssertUnwindSafe(fold)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return LoadResult::Failed(error, None),
                Err(panic) => return LoadResult::Panicked(panic),
            }
            folded += page.events.len();
            if let Some(last) = page.events.last() {
                self.base.version = Some(last.version());
                self.base.id = Some(last.id());
                self.base.position = Some(last.position());
            }
            self.base.read_to = Some(page.scanned_to);
            if page.end {
                self.metrics.loaded(folded);
                self.note_passed(from);
                return LoadResult::Loaded(self.state, self.base);
            }
        }
    }

    /// Begins a load without a state from a snapshot, if there is one. Returns the page after it.
    async fn begin(&mut self) -> Result<Option<Page>, ReadError> {
        let (None, Some(snapshots)) = (self.base.version, &self.snapshots) else { return Ok(None) };
        let Some(declared) = self.state.declared() else { return Ok(None) };
        let bounds = Bounds { until: self.until.as_ref(), at_most: None };
        let state = &mut self.state;
        let restore = &mut |snapshot: &Snapshot| {
            // A panic in the decoding of a state counts as one that cannot be decoded.
            catch_unwind(AssertUnwindSafe(|| state.restore(snapshot))).unwrap_or(false)
        };
        let Some(start) = snapshots.start(&*self.store, &declared, &self.stream, bounds, restore).await?
        else {
            return Ok(None);
        };
        self.base.version = Some(start.version);
        self.base.id = Some(start.anchor.id());
        self.base.position = Some(start.anchor.position());
        Ok(Some(start.page))
    }

    /// Has a snapshot taken if the load has passed a multiple.
    fn note_passed(&self, from: Option<Version>) {
        if let (Some(snapshots), Some(to), Some(declared)) =
            (&self.snapshots, self.base.version, self.state.declared())
        {
            snapshots.passed(&declared, &self.stream, from, to);
        }
    }

    fn next(&self) -> Read {
        let from = self.base.version.map(Version::next);
        let select = Select::Stream { name: self.stream.clone(), from };
        Read { select, direction: Direction::Forward, until: self.until.clone(), limit: PAGE }
    }

    fn failed(self, error: ReadError) -> LoadResult {
        let is_kept = self.base.version.is_some();
        let mut base = self.base;
        base.read_at_gate = None;
        LoadResult::Failed(error.into(), is_kept.then_some((self.state, base)))
    }
}
