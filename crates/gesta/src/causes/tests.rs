//! Chains, trees, circles and missing causes.

use gesta_core::{Batch, EventId, MemoryStore, NewEvent, RecordedEvent, StreamName, Tag, Timestamp};

use super::*;
use crate::testing::{block_on, memory};

fn id(number: u64) -> EventId {
    EventId::from_u128(u128::from(number))
}

/// Appends an event with an id and a named cause.
fn append(store: &MemoryStore, stream: &str, number: u64, causation: Option<&str>) {
    let (stream, kind) = (stream.parse().unwrap(), "happened".parse().unwrap());
    let mut event = NewEvent::json(id(number), stream, kind, Timestamp::from_nanos(1), "{}");
    event.tags.extend(causation.map(|cause| Tag::from_parts("$causation", cause).unwrap()));
    block_on(store.append(Batch::new([event]))).unwrap();
}

fn caused(store: &MemoryStore, stream: &str, number: u64, cause: u64) {
    append(store, stream, number, Some(&id(cause).to_string()));
}

fn number(event: &RecordedEvent) -> u128 {
    u128::from_be_bytes(*event.id().as_bytes())
}

fn causes(store: &MemoryStore, number_of: u64) -> (Vec<u128>, Origin) {
    let found = block_on(causes_of(store, id(number_of), None)).unwrap();
    assert_eq!(found.event.id(), id(number_of));
    (found.causes.iter().map(number).collect(), found.origin)
}

fn effects(store: &MemoryStore, number_of: u64) -> (Vec<(usize, u128)>, bool) {
    let found = block_on(effects_of(store, id(number_of), None)).unwrap();
    let effects = found.effects.iter().map(|effect| (effect.level, number(&effect.event)));
    (effects.collect(), found.is_cut)
}

#[test]
fn causes_lead_up_to_the_first_and_effects_follow_their_cause() {
    let store = memory();
    append(&store, "order-1", 1, Some("request 7"));
    caused(&store, "stock-1", 2, 1);
    caused(&store, "mail-1", 3, 1);
    caused(&store, "stock-1", 4, 2);
    append(&store, "order-2", 5, None);
    assert_eq!(causes(&store, 4), (vec![2, 1], Origin::Outside { causation: "request 7".to_owned() }));
    assert_eq!(causes(&store, 5), (vec![], Origin::Unnamed));
    assert_eq!(effects(&store, 1), (vec![(1, 2), (2, 4), (1, 3)], false));
    assert_eq!(effects(&store, 5), (vec![], false));
}

#[test]
fn a_cause_that_is_no_event_here_is_named() {
    let store = memory();
    caused(&store, "order-1", 1, 99);
    assert_eq!(causes(&store, 1), (vec![], Origin::Outside { causation: id(99).to_string() }));
}

#[test]
fn circles_end() {
    let store = memory();
    caused(&store, "order-1", 1, 2);
    caused(&store, "order-1", 2, 1);
    caused(&store, "order-1", 3, 3);
    assert_eq!(causes(&store, 1), (vec![2], Origin::Circle { id: id(1) }));
    assert_eq!(causes(&store, 3), (vec![], Origin::Circle { id: id(3) }));
    assert_eq!(effects(&store, 1), (vec![(1, 2)], false));
    assert_eq!(effects(&store, 3), (vec![], false));
}

#[test]
fn an_id_of_several_streams_needs_the_stream() {
    let store = memory();
    append(&store, "order-1", 1, None);
    append(&store, "order-2", 1, Some("request 8"));
    caused(&store, "order-3", 2, 1);
    let streams = ["order-1", "order-2"].map(|name| name.parse::<StreamName>().unwrap());
    let error = block_on(causes_of(&store, id(1), None)).unwrap_err();
    assert_eq!(error, CausesError::Ambiguous { id: id(1), streams: streams.to_vec() });
    let found = block_on(causes_of(&store, id(1), Some(&streams[1]))).unwrap();
    assert_eq!(found.origin, Origin::Outside { causation: "request 8".to_owned() });
    assert_eq!(causes(&store, 2), (vec![], Origin::Ambiguous { id: id(1), streams: streams.to_vec() }));
    let nowhere = block_on(effects_of(&store, id(3), None)).unwrap_err();
    assert_eq!(nowhere.to_string(), format!("no event has the id {}", id(3)));
    let elsewhere = block_on(effects_of(&store, id(2), Some(&streams[0]))).unwrap_err();
    assert_eq!(elsewhere.to_string(), format!("stream `order-1` has no event with the id {}", id(2)));
}

#[test]
fn long_chains_and_many_effects_are_cut() {
    let store = memory();
    append(&store, "chain-1", 1, None);
    let levels = LEVELS_MAX as u64;
    for number in 2..=levels + 2 {
        caused(&store, "chain-1", number, number - 1);
    }
    let (up, origin) = causes(&store, levels + 1);
    assert_eq!((up.len(), origin), (LEVELS_MAX, Origin::Unnamed));
    let (up, origin) = causes(&store, levels + 2);
    assert_eq!((up.len(), origin), (LEVELS_MAX, Origin::Cut { id: id(1) }));
    let (down, is_cut) = effects(&store, 2);
    assert_eq!((down.len(), is_cut), (LEVELS_MAX, false));
    let (down, is_cut) = effects(&store, 1);
    assert_eq!((down.len(), is_cut), (LEVELS_MAX, true));

    let many = EFFECTS_MAX as u64 + 1;
    append(&store, "fan-1", 10_000, None);
    for number in 1..many {
        caused(&store, "fan-2", 10_000 + number, 10_000);
    }
    let (down, is_cut) = effects(&store, 10_000);
    assert_eq!((down.len(), is_cut), (EFFECTS_MAX, false));
    caused(&store, "fan-2", 10_000 + many, 10_000);
    let (down, is_cut) = effects(&store, 10_000);
    assert_eq!((down.len(), is_cut), (EFFECTS_MAX, true));
}
