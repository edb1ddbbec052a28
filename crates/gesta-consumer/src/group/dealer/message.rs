//! What a dealer is told, and what it asks for.

use bytes::Bytes;
use gesta_core::{
    Checkpoint, Entry, KeyValueError, Page, Position, Read, ReadError, Revision, StreamName, Timestamp,
    Version,
};

use crate::group::delivery::DeliveryId;
use crate::group::error::{ChangeError, PutError, TakeError};
use crate::group::groups::Reset;
use crate::group::settings::{GroupSettings, SettingsVersion};
use crate::group::status::Parked;
use crate::group::take::{Take, Taken};

/// The number of a call, given by the caller of the dealer. Later calls have higher numbers.
pub type CallId = u64;

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// The answer to [`Output::Get`].
    Got(Result<Option<Entry>, KeyValueError>),
    /// The answer to [`Output::Put`].
    Put(Result<Revision, KeyValueError>),
    /// The answer to [`Output::Delete`].
    Deleted(Result<(), KeyValueError>),
    /// The answer to [`Output::Read`] with this number.
    Page(u64, Result<Page, ReadError>),
    /// The answer to [`Output::Refill`] with this number.
    Refilled(u64, Result<Page, ReadError>),
    /// The answer to [`Output::Wait`] with this number.
    Grown(u64, Result<(), ReadError>),
    /// A member calls.
    Take(CallId, Take),
    /// A member no longer waits for the answer to its call.
    Cancel(CallId),
    /// Deliveries did not reach their member.
    Unwritten(Vec<DeliveryId>),
    /// An operator asks for a change.
    Change(CallId, Change),
    /// The bytes that the group may keep in memory.
    Window(u64),
    /// The group's host ends in order.
    Stop,
    /// Time has passed.
    Tick,
}

/// A change that an operator asks for.
#[derive(Debug, Clone)]
pub enum Change {
    /// New settings, if the old ones have this version. `head` is the head of the log at the call.
    Settings {
        /// The settings.
        settings: Box<GroupSettings>,
        /// The version of the settings that they replace.
        expect: SettingsVersion,
        /// The head of the log.
        head: Checkpoint,
    },
    /// The settings of the group's host. Items of the query that it does not name stay.
    Host {
        /// The settings.
        settings: Box<GroupSettings>,
        /// The head of the log.
        head: Checkpoint,
        /// True if no other dealer can be at work on the group. Otherwise no item is added: an older dealer may still deal beyond the head.
        is_alone: bool,
    },
    /// Only the items that the settings' query names stay.
    Narrow(Box<GroupSettings>),
    /// Parked streams go on; none means all.
    Replay(Vec<StreamName>),
    /// The events of a stream up to a position are passed for good.
    Skip {
        /// The stream.
        stream: StreamName,
        /// The version of the last event to pass.
        through: Version,
        /// The position of that event.
        position: Position,
    },
    /// Nothing is delivered until the group is resumed.
    Pause {
        /// The operator.
        by: String,
        /// The wall time.
        at: Timestamp,
    },
    /// The group goes on after a pause or a stop.
    Resume,
    /// The group moves to a place.
    Reset(MoveTo),
    /// The group is removed.
    Remove,
}

/// A reset of a group.
#[derive(Debug, Clone)]
pub struct MoveTo {
    /// The place.
    pub to: Checkpoint,
    /// The head of the log.
    pub head: Checkpoint,
    /// The wall time.
    pub at: Timestamp,
}

/// Something to do.
#[derive(Debug, Clone)]
pub enum Output {
    /// Get the row of the group.
    Get,
    /// Put the row of the group.
    Put {
        /// The row.
        value: Bytes,
        /// The revision that it replaces.
        expect: Revision,
    },
    /// Delete the row of the group.
    Delete {
        /// The revision to delete.
        expect: Revision,
    },
    /// Read a page of the scan.
    Read(u64, Read),
    /// Read events of one stream.
    Refill(u64, Read),
    /// Wait until an event lies after a place.
    Wait(u64, Checkpoint),
    /// Answer a member.
    Taken(CallId, Result<Taken, TakeError>),
    /// Answer an operator.
    Changed(CallId, Result<Changed, ChangeError>),
    /// Answer an operator that changes settings.
    SettingsPut(CallId, Result<SettingsVersion, PutError>),
    /// Keep words about something that happened.
    Words(Words),
    /// Nothing follows: the dealer has ended.
    Ended(Ended),
}

/// What was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// Nothing more to report.
    Done,
    /// This number of streams is no longer parked.
    Replayed(u32),
    /// The items were narrowed.
    Narrowed(SettingsVersion),
    /// The group was moved.
    Reset(Reset),
}

/// Words for people about a stream. Losing them loses nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Words {
    /// A stream was parked.
    Parked(Box<Parked>),
    /// A stream is no longer parked.
    Replayed(StreamName),
    /// A member skipped an event.
    Skipped {
        /// The stream.
        stream: StreamName,
        /// The version of the event.
        version: Version,
        /// The member.
        by: String,
        /// Its reason.
        reason: String,
    },
}

/// The reason why a dealer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The group was removed, or does not exist.
    Removed,
    /// Another dealer took the group over.
    TakenOver,
    /// It was asked to.
    Stopped,
}
