//! Reads a range of versions of a stream, page by page.

use std::ops::ControlFlow;

use gesta_core::{Checkpoint, Direction, EventStore, Read, RecordedEvent, Select, StreamName, Version};

use crate::error::LoadError;
use crate::pages::{PAGE, Pages};

/// A stream as it was at one place in the log.
pub(super) struct Range<'a> {
    pub(super) store: &'a dyn EventStore,
    pub(super) stream: &'a StreamName,
    pub(super) until: &'a Checkpoint,
}

impl Range<'_> {
    /// Visits the events from one version to another, both included, in their order, until `visit` breaks.
    pub(super) async fn visit(
        &self,
        from: Version,
        to: Option<Version>,
        mut visit: impl FnMut(&RecordedEvent) -> Result<ControlFlow<()>, LoadError>,
    ) -> Result<(), LoadError> {
        let select = Select::Stream { name: self.stream.clone(), from: Some(from) };
        let until = Some(self.until.clone());
        let read = Read { select, direction: Direction::Forward, until, limit: PAGE };
        let mut pages = Pages::new(self.store, read).up_to(to);
        while let Some(page) = pages.next().await? {
            for event in &page.events {
                if to.is_some_and(|to| event.version() > to) || visit(event)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
