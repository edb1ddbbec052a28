//! The members of a group, and their open calls.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::message::CallId;
use crate::group::name::MemberName;
use crate::group::take::Refused;

/// A member that called.
#[derive(Debug, Default)]
pub(super) struct Member {
    /// The time of the last call's begin or end.
    seen: Duration,
    call: Option<CallId>,
    /// Deliveries that have not expired.
    pub(super) deliveries: BTreeSet<u64>,
}

/// A call that waits for deliveries.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) member: MemberName,
    /// Most events in the answer.
    pub(super) max: u32,
    pub(super) deadline: Duration,
    pub(super) refused: Vec<Refused>,
}

/// The members, by name.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_name: HashMap<MemberName, Member>,
    calls: BTreeMap<CallId, Waiting>,
}

impl Members {
    /// Notes a call of a member. Returns its open call, which ends.
    pub(super) fn call(&mut self, name: &MemberName, now: Duration) -> Option<(CallId, Waiting)> {
        let member = self.by_name.entry(name.clone()).or_default();
        member.seen = now;
        let older = member.call.take()?;
        Some((older, self.calls.remove(&older).expect("an open call waits")))
    }

    /// Lets a call wait.
    pub(super) fn wait(&mut self, call: CallId, waiting: Waiting) {
        let member = self.by_name.get_mut(&waiting.member).expect("a member that called is known");
        assert!(member.call.is_none(), "a member has one open call");
        member.call = Some(call);
        self.calls.insert(call, waiting);
    }

    /// Ends a call that waits.
    pub(super) fn end(&mut self, call: CallId, now: Duration) -> Option<Waiting> {
        let waiting = self.calls.remove(&call)?;
        let member = self.by_name.get_mut(&waiting.member).expect("a member that waits is known");
        member.call = None;
        member.seen = now;
        Some(waiting)
    }

    /// Returns the calls that wait, the oldest first.
    pub(super) const fn calls(&self) -> &BTreeMap<CallId, Waiting> {
        &self.calls
    }

    pub(super) fn get_mut(&mut self, name: &MemberName) -> Option<&mut Member> {
        self.by_name.get_mut(name)
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn knows(&self, name: &MemberName) -> bool {
        self.by_name.contains_key(name)
    }

    /// Returns true while a call of the member is open, and for `ack_time` after.
    pub(super) fn is_alive(&self, name: &MemberName, now: Duration, ack_time: Duration) -> bool {
        let is_alive = |member: &Member| member.call.is_some() || now <= member.seen + ack_time;
        self.by_name.get(name).is_some_and(is_alive)
    }

    /// Forgets members that are not alive and hold nothing.
    pub(super) fn forget_dead(&mut self, now: Duration, ack_time: Duration) {
        self.by_name.retain(|_, member| {
            member.call.is_some() || !member.deliveries.is_empty() || now <= member.seen + ack_time
        });
    }

    /// Returns each member that is alive: its name, the time since it was seen, its deliveries.
    pub(super) fn alive(
        &self,
        now: Duration,
        ack_time: Duration,
    ) -> impl Iterator<Item = (&MemberName, Duration, &BTreeSet<u64>)> {
        self.by_name.iter().filter_map(move |(name, member)| {
            let seen = if member.call.is_some() { Duration::ZERO } else { now.saturating_sub(member.seen) };
            (seen <= ack_time).then_some((name, seen, &member.deliveries))
        })
    }
}
