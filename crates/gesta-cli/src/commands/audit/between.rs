//! The times that an audit covers.

use std::fmt;

use gesta_core::{Checkpoint, EventStore, Timestamp, When};
use gesta_wire::{format_time, parse_time};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};

/// The first and the last time at which an event of an audit was recorded, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Texts", into = "Texts")]
pub(super) struct Between {
    from: Timestamp,
    to: Timestamp,
}

impl Between {
    /// `None` if the first time is later than the second one.
    pub(super) fn new(from: Timestamp, to: Timestamp) -> Option<Self> {
        (from <= to).then_some(Self { from, to })
    }

    pub(super) fn contains(self, time: Timestamp) -> bool {
        (self.from..=self.to).contains(&time)
    }

    /// The place after which the events of these times begin in a log, and the place of the last one.
    pub(super) fn places(self, store: &dyn EventStore) -> Outcome<(Checkpoint, Checkpoint)> {
        let place = |when| pollster::block_on(store.locate(when)).map_err(Failure::from);
        let after = match self.from.as_nanos().checked_sub(1) {
            Some(before) => place(When::RecordedUpTo(Timestamp::from_nanos(before)))?,
            None => place(When::Start)?,
        };
        Ok((after, place(When::RecordedUpTo(self.to))?))
    }
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} to {}", format_time(self.from), format_time(self.to))
    }
}

/// The times as a manifest has them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Texts {
    from: String,
    to: String,
}

impl From<Between> for Texts {
    fn from(between: Between) -> Self {
        Self { from: format_time(between.from), to: format_time(between.to) }
    }
}

impl TryFrom<Texts> for Between {
    type Error = String;

    fn try_from(Texts { from, to }: Texts) -> Result<Self, String> {
        let time = |text: &str| parse_time(text).map_err(|error| error.to_string());
        Self::new(time(&from)?, time(&to)?).ok_or_else(|| format!("`from` {from} is later than `to` {to}"))
    }
}
