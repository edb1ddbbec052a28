//! What hosts of this process named. Each process that begins to deal is told, so that a group belongs to its host there too.

use std::collections::BTreeMap;

use super::Inner;
use crate::group::error::PutError;
use crate::group::name::GroupName;
use crate::group::settings::GroupSettings;

/// The number of a process that deals, in the order in which this process got to know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct DealerNumber(u64);

/// The groups that hosts of this process named.
#[derive(Default)]
pub(super) struct Claims {
    groups: BTreeMap<GroupName, Claim>,
    dealer: DealerNumber,
}

struct Claim {
    settings: GroupSettings,
    /// The process that knows of it.
    known_to: DealerNumber,
}

impl Claims {
    /// Another process deals from now on, or none is known.
    pub(super) const fn dealer_changes(&mut self) {
        self.dealer.0 += 1;
    }

    /// The process that deals.
    pub(super) const fn dealer(&self) -> DealerNumber {
        self.dealer
    }

    /// Remembers what a host named, and the process that took it.
    pub(super) fn add(&mut self, group: GroupName, settings: GroupSettings, known_to: DealerNumber) {
        self.groups.insert(group, Claim { settings, known_to });
    }

    fn forget(&mut self, group: &GroupName) {
        self.groups.remove(group);
    }

    /// A group that the process that deals does not know yet.
    fn next(&self) -> Option<(GroupName, GroupSettings)> {
        let unknown = self.groups.iter().find(|(_, claim)| claim.known_to != self.dealer);
        unknown.map(|(group, claim)| (group.clone(), claim.settings.clone()))
    }
}

impl Inner {
    /// Tells the process that deals what hosts of this process named, until the groups are closed.
    pub(super) async fn claim(&self) {
        loop {
            // Listen first and look second: a change between the two would be missed otherwise.
            let changed = self.changed.listen();
            let (next, dealer) = {
                let state = self.lock();
                if state.is_closed {
                    return;
                }
                (state.claims.next(), state.claims.dealer())
            };
            let is_told = match next {
                Some((group, settings)) => self.tell_claim(group, settings, dealer).await,
                None => false,
            };
            if !is_told {
                // The role is looked at with each beat, which is soon enough for another attempt.
                changed.await;
            }
        }
    }

    /// Tells of one group. False if it is to be tried again later.
    async fn tell_claim(&self, group: GroupName, settings: GroupSettings, dealer: DealerNumber) -> bool {
        let (named, wanted) = (group.clone(), settings.clone());
        match self.pass(move |groups| groups.host_again(named, wanted)).await {
            Ok(_) => {
                self.lock().claims.add(group, settings, dealer);
                true
            }
            Err(PutError::NoGroup { group }) => {
                tracing::warn!(%group, "a hosted group was removed: it is made anew when its host starts again");
                self.lock().claims.forget(&group);
                true
            }
            Err(error) => {
                tracing::debug!(%group, %error, "the group does not belong to its host yet");
                false
            }
        }
    }
}
