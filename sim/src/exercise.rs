//! Looks up everything that an index covers: by stream, category, type, tag and id in both directions, and by sending
//! every batch again.

use std::collections::BTreeSet;

use gesta_core::{EventId, Item, Query, StreamName, Tag};
use gesta_log::LogStore;

use crate::check::{check_query, check_stream, is_index_damage};
use crate::model::{Model, State, Wrong};

/// Ids that are looked up one by one. Batches that are sent again look up the others.
const IDS_ASKED: usize = 24;

/// Looks up everything and checks the answers. Returns `false` if the index reported damage.
pub(crate) fn exercise_index(log: &LogStore, model: &Model) -> Result<bool, Wrong> {
    let mut all_answered = true;
    let mut take = |checked: Result<(), Wrong>| match checked {
        Err(wrong) if is_index_damage(&wrong) => {
            all_answered = false;
            Ok(())
        }
        checked => checked,
    };
    for query in queries(model) {
        take(check_query(log, model, &query))?;
    }
    for name in streams(model) {
        take(check_stream(log, model, &name))?;
    }
    for number in 0..model.sent.len() {
        take(check_repeat(log, model, number))?;
    }
    Ok(all_answered)
}

fn streams(model: &Model) -> BTreeSet<StreamName> {
    model.log.iter().map(|event| event.bytes.stream().parse().expect("a name")).collect()
}

fn queries(model: &Model) -> Vec<Query> {
    let events = || model.log.iter().map(|event| &event.bytes);
    let (mut categories, mut types, mut tags) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for event in events() {
        categories.insert(StreamName::category_of(event.stream()));
        types.insert(event.event_type());
        tags.extend(event.tags());
    }
    let every = (model.log.len() / IDS_ASKED).max(1);
    let mut ids = events().step_by(every).map(|event| event.id()).collect::<Vec<_>>();
    ids.push(EventId::from_u128(u128::MAX));
    let mut queries = vec![Query::All];
    queries.extend(streams(model).into_iter().map(Query::stream));
    queries.extend(categories.iter().map(|name| Query::category(name.parse().expect("a category"))));
    queries.extend(types.iter().map(|name| Query::types([name.parse().expect("a type")])));
    queries.extend(tags.iter().map(|tag| Query::tags([Tag::new(*tag).expect("a tag")])));
    queries.extend(ids.into_iter().map(|id| Item { ids: vec![id], ..Item::default() }.into()));
    queries
}

/// Checks that a batch that is in the log gets its first answer again.
fn check_repeat(log: &LogStore, model: &Model, number: usize) -> Result<(), Wrong> {
    let State::Logged(places) = &model.sent[number].state else { return Ok(()) };
    match log.append_blocking(model.repeat_of(number)) {
        Ok(appended) if appended.repeated && appended.places == *places => Ok(()),
        other => Err(format!("the repeat of batch {number} got {other:?}")),
    }
}
