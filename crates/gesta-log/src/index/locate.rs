//! Where the records of positions lie.

use std::sync::Arc;

use super::{Index, Slots};
use crate::segment::SegmentFile;

/// Where the record of one event lies.
#[derive(Clone)]
pub(crate) struct Location {
    pub(crate) segment: Arc<SegmentFile>,
    pub(crate) position: u64,
    pub(crate) offset: u64,
    /// The record ends there or before.
    pub(crate) end: u64,
}

impl Location {
    /// An upper bound of its size.
    pub(crate) const fn len(&self) -> u64 {
        self.end - self.offset
    }
}

impl Index {
    /// Where the event at a position lies; `None` for a position that is damaged or not there.
    pub(crate) fn location(&self, position: u64) -> Option<Location> {
        let at = self.segments.partition_point(|slots| slots.first <= position).checked_sub(1)?;
        // Segments without events share their first position with the one after them.
        self.segments[..=at].iter().rev().find(|slots| !slots.offsets.is_empty())?.location(position)
    }
}

impl Slots {
    fn location(&self, position: u64) -> Option<Location> {
        let index = usize::try_from(position.checked_sub(self.first)?).ok()?;
        let offset = u64::from(*self.offsets.get(index)?);
        let end = self.offsets.get(index + 1).map_or(self.end, |next| u64::from(*next));
        Some(Location { segment: Arc::clone(&self.segment), position, offset, end })
    }
}
