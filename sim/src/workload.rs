//! What the clients append: a function of client and count alone, so that whoever looks later can say what must be there.

use gesta_core::{
    Batch, CommandKey, EventId, Expected, NewEvent, Query, StreamName, Tag, Timestamp, Version,
};
use gesta_log::Options;

use crate::random::Random;

/// How many clients append at once.
pub const CLIENTS: u64 = 4;

/// Marks the ids of events that must never be recorded.
const STALE: u128 = 1 << 127;
/// Its events come from all clients, each decided on what was there.
const CONTENDED: &str = "contended-1";

/// The smallest segments, so that they roll all the time.
#[must_use]
pub fn options() -> Options {
    Options { segment_size_bytes: gesta_log::SEGMENT_SIZE_BYTES_MIN, ..Options::default() }
}

/// What a batch asks for besides being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Plain,
    /// The client's ledger is expected to end where the batch before left it.
    ExpectsVersion,
    /// The ledger is expected to be there, or not to.
    ExpectsPresence,
    /// No event of this very batch may be there.
    HasCondition,
    /// It is decided on the contended stream.
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

/// The batch that a client appends as its `count`-th: one event to its own ledger, whose versions are thereby the counts, and
/// up to nine more to streams of its own and to shared ones; one in four under a command key, half with expectations or a
/// condition, which hold.
///
/// # Panics
/// Never: the names are made here.
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

/// The stream that the client's `count`-th batch has to be decided on, if any: the batch is sent with the version that was read.
#[must_use]
pub fn contended(client: u64, count: u64) -> Option<StreamName> {
    let wanted = name(CONTENDED);
    batch(client, count).events.last().is_some_and(|last| last.stream == wanted).then_some(wanted)
}

/// A batch that must be refused, for what it rests on does not hold: sent before the client's `count`-th, or instead.
///
/// # Panics
/// Never: the names are made here.
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

/// Whose event an id is: client, count, and number within the batch; `None` for one that must never be recorded.
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
    fn an_id_says_whose_event_it_is() {
        for (client, count) in [(0, 0), (3, 17), (2, 70_000)] {
            for (event, number) in batch(client, count).events.iter().zip(0..) {
                assert_eq!(origin(event.id), Some((client, count, number)));
            }
            assert_eq!(origin(stale_batch(client, count).events[0].id), None);
        }
    }
}
