//! The calls of members, operators and hosts, each at the process that deals.

use std::num::NonZeroU32;
use std::sync::Arc;

use gesta_core::{BoxFuture, StreamName, Version};

use super::{Inner, Named, NoRoute, SharedGroups, first};
use crate::group::delivery::DeliveryId;
use crate::group::error::{ChangeError, LookError, PutError, TakeError};
use crate::group::groups::{Dealer, Groups, Reset, To};
use crate::group::name::{GroupName, MemberName};
use crate::group::settings::{GroupSettings, SettingsVersion};
use crate::group::status::{GroupStatus, Held, Parked};
use crate::group::take::{Take, Taken};

/// Why a call to the process that dealt has no answer.
const TAKEN_OVER: &str = "another process takes over the groups";

/// The errors of calls to groups, as far as they are about who deals.
pub(super) trait Refusal: Sized {
    fn unavailable(reason: String) -> Self;
    fn closed() -> Self;
    /// The answer is lost.
    fn lost(reason: String) -> Self;
    fn is_closed(&self) -> bool;
    /// The same error, of groups that are dealt at an address.
    fn at(self, address: &str) -> Self;
}

macro_rules! refusals {
    ($($error:ident loses $lost:ident),*) => {$(
        impl Refusal for $error {
            fn unavailable(reason: String) -> Self {
                Self::Unavailable { reason }
            }

            fn closed() -> Self {
                Self::Closed
            }

            fn lost(reason: String) -> Self {
                Self::$lost { reason }
            }

            fn is_closed(&self) -> bool {
                matches!(self, Self::Closed)
            }

            fn at(self, address: &str) -> Self {
                match self {
                    Self::Unavailable { reason } => {
                        Self::unavailable(format!("the groups are dealt at `{address}`: {reason}"))
                    }
                    error => error,
                }
            }
        }
    )*};
}

refusals!(PutError loses InDoubt, ChangeError loses InDoubt, LookError loses Unavailable, TakeError loses Unavailable);

/// A call to the groups of the process that deals.
pub(super) type Calling<'g, T, E> = BoxFuture<'g, Result<T, E>>;

impl SharedGroups {
    /// Passes a call on to the process that deals. The first one begins to compete for the role.
    async fn pass<T, E: Refusal>(
        &self,
        call: impl for<'g> FnOnce(&'g dyn Groups) -> Calling<'g, T, E> + Send,
    ) -> Result<T, E> {
        self.start().map_err(|error| E::unavailable(error.to_string()))?;
        self.inner.pass(call).await
    }
}

impl Inner {
    /// Passes a call on to the process that deals. A call to another process ends as soon as that one is known to deal no more.
    pub(super) async fn pass<T, E: Refusal>(
        &self,
        call: impl for<'g> FnOnce(&'g dyn Groups) -> Calling<'g, T, E> + Send,
    ) -> Result<T, E> {
        let route = self.route().await.map_err(|refused| match refused {
            NoRoute::NotYet(reason) | NoRoute::Unavailable(reason) => E::unavailable(reason),
            NoRoute::Closed => E::closed(),
        })?;
        let mut calling = call(&*route.groups);
        let Some(named) = &route.remote else { return self.dealt_here(calling.await) };
        loop {
            // Listen first and look second, as when the route is looked for.
            let changed = self.changed.listen();
            if !self.may_answer(named) {
                return Err(if self.is_closed() { E::closed() } else { E::lost(TAKEN_OVER.to_owned()) });
            }
            if let Some(answer) = first(&mut calling, changed, None).await {
                return self.dealt_there(named, answer);
            }
        }
    }

    /// The answer of this process. Groups that were closed because another process deals are not closed for the caller.
    fn dealt_here<T, E: Refusal>(&self, answer: Result<T, E>) -> Result<T, E> {
        match answer {
            Err(error) if error.is_closed() && !self.is_closed() => {
                Err(E::unavailable(TAKEN_OVER.to_owned()))
            }
            answer => answer,
        }
    }

    /// The answer of another process. A connection that found another store there is of no use any more.
    fn dealt_there<T, E: Refusal>(&self, named: &Named, answer: Result<T, E>) -> Result<T, E> {
        let (_, address) = named;
        answer.map_err(|error| match error.is_closed() {
            false => error.at(address),
            true => {
                self.disconnect(named);
                E::unavailable(format!(
                    "the groups are dealt at `{address}`, but a server of another store answers there"
                ))
            }
        })
    }
}

impl Groups for SharedGroups {
    fn put(
        &self,
        group: GroupName,
        settings: GroupSettings,
        expect: Option<SettingsVersion>,
    ) -> BoxFuture<'_, Result<SettingsVersion, PutError>> {
        Box::pin(self.pass(move |groups| groups.put(group, settings, expect)))
    }

    fn host(
        &self,
        group: GroupName,
        settings: GroupSettings,
    ) -> BoxFuture<'_, Result<SettingsVersion, PutError>> {
        Box::pin(async move {
            let (named, wanted) = (group.clone(), settings.clone());
            let dealer = self.inner.lock().claims.dealer();
            let version = self.pass(move |groups| groups.host(named, wanted)).await?;
            self.inner.lock().claims.add(group, settings, dealer);
            self.start_claims().map_err(|error| PutError::InDoubt { reason: error.to_string() })?;
            Ok(version)
        })
    }

    fn host_again(
        &self,
        group: GroupName,
        settings: GroupSettings,
    ) -> BoxFuture<'_, Result<SettingsVersion, PutError>> {
        Box::pin(self.pass(move |groups| groups.host_again(group, settings)))
    }

    fn narrow(&self, group: GroupName) -> BoxFuture<'_, Result<SettingsVersion, ChangeError>> {
        Box::pin(self.pass(move |groups| groups.narrow(group)))
    }

    fn remove(&self, group: GroupName) -> BoxFuture<'_, Result<(), ChangeError>> {
        Box::pin(self.pass(move |groups| groups.remove(group)))
    }

    fn get(&self, group: GroupName) -> BoxFuture<'_, Result<GroupStatus, LookError>> {
        Box::pin(self.pass(move |groups| groups.get(group)))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<GroupStatus>, LookError>> {
        Box::pin(self.pass(move |groups| groups.list()))
    }

    fn take(&self, group: GroupName, take: Take) -> BoxFuture<'_, Result<Taken, TakeError>> {
        Box::pin(self.pass(move |groups| groups.take(group, take)))
    }

    fn unwritten(&self, group: &GroupName, member: &MemberName, ids: &[DeliveryId]) {
        // While it is not known who deals, the deliveries are dealt again after the time of an acknowledgement.
        if let Ok(route) = self.inner.look() {
            route.groups.unwritten(group, member, ids);
        }
    }

    fn dealt_as(&self, holder: &str) -> Option<Arc<dyn Groups>> {
        self.local_as(holder)
    }

    fn trusts(&self, secret: &str) -> bool {
        self.inner.lock().holder.trusts(secret)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn dealer(&self) -> Option<Dealer> {
        self.known_dealer()
    }

    fn parked(
        &self,
        group: GroupName,
        after: Option<StreamName>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Vec<Parked>, LookError>> {
        Box::pin(self.pass(move |groups| groups.parked(group, after, limit)))
    }

    fn held(
        &self,
        group: GroupName,
        stream: StreamName,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Option<Held>, LookError>> {
        Box::pin(self.pass(move |groups| groups.held(group, stream, limit)))
    }

    fn replay(&self, group: GroupName, streams: Vec<StreamName>) -> BoxFuture<'_, Result<u32, ChangeError>> {
        Box::pin(self.pass(move |groups| groups.replay(group, streams)))
    }

    fn skip(
        &self,
        group: GroupName,
        stream: StreamName,
        through: Version,
        by: String,
        reason: String,
    ) -> BoxFuture<'_, Result<(), ChangeError>> {
        Box::pin(self.pass(move |groups| groups.skip(group, stream, through, by, reason)))
    }

    fn pause(&self, group: GroupName, by: String) -> BoxFuture<'_, Result<(), ChangeError>> {
        Box::pin(self.pass(move |groups| groups.pause(group, by)))
    }

    fn resume(&self, group: GroupName) -> BoxFuture<'_, Result<(), ChangeError>> {
        Box::pin(self.pass(move |groups| groups.resume(group)))
    }

    fn reset(&self, group: GroupName, to: To) -> BoxFuture<'_, Result<Reset, ChangeError>> {
        Box::pin(self.pass(move |groups| groups.reset(group, to)))
    }
}
