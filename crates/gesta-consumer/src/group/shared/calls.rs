//! The calls of members, operators and hosts, each at the process that deals.

use std::num::NonZeroU32;
use std::sync::Arc;

use gesta_core::{BoxFuture, StreamName, Version};

use super::{NoRoute, SharedGroups};
use crate::group::delivery::DeliveryId;
use crate::group::error::{ChangeError, LookError, PutError, TakeError};
use crate::group::groups::{Groups, Reset, To};
use crate::group::name::GroupName;
use crate::group::settings::{GroupSettings, SettingsVersion};
use crate::group::status::{GroupStatus, Held, Parked};
use crate::group::take::{Take, Taken};

/// The errors of calls to groups, as far as they are about who deals.
trait Refusal: Sized {
    fn unavailable(reason: String) -> Self;
    fn closed() -> Self;
    fn is_closed(&self) -> bool;
}

macro_rules! refusals {
    ($($error:ident),*) => {$(
        impl Refusal for $error {
            fn unavailable(reason: String) -> Self {
                Self::Unavailable { reason }
            }

            fn closed() -> Self {
                Self::Closed
            }

            fn is_closed(&self) -> bool {
                matches!(self, Self::Closed)
            }
        }
    )*};
}

refusals!(PutError, ChangeError, LookError, TakeError);

impl SharedGroups {
    /// The groups of the process that deals.
    async fn dealing<E: Refusal>(&self) -> Result<Arc<dyn Groups>, E> {
        self.route().await.map_err(|refused| match refused {
            NoRoute::Unavailable(reason) => E::unavailable(reason),
            NoRoute::Closed => E::closed(),
        })
    }

    /// The answer to a call. Groups that were closed because another process deals are not closed for the caller.
    fn answer<T, E: Refusal>(&self, answer: Result<T, E>) -> Result<T, E> {
        match answer {
            Err(error) if error.is_closed() && !self.is_closed() => {
                Err(E::unavailable("another process takes over the groups".to_owned()))
            }
            answer => answer,
        }
    }
}

impl Groups for SharedGroups {
    fn put(
        &self,
        group: GroupName,
        settings: GroupSettings,
        expect: Option<SettingsVersion>,
    ) -> BoxFuture<'_, Result<SettingsVersion, PutError>> {
        Box::pin(async move {
            let groups = self.dealing::<PutError>().await?;
            self.answer(groups.put(group, settings, expect).await)
        })
    }

    fn host(
        &self,
        group: GroupName,
        settings: GroupSettings,
    ) -> BoxFuture<'_, Result<SettingsVersion, PutError>> {
        Box::pin(async move {
            let groups = self.dealing::<PutError>().await?;
            let version = self.answer(groups.host(group.clone(), settings.clone()).await)?;
            self.remember(group, settings);
            Ok(version)
        })
    }

    fn narrow(&self, group: GroupName) -> BoxFuture<'_, Result<SettingsVersion, ChangeError>> {
        Box::pin(async move {
            let groups = self.dealing::<ChangeError>().await?;
            self.answer(groups.narrow(group).await)
        })
    }

    fn remove(&self, group: GroupName) -> BoxFuture<'_, Result<(), ChangeError>> {
        Box::pin(async move {
            let groups = self.dealing::<ChangeError>().await?;
            self.answer(groups.remove(group).await)
        })
    }

    fn get(&self, group: GroupName) -> BoxFuture<'_, Result<GroupStatus, LookError>> {
        Box::pin(async move {
            let groups = self.dealing::<LookError>().await?;
            self.answer(groups.get(group).await)
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<GroupStatus>, LookError>> {
        Box::pin(async move {
            let groups = self.dealing::<LookError>().await?;
            self.answer(groups.list().await)
        })
    }

    fn take(&self, group: GroupName, take: Take) -> BoxFuture<'_, Result<Taken, TakeError>> {
        Box::pin(async move {
            let groups = self.dealing::<TakeError>().await?;
            self.answer(groups.take(group, take).await)
        })
    }

    fn unwritten(&self, group: &GroupName, ids: &[DeliveryId]) {
        // What another process dealt is dealt again after the time of an acknowledgement.
        if let Some(local) = self.local() {
            local.unwritten(group, ids);
        }
    }

    fn is_dealt_by(&self, holder: &str) -> bool {
        self.id() == holder
    }

    fn parked(
        &self,
        group: GroupName,
        after: Option<StreamName>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Vec<Parked>, LookError>> {
        Box::pin(async move {
            let groups = self.dealing::<LookError>().await?;
            self.answer(groups.parked(group, after, limit).await)
        })
    }

    fn held(
        &self,
        group: GroupName,
        stream: StreamName,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Option<Held>, LookError>> {
        Box::pin(async move {
            let groups = self.dealing::<LookError>().await?;
            self.answer(groups.held(group, stream, limit).await)
        })
    }

    fn replay(&self, group: GroupName, streams: Vec<StreamName>) -> BoxFuture<'_, Result<u32, ChangeError>> {
        Box::pin(async move {
            let groups = self.dealing::<ChangeError>().await?;
            self.answer(groups.replay(group, streams).await)
        })
    }

    fn skip(
        &self,
        group: GroupName,
        stream: StreamName,
        through: Version,
        by: String,
        reason: String,
    ) -> BoxFuture<'_, Result<(), ChangeError>> {
        Box::pin(async move {
            let groups = self.dealing::<ChangeError>().await?;
            self.answer(groups.skip(group, stream, through, by, reason).await)
        })
    }

    fn pause(&self, group: GroupName, by: String) -> BoxFuture<'_, Result<(), ChangeError>> {
        Box::pin(async move {
            let groups = self.dealing::<ChangeError>().await?;
            self.answer(groups.pause(group, by).await)
        })
    }

    fn resume(&self, group: GroupName) -> BoxFuture<'_, Result<(), ChangeError>> {
        Box::pin(async move {
            let groups = self.dealing::<ChangeError>().await?;
            self.answer(groups.resume(group).await)
        })
    }

    fn reset(&self, group: GroupName, to: To) -> BoxFuture<'_, Result<Reset, ChangeError>> {
        Box::pin(async move {
            let groups = self.dealing::<ChangeError>().await?;
            self.answer(groups.reset(group, to).await)
        })
    }
}
