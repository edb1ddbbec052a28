//! A pooler between the store and the server: refused if it gives sessions away, of no matter if it keeps them.

use std::sync::Arc;
use std::thread;

use gesta_core::{Batch, EventId, EventStore, NewEvent, Query, Read, Retry, Timestamp, When};
use gesta_postgres::{Options, PostgresStore};
use pollster::block_on;
use test_servers::{PgBouncer, Postgres};

use crate::database::{Schema, shared};

const REMEDY: &str = "set the pooler to session mode";

fn event(number: u128) -> NewEvent {
    NewEvent::json(
        EventId::from_u128(number),
        format!("a-{}", number % 8).parse().unwrap(),
        "a.b".parse().unwrap(),
        Timestamp::from_nanos(0),
        "{}",
    )
}

#[test]
fn a_pooler_in_transaction_mode_is_refused_with_the_way_out_and_writes_nothing_twice() {
    if shared().is_none() {
        return;
    }
    let Some(server) = Postgres::shared() else { return };
    let Some(pooler) = PgBouncer::start(&server, "transaction") else { return };
    let schema = Schema::new(server.url());
    // The tables are there, and one store has the server itself.
    let direct = schema.open(&Options::default());
    let through = || PostgresStore::open(&schema.url_at(&pooler.url()), &Options::default());
    let refused = match through() {
        Err(error) => error.to_string(),
        Ok(store) => refusal(&Arc::new(store)),
    };
    assert!(refused.contains(REMEDY), "{refused}");
    let events = block_on(direct.read(Read::log(Query::All))).unwrap().events;
    let mut ids = events.iter().map(|event| event.id()).collect::<Vec<_>>();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), events.len());
    block_on(direct.append(Batch::new([event(1_000_000)]))).unwrap();
}

/// Appends and reads in several threads until an error says why it is refused.
fn refusal(store: &Arc<PostgresStore>) -> String {
    let work = |thread: u128| {
        let store = Arc::clone(store);
        move || {
            (0..10_000).find_map(|number| {
                let appended = block_on(store.append(Batch::new([event(thread * 100_000 + number)])));
                let appended = appended.err().filter(|error| error.retry() == Retry::Never);
                let read = block_on(store.locate(When::Head)).err();
                appended.map(|error| error.to_string()).or(read.map(|error| error.to_string()))
            })
        }
    };
    let workers = (1..=4).map(|thread| thread::spawn(work(thread))).collect::<Vec<_>>();
    let said = workers.into_iter().filter_map(|worker| worker.join().unwrap());
    let said = said.collect::<Vec<_>>();
    said.iter().find(|said| said.contains(REMEDY)).cloned().unwrap_or_else(|| format!("{said:?}"))
}

#[test]
fn a_store_works_behind_a_pooler_in_session_mode() {
    if shared().is_none() {
        return;
    }
    let Some(server) = Postgres::shared() else { return };
    let Some(pooler) = PgBouncer::start(&server, "session") else { return };
    let schema = Schema::new(server.url());
    let store = PostgresStore::open(&schema.url_at(&pooler.url()), &Options::default()).unwrap();
    let direct = schema.open(&Options::default());
    let start = block_on(store.locate(When::Head)).unwrap();
    let appended = block_on(direct.append(Batch::new([event(1)]))).unwrap();
    // It is woken through the pooler.
    assert_eq!(block_on(store.wait_past(start)).unwrap(), appended.checkpoint);
    block_on(store.append(Batch::new([event(2)]))).unwrap();
    assert_eq!(block_on(store.read(Read::log(Query::All))).unwrap().events.len(), 2);
}
