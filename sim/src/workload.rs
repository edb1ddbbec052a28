//! The batches of the clients: a function of client and count alone, so that a checker can compute what must exist.

use gesta_core::{
    Batch, CommandKey, EventId, Expected, NewEvent, Query, StreamName, Tag, Timestamp, Version,
};
use gesta_log::Options;

use crate::random::Random;

/// The number of concurrent clients.
pub const CLIENTS: u64 = 4;

/// Marks the ids of events that must never be recorded.
const STALE: u128 = 1 << 127;
/// A stream to which all clients append, each after reading it.
const CONTENDED: &str = "contended-1";

/// The smallest segments, so that segments fill often.
#[must_use]
pub fn options() -> Options {
    Options { segment_size_bytes: gesta_log::SEGMENT_SIZE_BYTES_MIN, ..Options::default() }
}

/// The requirement of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Plain,
    /// The client's ledger ends with its previous batch.
    ExpectsVersion,
    /// The ledger exists, or does not exist.
    ExpectsPresence,
    /// The log holds no event of this batch.
    HasCondition,
    /// The batch depends on a read of the contended stream.
    Contends,
}

impl Manner {
    fn of(client: u64, count: u64) -> Self {
        match Random::of(&[client, count, 1]).below(8) {
            0 | 1 => Self::ExpectsVersion,
            2 => Self::ExpectsPresence,
            3 => Self::HasCondition,
            4 => Self::Contends,
            _ => Self::Plain,
        }
    }
}

/// The `count`-th batch of a client: one event to its ledger, whose versions therefore equal the counts, and up to
/// nine more to other streams of the client and to shared streams. One batch in four has a command key. Half have
/// expectations or a condition, which hold.
///
/// # Panics
/// Never: the names are constants.
#[must_use]
pub fn batch(client: u64, count: u64) -> Batch {
    let mut random = Random::of(&[client, count]);
    let manner = Manner::of(client, count);
    let others = random.below(10);
    let events = (0..=others).map(|number| {
        let stream = match random.below(3) {
            _ if number == 0 => ledger(client),
            _ if number == others && manner == Manner::Contends => name(CONTENDED),
            0 => name(&format!("shared-{}", random.below(5))),
            _ => name(&format!("client-{client}")),
        };
        let size = usize::try_from(random.below(700)).expect("small");
        event(EventId::from_u128(id(client, count, number)), stream, size).with_tags([tag(client, count)])
    });
    let batch = Batch::new(events.collect::<Vec<_>>());
    let batch = match manner {
        Manner::Plain | Manner::Contends => batch,
        Manner::ExpectsVersion => {
            let before = count.checked_sub(1).map(Version::new);
            batch.expect(ledger(client), before.map_or(Expected::None, Expected::Exactly))
        }
        Manner::ExpectsPresence => {
            batch.expect(ledger(client), if count == 0 { Expected::None } else { Expected::Exists })
        }
        Manner::HasCondition => batch.fail_if(Query::tags([tag(client, count)]), None),
    };
    match random.below(4) {
        0 => batch.with_command(CommandKey { key: format!("{client}/{count}").into(), request: [7; 32] }),
        _ => batch,
    }
}

/// The stream that must be read before the client's `count`-th batch, if any. The batch is sent with the version that
/// was read.
#[must_use]
pub fn contended(client: u64, count: u64) -> Option<StreamName> {
    let wanted = name(CONTENDED);
    batch(client, count).events.last().is_some_and(|last| last.stream == wanted).then_some(wanted)
}

/// A batch that must be refused, since its requirement does not hold. It is sent before the client's `count`-th batch
/// or instead of it.
///
/// # Panics
/// Never: the names are constants.
#[must_use]
pub fn stale_batch(client: u64, count: u64) -> Batch {
    let own = EventId::from_u128(STALE | id(client, count, 0));
    let batch = Batch::new([event(own, name(&format!("client-{client}")), 10)]);
    let Some(before) = count.checked_sub(1) else {
        return batch.expect(name(&format!("nobody-{client}")), Expected::Exists);
    };
    match Random::of(&[client, count, 2]).below(3) {
        0 => batch.expect(ledger(client), Expected::None),
        1 => batch.expect(ledger(client), Expected::Exactly(Version::new(count + 3))),
        _ => batch.fail_if(Query::tags([tag(client, before)]), None),
    }
}

/// Client, count and number within the batch for an event's id; `None` for an id that must never be recorded.
#[must_use]
pub(crate) fn origin(id: EventId) -> Option<(u64, u64, u64)> {
    let id = u128::from_be_bytes(*id.as_bytes());
    let part = |at: u32| u64::from(u32::try_from((id >> at) & u128::from(u32::MAX)).expect("32 bits"));
    (id & STALE == 0).then(|| (part(96), part(64), part(0)))
}

fn id(client: u64, count: u64, number: u64) -> u128 {
    (u128::from(client) << 96) | (u128::from(count) << 64) | u128::from(number)
}

fn event(id: EventId, stream: StreamName, size_bytes: usize) -> NewEvent {
    let kind = "sim.happened".parse().expect("a type");
    let data = format!("\"{}\"", "x".repeat(size_bytes));
    NewEvent::json(id, stream, kind, Timestamp::from_nanos(1), data)
}

fn ledger(client: u64) -> StreamName {
    name(&format!("ledger-{client}"))
}

fn name(text: &str) -> StreamName {
    text.parse().expect("a stream's name")
}

fn tag(client: u64, count: u64) -> Tag {
    Tag::new(format!("batch:{client}-{count}")).expect("a tag")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_contains_client_count_and_number() {
        for (client, count) in [(0, 0), (3, 17), (2, 70_000)] {
            for (event, number) in batch(client, count).events.iter().zip(0..) {
                assert_eq!(origin(event.id), Some((client, count, number)));
            }
            assert_eq!(origin(stale_batch(client, count).events[0].id), None);
        }
    }
}
