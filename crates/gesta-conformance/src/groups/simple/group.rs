//! One group: what it has read, and what operators ask of it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use gesta_consumer::group::{
    ChangeError, GroupName, GroupSettings, GroupState, GroupStatus, Held, MemberName, MemberStatus, Order,
    Parked, PutError, Reset, SelectedItem, SettingsVersion, Settled,
};
use gesta_core::{Checkpoint, EventStore, Item, Place, Query, Read, StreamName, Timestamp, Version};
use pollster::block_on;

use super::stream::Stream;
use super::{GroupBug, OUTAGE};

#[derive(Clone)]
pub(super) struct Group {
    pub(super) name: GroupName,
    pub(super) settings: GroupSettings,
    version: SettingsVersion,
    items: Vec<SelectedItem>,
    /// The place before the first event that the group ever read.
    origin: Checkpoint,
    pub(super) scanned: Checkpoint,
    /// By stream, or by `partition` in the order of the log.
    pub(super) streams: BTreeMap<String, Stream>,
    pub(super) members: BTreeMap<MemberName, Member>,
    paused: Option<(String, Timestamp)>,
    pub(super) stopped: Option<String>,
    /// Streams that failed since the last success.
    pub(super) failed: BTreeSet<String>,
    pub(super) settled: Settled,
    pub(super) first: Option<u64>,
    pub(super) bug: Option<GroupBug>,
}

#[derive(Clone, Default)]
pub(super) struct Member {
    /// The number of the newest call.
    pub(super) call: u64,
    pub(super) is_open: bool,
    pub(super) seen: Duration,
}

fn items_of(query: &Query, since: &Checkpoint) -> Vec<SelectedItem> {
    let item = |item| SelectedItem { item, since: since.clone() };
    match query {
        Query::All => vec![item(None)],
        Query::Any(items) => items.iter().cloned().map(Some).map(item).collect(),
    }
}

impl Group {
    pub(super) fn new(
        name: GroupName,
        settings: GroupSettings,
        start: Checkpoint,
        head: Checkpoint,
        bug: Option<GroupBug>,
    ) -> Self {
        let from = match &settings.from {
            _ if bug == Some(GroupBug::IgnoresFrom) => start,
            Place::Start => start,
            Place::End => head,
            Place::At(checkpoint) => checkpoint.clone(),
        };
        Self {
            name,
            items: items_of(&settings.query, &from),
            settings,
            version: SettingsVersion::FIRST,
            origin: from.clone(),
            scanned: from,
            streams: BTreeMap::new(),
            members: BTreeMap::new(),
            paused: None,
            stopped: None,
            failed: BTreeSet::new(),
            settled: Settled::default(),
            first: None,
            bug,
        }
    }

    pub(super) fn has(&self, bug: GroupBug) -> bool {
        self.bug == Some(bug)
    }

    pub(super) fn first_id(&self) -> u64 {
        self.first.unwrap_or_default()
    }

    /// Reads to the end of the log.
    pub(super) fn scan(&mut self, store: &dyn EventStore) {
        loop {
            let read = Read::log_from(Query::All, Place::At(self.scanned.clone()));
            let page = block_on(store.read(read)).expect("a page");
            for event in page.events {
                let at = event.position();
                let selects = |selected: &SelectedItem| {
                    selected.since.sequence(at.partition) < at.sequence
                        && selected.item.as_ref().is_none_or(|item: &Item| item.matches(&event))
                };
                if self.items.iter().any(selects) {
                    let key = match self.settings.order {
                        Order::Log if !self.has(GroupBug::IgnoresTheOrderOfTheLog) => {
                            at.partition.to_string()
                        }
                        _ => event.stream().to_owned(),
                    };
                    self.streams.entry(key).or_default().events.push_back(event);
                }
            }
            self.scanned = page.scanned_to;
            if page.end {
                return;
            }
        }
    }

    fn unfinished(&self) -> usize {
        self.streams.values().map(|stream| stream.events.len()).sum()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.streams.values().filter_map(|stream| Some(stream.delivery.as_ref()?.events)).sum()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some() && !self.has(GroupBug::DealsWhilePaused)
    }

    pub(super) fn is_outage(&self) -> bool {
        self.failed.len() >= OUTAGE && !self.has(GroupBug::ParksDuringAnOutage)
    }

    /// A member is alive while a call is open, and `ack_time` after.
    pub(super) fn is_alive(&self, name: &MemberName, now: Duration) -> bool {
        let is_alive = |member: &Member| member.is_open || member.seen + self.settings.ack_time >= now;
        self.members.get(name).is_some_and(is_alive)
    }

    fn busy(&self) -> Option<String> {
        let is_still = self.paused.is_some() || self.stopped.is_some();
        match (is_still, self.in_flight()) {
            (false, _) => Some("it is not paused".to_owned()),
            (true, 0) => None,
            (true, events) => Some(format!("{events} events are in flight")),
        }
    }

    pub(super) fn put(
        &mut self,
        settings: GroupSettings,
        expect: Option<SettingsVersion>,
        head: &Checkpoint,
    ) -> Result<SettingsVersion, PutError> {
        let (group, actual) = (self.name.clone(), self.version);
        match expect {
            None if !self.has(GroupBug::CreatesTwice) => return Err(PutError::Exists { group, actual }),
            Some(expected) if expected != actual && !self.has(GroupBug::ChangesBlindly) => {
                return Err(PutError::Changed { group, expected, actual });
            }
            _ => {}
        }
        let since = if self.has(GroupBug::AddsItemsForThePast) { &self.origin } else { head };
        let mut items = items_of(&settings.query, since);
        for item in &mut items {
            if let Some(known) = self.items.iter().find(|known| known.item == item.item) {
                *item = known.clone();
            }
        }
        let is_taken_away = |known: &SelectedItem| !items.iter().any(|item| item.item == known.item);
        if self.items.iter().any(is_taken_away) && !self.has(GroupBug::TakesItemsAwayAtOnce) {
            let unfinished = self.unfinished();
            let left = (unfinished > 0).then(|| format!("{unfinished} events are unfinished"));
            if let Some(reason) = self.busy().or(left) {
                return Err(PutError::Busy { group, reason });
            }
        }
        if self.has(GroupBug::AddsItemsForThePast) {
            self.scanned = self.origin.clone();
        }
        let from = self.settings.from.clone();
        (self.items, self.settings) = (items, GroupSettings { from, ..settings });
        self.version = self.version.next();
        Ok(self.version)
    }

    pub(super) fn pause(&mut self, by: String, since: Timestamp) -> Result<(), ChangeError> {
        self.paused.get_or_insert((by, since));
        Ok(())
    }

    pub(super) fn resume(&mut self) -> Result<(), ChangeError> {
        self.paused = None;
        if self.stopped.take().is_some() {
            self.streams.values_mut().filter(|stream| stream.parked.is_none()).for_each(Stream::release);
            self.failed.clear();
        }
        Ok(())
    }

    pub(super) fn parked(&self, after: Option<&StreamName>, limit: NonZeroU32) -> Vec<Parked> {
        let parked = self.streams.values().filter_map(|stream| stream.parked.clone());
        let parked = parked.filter(|parked| after.is_none_or(|after| parked.stream > *after));
        let limit = if self.has(GroupBug::ListsAllParkedAtOnce) { usize::MAX } else { limit.get() as usize };
        parked.take(limit).collect()
    }

    pub(super) fn held(&self, name: &StreamName, limit: NonZeroU32) -> Option<Held> {
        let stream = self.streams.get(name.as_str())?;
        let parked = stream.parked.clone()?;
        Some(Held { parked, events: stream.events.iter().take(limit.get() as usize).cloned().collect() })
    }

    pub(super) fn replay(&mut self, streams: &[StreamName]) -> Result<u32, ChangeError> {
        let is_parked =
            |name: &StreamName| self.streams.get(name.as_str()).is_some_and(|stream| stream.parked.is_some());
        if let Some(stream) = streams.iter().find(|name| !is_parked(name))
            && !self.has(GroupBug::ReplaysOthersToo)
        {
            return Err(ChangeError::NotParked { group: self.name.clone(), stream: stream.clone() });
        }
        let (mut replayed, next) = (0, self.has(GroupBug::ReplaysFromTheNextEvent));
        for (name, stream) in &mut self.streams {
            let is_named = streams.is_empty() || streams.iter().any(|named| named.as_str() == name);
            if is_named && stream.parked.is_some() {
                stream.release();
                if next {
                    stream.pass(1);
                }
                replayed += 1;
            }
        }
        Ok(replayed)
    }

    pub(super) fn skip(&mut self, name: &StreamName, through: Version) -> Result<(), ChangeError> {
        let not_parked = ChangeError::NotParked { group: self.name.clone(), stream: name.clone() };
        let bug = self.bug;
        let stream = self.streams.get_mut(name.as_str());
        let stream = stream.filter(|stream| stream.parked.is_some() || stream.failures > 0);
        let stream = stream.ok_or(not_parked)?;
        if !stream.events.iter().any(|event| event.version() == through) {
            return Err(ChangeError::NotReached { stream: name.clone(), through });
        }
        stream.release();
        let passed = stream.events.iter().take_while(|event| event.version() <= through).count();
        if bug == Some(GroupBug::SkipsOnlyInMemory) {
            // The restart finds them again.
            stream.forgiven = true;
            return Ok(());
        }
        stream.pass(passed);
        Ok(())
    }

    pub(super) fn reset(&mut self, at: Checkpoint) -> Result<Reset, ChangeError> {
        if let Some(reason) = self.busy().filter(|_| !self.has(GroupBug::ResetsWhileBusy)) {
            return Err(ChangeError::Busy { group: self.name.clone(), reason });
        }
        let were_parked = self.streams.values().filter(|stream| stream.parked.is_some()).count();
        if self.has(GroupBug::KeepsParkedOverAReset) {
            self.streams.retain(|_, stream| stream.parked.is_some());
        } else {
            self.streams.clear();
        }
        for item in &mut self.items {
            item.since = at.clone();
        }
        (self.scanned, self.stopped) = (at.clone(), None);
        Ok(Reset { at, were_parked: u32::try_from(were_parked).expect("few") })
    }

    /// What a restart leaves.
    pub(super) fn restart(&mut self) {
        self.members.clear();
        if self.has(GroupBug::ForgetsHandledAtRestart) {
            self.streams.clear();
            self.scanned = self.origin.clone();
        }
        if self.has(GroupBug::ForgetsPausesAtRestart) {
            self.paused = None;
        }
        for stream in self.streams.values_mut() {
            stream.delivery = None;
            if self.bug == Some(GroupBug::ForgetsParkedAtRestart) {
                stream.parked = None;
            }
        }
    }

    pub(super) fn status(&self, head: &Checkpoint, now: Duration) -> GroupStatus {
        let state = match (&self.stopped, &self.paused) {
            (Some(reason), _) => GroupState::Stopped { reason: reason.clone() },
            (None, Some((by, since))) => GroupState::Paused { by: by.clone(), since: *since },
            (None, None) if self.is_outage() => GroupState::Outage,
            (None, None) => GroupState::Running,
        };
        let alive = self.members.iter().filter(|(name, _)| self.is_alive(name, now));
        let members = alive.map(|(name, member)| MemberStatus {
            name: name.clone(),
            seen: if member.is_open { Duration::ZERO } else { now.saturating_sub(member.seen) },
            in_flight_events: self.in_flight_of(name),
        });
        let lag = self.streams.values().filter(|stream| stream.parked.is_none());
        let oldest = lag.filter_map(|stream| stream.events.front()).map(|event| event.position());
        let behind = |sequence: u64, partition| head.sequence(partition) - sequence + 1;
        let lag = oldest.map(|at| behind(at.sequence, at.partition)).max().unwrap_or(0);
        let number = |count: usize| u32::try_from(count).expect("few");
        GroupStatus {
            name: self.name.clone(),
            settings: self.settings.clone(),
            settings_version: self.version,
            items: self.items.clone(),
            is_hosted: false,
            state,
            members: members.collect(),
            scanned: self.scanned.clone(),
            head: head.clone(),
            lag_events: Some(lag),
            lag: None,
            parked: number(self.streams.values().filter(|stream| stream.parked.is_some()).count()),
            waiting: number(self.streams.values().filter(|stream| stream.ready > now).count()),
            in_flight_events: number(self.in_flight()),
            window_events: number(self.unfinished()),
            window_bytes: 0,
            is_window_full: false,
            settled: self.settled,
            puts: 0,
            puts_time: Duration::ZERO,
        }
    }

    fn in_flight_of(&self, name: &MemberName) -> u32 {
        let of_member = self.streams.values().filter_map(|stream| stream.delivery.as_ref());
        let events = of_member.filter(|delivery| delivery.member == *name).map(|delivery| delivery.events);
        u32::try_from(events.sum::<usize>()).expect("few")
    }
}
