//! The state of a group as its dealer knows it.

use std::num::NonZeroU32;
use std::time::Duration;

use gesta_core::{Checkpoint, Limit, Place, Position, Read, RecordedEvent};

use super::live::Live;
use super::selection::Selection;
use crate::group::settings::{GroupSettings, SettingsVersion};
use crate::group::status::{GroupState, MemberStatus, Parked, SelectedItem, Settled};

/// The state of a group, without what needs the log or the names of things around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DealerStatus {
    /// The settings.
    pub settings: GroupSettings,
    /// Their version.
    pub settings_version: SettingsVersion,
    /// The items of the query.
    pub items: Vec<SelectedItem>,
    /// Whether it delivers.
    pub state: GroupState,
    /// The members that are alive, by name.
    pub members: Vec<MemberStatus>,
    /// The end of the scan.
    pub scanned: Checkpoint,
    /// In each partition, the place before the first event that is neither finished nor parked.
    pub finished: Checkpoint,
    /// The parked streams, by name.
    pub parked: Vec<Parked>,
    /// Streams that wait for another attempt.
    pub waiting: u32,
    /// Events in flight.
    pub in_flight_events: u32,
    /// Events in memory.
    pub window_events: u32,
    /// Bytes of these events.
    pub window_bytes: u64,
    /// True if the scan waits for room.
    pub is_window_full: bool,
    /// Ends of deliveries.
    pub settled: Settled,
    /// Durable writes of the row.
    pub puts: u64,
    /// The time that they took.
    pub puts_time: Duration,
}

/// Returns the read of the events that a parked stream holds back, and whether one of them counts; `None` if no item selects any.
pub(crate) fn held_read(
    status: &DealerStatus,
    parked: &Parked,
    limit: NonZeroU32,
) -> Option<(Read, impl Fn(&RecordedEvent) -> bool + Send + 'static)> {
    let selection = Selection::new(status.items.clone());
    let query = selection.query_of(&parked.stream)?;
    let Position { partition, sequence } = parked.position;
    let until = status.scanned.clone();
    let from = until.clone().with(partition, sequence - 1);
    let read = Read::log_from(query, Place::At(from)).until(until).limit(Limit::events(limit));
    Some((read, move |event: &RecordedEvent| selection.selects(event)))
}

impl Live {
    pub(super) fn status(&self) -> DealerStatus {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let ack_time = self.settings.ack_time;
        let mut members = self
            .members
            .alive(self.now, ack_time)
            .map(|(name, seen, deliveries)| {
                let deliveries = deliveries.iter().filter_map(|number| self.deliveries.get(*number));
                let in_flight = deliveries.map(|delivery| delivery.events.len()).sum();
                MemberStatus { name: name.clone(), seen, in_flight_events: count(in_flight) }
            })
            .collect::<Vec<_>>();
        members.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let parked = self.streams.iter().filter(|(_, stream)| stream.is_parked);
        let mut parked = parked.map(|(slot, _)| self.parked(slot)).collect::<Vec<_>>();
        parked.sort_unstable_by(|one, other| one.stream.cmp(&other.stream));
        let waiting = self.streams.iter().filter(|(_, stream)| stream.waits_until.is_some()).count();
        DealerStatus {
            settings: self.settings.clone(),
            settings_version: self.settings_version,
            items: self.selection.items().to_vec(),
            state: self.state(),
            members,
            scanned: self.scan.horizon().clone(),
            finished: self.finished(),
            parked,
            waiting: count(waiting),
            in_flight_events: count(self.deliveries.in_flight_events()),
            window_events: count(self.streams.window.events()),
            window_bytes: self.streams.window.bytes(),
            is_window_full: !self.has_room(),
            settled: self.settled,
            puts: self.progress.puts,
            puts_time: self.progress.puts_time,
        }
    }

    fn state(&self) -> GroupState {
        if let Some(reason) = self.stopped.as_ref().or(self.halted.as_ref()) {
            return GroupState::Stopped { reason: reason.clone() };
        }
        if let Some(paused) = &self.paused {
            return GroupState::Paused { by: paused.by.clone(), since: paused.since };
        }
        match &self.unreadable {
            _ if self.progress.is_late(self.now) => GroupState::Unsaved,
            Some(reason) => GroupState::Unreadable { reason: reason.clone() },
            None if self.is_outage() => GroupState::Outage,
            None => GroupState::Running,
        }
    }

    /// Returns the place before the first event of each partition that is neither finished nor parked.
    fn finished(&self) -> Checkpoint {
        let unparked = self.streams.iter().filter(|(_, stream)| !stream.is_parked);
        let lows = unparked.filter_map(|(_, stream)| {
            Some(Position { partition: stream.partition, sequence: stream.low()? })
        });
        lows.fold(self.scan.at().clone(), |finished, low| {
            let place = finished.sequence(low.partition).min(low.sequence - 1);
            if place < finished.sequence(low.partition) {
                finished.with(low.partition, place)
            } else {
                finished
            }
        })
    }
}
