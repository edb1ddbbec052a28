//! Reads a range of versions of a stream, page by page.

use std::ops::ControlFlow;

use gesta_core::{Checkpoint, Direction, EventStore, Read, RecordedEvent, Select, StreamName, Version};

use crate::error::LoadError;
use crate::load::PAGE;

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
        let mut next = from;
        loop {
            let select = Select::Stream { name: self.stream.clone(), from: Some(next) };
            let until = Some(self.until.clone());
            let page =
                self.store.read(Read { select, direction: Direction::Forward, until, limit: PAGE }).await?;
            for event in &page.events {
                if to.is_some_and(|to| event.version() > to) {
                    return Ok(());
                }
                if visit(event)?.is_break() {
                    return Ok(());
                }
                next = event.version().next();
            }
            if page.end || to.is_some_and(|to| next > to) {
                return Ok(());
            }
        }
    }
}
