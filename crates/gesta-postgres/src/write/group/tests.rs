//! A group gets the answers that its batches would get one after the other from the store in memory.

use std::collections::HashMap;
use std::sync::Arc;

use gesta_core::{
    Checkpoint, CommandKey, Expected, MemoryStore, NewEvent, Query, Read, RecordedEvent, StoreId,
};
use tokio::sync::Semaphore;

use super::super::facts::StreamHead;
use super::super::search::Searched;
use super::super::ticket::Search;
use super::*;

const STREAMS: [&str; 3] = ["a-1", "a-2", "b-1"];
const TAGS: [&str; 2] = ["t:1", "t:2"];

/// A generator of numbers: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

fn store() -> MemoryStore {
    MemoryStore::new(StoreId::from_bytes([1; 16]), 1, || Timestamp::from_nanos(5))
}

fn log(store: &MemoryStore) -> (Vec<RecordedEvent>, Checkpoint) {
    let page = store.read_now(&Read::log(Query::All)).unwrap();
    (page.events, page.head)
}

/// A batch whose ids, key, expectation and conditions often meet earlier ones.
fn batch(random: &mut Random, head: &Checkpoint) -> Batch {
    let mut ids = (0..=random.below(3)).map(|_| random.below(60)).collect::<Vec<_>>();
    ids.sort_unstable();
    ids.dedup();
    let event = |id: u64, random: &mut Random| {
        let stream = if random.below(3) == 0 { random.pick(&STREAMS) } else { STREAMS[0] };
        let id = gesta_core::EventId::from_u128(id.into());
        let event =
            NewEvent::json(id, stream.parse().unwrap(), "t".parse().unwrap(), Timestamp::from_nanos(0), "{}");
        event.with_tags([random.pick(&TAGS).parse().unwrap()])
    };
    let mut batch = Batch::new(ids.into_iter().map(|id| event(id, random)).collect::<Vec<_>>());
    let stream = random.pick(&STREAMS).parse().unwrap();
    batch = match random.below(5) {
        0 => batch.expect(stream, Expected::Exactly(Version::new(random.below(12)))),
        1 => batch.expect(stream, Expected::None),
        2 => batch.expect(stream, Expected::Exists),
        _ => batch,
    };
    if random.below(3) == 0 {
        let sequence = random.below(head.sequence(0) + 1);
        let after = (random.below(3) > 0).then(|| Checkpoint::new(head.store(), [sequence]));
        batch = batch.fail_if(Query::tags([random.pick(&TAGS).parse().unwrap()]), after);
    }
    if random.below(4) == 0 {
        let key = format!("k{}", random.below(6)).into_bytes().into();
        batch = batch.with_command(CommandKey { key, request: [u8::from(random.below(8) == 0); 32] });
    }
    batch
}

/// What a search up to a place would find.
fn search(batch: &Batch, events: &[RecordedEvent], checked_to: u64) -> Search {
    let newest = |condition: &gesta_core::Condition| {
        let after = condition.after.as_ref().map_or(0, |after| after.sequence(0));
        let part =
            events.iter().rev().filter(|event| (after + 1..=checked_to).contains(&event.position().sequence));
        part.into_iter()
            .find(|event| condition.fail_if_any.matches(event))
            .map(|event| event.position().sequence)
    };
    let matches = batch.conditions.iter().map(newest).collect();
    Arc::new(Ok(Searched { era: 0, checked_to, matches }).into())
}

fn ticket(batch: Batch, search: Search) -> Ticket {
    let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let events = batch.events.iter().map(Encoded::of).collect();
    let (mut ticket, _) = Ticket::new(batch, events, 0, room);
    ticket.search = Some(search);
    ticket
}

/// What the look-ups of a group find in a log.
fn known(
    events: &[RecordedEvent],
    head: &Checkpoint,
    ends: &[u64],
    commands: &[Batch],
    checked_to: u64,
) -> Known {
    let mut known = Known {
        head: head.clone(),
        last: events.len() as u64,
        recorded_at: Timestamp::MIN,
        next_sid: 100,
        streams: HashMap::new(),
        events: HashMap::new(),
        ends: HashMap::new(),
        commands: HashMap::new(),
        newer: Vec::new(),
        marks: HashMap::new(),
    };
    for (event, end) in events.iter().zip(ends) {
        let (name, sequence) = (event.stream().parse::<StreamName>().unwrap(), event.position().sequence);
        let last = Placed { version: event.version(), position: event.position() };
        known.streams.insert(name.clone(), StreamHead { sid: 1, last });
        known.events.entry(event.id()).or_default().push((name, last));
        known.ends.insert(sequence, *end);
        if sequence > checked_to {
            known.newer.push((sequence, EventBytes::clone(event)));
        }
    }
    for batch in commands {
        let (command, first) = (batch.command.as_ref().unwrap(), &batch.events[0]);
        let place = known.events[&first.id].iter().find(|(stream, _)| *stream == first.stream).unwrap().1;
        let of_batch = &events[usize::try_from(place.position.sequence).unwrap() - 1..][..batch.events.len()];
        let versions = of_batch.iter().map(|event| event.version().get()).collect();
        let record = CommandRecord { request: command.request, first: place.position.sequence, versions };
        known.commands.insert(command.key.clone(), record);
    }
    known
}

#[test]
fn a_group_is_decided_like_its_batches_one_after_the_other() {
    let mut met = HashMap::<&str, u32>::new();
    for seed in 1..=300 {
        let (mut random, oracle) = (Random(0x9e37_79b9_7f4a_7c15 ^ seed), store());
        let (mut ends, mut commands) = (Vec::new(), Vec::new());
        for _ in 0..8 {
            let (events, head) = log(&oracle);
            let lowest = random.below(events.len() as u64 + 1);
            let group = (0..=random.below(6)).map(|_| {
                let checked_to = lowest + random.below(events.len() as u64 - lowest + 1);
                let batch = batch(&mut random, &head);
                let search = search(&batch, &events, checked_to);
                ticket(batch, search)
            });
            let group = group.collect::<Vec<_>>();
            let mut known = known(&events, &head, &ends, &commands, lowest);
            let rules = Rules { now: &|| Timestamp::from_nanos(5), read_only: None };
            let (outcomes, rows) = decide(&group, &mut known, &rules);
            for (ticket, outcome) in group.iter().zip(outcomes) {
                let (name, own) = match outcome {
                    Outcome::Accepted(repeat) => ("accepted", Ok((repeat, false))),
                    Outcome::Repeated(repeat) => ("repeated", Ok((repeat, true))),
                    Outcome::Refused(error) => ("refused", Err(error)),
                };
                *met.entry(name).or_default() += 1;
                let theirs = oracle.append_now(ticket.batch.clone());
                if theirs.as_ref().is_ok_and(|appended| !appended.repeated) {
                    let end = ends.len() as u64 + ticket.batch.events.len() as u64;
                    ends.extend(ticket.batch.events.iter().map(|_| end));
                    commands.extend(ticket.batch.command.is_some().then(|| ticket.batch.clone()));
                }
                let theirs = theirs.map(|appended| {
                    (
                        Repeat { end: appended.checkpoint.sequence(0), places: appended.places },
                        appended.repeated,
                    )
                });
                assert_eq!(own, theirs, "seed {seed}: {:?}", ticket.batch);
            }
            let written = log(&oracle).0.split_off(events.len());
            let records = written.iter().map(|event| EventBytes::clone(event)).collect::<Vec<_>>();
            assert_eq!(rows.events.records, records, "seed {seed}: the rows are the events, in order");
            let versions = written.iter().map(|event| event.version().get()).collect::<Vec<_>>();
            assert_eq!(
                rows.events.versions.iter().map(|own| own.cast_unsigned()).collect::<Vec<_>>(),
                versions
            );
        }
    }
    assert!(["accepted", "repeated", "refused"].iter().all(|name| met[name] > 500), "{met:?}");
}
