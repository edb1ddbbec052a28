//! What operators see of local groups: the dealer's state, with what needs the log and the words.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gesta_core::{Checkpoint, KeyValueError, Place, Query, StreamName};

use super::queue::Known;
use super::{LocalGroups, keys, words};
use crate::consumer::{LagMeter, events_between};
use crate::group::dealer::{DealerStatus, Row, held_read};
use crate::group::error::LookError;
use crate::group::limits::PARKED_PAGE_MAX;
use crate::group::name::GroupName;
use crate::group::settings::GroupSettings;
use crate::group::status::{GroupState, GroupStatus, Held, Parked, Settled};

/// The lag of each group, as it was last measured.
#[derive(Default)]
pub(super) struct Lags(Mutex<BTreeMap<GroupName, Arc<LagMeter>>>);

impl Lags {
    fn of(&self, group: &GroupName) -> Arc<LagMeter> {
        let mut lags = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(lags.entry(group.clone()).or_default())
    }

    /// Forgets groups that are no longer there.
    fn keep(&self, groups: &[GroupName]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|group, _| groups.contains(group));
    }
}

/// Why the row of a group cannot be read.
struct Unreadable(String);

impl LocalGroups {
    pub(super) async fn look(&self, group: GroupName) -> Result<GroupStatus, LookError> {
        let known = self.known(&group).await?;
        let head = self.store.head_now().await.map_err(LookError::Read)?;
        let described = self.describe(group, known, head).await?;
        described.map_err(|Unreadable(reason)| LookError::Unavailable { reason })
    }

    pub(super) async fn look_at_all(&self) -> Result<Vec<GroupStatus>, LookError> {
        let names = self.names().await?;
        self.lags.keep(&names);
        let head = self.store.head_now().await.map_err(LookError::Read)?;
        let mut groups = Vec::with_capacity(names.len());
        for group in names {
            let described = match self.known(&group).await {
                Ok(known) => self.describe(group.clone(), known, head.clone()).await,
                Err(error) => Err(error),
            };
            match described {
                Ok(Ok(status)) => groups.push(status),
                Ok(Err(unreadable)) => {
                    groups.push(self.describe_unreadable(group, unreadable.0, head.clone()))
                }
                // It was removed meanwhile.
                Err(LookError::NoGroup { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(groups)
    }

    async fn describe(
        &self,
        group: GroupName,
        known: Known,
        head: Checkpoint,
    ) -> Result<Result<GroupStatus, Unreadable>, LookError> {
        let state = match known {
            Known::Live(status) => return Ok(Ok(self.describe_live(group, *status, head).await)),
            Known::Starting => GroupState::Starting,
            Known::TakenOver => GroupState::TakenOver,
            Known::Failed(reason) => GroupState::Stopped { reason },
            Known::No => return Err(LookError::NoGroup { group }),
        };
        // No dealer tells about it: look at its row.
        let entry = self.values.get(keys::row(&group)).await.map_err(unavailable)?;
        let entry = entry.ok_or_else(|| LookError::NoGroup { group: group.clone() })?;
        let row = Row::decode(&entry.value);
        let row = row.map_err(|error| Unreadable(format!("its row cannot be read: {error}")));
        Ok(row.map(|row| self.describe_row(group, row, state, head)))
    }

    /// Shows a group beside the others though nothing is known of it but its name. Settings and places are not its own.
    fn describe_unreadable(&self, name: GroupName, reason: String, head: Checkpoint) -> GroupStatus {
        let row = Row::new(GroupSettings::new(Query::All), &head);
        self.describe_row(name, row, GroupState::Stopped { reason }, head)
    }

    async fn describe_live(&self, name: GroupName, status: DealerStatus, head: Checkpoint) -> GroupStatus {
        let is_here = status.finished.is_comparable(&head);
        let lag = if is_here {
            let meter = self.lags.of(&name);
            let lag = meter.lag(&*self.store, &*self.clock, &status.finished, &head).await;
            lag.ok()
        } else {
            None
        };
        let is_dense = self.store.capabilities().dense_positions && is_here;
        GroupStatus {
            is_hosted: self.hosted_settings(&name).is_some(),
            name,
            settings: status.settings,
            settings_version: status.settings_version,
            items: status.items,
            state: status.state,
            members: status.members,
            lag_events: is_dense.then(|| events_between(&status.finished, &head)),
            lag,
            scanned: status.scanned,
            head,
            parked: u32::try_from(status.parked.len()).unwrap_or(u32::MAX),
            waiting: status.waiting,
            in_flight_events: status.in_flight_events,
            window_events: status.window_events,
            window_bytes: status.window_bytes,
            is_window_full: status.is_window_full,
            settled: status.settled,
            puts: status.puts,
            puts_time: status.puts_time,
        }
    }

    fn describe_row(&self, name: GroupName, row: Row, state: GroupState, head: Checkpoint) -> GroupStatus {
        let parked = row.apart.values().filter(|entry| entry.is_parked).count();
        GroupStatus {
            is_hosted: self.hosted_settings(&name).is_some(),
            name,
            settings: row.settings,
            settings_version: row.settings_version,
            items: row.items,
            state,
            members: Vec::new(),
            scanned: row.scanned,
            head,
            lag_events: None,
            lag: None,
            parked: u32::try_from(parked).unwrap_or(u32::MAX),
            waiting: 0,
            in_flight_events: 0,
            window_events: 0,
            window_bytes: 0,
            is_window_full: false,
            settled: Settled::default(),
            puts: 0,
            puts_time: Duration::ZERO,
        }
    }

    /// The state of a group that deals.
    async fn live(&self, group: &GroupName) -> Result<DealerStatus, LookError> {
        match self.known(group).await? {
            Known::Live(status) => Ok(*status),
            Known::Failed(reason) => Err(LookError::Unavailable { reason }),
            Known::Starting | Known::TakenOver | Known::No => {
                Err(LookError::Unavailable { reason: format!("group `{group}` is not dealt here now") })
            }
        }
    }

    pub(super) async fn look_at_parked(
        &self,
        group: GroupName,
        after: Option<StreamName>,
        limit: NonZeroU32,
    ) -> Result<Vec<Parked>, LookError> {
        let parked = self.live(&group).await?.parked;
        let is_wanted = |parked: &Parked| after.as_ref().is_none_or(|after| parked.stream > *after);
        let limit = PARKED_PAGE_MAX.min(limit.get() as usize);
        let mut page = parked.into_iter().filter(is_wanted).take(limit).collect::<Vec<_>>();
        for parked in &mut page {
            words::add_to(&*self.values, &group, parked).await.map_err(unavailable)?;
        }
        Ok(page)
    }

    pub(super) async fn look_at_held(
        &self,
        group: GroupName,
        stream: StreamName,
        limit: NonZeroU32,
    ) -> Result<Option<Held>, LookError> {
        let status = self.live(&group).await?;
        let parked = status.parked.iter().find(|parked| parked.stream == stream).cloned();
        let Some(mut parked) = parked else { return Ok(None) };
        words::add_to(&*self.values, &group, &mut parked).await.map_err(unavailable)?;
        let Some((mut read, selects)) = held_read(&status, &parked, limit) else {
            return Ok(Some(Held { parked, events: Vec::new() }));
        };
        let mut events = Vec::new();
        // Events before the places of their items are passed over, so a page may have none that counts.
        loop {
            let page = self.store.read(read.clone()).await.map_err(LookError::Read)?;
            events.extend(page.events.into_iter().filter(|event| selects(event)));
            if page.end || events.len() >= limit.get() as usize {
                break;
            }
            let gesta_core::Select::Log { from, .. } = &mut read.select else { break };
            *from = Place::At(page.scanned_to);
        }
        events.truncate(limit.get() as usize);
        Ok(Some(Held { parked, events }))
    }
}

fn unavailable(error: KeyValueError) -> LookError {
    LookError::Unavailable { reason: error.to_string() }
}
