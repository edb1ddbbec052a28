//! One group in the thread of the groups: its dealer, and everybody who waits for it.

use std::collections::BTreeMap;

use futures_util::future::AbortHandle;
use gesta_core::KeyValueError;

use crate::group::dealer::{CallId, Changed, Dealer, Ended, Input, Row};
use crate::group::error::{ChangeError, PutError, TakeError};
use crate::group::local::queue::Known;
use crate::group::local::reply::Reply;
use crate::group::name::GroupName;
use crate::group::settings::SettingsVersion;
use crate::group::take::Taken;

/// One group of the process.
pub(super) struct Group {
    /// `None` once the dealer has failed, for the reason.
    pub(super) dealer: Result<Dealer, String>,
    /// The number of this dealer. What an earlier one asked for is not for it.
    pub(super) number: u64,
    pub(super) ended: Option<Ended>,
    pub(super) takes: BTreeMap<CallId, (u64, Reply<Result<Taken, TakeError>>)>,
    pub(super) changes: BTreeMap<CallId, Reply<Result<Changed, ChangeError>>>,
    pub(super) settings: BTreeMap<CallId, Reply<Result<SettingsVersion, PutError>>>,
    /// Operations that the dealer waits for.
    pub(super) operations: usize,
    /// Ends the wait for the log to grow.
    pub(super) wait: Option<AbortHandle>,
    /// True if the last operation on its row failed.
    is_failing: bool,
}

impl Group {
    pub(super) const fn new(dealer: Dealer, number: u64) -> Self {
        Self {
            dealer: Ok(dealer),
            number,
            ended: None,
            takes: BTreeMap::new(),
            changes: BTreeMap::new(),
            settings: BTreeMap::new(),
            operations: 0,
            wait: None,
            is_failing: false,
        }
    }

    /// Logs the first of several faults of the row: the dealer tries again and says nothing.
    pub(super) fn note_fault(&mut self, name: &GroupName, input: &Input) {
        let fault = match input {
            Input::Got(Ok(Some(entry))) => Row::decode(&entry.value).err().map(|error| error.to_string()),
            Input::Got(Err(error)) | Input::Put(Err(error)) | Input::Deleted(Err(error)) => match error {
                KeyValueError::Changed { .. } => None,
                error => Some(error.to_string()),
            },
            Input::Got(Ok(None)) | Input::Put(Ok(_)) | Input::Deleted(Ok(())) => None,
            // These are of the log.
            _ => return,
        };
        if let Some(fault) = &fault
            && !self.is_failing
        {
            tracing::warn!(group = %name, "the row of a consumer group cannot be read or written, and is tried again: {fault}");
        }
        self.is_failing = fault.is_some();
    }

    pub(super) fn known(&self) -> Known {
        match (&self.dealer, self.ended) {
            (Err(reason), _) => Known::Failed(reason.clone()),
            (Ok(_), Some(Ended::TakenOver)) => Known::TakenOver,
            (Ok(dealer), _) => {
                dealer.status().map_or(Known::Starting, |status| Known::Live(Box::new(status)))
            }
        }
    }

    /// Refuses everything that waits, because the dealer has failed.
    pub(super) fn refuse_all(&mut self) {
        let Err(reason) = &self.dealer else { return };
        for (_, (_, reply)) in std::mem::take(&mut self.takes) {
            drop(reply.give(Err(TakeError::Unavailable { reason: reason.clone() })));
        }
        for (_, reply) in std::mem::take(&mut self.changes) {
            drop(reply.give(Err(ChangeError::InDoubt { reason: reason.clone() })));
        }
        for (_, reply) in std::mem::take(&mut self.settings) {
            drop(reply.give(Err(PutError::InDoubt { reason: reason.clone() })));
        }
    }
}
