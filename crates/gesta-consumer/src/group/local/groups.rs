//! The calls of members, operators and hosts to local groups.

use std::num::NonZeroU32;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use gesta_core::{
    BoxFuture, Limit, Place, Position, Read, ReadError, Retry, Select, StreamName, Version, When,
};

use super::call::Call;
use super::queue::{Full, Message};
use super::reply::reply;
use super::{LocalGroups, OVERLOADED, words};
use crate::group::dealer::{Change, Changed, MoveTo, cut};
use crate::group::delivery::DeliveryId;
use crate::group::error::{ChangeError, LookError, PutError, TakeError};
use crate::group::groups::{Groups, Reset, To};
use crate::group::name::{GroupName, MemberName};
use crate::group::settings::{GroupSettings, SettingsVersion};
use crate::group::status::{GroupStatus, Held, Parked};
use crate::group::take::{Take, Taken};

impl LocalGroups {
    /// Hosts a group that is there. `widens`: its query gets the items that it lacks, if no other process can deal.
    async fn host_known(
        &self,
        group: GroupName,
        settings: GroupSettings,
        widens: bool,
    ) -> Result<SettingsVersion, PutError> {
        let hosted = settings.clone();
        self.known(&group).await.map_err(PutError::from)?;
        let is_alone = widens && self.options.is_alone && self.may_widen(&group, &settings).await?;
        let head = self.store.head_now().await.map_err(PutError::Place)?;
        let change = Change::Host { settings: Box::new(settings), head, is_alone };
        let version = self.settings(group.clone(), change).await?;
        self.hosted.lock().unwrap_or_else(PoisonError::into_inner).insert(group, hosted);
        Ok(version)
    }

    /// False while another process may still deal, if the settings add nothing to the query of their group. If they do, that is refused
    /// until then: an event that the other process deals could overtake an older one of a new item.
    async fn may_widen(&self, group: &GroupName, settings: &GroupSettings) -> Result<bool, PutError> {
        if self.clock.elapsed() >= self.options.alone_from {
            return Ok(true);
        }
        let current = self.look(group.clone()).await.map_err(PutError::from)?.settings;
        if settings.added_to(&current).query == current.query {
            return Ok(false);
        }
        let reason = "the process that had the address of this one may still deal: nothing is added to the query of a group for 10 s";
        Err(PutError::Unavailable { reason: reason.to_owned() })
    }
}

impl Groups for LocalGroups {
    fn put(
        &self,
        group: GroupName,
        settings: GroupSettings,
        expect: Option<SettingsVersion>,
    ) -> BoxFuture<'_, Result<SettingsVersion, PutError>> {
        Box::pin(async move {
            if self.hosted_settings(&group).is_some() {
                return Err(PutError::Hosted { group });
            }
            let Some(expect) = expect else { return self.create(group, settings).await };
            self.check(&GroupSettings { from: Place::Start, ..settings.clone() }).await?;
            // The head is asked for after the dealer is known to deal: nothing that an earlier one dealt lies beyond it.
            self.known(&group).await.map_err(PutError::from)?;
            self.may_widen(&group, &settings).await?;
            let head = self.store.head_now().await.map_err(PutError::Place)?;
            self.settings(group, Change::Settings { settings: Box::new(settings), expect, head }).await
        })
    }

    fn host(
        &self,
        group: GroupName,
        settings: GroupSettings,
    ) -> BoxFuture<'_, Result<SettingsVersion, PutError>> {
        Box::pin(async move {
            match self.create(group.clone(), settings.clone()).await {
                Ok(_) | Err(PutError::Exists { .. }) => self.host_known(group, settings, true).await,
                Err(error) => Err(error),
            }
        })
    }

    fn host_again(
        &self,
        group: GroupName,
        settings: GroupSettings,
    ) -> BoxFuture<'_, Result<SettingsVersion, PutError>> {
        Box::pin(self.host_known(group, settings, false))
    }

    fn narrow(&self, group: GroupName) -> BoxFuture<'_, Result<SettingsVersion, ChangeError>> {
        Box::pin(async move {
            let Some(settings) = self.hosted_settings(&group) else {
                return Err(ChangeError::NotHosted { group });
            };
            match self.change(group, Change::Narrow(Box::new(settings))).await? {
                Changed::Narrowed(version) => Ok(version),
                other => unreachable!("a narrowing was answered with {other:?}"),
            }
        })
    }

    fn remove(&self, group: GroupName) -> BoxFuture<'_, Result<(), ChangeError>> {
        Box::pin(async move {
            if self.hosted_settings(&group).is_some() {
                return Err(ChangeError::Hosted { group });
            }
            self.change(group.clone(), Change::Remove).await?;
            // Words that stay are found by nobody, and replaced by a group of the same name.
            if let Err(error) = words::drop_all(&*self.values, &group).await {
                tracing::warn!(group = %group, "words of a removed consumer group are left: {error}");
            }
            Ok(())
        })
    }

    fn get(&self, group: GroupName) -> BoxFuture<'_, Result<GroupStatus, LookError>> {
        Box::pin(self.look(group))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<GroupStatus>, LookError>> {
        Box::pin(self.look_at_all())
    }

    fn take(&self, group: GroupName, take: Take) -> BoxFuture<'_, Result<Taken, TakeError>> {
        Box::pin(async move {
            take.check()?;
            let number = self.calls.fetch_add(1, Ordering::Relaxed);
            let (reply, answer) = reply();
            let message = Message::Take { group: group.clone(), number, take, reply };
            match self.queue.push(message) {
                Ok(()) => {}
                Err(Full::Closed) => return Err(TakeError::Closed),
                Err(Full::Overloaded) => {
                    return Err(TakeError::Unavailable { reason: OVERLOADED.to_owned() });
                }
            }
            let mut call = Call { queue: &self.queue, group, number, answer: Some(answer) };
            (&mut call).await
        })
    }

    fn unwritten(&self, group: &GroupName, _member: &MemberName, ids: &[DeliveryId]) {
        // If groups are closed, nothing is in flight any more.
        let _ = self.queue.push(Message::Unwritten { group: group.clone(), ids: ids.to_vec() });
    }

    fn parked(
        &self,
        group: GroupName,
        after: Option<StreamName>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Vec<Parked>, LookError>> {
        Box::pin(self.look_at_parked(group, after, limit))
    }

    fn held(
        &self,
        group: GroupName,
        stream: StreamName,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Option<Held>, LookError>> {
        Box::pin(self.look_at_held(group, stream, limit))
    }

    fn replay(&self, group: GroupName, streams: Vec<StreamName>) -> BoxFuture<'_, Result<u32, ChangeError>> {
        Box::pin(async move {
            match self.change(group, Change::Replay(streams)).await? {
                Changed::Replayed(streams) => Ok(streams),
                other => unreachable!("a replay was answered with {other:?}"),
            }
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
            self.known(&group).await.map_err(change_error)?;
            let position = self.position_of(&stream, through).await?;
            let position =
                position.ok_or_else(|| ChangeError::NotReached { stream: stream.clone(), through })?;
            // The words come first: a skip is never without them.
            let said = (cut(&by), cut(&reason));
            let kept = words::keep_skipped(&*self.values, &group, &stream, through, said, self.clock.now());
            kept.await.map_err(|error| ChangeError::Unavailable { reason: error.to_string() })?;
            self.change(group, Change::Skip { stream, through, position }).await.map(|_| ())
        })
    }

    fn pause(&self, group: GroupName, by: String) -> BoxFuture<'_, Result<(), ChangeError>> {
        Box::pin(async move {
            let change = Change::Pause { by: cut(&by), at: self.clock.now() };
            self.change(group, change).await.map(|_| ())
        })
    }

    fn resume(&self, group: GroupName) -> BoxFuture<'_, Result<(), ChangeError>> {
        Box::pin(async move { self.change(group, Change::Resume).await.map(|_| ()) })
    }

    fn reset(&self, group: GroupName, to: To) -> BoxFuture<'_, Result<Reset, ChangeError>> {
        Box::pin(async move {
            let to = match to {
                To::Start => self.locate(&Place::Start).await,
                To::Now => self.locate(&Place::End).await,
                To::At(checkpoint) => self.locate(&Place::At(checkpoint)).await,
                // Up to then events may still be recorded: the group would skip what it has not seen.
                To::Time(time) if time > self.clock.now() => {
                    let reason = "the time lies in the future: give `now`, or a time in the past".to_owned();
                    Err(ReadError::Invalid { reason })
                }
                To::Time(time) => self.store.locate(When::RecordedUpTo(time)).await,
            };
            let to = to.map_err(ChangeError::Place)?;
            let head = self.store.head_now().await.map_err(ChangeError::Place)?;
            let change = Change::Reset(MoveTo { to, head, at: self.clock.now() });
            match self.change(group, change).await? {
                Changed::Reset(reset) => Ok(reset),
                other => unreachable!("a reset was answered with {other:?}"),
            }
        })
    }
}

impl LocalGroups {
    /// Returns the position of an event of a stream, or of a partition in the order of the log.
    async fn position_of(
        &self,
        stream: &StreamName,
        version: Version,
    ) -> Result<Option<Position>, ChangeError> {
        if let Some(partition) = stream.as_str().strip_prefix("$log-").and_then(|number| number.parse().ok())
        {
            return Ok(Some(Position { partition, sequence: version.get() }));
        }
        let read = Read::from(Select::Stream { name: stream.clone(), from: Some(version) });
        let page = self.store.read(read.limit(Limit::events(NonZeroU32::MIN))).await;
        let page = page.map_err(ChangeError::Place)?;
        Ok(page.events.first().filter(|event| event.version() == version).map(|event| event.position()))
    }
}

fn change_error(error: LookError) -> ChangeError {
    match error {
        LookError::NoGroup { group } => ChangeError::NoGroup { group },
        LookError::Closed => ChangeError::Closed,
        LookError::Read(error) if error.retry() == Retry::Never => ChangeError::Place(error),
        LookError::Read(error) => ChangeError::Unavailable { reason: error.to_string() },
        LookError::Unavailable { reason } => ChangeError::Unavailable { reason },
    }
}
