//! What the clients append.

use std::fmt;
use std::str::FromStr;

use gesta_core::{Batch, CommandKey, EventId, NewEvent, Tag, Timestamp};
use gesta_log::Options;

use crate::random::Random;

/// How many clients append at once.
pub const CLIENTS: u64 = 4;

/// Small segments, so that they roll all the time.
#[must_use]
pub fn options() -> Options {
    Options { segment_size_bytes: 128 << 10, ..Options::default() }
}

/// The batch that a client appends as its `count`-th: one to ten events, to its own stream and to shared ones.
///
/// # Panics
/// Never: the names are made here.
#[must_use]
pub fn batch(client: u64, count: u64) -> Batch {
    let mut random = Random::of(&[client, count]);
    let events = (0..=random.below(10)).map(|number| {
        let stream = match random.below(3) {
            0 => format!("shared-{}", random.below(5)),
            _ => format!("client-{client}"),
        };
        let id =
            EventId::from_u128((u128::from(client) << 96) | (u128::from(count) << 32) | u128::from(number));
        let size = usize::try_from(random.below(700)).expect("small");
        let data = format!("\"{}\"", "x".repeat(size));
        let tag = Tag::new(format!("count:{count}")).expect("a tag");
        let (stream, kind) = (stream.parse().expect("a name"), "sim.happened".parse().expect("a type"));
        NewEvent::json(id, stream, kind, Timestamp::from_nanos(1), data).with_tags([tag])
    });
    let batch = Batch::new(events);
    match random.below(4) {
        0 => batch.with_command(CommandKey { key: format!("{client}/{count}").into(), request: [7; 32] }),
        _ => batch,
    }
}

/// What a client was told: its `count`-th batch is durable, and these are the positions of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// The client.
    pub client: u64,
    /// Which of its batches.
    pub count: u64,
    /// Where the events stand.
    pub positions: Vec<u64>,
}

impl fmt::Display for Acknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.client, self.count)?;
        self.positions.iter().try_for_each(|position| write!(f, " {position}"))
    }
}

impl FromStr for Acknowledged {
    type Err = std::num::ParseIntError;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let numbers = line.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        let (client, count) = (numbers.first().copied(), numbers.get(1).copied());
        Ok(Self {
            client: client.unwrap_or_default(),
            count: count.unwrap_or_default(),
            positions: numbers.into_iter().skip(2).collect(),
        })
    }
}
