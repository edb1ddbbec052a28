//! The streams that a group knows: those with unfinished events, and those that are apart.

use std::collections::{HashMap, VecDeque};

use gesta_core::{Lane, RecordedEvent, StreamName};

use super::stream::Stream;
use super::window::Window;
use crate::group::settings::Order;

/// The index of a stream. It is used again once the stream is forgotten.
pub(super) type Slot = usize;

/// The streams, with lists of those that can go on.
#[derive(Debug)]
pub(super) struct Streams {
    slots: Vec<Option<Stream>>,
    free: Vec<Slot>,
    by_name: HashMap<StreamName, Slot>,
    /// Streams whose first event can be delivered, the longest waiting first. Some may have changed since they were listed.
    ready: VecDeque<Slot>,
    /// Streams whose queue is to be filled from the log, the longest waiting first. Some may have changed since.
    hungry: VecDeque<Slot>,
    /// Most events in one queue.
    kept_max: usize,
    pub(super) order: Order,
    /// The first lane of each partition.
    first_lanes: Vec<Lane>,
    /// The place of the scan in each partition.
    pub(super) scanned: Vec<u64>,
    pub(super) window: Window,
}

impl Streams {
    pub(super) fn new(order: Order, partitions: u16, kept_max: usize, window: Window) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_name: HashMap::new(),
            ready: VecDeque::new(),
            hungry: VecDeque::new(),
            kept_max,
            order,
            first_lanes: (0..partitions).map(|partition| first_lane(partition, partitions)).collect(),
            scanned: vec![0; usize::from(partitions)],
            window,
        }
    }

    pub(super) fn get(&self, slot: Slot) -> &Stream {
        self.slots[slot].as_ref().expect("a slot in use has a stream")
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> &mut Stream {
        self.slots[slot].as_mut().expect("a slot in use has a stream")
    }

    /// Returns true if a stream still waits for this read.
    pub(super) fn is_refilled_by(&self, slot: Slot, number: u64) -> bool {
        self.slots[slot].as_ref().is_some_and(|stream| stream.refill == Some(number))
    }

    /// Returns a stream and the window, to change both.
    pub(super) fn with_window(&mut self, slot: Slot) -> (&mut Stream, &mut Window) {
        (self.slots[slot].as_mut().expect("a slot in use has a stream"), &mut self.window)
    }

    /// Returns all streams, in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Stream)> {
        self.slots.iter().enumerate().filter_map(|(slot, stream)| Some((slot, stream.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Slot, &mut Stream)> {
        self.slots.iter_mut().enumerate().filter_map(|(slot, stream)| Some((slot, stream.as_mut()?)))
    }

    pub(super) fn find(&self, name: &str) -> Option<Slot> {
        self.by_name.get(name).copied()
    }

    /// Returns the stream that an event belongs to in this order, if it is known.
    pub(super) fn find_of(&self, event: &RecordedEvent) -> Option<Slot> {
        match self.order {
            Order::Stream => self.find(event.stream()),
            Order::Log => self.find(log_name(event.position().partition).as_str()),
        }
    }

    /// Returns the stream that an event belongs to in this order. Adds it if it is new.
    pub(super) fn slot_of(&mut self, event: &RecordedEvent) -> Slot {
        if let Some(slot) = self.find_of(event) {
            return slot;
        }
        let partition = event.position().partition;
        let name = match self.order {
            Order::Stream => StreamName::new(event.stream()).expect("a recorded event has a valid stream"),
            Order::Log => log_name(partition),
        };
        self.add(name, self.lane_of(event), partition)
    }

    /// Returns the stream of an entry, which is not known yet.
    pub(super) fn add_entry(&mut self, name: StreamName, partitions: u16) -> Slot {
        let number = match self.order {
            Order::Stream => None,
            Order::Log => name.as_str().strip_prefix("$log-").and_then(|number| number.parse::<u16>().ok()),
        };
        let lane = number.and_then(|number| self.first_lanes.get(usize::from(number)).copied());
        let lane = lane.unwrap_or_else(|| Lane::of(name.as_str()));
        self.add(name, lane, lane.partition(partitions))
    }

    /// Returns the lane under which the place of an event is kept.
    ///
    /// In the order of the log, the first lane of a partition stands for all its lanes.
    pub(super) fn lane_of(&self, event: &RecordedEvent) -> Lane {
        match self.order {
            Order::Stream => Lane::of(event.stream()),
            Order::Log => self.first_lanes[usize::from(event.position().partition)],
        }
    }

    fn add(&mut self, name: StreamName, lane: Lane, partition: u16) -> Slot {
        let stream = Stream::new(name.clone(), lane, partition);
        let slot = self.free.pop().unwrap_or(self.slots.len());
        match self.slots.get_mut(slot) {
            Some(free) => *free = Some(stream),
            None => self.slots.push(Some(stream)),
        }
        let known = self.by_name.insert(name, slot);
        assert!(known.is_none(), "a stream has one slot");
        slot
    }

    /// Forgets a stream if nothing of it has to be remembered.
    pub(super) fn forget_if_idle(&mut self, slot: Slot) {
        let stream = self.get(slot);
        let scanned = self.scanned[usize::from(stream.partition)];
        if stream.is_forgettable(scanned) && !stream.is_listed && !stream.is_hungry {
            let stream = self.slots[slot].take().expect("a slot in use has a stream");
            self.by_name.remove(&stream.name);
            self.free.push(slot);
        }
    }

    /// Lists a stream if it can be delivered, or if its queue needs a read. `is_first` puts it before all others.
    pub(super) fn list(&mut self, slot: Slot, is_first: bool) {
        let kept_max = self.kept_max;
        let stream = self.get_mut(slot);
        let becomes_ready = stream.is_ready() && !stream.is_listed;
        let becomes_hungry = wants_refill(stream, kept_max) && !stream.is_hungry;
        stream.is_listed |= becomes_ready;
        stream.is_hungry |= becomes_hungry;
        match (becomes_ready, is_first) {
            (true, true) => self.ready.push_front(slot),
            (true, false) => self.ready.push_back(slot),
            (false, _) => {}
        }
        if becomes_hungry {
            self.hungry.push_back(slot);
        }
    }

    /// Takes the next stream that can be delivered from the list.
    pub(super) fn next_ready(&mut self) -> Option<Slot> {
        loop {
            let slot = self.ready.pop_front()?;
            let stream = self.get_mut(slot);
            stream.is_listed = false;
            if stream.is_ready() {
                return Some(slot);
            }
            self.forget_if_idle(slot);
        }
    }

    /// Takes the next stream that needs a read from the list.
    pub(super) fn next_hungry(&mut self) -> Option<Slot> {
        let kept_max = self.kept_max;
        loop {
            let slot = self.hungry.pop_front()?;
            let stream = self.get_mut(slot);
            stream.is_hungry = false;
            if wants_refill(stream, kept_max) {
                return Some(slot);
            }
            self.forget_if_idle(slot);
        }
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn hungry(&self) -> usize {
        self.hungry.len()
    }

    /// Returns the number of events that the queue of a stream may take.
    pub(super) fn room(&self, slot: Slot) -> usize {
        self.get(slot).room(self.kept_max)
    }
}

/// Returns true if a stream can go on, but less than half of its queue is filled.
fn wants_refill(stream: &Stream, kept_max: usize) -> bool {
    stream.rest().is_some()
        && stream.refill.is_none()
        && stream.waits_until.is_none()
        && stream.room(kept_max) > 0
        && stream.queue().len() <= kept_max / 2
}

/// The name of the one sequence of a partition in the order of the log.
fn log_name(partition: u16) -> StreamName {
    StreamName::new(format!("$log-{partition}")).expect("a short name is valid")
}

/// The first lane of a partition.
fn first_lane(partition: u16, partitions: u16) -> Lane {
    (0..gesta_core::LANES)
        .filter_map(Lane::new)
        .find(|lane| lane.partition(partitions) == partition)
        .expect("every partition has a lane")
}
