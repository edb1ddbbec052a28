//! The events that all stores are given: 256 bytes of data each, in numbers that a store turns into its own form.

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
    /// Its identity.
    pub id: u128,
    /// The number of its stream.
    pub stream: u64,
    /// The number of its one tag, if it has one.
    pub tag: Option<u64>,
}

/// How identities are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// UUIDv4: no order at all, the hardest to look up.
    V4,
    /// UUIDv7: by time, as the typed library makes them.
    V7,
}

/// Which stream an event goes to.
#[derive(Debug, Clone, Copy)]
pub enum Streams {
    /// The stream of the client that appends it.
    OfClient,
    /// One of `n` streams, at random.
    Random(u64),
    /// One of `n` streams in turn: all get the same number of events.
    Turns(u64),
    /// One of [`Growing::RANDOM`] streams at random, and the streams of [`Growing`] at their places.
    Growing,
}

/// The streams of a log whose growth is watched.
#[derive(Debug, Clone, Copy)]
pub struct Growing;

impl Growing {
    /// Streams that events go to in no order.
    pub const RANDOM: u64 = 1_000_000;
    /// The stream that every hundredth event goes to: it grows with the log, and lies scattered all over it.
    pub const SCATTERED: u64 = Self::RANDOM;
    /// The first of the streams that have [`Self::PROBE_EVENTS`] events each, scattered over the first million, however long
    /// the log gets: reading one is the same work at every size.
    pub const PROBE: u64 = Self::RANDOM + 1;
    /// How many such streams there are.
    pub const PROBES: u64 = 1_000;
    /// How many events each has.
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

/// Where the events of a load come from. Shared by all its clients.
#[derive(Debug)]
pub struct Events {
    next: AtomicU64,
    ids: Ids,
    streams: Streams,
    tagged: bool,
}

impl Events {
    /// Events without tags, with identities by time.
    #[must_use]
    pub fn new(streams: Streams) -> Self {
        Self { next: AtomicU64::new(1), ids: Ids::V7, streams, tagged: false }
    }

    /// The same events, each with the tag of its stream's number.
    #[must_use]
    pub fn tagged(mut self) -> Self {
        self.tagged = true;
        self
    }

    /// The same events with identities of another kind.
    #[must_use]
    pub fn with_ids(mut self, ids: Ids) -> Self {
        self.ids = ids;
        self
    }

    /// Skips `count` events that another process took.
    pub fn skip(&self, count: u64) {
        self.next.fetch_add(count, Ordering::Relaxed);
    }

    /// How many were taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.next.load(Ordering::Relaxed) - 1
    }

    /// The next events, for a client's next append.
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

/// A number that looks like none of its neighbours': the finaliser of SplitMix64, a bijection.
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

/// The bits of a UUID that say its version and variant, written over a number.
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
    fn identities_say_their_version_and_none_comes_twice() {
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
