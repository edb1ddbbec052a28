//! The scan of the log: first again through what was behind at the last stop, then on without end.
//!
//! *Invariants*
//! - During the scan again, the place lies nowhere beyond the end of the earlier scan.
//! - "Up to the scan" means the horizon: the end of the earlier scan while it is not reached, else the place.

use std::collections::BTreeMap;

use gesta_core::{Checkpoint, Direction, LANES, Lane, Lanes, Limit, Page, Place, Query, Read, Select};

use crate::bugs::{Bug, planted};
use crate::group::settings::Order;

/// What the scan does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    /// Nothing: it may go on as soon as there is room.
    Idle,
    /// A page is on its way.
    Reading,
    /// It waits for an event after the head.
    Waiting,
    /// It failed and waits before it tries again.
    Pausing,
}

/// The place of a group's scan.
#[derive(Debug)]
pub(super) struct Scan {
    at: Checkpoint,
    again: Option<Again>,
    pub(super) activity: Activity,
    /// The number of the last read or wait. Answers to earlier ones are dropped.
    pub(super) number: u64,
    is_at_head: bool,
    /// Failed reads in a row.
    pub(super) failures: u32,
}

/// The lanes that were behind when the last dealer stopped.
#[derive(Debug)]
struct Again {
    until: Checkpoint,
    places: BTreeMap<Lane, u64>,
    lanes: Lanes,
}

impl Scan {
    /// Starts from the places of a row.
    pub(super) fn new(scanned: &Checkpoint, behind: &BTreeMap<Lane, u64>, order: Order) -> Self {
        let partitions =
            u16::try_from(scanned.sequences().len()).expect("a checkpoint has at most 1,024 places");
        let until = |lane: Lane| scanned.sequence(lane.partition(partitions));
        let places = behind.iter().filter(|(lane, place)| **place < until(**lane));
        let places = places.map(|(lane, place)| (*lane, *place)).collect::<BTreeMap<_, _>>();
        let mut scan = Self {
            at: scanned.clone(),
            again: None,
            activity: Activity::Idle,
            number: 0,
            is_at_head: false,
            failures: 0,
        };
        if places.is_empty() {
            return scan;
        }
        for (lane, place) in &places {
            let partition = lane.partition(partitions);
            if *place < scan.at.sequence(partition) {
                scan.at = scan.at.with(partition, *place);
            }
        }
        let is_behind = |lane: &Lane| match order {
            Order::Stream => places.contains_key(lane),
            Order::Log => {
                places.keys().any(|first| first.partition(partitions) == lane.partition(partitions))
            }
        };
        let lanes = (0..LANES).filter_map(Lane::new).filter(is_behind).collect();
        scan.again = Some(Again { until: scanned.clone(), places, lanes });
        scan
    }

    pub(super) const fn at(&self) -> &Checkpoint {
        &self.at
    }

    /// Returns the place up to which streams are read from the log.
    pub(super) fn horizon(&self) -> &Checkpoint {
        let again = self.again.as_ref().filter(|_| !planted(Bug::ShortRefill));
        again.map_or(&self.at, |again| &again.until)
    }

    /// Returns the end of the scan again in a partition, while it is not reached there.
    pub(super) fn again_to(&self, partition: u16) -> Option<u64> {
        let to = self.again.as_ref()?.until.sequence(partition);
        (self.at.sequence(partition) < to).then_some(to)
    }

    /// Returns true if an event was finished before the last stop, unless its stream is apart.
    pub(super) fn was_finished(&self, lane: Lane, partition: u16, sequence: u64) -> bool {
        let Some(again) = &self.again else { return false };
        let until = again.until.sequence(partition);
        sequence <= until && again.places.get(&lane).copied().unwrap_or(until) >= sequence
    }

    /// Returns the place of each lane that was behind and is not scanned again yet.
    pub(super) fn behind(&self, partitions: u16) -> impl Iterator<Item = (Lane, u64)> {
        let again = self.again.iter().flat_map(|again| &again.places);
        again.filter_map(move |(lane, place)| {
            let partition = lane.partition(partitions);
            let again_to = self.again_to(partition).filter(|_| !planted(Bug::ScanAgainJumps));
            again_to.map(|_| (*lane, self.at.sequence(partition).max(*place)))
        })
    }

    /// Returns true if a wait for the next event comes before the next read.
    pub(super) const fn is_at_head(&self) -> bool {
        self.is_at_head
    }

    /// Returns the next read.
    pub(super) fn read(&self, query: Query, limit: Limit) -> Read {
        let lanes = self.again.as_ref().map(|again| again.lanes.clone());
        let until = self.again.as_ref().map(|again| again.until.clone());
        let from = Place::At(self.at.clone());
        Read { select: Select::Log { query, from, lanes }, direction: Direction::Forward, until, limit }
    }

    /// Moves behind a page. Its events were looked at.
    pub(super) fn moved(&mut self, page: &Page) {
        assert!(page.scanned_to.at_least(&self.at), "a page of the scan does not go back");
        let has_moved = page.scanned_to != self.at;
        self.at = page.scanned_to.clone();
        match self.again.take_if(|again| page.end || self.at.at_least(&again.until)) {
            Some(done) => {
                self.at = done.until;
                self.is_at_head = false;
            }
            None => self.is_at_head = self.again.is_none() && (!has_moved || self.at == page.head),
        }
        self.failures = 0;
    }

    /// Records that the log has grown beyond the place.
    pub(super) const fn has_grown(&mut self) {
        self.is_at_head = false;
    }

    /// Drops the read or wait in flight. Its answer will have no effect.
    pub(super) const fn restart(&mut self) {
        self.number += 1;
        self.activity = Activity::Idle;
        self.is_at_head = false;
    }
}

#[cfg(test)]
mod tests {
    use gesta_core::StoreId;

    use super::*;

    fn place(sequences: [u64; 2]) -> Checkpoint {
        Checkpoint::new(StoreId::from_bytes([1; 16]), sequences)
    }

    fn lane(number: u16) -> Lane {
        Lane::new(number).unwrap()
    }

    #[test]
    fn a_scan_begins_at_the_lowest_lane_of_each_partition_and_ends_at_the_earlier_end() {
        // With two partitions, lanes below 512 are in the first.
        let behind = BTreeMap::from([(lane(1), 3), (lane(2), 7), (lane(600), 9), (lane(3), 10)]);
        let mut scan = Scan::new(&place([10, 9]), &behind, Order::Stream);
        assert_eq!((scan.at(), scan.horizon()), (&place([3, 9]), &place([10, 9])));
        assert_eq!((scan.again_to(0), scan.again_to(1)), (Some(10), None));
        let finished = [(1, 3), (1, 4), (2, 7), (2, 8), (3, 10), (4, 1), (4, 11)];
        let finished = finished.map(|(number, sequence)| scan.was_finished(lane(number), 0, sequence));
        assert_eq!(finished, [true, false, true, false, true, true, false]);
        let page = |scanned_to, end| Page {
            events: Vec::new(),
            scanned_to,
            head: place([20, 20]),
            last_version: None,
            end,
        };
        scan.moved(&page(place([5, 9]), false));
        assert_eq!(scan.behind(2).collect::<Vec<_>>(), [(lane(1), 5), (lane(2), 7)]);
        scan.moved(&page(place([8, 9]), true));
        assert_eq!((scan.at(), scan.behind(2).count(), scan.is_at_head()), (&place([10, 9]), 0, false));
        scan.moved(&page(place([20, 20]), true));
        assert!(scan.is_at_head());
    }

    #[test]
    fn in_the_order_of_the_log_a_partition_is_scanned_again_with_all_its_lanes() {
        let behind = BTreeMap::from([(lane(512), 4)]);
        let scan = Scan::new(&place([10, 9]), &behind, Order::Log);
        let limit = Limit::default();
        let Select::Log { lanes: Some(lanes), .. } = scan.read(Query::All, limit).select else { panic!() };
        assert_eq!((lanes.len(), lanes.contains(lane(1023)), lanes.contains(lane(511))), (512, true, false));
    }
}
