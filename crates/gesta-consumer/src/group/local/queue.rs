//! What callers ask of the thread of the groups.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use event_listener::{Event, EventListener};

use super::reply::Reply;
use crate::group::dealer::{Change, Changed, DealerStatus};
use crate::group::delivery::DeliveryId;
use crate::group::error::{ChangeError, PutError, TakeError};
use crate::group::limits::MESSAGES_MAX;
use crate::group::name::GroupName;
use crate::group::settings::SettingsVersion;
use crate::group::take::{Take, Taken};

/// One request.
pub(super) enum Message {
    /// A member calls. The number is the caller's.
    Take { group: GroupName, number: u64, take: Take, reply: Reply<Result<Taken, TakeError>> },
    /// A member no longer waits.
    Cancel { group: GroupName, number: u64 },
    /// Deliveries did not reach their member.
    Unwritten { group: GroupName, ids: Vec<DeliveryId> },
    /// An operator asks for a change.
    Change { group: GroupName, change: Change, reply: Reply<Result<Changed, ChangeError>> },
    /// An operator or a host changes settings.
    Settings { group: GroupName, change: Change, reply: Reply<Result<SettingsVersion, PutError>> },
    /// Somebody looks at a group.
    Status { group: GroupName, reply: Reply<Known> },
    /// Somebody looks at all groups. The error says why they are not known.
    List { reply: Reply<Result<Vec<GroupName>, String>> },
    /// A group was created: its row is there.
    Created { group: GroupName },
    /// The groups that another dealer took over are dealt here again.
    TakeBack,
    /// The process ends in order.
    Close,
}

/// What the thread knows of a group.
pub(super) enum Known {
    /// There is no such group.
    No,
    /// It deals.
    Live(Box<DealerStatus>),
    /// It is taken over at this moment.
    Starting,
    /// Another dealer has it.
    TakenOver,
    /// Its dealer failed: the reason.
    Failed(String),
}

/// The requests, the oldest first.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    pub(super) changed: Event,
}

#[derive(Default)]
struct Inner {
    messages: VecDeque<Message>,
    is_closed: bool,
}

/// The reason why a request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// Too many wait.
    Overloaded,
    /// The groups were closed.
    Closed,
}

impl Queue {
    /// Adds a request.
    pub(super) fn push(&self, message: Message) -> Result<(), Full> {
        let mut inner = self.lock();
        if inner.is_closed {
            return Err(Full::Closed);
        }
        // What frees something is always taken: it is bounded by what was taken before.
        let frees = matches!(message, Message::Cancel { .. } | Message::Unwritten { .. } | Message::Close);
        if inner.messages.len() >= MESSAGES_MAX && !frees {
            return Err(Full::Overloaded);
        }
        inner.messages.push_back(message);
        drop(inner);
        self.changed.notify(1);
        Ok(())
    }

    /// Takes all requests.
    pub(super) fn take(&self) -> VecDeque<Message> {
        std::mem::take(&mut self.lock().messages)
    }

    /// Refuses all further requests, and returns those that wait.
    pub(super) fn close(&self) -> VecDeque<Message> {
        let mut inner = self.lock();
        inner.is_closed = true;
        std::mem::take(&mut inner.messages)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().messages.is_empty()
    }

    pub(super) fn listen(&self) -> EventListener {
        self.changed.listen()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Message {
    /// Returns true if it is this call of a member.
    pub(super) fn is_take(&self, of: &GroupName, call: u64) -> bool {
        matches!(self, Self::Take { group, number, .. } if group == of && *number == call)
    }

    /// The group that a request is for.
    pub(super) const fn group(&self) -> Option<&GroupName> {
        match self {
            Self::Take { group, .. }
            | Self::Cancel { group, .. }
            | Self::Unwritten { group, .. }
            | Self::Change { group, .. }
            | Self::Settings { group, .. }
            | Self::Status { group, .. }
            | Self::Created { group } => Some(group),
            Self::List { .. } | Self::TakeBack | Self::Close => None,
        }
    }
}

/// Refuses a request for a group that does not exist.
pub(super) fn refuse_unknown(message: Message, group: &GroupName) {
    let group = group.clone();
    match message {
        Message::Take { reply, .. } => drop(reply.give(Err(TakeError::NoGroup { group }))),
        Message::Change { reply, .. } => drop(reply.give(Err(ChangeError::NoGroup { group }))),
        Message::Settings { reply, .. } => drop(reply.give(Err(PutError::NoGroup { group }))),
        Message::Status { reply, .. } => drop(reply.give(Known::No)),
        Message::List { .. }
        | Message::Cancel { .. }
        | Message::Unwritten { .. }
        | Message::Created { .. }
        | Message::TakeBack
        | Message::Close => {}
    }
}
