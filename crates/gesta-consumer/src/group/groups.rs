//! The trait of everything that serves groups: in the same process, or on a server.

use std::num::NonZeroU32;
use std::sync::Arc;

use gesta_core::{BoxFuture, Checkpoint, StreamName, Timestamp, Version};

use super::delivery::DeliveryId;
use super::error::{ChangeError, LookError, PutError, TakeError};
use super::name::{GroupName, MemberName};
use super::settings::{GroupSettings, SettingsVersion};
use super::status::{GroupStatus, Held, Parked};
use super::take::{Take, Taken};

/// The groups of one store. It is used as `Arc<dyn Groups>`.
///
/// The futures need no particular runtime. Dropping one may leave the call done or not done, except where a method says more.
pub trait Groups: Send + Sync {
    /// Creates a group, or changes its settings.
    ///
    /// With `expect` `None` the group is created, otherwise it must have settings of that version. `from` has an effect only on a new group.
    /// Added items of the query select events that are appended from now on. Taking items away needs a paused group with no delivery in
    /// flight and no event unfinished.
    ///
    /// # Errors
    /// [`PutError`]. After `Exists`, `Changed` and `InDoubt`, look at the group and decide again.
    fn put(
        &self,
        group: GroupName,
        settings: GroupSettings,
        expect: Option<SettingsVersion>,
    ) -> BoxFuture<'_, Result<SettingsVersion, PutError>>;

    /// Creates a group for a host, or adds to the query of an existing one the items that it lacks.
    ///
    /// The other settings become those of the host. Items of the query that the host does not name stay: another copy of the host may still
    /// need them ([`Self::narrow`]). Groups of the same process then belong to the host: nothing else changes their settings.
    ///
    /// # Errors
    /// [`PutError`]; `Busy` if the order of an existing group differs and it is not paused and quiet.
    fn host(
        &self,
        group: GroupName,
        settings: GroupSettings,
    ) -> BoxFuture<'_, Result<SettingsVersion, PutError>> {
        Box::pin(host_by_puts(self, group, settings))
    }

    /// Says that a group is hosted, after another process has begun to deal. It creates no group and adds nothing to a query.
    ///
    /// # Errors
    /// [`PutError`]; `NoGroup` if the group was removed.
    fn host_again(
        &self,
        group: GroupName,
        settings: GroupSettings,
    ) -> BoxFuture<'_, Result<SettingsVersion, PutError>> {
        let _ = settings;
        Box::pin(async move {
            self.get(group).await.map(|status| status.settings_version).map_err(PutError::from)
        })
    }

    /// Takes away the items of a hosted group's query that its host no longer names. Returns the version of the settings.
    ///
    /// It needs a paused group with no delivery in flight and no event unfinished.
    ///
    /// # Errors
    /// [`ChangeError`]; `NotHosted` for a group whose settings `put` changes.
    fn narrow(&self, group: GroupName) -> BoxFuture<'_, Result<SettingsVersion, ChangeError>>;

    /// Removes a group with its progress. Ids of its deliveries stay invalid, also if a group of that name is created later.
    ///
    /// # Errors
    /// [`ChangeError`].
    fn remove(&self, group: GroupName) -> BoxFuture<'_, Result<(), ChangeError>>;

    /// Returns a group.
    ///
    /// # Errors
    /// [`LookError`].
    fn get(&self, group: GroupName) -> BoxFuture<'_, Result<GroupStatus, LookError>>;

    /// Returns all groups, by name.
    ///
    /// # Errors
    /// [`LookError`].
    fn list(&self) -> BoxFuture<'_, Result<Vec<GroupStatus>, LookError>>;

    /// Settles, renews and takes deliveries. See [`Take`].
    ///
    /// The settlements and `holds` have their effect even if the call ends with `Stopped`.
    ///
    /// # Errors
    /// [`TakeError`].
    ///
    /// # Cancel safety
    /// Deliveries of a future that is dropped are delivered to others without an attempt. Settlements that were handed over count.
    fn take(&self, group: GroupName, take: Take) -> BoxFuture<'_, Result<Taken, TakeError>>;

    /// Gives back deliveries whose reply could not be sent to their member. They count no attempt.
    ///
    /// For servers. Ids that are not in flight are ignored. It does not wait: if another server deals and is not reached, the deliveries
    /// expire.
    fn unwritten(&self, group: &GroupName, member: &MemberName, ids: &[DeliveryId]) {
        let _ = (group, member, ids);
    }

    /// True for the secret of this process, which only processes that share its store know. A call that shows it comes from one of them,
    /// which has checked who called.
    fn trusts(&self, secret: &str) -> bool {
        let _ = secret;
        false
    }

    /// The groups for calls that another process passes on to the process of that id: those that it deals itself, so that no call is
    /// passed on twice. `None` if this process does not deal under that id. Only [`SharedGroups`](super::SharedGroups) have any.
    fn dealt_as(&self, holder: &str) -> Option<Arc<dyn Groups>> {
        let _ = holder;
        None
    }

    /// The process that deals groups which several processes serve; `None` while it is not known, and for groups of one process.
    fn dealer(&self) -> Option<Dealer> {
        None
    }

    /// Returns true if another process may deal them, now or later.
    fn is_shared(&self) -> bool {
        false
    }

    /// Returns the parked streams after one, by name.
    ///
    /// # Errors
    /// [`LookError`].
    fn parked(
        &self,
        group: GroupName,
        after: Option<StreamName>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Vec<Parked>, LookError>>;

    /// Returns the first events that a parked stream holds back, beginning with the one that failed; `None` if it is not parked.
    ///
    /// # Errors
    /// [`LookError`].
    fn held(
        &self,
        group: GroupName,
        stream: StreamName,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Option<Held>, LookError>>;

    /// Delivers parked streams again, from the event that failed; an empty list means all. Returns how many streams were parked.
    ///
    /// # Errors
    /// [`ChangeError`]; `NotParked` for a named stream that is not parked, and then none is replayed.
    fn replay(&self, group: GroupName, streams: Vec<StreamName>) -> BoxFuture<'_, Result<u32, ChangeError>>;

    /// Passes the events of a stream up to a version for good, then delivers the stream as [`Self::replay`] does.
    ///
    /// The stream is parked or waits for another attempt. The answer comes after the skip is durable.
    ///
    /// # Errors
    /// [`ChangeError`]; `NotParked` if the stream neither is parked nor waits.
    fn skip(
        &self,
        group: GroupName,
        stream: StreamName,
        through: Version,
        by: String,
        reason: String,
    ) -> BoxFuture<'_, Result<(), ChangeError>>;

    /// Stops deliveries until [`Self::resume`], also over restarts. Settlements are still taken.
    ///
    /// # Errors
    /// [`ChangeError`].
    fn pause(&self, group: GroupName, by: String) -> BoxFuture<'_, Result<(), ChangeError>>;

    /// Delivers again after a pause or a stop. After a stop, all counts of attempts begin again.
    ///
    /// # Errors
    /// [`ChangeError`].
    fn resume(&self, group: GroupName) -> BoxFuture<'_, Result<(), ChangeError>>;

    /// Moves the place of a group. It needs a paused or stopped group with no delivery in flight.
    ///
    /// All earlier deliveries become stale and nothing is parked any more. Events after the new place are delivered again. Targets that
    /// keep the last version they have seen must lower it to the last version before the new place, with no old worker running;
    /// otherwise they drop what is delivered again.
    ///
    /// # Errors
    /// [`ChangeError`].
    fn reset(&self, group: GroupName, to: To) -> BoxFuture<'_, Result<Reset, ChangeError>>;
}

/// The process that deals groups which several processes serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dealer {
    /// Its id.
    pub id: String,
    /// Its address for other processes, if it gives one.
    pub address: Option<String>,
    /// True if it is this process.
    pub is_here: bool,
}

/// Hosts a group by the calls that every caller has: creates it, or adds to its query. It then belongs to nobody.
///
/// # Errors
/// [`PutError`], as for [`Groups::host`].
pub async fn host_by_puts<G: Groups + ?Sized>(
    groups: &G,
    group: GroupName,
    settings: GroupSettings,
) -> Result<SettingsVersion, PutError> {
    loop {
        let put = match groups.get(group.clone()).await {
            Err(LookError::NoGroup { .. }) => groups.put(group.clone(), settings.clone(), None).await,
            Err(error) => return Err(error.into()),
            Ok(status) => {
                let wanted = settings.added_to(&status.settings);
                if wanted == status.settings {
                    return Ok(status.settings_version);
                }
                groups.put(group.clone(), wanted, Some(status.settings_version)).await
            }
        };
        match put {
            // Somebody was faster: look again.
            Err(PutError::Exists { .. } | PutError::Changed { .. } | PutError::NoGroup { .. }) => {}
            done => return done,
        }
    }
}

/// A place to move a group to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// Before the first event.
    Start,
    /// After the last event that is durable now.
    Now,
    /// A checkpoint of this store.
    At(Checkpoint),
    /// After the last batch that was recorded at this time or earlier.
    Time(Timestamp),
}

/// The answer to a reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// The place of the group now.
    pub at: Checkpoint,
    /// Streams that were parked and no longer are.
    pub were_parked: u32,
}
