//! The events that all stores get: 256 bytes of data each, with numbers that a store converts to its form.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The data of every event: 256 bytes of JSON.
pub const DATA: [u8; 256] = {
    let mut data = [b'x'; 256];
    let (begin, end) = (br#"{"x":""#, br#""}"#);
    let mut at = 0;
    while at < begin.len() {
        data[at] = begin[at];
        at += 1;
    }
    data[254] = end[0];
    data[255] = end[1];
    data
};

/// One event of a load.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// Its number within the load, from 1.
    pub number: u64,
    /// Its id.
    pub id: u128,
    /// The number of its stream.
    pub stream: u64,
    /// The number of its tag, if it has one.
    pub tag: Option<u64>,
}

/// The kind of event ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// UUIDv4: random, the hardest to look up.
    V4,
    /// UUIDv7: ordered by time, as the typed library makes them.
    V7,
}

/// The stream of an event.
#[derive(Debug, Clone, Copy)]
pub enum Streams {
    /// The stream of the client that appends it.
    OfClient,
    /// One of `n` streams, at random.
    Random(u64),
    /// One of `n` streams in turn: all streams get the same number of events.
    Turns(u64),
    /// One of [`Growing::RANDOM`] streams at random, and the streams of [`Growing`] at fixed numbers.
    Growing,
}

/// The streams of a log whose growth is measured.
#[derive(Debug, Clone, Copy)]
pub struct Growing;

impl Growing {
    /// Streams that get events at random.
    pub const RANDOM: u64 = 1_000_000;
    /// The stream of every hundredth event: it grows with the log and is scattered over all of it.
    pub const SCATTERED: u64 = Self::RANDOM;
    /// The first of the streams with [`Self::PROBE_EVENTS`] events each, scattered over the first million events.
    /// They do not grow with the log, so a read of one is the same work at every size.
    pub const PROBE: u64 = Self::RANDOM + 1;
    /// The number of these streams.
    pub const PROBES: u64 = 1_000;
    /// The number of events in each of them.
    pub const PROBE_EVENTS: u64 = 10;

    const fn stream(number: u64) -> u64 {
        let (hundreds, place) = (number / 100, number % 100);
        if place == 0 {
            Self::SCATTERED
        } else if place == 1 && hundreds < Self::PROBES * Self::PROBE_EVENTS {
            Self::PROBE + hundreds % Self::PROBES
        } else {
            mix(number) % Self::RANDOM
        }
    }
}

/// The source of a load's events. All its clients share it.
#[derive(Debug)]
pub struct Events {
    next: AtomicU64,
    ids: Ids,
    streams: Streams,
    tagged: bool,
}

impl Events {
    /// Events without tags, with ids ordered by time.
    #[must_use]
    pub fn new(streams: Streams) -> Self {
        Self { next: AtomicU64::new(1), ids: Ids::V7, streams, tagged: false }
    }

    /// The same events, each with a tag for its stream.
    #[must_use]
    pub fn tagged(mut self) -> Self {
        self.tagged = true;
        self
    }

    /// The same events with another kind of ids.
    #[must_use]
    pub fn with_ids(mut self, ids: Ids) -> Self {
        self.ids = ids;
        self
    }

    /// Skips `count` events that another process took.
    pub fn skip(&self, count: u64) {
        self.next.fetch_add(count, Ordering::Relaxed);
    }

    /// The number of events taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.next.load(Ordering::Relaxed) - 1
    }

    /// The next `count` events, for an append of `client`.
    #[must_use]
    pub fn take(&self, client: u64, count: u64) -> Vec<Event> {
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        (first..first + count).map(|number| self.event(client, number)).collect()
    }

    fn event(&self, client: u64, number: u64) -> Event {
        let stream = match self.streams {
            Streams::OfClient => client,
            Streams::Random(streams) => mix(number) % streams,
            Streams::Turns(streams) => number % streams,
            Streams::Growing => Growing::stream(number),
        };
        let id = match self.ids {
            Ids::V4 => with_version(random(number), 4),
            Ids::V7 => with_version((milliseconds() << 80) | (random(number) >> 48), 7),
        };
        Event { number, id, stream, tag: self.tagged.then_some(stream) }
    }
}

/// Scrambles a number without collisions: the finalizer of SplitMix64.
#[must_use]
pub const fn mix(number: u64) -> u64 {
    let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn random(number: u64) -> u128 {
    (u128::from(mix(number)) << 64) | u128::from(mix(!number))
}

/// Sets the version and variant bits of a UUID in a number.
const fn with_version(number: u128, version: u128) -> u128 {
    (number & !(0xf << 76) & !(0b11 << 62)) | (version << 76) | (0b10 << 62)
}

fn milliseconds() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_is_json_of_256_bytes() {
        let value: serde_json::Value = serde_json::from_slice(&DATA).expect("JSON");
        assert_eq!(value["x"].as_str().map(str::len), Some(248));
    }

    #[test]
    fn ids_have_their_uuid_version_and_are_unique() {
        for (ids, version) in [(Ids::V4, 4), (Ids::V7, 7)] {
            let events = Events::new(Streams::OfClient).with_ids(ids).take(0, 10_000);
            assert!(
                events
                    .iter()
                    .all(|event| (event.id >> 76) & 0xf == version && (event.id >> 62) & 0b11 == 0b10)
            );
            let mut all: Vec<_> = events.iter().map(|event| event.id).collect();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), events.len());
        }
    }

    #[test]
    fn a_growing_log_has_its_probes_within_the_first_million() {
        let events = Events::new(Streams::Growing).take(0, 1_000_000);
        let of = |stream| events.iter().filter(|event| event.stream == stream).count() as u64;
        assert_eq!(of(Growing::SCATTERED), 10_000);
        assert_eq!(
            [of(Growing::PROBE), of(Growing::PROBE + Growing::PROBES - 1)],
            [Growing::PROBE_EVENTS; 2]
        );
        assert!(events.iter().all(|event| event.stream < Growing::PROBE + Growing::PROBES));
    }
}
