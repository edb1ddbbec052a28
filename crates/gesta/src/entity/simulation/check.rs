//! What must be true of every answer, and of the log in the end.

use std::collections::{BTreeMap, HashMap, HashSet};

use gesta_core::{EventId, MemoryStore, Query, Read, RecordedEvent, StreamName};

use super::domain::Order;
use super::flaky::Flaky;
use super::oracle::Truth;

/// A rule that was broken.
#[derive(Debug)]
pub(super) struct Violation(pub(super) String);

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a caller was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The ids of the events, and whether an earlier sending made them.
    Done {
        ids: Vec<EventId>,
        repeated: bool,
    },
    Refused(String),
    Mismatch {
        actual: Option<u64>,
    },
    /// What an inspection showed.
    Shown {
        balance: i64,
        moves: u64,
        version: Option<u64>,
    },
    InDoubt {
        ids: Vec<EventId>,
    },
    /// Surely nothing was written.
    Failed(String),
    Panicked,
    Gone,
}

/// One call and what it was told.
#[derive(Debug, Clone)]
pub(super) struct CallRecord {
    /// The number in the metadata of its events.
    pub(super) call: u64,
    pub(super) order: Order,
    pub(super) has_key: bool,
    pub(super) expected: Option<u64>,
    pub(super) is_inspection: bool,
    /// Events that were durable when it arrived.
    pub(super) arrived: usize,
    pub(super) answer: Option<Answer>,
}

pub(super) fn log_of(store: &MemoryStore) -> Vec<RecordedEvent> {
    let limit = gesta_core::Limit::events(std::num::NonZeroU32::new(1_000_000).expect("not zero"));
    store.read_now(&Read::log(Query::All).limit(limit)).expect("it is in memory").events
}

fn fail<T>(record: &CallRecord, what: &str) -> Result<T, Violation> {
    Err(Violation(format!("{what}: {record:?}")))
}

/// Checks an answer at the moment when it is given.
pub(super) fn check_answer(record: &CallRecord, store: &Flaky) -> Result<(), Violation> {
    let log = log_of(&store.durable());
    match record.answer.as_ref().expect("it was answered") {
        Answer::Done { ids, .. } if ids.is_empty() => check_was_true(record, &log),
        Answer::Done { ids, .. } => {
            let durable = log.iter().map(|event| event.id()).collect::<HashSet<_>>();
            match ids.iter().all(|id| durable.contains(id)) {
                true => Ok(()),
                false => fail(record, "acknowledged and not durable"),
            }
        }
        Answer::Refused(_) | Answer::Mismatch { .. } | Answer::Shown { .. } => check_was_true(record, &log),
        Answer::InDoubt { ids } => {
            let told = store.told(ids[0]);
            match told.definite < told.sendings {
                true => Ok(()),
                false => fail(record, "in doubt although every sending had a definite answer"),
            }
        }
        Answer::Failed(_) | Answer::Panicked | Answer::Gone => Ok(()),
    }
}

/// Checks that an answer without events was true at a place in the log after the call arrived.
fn check_was_true(record: &CallRecord, log: &[RecordedEvent]) -> Result<(), Violation> {
    let answer = record.answer.as_ref().expect("it was answered");
    let by = serde_json::json!(record.order.by);
    let is_effect = |event: &RecordedEvent| {
        serde_json::from_slice::<serde_json::Value>(event.data_slice()).is_ok_and(|data| data["by"] == by)
    };
    let mut truth = Truth::default();
    let (mut was_true, mut has_effect) = (false, false);
    for place in 0..=log.len() {
        // Once its key has an effect, that is the only true answer.
        if place >= record.arrived && !has_effect {
            was_true |= is_true(record, answer, &truth);
        }
        if let Some(event) = log.get(place) {
            has_effect |= record.has_key && is_effect(event);
            truth.apply(event);
        }
    }
    if was_true { Ok(()) } else { fail(record, "an answer that was never true") }
}

fn is_true(record: &CallRecord, answer: &Answer, truth: &Truth) -> bool {
    let version = truth.events(&record.order.on).checked_sub(1);
    let is_expected = record.expected.is_none_or(|expected| version == Some(expected));
    match answer {
        Answer::Shown { balance, moves, version: shown } => {
            truth.shown(&record.order.on) == (*balance, *moves) && *shown == version
        }
        Answer::Mismatch { actual } => !is_expected && *actual == version,
        Answer::Refused(text) => is_expected && truth.decide(&record.order) == Err(text.clone()),
        Answer::Done { .. } => is_expected && truth.decide(&record.order) == Ok(Vec::new()),
        _ => unreachable!("other answers say nothing about states"),
    }
}

/// Checks the log when nothing more can happen.
pub(super) fn check_end(records: &[CallRecord], store: &Flaky) -> Result<(), Violation> {
    let log = log_of(&store.durable());
    check_log(records, &log)?;
    let recorded = log.iter().map(|event| event.id()).collect::<HashSet<_>>();
    let sent = store.with(|inner| std::mem::take(&mut inner.sent));
    records.iter().try_for_each(|record| {
        let batches = sent.get(&record.call).map_or(&[][..], Vec::as_slice);
        check_effect(record, batches, &recorded)
    })
}

/// Checks that each batch was decided on the log before it, and that a key has one effect.
fn check_log(records: &[CallRecord], log: &[RecordedEvent]) -> Result<(), Violation> {
    let orders = records.iter().map(|record| (record.call, record)).collect::<HashMap<_, _>>();
    let mut truth = Truth::default();
    let mut effects = BTreeMap::new();
    let mut at = 0;
    while let Some(first) = log.get(at) {
        let call = call_of(first);
        let batch = log[at..].iter().take_while(|event| call.is_some() && call_of(event) == call);
        // A call may have one batch only, so a run of its events is that batch.
        let batch = &log[at..at + batch.count().max(1)];
        if let Some(record) = call.map(|call| orders[&call]) {
            check_batch(record, batch, &truth)?;
            if let Some(other) = effects.insert(record.order.by, record.call)
                && (record.has_key || other == record.call)
            {
                return fail(record, "two effects of one command");
            }
        }
        batch.iter().for_each(|event| truth.apply(event));
        at += batch.len();
    }
    Ok(())
}

fn check_batch(record: &CallRecord, batch: &[RecordedEvent], truth: &Truth) -> Result<(), Violation> {
    let version = truth.events(&record.order.on).checked_sub(1);
    if record.expected.is_some_and(|expected| version != Some(expected)) {
        return fail(record, "recorded at another version than expected");
    }
    let events = batch.iter().map(|event| {
        let data = serde_json::from_slice::<serde_json::Value>(event.data_slice()).expect("it is JSON");
        (event.stream().to_owned(), event.event_type().to_owned(), data)
    });
    let events = events.collect::<Vec<_>>();
    let decided = truth.decide(&record.order);
    let is_same = decided.as_ref().is_ok_and(|decided| {
        decided
            .iter()
            .map(|(stream, name, data)| (stream.clone(), (*name).to_owned(), data.clone()))
            .eq(events.iter().cloned())
    });
    if is_same { Ok(()) } else { fail(record, &format!("recorded {events:?} where {decided:?} follows")) }
}

/// Checks that a call had the effect that it was told, and no other.
fn check_effect(
    record: &CallRecord,
    batches: &[Vec<EventId>],
    recorded: &HashSet<EventId>,
) -> Result<(), Violation> {
    let is_recorded = |ids: &[EventId]| ids.iter().any(|id| recorded.contains(id));
    let others = |told: &[EventId]| batches.iter().any(|ids| ids != told && is_recorded(ids));
    match record.answer.as_ref() {
        Some(Answer::Done { ids, .. }) if !ids.iter().all(|id| recorded.contains(id)) => {
            fail(record, "acknowledged and lost")
        }
        Some(Answer::Done { ids, .. }) if others(ids) => fail(record, "two effects of one call"),
        Some(Answer::InDoubt { ids }) if others(ids) => {
            fail(record, "in doubt, and another try was recorded")
        }
        Some(Answer::Refused(_) | Answer::Mismatch { .. } | Answer::Failed(_) | Answer::Shown { .. })
            if batches.iter().any(|ids| is_recorded(ids)) =>
        {
            fail(record, "told that nothing was written, and recorded")
        }
        _ => Ok(()),
    }
}

/// The call that recorded an event; `None` for a raw append.
fn call_of(event: &RecordedEvent) -> Option<u64> {
    let metadata = serde_json::from_slice::<serde_json::Value>(event.metadata_slice()).ok()?;
    metadata["call"].as_u64()
}

/// The streams of a world.
pub(super) fn stream(name: &str) -> StreamName {
    format!("account-{name}").parse().expect("it is valid")
}
