//! What a seed chooses before the first step.

use std::num::NonZeroU32;
use std::time::Duration;

use gesta_consumer::group::{BackOff, GroupSettings, OnPoison, Order};
use gesta_consumer::sim::Bounds;
use gesta_core::{EventType, Item, Place, Query};

use crate::random::Random;

/// The settings and chances of one simulation.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) partitions: u16,
    pub(super) streams: Vec<String>,
    pub(super) settings: GroupSettings,
    pub(super) bounds: Bounds,
    /// Chance in percent that the outcome of a put is not told.
    pub(super) doubt: u64,
    /// True if new hosts name another kind. Otherwise only operators do.
    pub(super) has_new_hosts: bool,
    /// Chance in percent that a dealer starts, in place of another or beside it.
    pub(super) starts: u64,
    /// Chance in percent that an appended event is poison.
    pub(super) poison: u64,
    /// True if the key-value store is away for some time.
    pub(super) has_outages: bool,
    pub(super) steps: u32,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = Random::of(&[seed, 1]);
        let partitions = [1, 1, 1, 3][random.index(4)];
        let lanes = 1 + random.below(3);
        let streams = (0..1 + random.below(6)).map(|number| format!("s{{{}}}{number}", random.below(lanes)));
        let streams = streams.collect();
        let order = if random.chance(20) { Order::Log } else { Order::Stream };
        let attempts_max = NonZeroU32::new([1, 2, 3, 4, 0][random.index(5)]);
        let settings = GroupSettings {
            query: kinds(&["a"]),
            from: Place::Start,
            ack_time: Duration::from_secs(3),
            attempts_max,
            back_off: BackOff { first: Duration::from_millis(500), max: Duration::from_secs(4) },
            run_max: random.up_to(3),
            in_flight_max: random.up_to(12),
            on_poison: if random.chance(20) { OnPoison::Stop } else { OnPoison::Park },
            order,
        };
        let bounds = Bounds {
            window_events_max: 2 + random.index(11),
            window_bytes_max: [300, 1_000, 1 << 20][random.index(3)],
            stream_events_max: 1 + random.index(4),
            hungry_streams_max: 1 + random.index(4),
            page_events_max: [1, 1, 2, 3, 5][random.index(5)],
            reply_bytes_max: [200, 1 << 20][random.index(2)],
            parked_max: [1, 2, 99][random.index(3)],
            apart_max: [1, 2, 99][random.index(3)],
            apart_bytes_max: [300, 1 << 20][random.index(2)],
            outage_streams: [2, 3, 99][random.index(3)],
            acknowledged_max: 1 + u32::try_from(random.below(5)).unwrap_or(1),
        };
        Self {
            partitions,
            streams,
            settings,
            bounds,
            doubt: [0, 5, 20, 40][random.index(4)],
            has_new_hosts: random.chance(60),
            starts: [3, 3, 8][random.index(3)],
            poison: [0, 12, 12][random.index(3)],
            has_outages: random.chance(25),
            steps: 260,
        }
    }
}

/// The query for events of these kinds, one item for each.
pub(super) fn kinds(kinds: &[&str]) -> Query {
    let item = |kind: &&str| Item { types: vec![event_type(kind)], ..Item::default() };
    Query::Any(kinds.iter().map(item).collect())
}

/// The type of the events of a kind.
pub(super) fn event_type(kind: &str) -> EventType {
    kind.parse().expect("a kind is a type")
}

impl Random {
    /// True in this number of cases of a hundred.
    pub(super) const fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// An index below a length, which is not 0.
    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a length")
    }

    /// A number from 1 on.
    pub(super) fn up_to(&mut self, most: u64) -> NonZeroU32 {
        let number = u32::try_from(1 + self.below(most)).expect("a small number");
        NonZeroU32::new(number).expect("at least 1")
    }
}
