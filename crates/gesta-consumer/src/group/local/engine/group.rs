//! One group in the thread of the groups: its dealer, and everybody who waits for it.

use std::collections::BTreeMap;

use futures_util::future::AbortHandle;

use crate::group::dealer::{CallId, Changed, Dealer, Ended};
use crate::group::error::{ChangeError, PutError, TakeError};
use crate::group::local::queue::Known;
use crate::group::local::reply::Reply;
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
        }
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
