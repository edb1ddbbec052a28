//! The deliveries that are in flight, or expired and still count.

use std::collections::HashMap;
use std::time::Duration;

use gesta_core::{StoreId, Version};

use super::streams::Slot;
use crate::bugs::{Bug, planted};
use crate::group::delivery::DeliveryId;
use crate::group::name::MemberName;

/// A delivery that may still be settled.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) slot: Slot,
    pub(super) member: MemberName,
    /// Sequence and version of each event.
    pub(super) events: Box<[(u64, Version)]>,
    /// `None` once it has expired.
    pub(super) deadline: Option<Duration>,
}

impl InFlight {
    /// Returns true if it has no event after a sequence.
    pub(super) fn is_up_to(&self, sequence: u64) -> bool {
        self.events.last().is_none_or(|(last, _)| *last <= sequence)
    }
}

/// The deliveries of one life of a dealer, by number.
#[derive(Debug)]
pub(super) struct Deliveries {
    store: StoreId,
    epoch: u64,
    counter: u64,
    by_number: HashMap<u64, InFlight>,
    /// Events in deliveries that have not expired.
    in_flight_events: usize,
}

impl Deliveries {
    pub(super) fn new(store: StoreId, epoch: u64) -> Self {
        Self { store, epoch, counter: 0, by_number: HashMap::new(), in_flight_events: 0 }
    }

    pub(super) const fn in_flight_events(&self) -> usize {
        self.in_flight_events
    }

    pub(super) fn id(&self, number: u64) -> DeliveryId {
        let store = if planted(Bug::NoStoreInId) { StoreId::from_bytes([0; 16]) } else { self.store };
        DeliveryId::new(store, if planted(Bug::NoEpochInId) { 0 } else { self.epoch }, number)
    }

    /// Returns the number of a delivery of this life.
    pub(super) fn number_of(&self, id: DeliveryId) -> Option<u64> {
        let number = id.counter();
        (self.id(number) == id && self.by_number.contains_key(&number)).then_some(number)
    }

    pub(super) fn get(&self, number: u64) -> Option<&InFlight> {
        self.by_number.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut InFlight> {
        self.by_number.get_mut(&number)
    }

    /// Adds a delivery and returns its number.
    pub(super) fn add(&mut self, delivery: InFlight) -> u64 {
        assert!(!delivery.events.is_empty(), "a delivery has an event");
        self.counter += 1;
        self.in_flight_events += delivery.events.len();
        self.by_number.insert(self.counter, delivery);
        self.counter
    }

    /// Removes a delivery.
    pub(super) fn remove(&mut self, number: u64) -> Option<InFlight> {
        let delivery = self.by_number.remove(&number)?;
        if delivery.deadline.is_some() {
            self.in_flight_events -= delivery.events.len();
        }
        Some(delivery)
    }

    /// Puts a removed delivery back, for a planted bug.
    pub(super) fn put_back(&mut self, number: u64, delivery: InFlight) {
        self.in_flight_events += delivery.events.len();
        self.by_number.insert(number, delivery);
    }

    /// Marks a delivery as expired. Returns the deadline that it had; `None` if it has expired before or is not there.
    pub(super) fn expire(&mut self, number: u64) -> Option<Duration> {
        let delivery = self.by_number.get_mut(&number)?;
        let deadline = delivery.deadline.take()?;
        self.in_flight_events -= delivery.events.len();
        Some(deadline)
    }
}
