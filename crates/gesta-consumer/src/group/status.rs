//! What operators see of a group.

use std::time::Duration;

use gesta_core::{Checkpoint, Item, Position, RecordedEvent, StreamName, Timestamp, Version};

use super::name::{GroupName, MemberName};
use super::settings::{GroupSettings, SettingsVersion};

/// A group as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupStatus {
    /// Its name.
    pub name: GroupName,
    /// Its settings. The query has every item, in the order in which they were added.
    pub settings: GroupSettings,
    /// The version of the settings.
    pub settings_version: SettingsVersion,
    /// The items of the query, each with the place after which it counts.
    pub items: Vec<SelectedItem>,
    /// True if a host in the serving process owns the settings.
    pub is_hosted: bool,
    /// Whether it delivers, and the reason if it does not.
    pub state: GroupState,
    /// The members that called within the last `ack_time`.
    pub members: Vec<MemberStatus>,
    /// The place up to which the log was scanned. Unfinished events may lie before it.
    pub scanned: Checkpoint,
    /// The head of the log when the status was made.
    pub head: Checkpoint,
    /// Events of the log from the oldest one that is neither finished nor parked to the head; `None` if positions have gaps.
    pub lag_events: Option<u64>,
    /// The age of that oldest event; zero at the head; `None` if it cannot be read.
    pub lag: Option<Duration>,
    /// Streams that are parked.
    pub parked: u32,
    /// Streams that wait for another attempt.
    pub waiting: u32,
    /// Events in deliveries that are not settled.
    pub in_flight_events: u32,
    /// Events in memory.
    pub window_events: u32,
    /// Bytes of the events in memory.
    pub window_bytes: u64,
    /// True if the scan waits for room in the window.
    pub is_window_full: bool,
    /// Settlements and other ends of deliveries since the dealer started.
    pub settled: Settled,
    /// Durable writes of the group's progress since the dealer started.
    pub puts: u64,
    /// The time that they took altogether.
    pub puts_time: Duration,
}

/// An item of a group's query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectedItem {
    /// The item; `None` selects every event.
    pub item: Option<Item>,
    /// The item counts for events after this place.
    pub since: Checkpoint,
}

/// Whether a group delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupState {
    /// It reads its row and takes it over.
    Starting,
    /// It delivers.
    Running,
    /// It delivers, but so much fails that failures count no attempt: a target is probably down.
    Outage,
    /// An operator paused it. Members wait.
    Paused {
        /// The operator.
        by: String,
        /// The time of the pause.
        since: Timestamp,
    },
    /// It stopped by itself, or by a settlement, until an operator resumes or resets it.
    Stopped {
        /// The reason.
        reason: String,
    },
    /// Its progress could not be written for 5 s. It delivers again after the next successful write.
    Unsaved,
    /// It cannot read the log, and tries again.
    Unreadable {
        /// The error.
        reason: String,
    },
    /// Another dealer took the group over.
    TakenOver,
}

/// A member as a group sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its name.
    pub name: MemberName,
    /// The time since its last call; zero while a call is open.
    pub seen: Duration,
    /// Events that were delivered to it and are not settled.
    pub in_flight_events: u32,
}

/// Ends of deliveries, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// Events that were handled.
    pub handled: u64,
    /// Deliveries settled with `Retry`.
    pub retry: u64,
    /// Deliveries settled with `Release`.
    pub release: u64,
    /// Streams that were parked.
    pub park: u64,
    /// Skips by members and operators. Each passes the events of a stream up to one.
    pub skip: u64,
    /// Deliveries that expired.
    pub expired: u64,
    /// Deliveries that were given again because the member did not hold them.
    pub again: u64,
    /// Deliveries whose reply could not be written.
    pub unwritten: u64,
    /// Settlements without effect.
    pub stale: u64,
}

/// A parked stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The stream. In a group with [`Order::Log`](super::Order::Log) nothing is ever parked.
    pub stream: StreamName,
    /// The version of the event that could not be handled.
    pub version: Version,
    /// The position of that event.
    pub position: Position,
    /// The attempts to handle it.
    pub attempts: u32,
    /// The error of the last attempt, if it is known.
    pub error: Option<String>,
    /// The member or the rule that parked it, if it is known.
    pub by: Option<String>,
    /// The time of the parking, if it is known.
    pub since: Option<Timestamp>,
}

/// A parked stream, and the first events that it holds back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The parked stream.
    pub parked: Parked,
    /// Its first events that are not finished, beginning with the one that failed.
    pub events: Vec<RecordedEvent>,
}
