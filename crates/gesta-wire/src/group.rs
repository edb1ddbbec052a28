//! Consumer groups in JSON: settings, statuses, the calls of members and of operators, their answers and errors.

mod change;
mod parked;
mod problem;
mod settings;
mod status;
mod take;
#[cfg(test)]
mod tests;

use std::time::Duration;

use gesta_consumer::group::{DeliveryIdParseError, GroupNameError};
use gesta_core::{CheckpointParseError, NameError};

use crate::query::QueryJsonError;
use crate::time::TimeError;

pub(crate) use change::{
    put_group_schema, replay_schema, replayed_schema, reset_request_schema, reset_schema, skip_schema,
};
pub(crate) use parked::{held_schema, parked_page_schema, parked_schema};
pub(crate) use settings::group_settings_schema;
pub(crate) use status::{group_schema, groups_schema};
pub(crate) use take::{delivery_schema, settlement_schema, take_schema, taken_schema};

pub use change::{
    ReplayJson, ResetJson, SkipJson, put_group_json, read_put_group, read_replayed, read_reset, replay_json,
    replayed_json, reset_json, reset_request_json, skip_json,
};
pub use parked::{parked_json, parked_page_json, read_held, read_parked_page, write_held};
pub use settings::{GroupSettingsJson, group_settings_json};
pub use status::{group_json, group_state_name, groups_json, read_group, read_groups};
pub use take::{TakeJson, read_taken, take_json, write_taken};

/// Why JSON of the right shape is not a request to a group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupJsonError {
    /// The name of a stream is malformed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name of a member is malformed.
    #[error(transparent)]
    Member(#[from] GroupNameError),
    /// The id of a delivery is malformed.
    #[error(transparent)]
    Delivery(#[from] DeliveryIdParseError),
    /// The query is malformed.
    #[error(transparent)]
    Query(#[from] QueryJsonError),
    /// A place is malformed.
    #[error("`{member}` is neither `start`, `now` nor a checkpoint: {source}")]
    Place {
        /// The member.
        member: &'static str,
        /// The fault.
        source: CheckpointParseError,
    },
    /// A time is malformed or out of range.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// Members that belong together, or exclude each other.
    #[error("{rule}")]
    Members {
        /// The rule that they break.
        rule: &'static str,
    },
}

/// A duration in whole milliseconds, rounded up so that it never becomes 0 by that.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
