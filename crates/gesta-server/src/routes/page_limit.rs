//! The limits of a page: `limit`, `limit_bytes` and `limit_examined`.

use std::num::{NonZeroU32, NonZeroU64};

use gesta::http::api::Operation;
use gesta::http::{Params, Problem};
use gesta_core::Limit;
use gesta_wire::schema::between;

use crate::limits::{PAGE_BYTES_MAX, PAGE_EVENTS_DEFAULT, PAGE_EVENTS_MAX, PAGE_EXAMINED_MAX};

/// The limits that a request gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageLimit {
    events: Option<NonZeroU32>,
    bytes: Option<NonZeroU64>,
    examined: Option<NonZeroU64>,
}

impl PageLimit {
    pub(super) fn of_params(params: &mut Params) -> Result<Self, Problem> {
        Self::new(params.read("limit")?, params.read("limit_bytes")?, params.read("limit_examined")?)
    }

    /// A number of events beyond the largest page is refused, since clients count on it. The other limits are clamped: the page says
    /// where it ended.
    pub(super) fn new(
        events: Option<u32>,
        bytes: Option<NonZeroU64>,
        examined: Option<NonZeroU64>,
    ) -> Result<Self, Problem> {
        Ok(Self { events: events.map(events_in_bounds).transpose()?, bytes, examined })
    }

    /// True if the request gives none.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self { events: None, bytes: None, examined: None }
    }

    pub(super) fn to_limit(self) -> Limit {
        let default = Limit::default();
        let events = const { NonZeroU32::new(PAGE_EVENTS_DEFAULT).expect("it is not zero") };
        let bytes_max = const { NonZeroU64::new(PAGE_BYTES_MAX).expect("it is not zero") };
        let examined_max = const { NonZeroU64::new(PAGE_EXAMINED_MAX).expect("it is not zero") };
        Limit {
            events: self.events.unwrap_or(events),
            bytes: self.bytes.unwrap_or(default.bytes).min(bytes_max),
            examined: self.examined.unwrap_or(default.examined).min(examined_max),
        }
    }
}

/// The largest number of elements of a page.
pub(super) fn events_in_bounds(limit: u32) -> Result<NonZeroU32, Problem> {
    NonZeroU32::new(limit)
        .filter(|limit| limit.get() <= PAGE_EVENTS_MAX)
        .ok_or_else(|| Problem::invalid(format!("limit {limit} is not between 1 and {PAGE_EVENTS_MAX}")))
}

/// Adds the parameters.
pub(super) fn described(operation: Operation) -> Operation {
    let events = between(1, PAGE_EVENTS_MAX.into());
    let any = || between(1, u64::MAX);
    operation
        .query("limit", "Events in the page; the default is 100.", events)
        .query(
            "limit_bytes",
            "Bytes of events; the default is 4 MiB, and a larger one than 16 MiB counts as 16 MiB.",
            any(),
        )
        .query(
            "limit_examined",
            "Entries that the store examines; the default is 100,000, at most 1,000,000 count.",
            any(),
        )
}
