//! The places of a group: from its state to a row, and the invariants that every row keeps.
//!
//! *Invariants*, asserted for every row:
//! - Each unfinished matching event up to `scanned` lies at or after the entry of its stream, if it has one, else after the place of its
//!   lane.
//! - No place of a lane goes back.
//! - A stream's entry goes only by a row in which nothing of the stream is unfinished and its lane is not behind. Otherwise a restart
//!   would deal again what was skipped.

use std::collections::BTreeMap;

use gesta_core::{Checkpoint, Lane, StreamName, Version};

use super::live::Live;
use super::row::{Entry, Row};
use super::stream::{Apart, Stream};
use crate::bugs::{Bug, planted};
use crate::group::settings::Order;

/// The places of one row.
#[derive(Debug, Clone)]
pub(super) struct Places {
    scanned: Checkpoint,
    behind: BTreeMap<Lane, u64>,
    apart: BTreeMap<StreamName, Entry>,
}

impl Places {
    pub(super) fn of(row: &Row) -> Self {
        Self { scanned: row.scanned.clone(), behind: row.behind.clone(), apart: row.apart.clone() }
    }

    /// Returns true if the scan is where it was.
    pub(super) fn is_at(&self, horizon: &Checkpoint) -> bool {
        self.scanned == *horizon
    }

    fn of_lane(&self, lane: Lane, partition: u16) -> u64 {
        self.behind.get(&lane).copied().unwrap_or_else(|| self.scanned.sequence(partition))
    }
}

impl Live {
    /// Returns the row that holds the state now, to be put under a number.
    pub(super) fn row(&mut self, put: u64) -> Row {
        let places = self.places(put);
        self.check(&places);
        let row = Row {
            store: self.store,
            epoch: self.progress.epoch,
            put,
            is_running: true,
            paused: self.paused.clone(),
            stopped: self.stopped.clone(),
            settings: self.settings.clone(),
            settings_version: self.settings_version,
            items: self.selection.items().to_vec(),
            scanned: places.scanned.clone(),
            behind: places.behind.clone(),
            apart: places.apart.clone(),
        };
        self.progress.last_places = Some(places);
        row
    }

    fn places(&mut self, put: u64) -> Places {
        let scanned = self.scan.horizon().clone();
        let mut behind = self.scan.behind(self.partitions).collect::<BTreeMap<_, _>>();
        for (_, stream) in self.streams.iter().filter(|(_, stream)| stream.apart.is_none()) {
            let horizon = scanned.sequence(stream.partition);
            if let Some(low) = stream.low().filter(|low| *low <= horizon) {
                let place = behind.entry(stream.lane).or_insert(horizon);
                *place = (low - 1).min(*place);
            }
        }
        let mut apart = BTreeMap::new();
        let order = self.settings.order;
        for (_, stream) in self.streams.iter_mut().filter(|(_, stream)| stream.apart.is_some()) {
            let horizon = scanned.sequence(stream.partition);
            let can_go = is_quiet(stream, horizon)
                && (!behind.contains_key(&stream.lane) || planted(Bug::EntryGoesEarly));
            stream.apart = Some(Apart { gone_with: can_go.then_some(put) });
            if !can_go {
                apart.insert(stream.name.clone(), entry(stream, horizon, order));
            }
        }
        if planted(Bug::NothingBehind) {
            behind.clear();
        }
        Places { scanned, behind, apart }
    }

    /// Asserts what every row keeps.
    fn check(&self, places: &Places) {
        if planted_in_places() {
            return;
        }
        for (_, stream) in self.streams.iter() {
            let entry = places.apart.get(&stream.name);
            let lane = places.of_lane(stream.lane, stream.partition);
            let first = match (&stream.apart, entry) {
                (Some(_), Some(entry)) => entry.sequence,
                (Some(_), None) => places.scanned.sequence(stream.partition) + 1,
                (None, _) => lane + 1,
            };
            let queued = stream.queue().iter().map(|event| event.position().sequence);
            let is_covered =
                queued.chain(stream.rest().map(|rest| rest + 1)).all(|unfinished| unfinished >= first);
            assert!(is_covered, "unfinished events of stream `{}` lie after its place, {first}", stream.name);
            let is_read = stream.low().is_some()
                || self.scan.again_to(stream.partition).is_none_or(|to| stream.read_to() >= to);
            assert!(
                stream.apart.is_none() || is_read,
                "stream `{}` is apart and was not read again",
                stream.name
            );
        }
        let Some(last) = &self.progress.last_places else { return };
        assert!(places.scanned.at_least(&last.scanned), "the scan does not go back");
        for (lane, place) in &places.behind {
            let earlier = last.of_lane(*lane, lane.partition(self.partitions));
            assert!(*place >= earlier, "the place of lane {lane} went back from {earlier} to {place}");
        }
    }
}

/// Returns true if nothing of a stream has to be kept apart, up to the horizon.
fn is_quiet(stream: &Stream, horizon: u64) -> bool {
    !stream.is_parked
        && stream.attempts == 0
        && stream.waits_until.is_none()
        && stream.low().is_none_or(|low| low > horizon)
}

fn entry(stream: &Stream, horizon: u64, order: Order) -> Entry {
    let is_lost = planted(Bug::ParkedPlaceLost) && stream.is_parked;
    let sequence = stream.low().filter(|_| !is_lost).unwrap_or(horizon + 1);
    let version = match order {
        Order::Stream => stream.next_version,
        Order::Log => Version::new(sequence),
    };
    Entry { version, sequence, attempts: stream.attempts, is_parked: stream.is_parked }
}

/// Returns true if a bug is planted that these asserts would find at once. The simulation must find it by itself.
fn planted_in_places() -> bool {
    [
        Bug::NothingBehind,
        Bug::ParkedPlaceLost,
        Bug::EntryGoesEarly,
        Bug::ScanAgainJumps,
        Bug::ScanAgainForgotten,
    ]
    .into_iter()
    .any(planted)
}
