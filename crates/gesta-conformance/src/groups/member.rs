//! A member of a law's group: it remembers what it holds, and names it in every call.

use std::time::Duration;

use gesta_consumer::group::{Delivery, DeliveryId, Refused, Settlement, Take, TakeError, Taken, Then};
use gesta_core::{RecordedEvent, StreamName};

use super::{GROUP, MARKER, World, group};
use crate::given::ids;

/// The wait of a call that must get a delivery. The clock of the groups stands still meanwhile.
const WAIT: Duration = Duration::from_secs(60);

pub(crate) struct Member<'w> {
    world: &'w World<'w>,
    name: String,
    /// What the member has in hand.
    pub(crate) holds: Vec<DeliveryId>,
}

impl<'w> Member<'w> {
    pub(crate) fn new(world: &'w World<'w>, name: &str) -> Self {
        Self { world, name: name.to_owned(), holds: Vec::new() }
    }

    /// A call of this member, with everything that it holds.
    pub(crate) fn take_of(&self, max: u32, wait: Duration) -> Take {
        Take { holds: Some(self.holds.clone()), ..Take::new(self.name.parse().expect("a name"), max, wait) }
    }

    /// Sends a call as it is. The member does not remember what it gets.
    pub(crate) fn call(&self, take: Take) -> Result<Taken, TakeError> {
        self.world
            .within("take", move |groups| Box::pin(async move { groups.take(group(GROUP), take).await }))
    }

    /// Takes at most `max` events. Waits until there is something.
    pub(crate) fn take(&mut self, max: u32) -> Vec<Delivery> {
        let taken = self.answered(self.take_of(max, WAIT));
        assert!(!taken.is_empty(), "a call that waits without end got nothing");
        taken
    }

    /// Takes one delivery. Waits until there is one.
    pub(crate) fn take_one(&mut self) -> Delivery {
        let mut taken = self.take(1);
        assert_eq!(taken.len(), 1, "a call for one event got {taken:?}");
        taken.remove(0)
    }

    /// Takes exactly that number of events, in any number of calls. The group has read everything before the first one, so no
    /// run is cut where the scan just is.
    pub(crate) fn take_events(&mut self, events: usize) -> Vec<Delivery> {
        self.world.wait_until_read();
        let (mut deliveries, mut left) = (Vec::new(), events);
        while left > 0 {
            let taken = self.take(u32::try_from(left).expect("few"));
            let events = taken.iter().map(|delivery| delivery.events.len()).sum::<usize>();
            assert!(events <= left, "a member gets no more than it asks for: {taken:?}");
            left -= events;
            deliveries.extend(taken);
        }
        deliveries
    }

    /// Asserts that there is nothing for this member, once the group has read everything.
    pub(crate) fn expect_nothing(&mut self) {
        self.world.wait_until_read();
        assert_eq!(self.take_now(1_000), [], "nothing is there for `{}`", self.name);
    }

    /// Takes what is there, without a wait.
    pub(crate) fn take_now(&mut self, max: u32) -> Vec<Delivery> {
        self.answered(self.take_of(max, Duration::ZERO))
    }

    fn answered(&mut self, take: Take) -> Vec<Delivery> {
        let taken = self.call(take).unwrap_or_else(|error| panic!("take: {error}"));
        assert_eq!(taken.refused, [], "the member holds its deliveries");
        for delivery in &taken.deliveries {
            assert!(!delivery.events.is_empty(), "a delivery has events: {delivery:?}");
            assert!(!self.holds.contains(&delivery.id), "an id is given once: {delivery:?}");
        }
        self.holds.extend(taken.deliveries.iter().map(|delivery| delivery.id));
        taken.deliveries
    }

    /// Takes everything that can be delivered now, up to markers that are appended for it. Markers are settled and left out.
    pub(crate) fn take_all(&mut self) -> Vec<Delivery> {
        let streams = self.world.markers();
        let mut awaited = self.world.append(&streams.iter().map(String::as_str).collect::<Vec<_>>());
        // Otherwise a run could be cut where the scan just is.
        self.world.wait_until_read();
        let mut all = Vec::new();
        loop {
            // After the markers, what is left was scanned before them.
            let taken = if awaited.is_empty() { self.take_now(1_000) } else { self.take(1_000) };
            if taken.is_empty() {
                return all;
            }
            for delivery in taken {
                if StreamName::category_of(delivery.events[0].stream()) == MARKER {
                    let seen = ids(&delivery.events);
                    awaited.retain(|number| !seen.contains(number));
                    self.settle(Settlement::handled(delivery.id));
                } else {
                    all.push(delivery);
                }
            }
        }
    }

    /// Takes and settles everything until nothing is left, up to a marker. Returns the events in their order.
    pub(crate) fn handle_all(&mut self) -> Vec<RecordedEvent> {
        let mut events = Vec::new();
        loop {
            let taken = self.take_all();
            if taken.is_empty() {
                return events;
            }
            for delivery in taken {
                self.settle(Settlement::handled(delivery.id));
                events.extend(delivery.events);
            }
        }
    }

    /// Settles a delivery. It must count.
    pub(crate) fn settle(&mut self, settlement: Settlement) {
        assert_eq!(self.try_settle(settlement.clone()), [], "settled: {settlement:?}");
    }

    /// Settles a delivery. Returns what had no effect.
    pub(crate) fn try_settle(&mut self, settlement: Settlement) -> Vec<Refused> {
        self.holds.retain(|held| *held != settlement.id);
        let take = Take { settle: vec![settlement], ..self.take_of(0, Duration::ZERO) };
        self.call(take).unwrap_or_else(|error| panic!("settle: {error}")).refused
    }

    /// Settles a delivery with all its events handled.
    pub(crate) fn done(&mut self, delivery: &Delivery) {
        self.settle(Settlement::handled(delivery.id));
    }

    /// Settles deliveries with all their events handled.
    pub(crate) fn all_done(&mut self, deliveries: &[Delivery]) {
        deliveries.iter().for_each(|delivery| self.done(delivery));
    }

    /// Settles a delivery none of whose events was handled.
    pub(crate) fn fails(&mut self, delivery: &Delivery, then: Then) {
        self.fails_after(delivery, 0, then);
    }

    /// Settles a delivery whose first events were handled, and the next was not.
    pub(crate) fn fails_after(&mut self, delivery: &Delivery, handled: usize, then: Then) {
        let settlement = Settlement::then(delivery.id, handled, then);
        self.settle(Settlement { error: Some("it failed".to_owned()), ..settlement });
    }

    /// Takes one event that is next, and fails with it.
    pub(crate) fn fails_next(&mut self, then: Then) -> Delivery {
        let delivery = self.take_one();
        self.fails(&delivery, then);
        delivery
    }

    /// Renews what the member holds.
    pub(crate) fn renew(&self) {
        let taken =
            self.call(self.take_of(0, Duration::ZERO)).unwrap_or_else(|error| panic!("renew: {error}"));
        assert_eq!(taken.refused, [], "what is held is renewed");
    }

    /// Forgets what it holds, as a process does that starts again under the same name.
    pub(crate) fn forget(&mut self) {
        self.holds.clear();
    }
}

/// Retries after the back-off of the group.
pub(crate) fn retry() -> Then {
    Then::Retry { after: None }
}
