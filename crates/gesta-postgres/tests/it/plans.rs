//! The plans of reads, which are made while the tables are empty and stay.

use std::thread;

use gesta_core::{Batch, EventId, EventStore, Item, Limit, NewEvent, Query, Read, Timestamp};
use gesta_postgres::{Options, PostgresStore};
use pollster::block_on;

use crate::database::{Admin, Schema, shared};

const EVENTS: u32 = 3_000;

fn event(number: u32) -> NewEvent {
    let stream = format!("a-{}", number % 100).parse().unwrap();
    let id = EventId::from_u128(number.into());
    let event = NewEvent::json(id, stream, "a.b".parse().unwrap(), Timestamp::from_nanos(0), "{}");
    event.with_tags([format!("t:{}", number % 100).parse().unwrap()])
}

/// The rows of `event` that were read by an index, once the sessions with the name of the schema have ended.
fn rows_read(admin: &Admin, schema: &Schema, index: &str) -> u64 {
    // A session counts what it has read when it ends.
    let sessions =
        format!("select count(*) from pg_stat_activity where application_name = '{}'", schema.name);
    while admin.run(&sessions) != [["0"]] {
        thread::yield_now();
    }
    let rows = admin.run(&format!(
        "select coalesce(sum(idx_tup_read), 0) from pg_stat_user_indexes where schemaname = '{}' and indexrelname = '{index}'",
        schema.name
    ));
    rows[0][0].parse().unwrap()
}

#[test]
fn a_read_of_few_events_of_a_long_log_does_not_scan_it() {
    let Some(server) = shared() else { return };
    let (schema, admin) = (Schema::new(&server), Admin::connect(&server));
    let url = format!("{server}?schema={0}&application_name={0}", schema.name).parse().unwrap();
    let store = PostgresStore::open(&url, &Options::default()).unwrap();
    let read = |item: Item| {
        let mut read = Read::log(Query::from(item));
        read.limit = Limit { events: 5.try_into().unwrap(), ..Limit::default() };
        block_on(store.read(read)).unwrap().events.len()
    };
    let by_id = || Item { ids: vec![EventId::from_u128(2_900)], ..Item::default() };
    let by_stream = || Item { stream: Some("a-7".parse().unwrap()), ..Item::default() };
    let by_tag = || Item { tags: vec!["t:7".parse().unwrap()], ..Item::default() };
    assert_eq!([read(by_id()), read(by_stream()), read(by_tag())], [0, 0, 0], "plans are made now");
    for first in (0..EVENTS).step_by(100) {
        block_on(store.append(Batch::new((first..first + 100).map(event)))).unwrap();
    }
    for _ in 0..5 {
        assert_eq!([read(by_id()), read(by_stream()), read(by_tag())], [1, 5, 5]);
    }
    drop(store);
    let rows = rows_read(&admin, &schema, "event_pkey");
    assert!(rows < u64::from(EVENTS), "{rows} rows were read by position");
}

#[test]
fn an_append_to_a_long_stream_does_not_read_it() {
    let Some(server) = shared() else { return };
    let (schema, admin) = (Schema::new(&server), Admin::connect(&server));
    let url = format!("{server}?schema={0}&application_name={0}", schema.name).parse().unwrap();
    let open = || PostgresStore::open(&url, &Options::default()).unwrap();
    let in_one_stream = |number| NewEvent { stream: "long-1".parse().unwrap(), ..event(number) };
    // The second store makes its plans when there are some events.
    for (store, events) in [(open(), 0..10), (open(), 10..EVENTS)] {
        for first in events.clone().step_by(100) {
            let last = events.end.min(first + 100);
            block_on(store.append(Batch::new((first..last).map(in_one_stream)))).unwrap();
        }
    }
    let rows = rows_read(&admin, &schema, "event_sid_version_key");
    assert!(rows < u64::from(EVENTS), "{rows} rows were read by stream");
}
